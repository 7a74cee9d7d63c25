"""Media as bytes and words, all of it pure: boxes, fragments, segment files, FFmpeg's arguments.

`boxes` splits a stream, `tracks` and `fragments` read what FFmpeg writes, `identity`, `tables`
and `mp4` lay a segment out, `command` and `report` are FFmpeg's two ends: what it is told and
what it says.
"""
