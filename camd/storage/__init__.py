"""The recordings volume: files, index, space, recovery, retention and verification.

Knows how footage becomes durable and stays accounted for. Others use `storage.Storage` (everything
at run time), `segment_file.SegmentFile` (one file being written), `disk.Disk` (the operations that
tests replace), `retention.cleanup`, `verify`, and for commands `recovery.offline`. What can be
decided without a disk is in `rules` and `verify.rules` (pure). Where a call to the disk hangs,
`timed_disk` and `rules.io_stats` notice it, and `space` makes it the level of the volume.

Invariants: I1 a file plays at any moment; I3 nothing is lost between two files; I5 nothing is
overwritten, and removed only on request; I6 the index can be rebuilt from files and journal.
"""
