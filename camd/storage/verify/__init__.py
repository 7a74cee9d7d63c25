"""Verification: recordings are read and compared with index, ledger and hashes, and not changed.

`folder` is `camd verify`, `scrub` the same in the background; both read files with
`recording_file` and compare by `rules` (pure).
"""
