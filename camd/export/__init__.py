"""Exports: what a camera recorded between two instants, as movies to download, without encoding.

`exports` is what others use: `Exports`, which describes an export and opens one of its movies to be
sent. `source_files` reads and sends parts of recordings, in threads. What decides is pure and
stands in `rules/`: which files and frames are in an export, what is missing, ranges of bytes.
"""
