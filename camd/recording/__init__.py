"""Recording sessions: consumers of the hub that write files and account for each frame.

Others use `SessionFactory` (`factory`), `RecordingSession` (`session`), `to_mkv` (`convert`), and
the accounts in `rules`. Frames wait in `recording_queue` while the disk hangs.
"""
