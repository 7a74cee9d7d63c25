"""The index of a recordings folder (disposable) and its journal (not disposable).

Others use `recording_index` (both together, locked), `worker` (the same from the event loop) and
`memory_index` (a copy in memory, for verification); `index_database` is the SQLite database,
`index_journal` the files.
"""
