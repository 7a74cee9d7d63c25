"""One camera's stream, whoever uses it.

`supervisor` starts FFmpeg and starts it again, `planner` decides on its arguments, `process` reads
its output, `hub` distributes the stream to consumers. `rules` is pure.
"""
