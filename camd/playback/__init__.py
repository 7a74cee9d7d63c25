"""Recordings as something to watch: what was recorded when, and the pieces that players load.

`playback.Playback` answers for time lines, indexes, playlists, bytes and strips. Nothing is muxed:
pieces are served as they lie in the files. In `rules/`, pure, playlists and the choice of frames.
"""
