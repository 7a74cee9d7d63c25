"""Recording sessions: consumers of the hub that write files and account for each frame.

Others use `SessionFactory` (`factory`), `RecordingSession` (`session`), `RecordingQueue` (`queue`: frames wait there while the disk
hangs), `to_mkv` (`convert`), and
the accounts in `rules`.
"""
