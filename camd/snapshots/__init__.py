"""Snapshots: one frame of a camera, live or of a recording, as a JPEG or PNG.

`newest_gop` is the consumer of the hub, and `live_frame` waits for the frame that a snapshot shows;
`past_frame` finds one in the recordings. `decoder` makes a picture of it, `snapshot_files` keeps
pictures as files. `snapshots` is what others use: `Snapshots` and `open_snapshots`. What decides is
pure and stands in `rules/`.
"""
