"""Checks: recordings read back and compared with index, ledger and hashes; nothing is changed.

`folder` is `camd verify`, `scrub` the check in the background; both read files with
`recording_file` and compare by `rules` (pure).
"""
