"""Building blocks that know no cameras: actors, published values, child processes, pipes, files.

`actor` has mailboxes and restarts; `broadcast` published values and events; `child_process` and
`query_process` child processes; `pipe_poller` reads many pipes; `state_file` and `folders`
replace and lock files; `small_files` reads files that a person names; `path_lookup` asks the file
system with a timeout; `fd_limits` and `priority` set limits of the kernel.
"""
