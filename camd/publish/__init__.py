"""Cameras published to a media server, MediaMTX: a consumer of the hub, and what the server says.

Others use `publishing.open_streams` and `streams.Streams`. Nothing here is noticed by a recording:
a publisher takes what the hub hands it, drops what it has no time for, and is started again when it
fails. What is decided is pure and stands in `rules/`.
"""
