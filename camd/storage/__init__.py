"""The recordings volume: files, index, space, recovery, retention and checks.

Knows how footage becomes durable and stays accounted for. Others use `storage.Storage` (everything
at run time), `segment_file.SegmentFile` (one file being written), `disk.Disk` (the operations that
tests replace), `retention.cleanup`, `check`, and for commands `recovery.offline`. What can be
decided without a disk is in `rules` and `check.rules` (pure).

Invariants: I1 a file plays at any moment; I3 nothing is lost at a cut between files; I5 nothing is
overwritten, and removed only on request; I6 the index can be rebuilt from files and journal.
"""
