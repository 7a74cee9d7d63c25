"""Live view: what a viewer of a camera gets, as it arrives; knows no sockets and no HTTP.

Others use `watching.LiveView`, `socket_viewer.SocketViewer` and `viewer_counts.ViewerCounts`. `rules`
is pure.
"""
