"""The index of a recordings folder (disposable) and its journal (not disposable).

Others use `recording_index` (both together, locked), `worker` (the same from the event loop) and
`memory_index` (a copy in memory for checks); `catalog` is the SQLite database, `journal` the files.
"""
