"""Live view: pictures of a camera as they arrive, stills once a second, transcodes.

It imports no socket and no HTTP: a viewer's connection is passed in.

Others use `live_view.LiveView`, `socket_viewer.SocketViewer` and `viewer_counts.ViewerCounts`.
`rules` is pure.
"""
