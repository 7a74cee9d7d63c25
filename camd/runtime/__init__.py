"""Building blocks that know no cameras: actors, published values, child processes, pipes, files.

`actor` has mailboxes and restarts; `broadcast` published values and events; `child_process` and
`query_process` child processes; `pipe_poller` reads many pipes; `files` replaces and locks files;
`fd_limits` and `priority` set limits of the kernel.
"""
