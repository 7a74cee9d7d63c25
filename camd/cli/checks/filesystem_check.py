"""Whether the file system of the recordings does what camd relies on: each operation is tried."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from camd.cli.checks.finding import CheckFinding, ok, problem, warning
from camd.storage.filesystem import (
    FAT_LIMIT_BYTES,
    MOUNTINFO,
    file_size_limit,
    move_exclusively,
    type_of_mount,
)

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs")
IN_MEMORY = ("tmpfs", "ramfs")
SUBJECT = "file system"


@attrs.frozen
class FilesystemTrial:
    """One operation, and what is lost where it does not work."""

    name: str
    attempt: Callable[[Path], None]  # raises OSError
    loss: str
    vital: bool = False


def _sync_file(folder: Path) -> None:
    with (folder / "synced").open("wb") as file:
        file.write(b"camd")
        file.flush()
        os.fdatasync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(folder: Path) -> None:
    (folder / "old").write_bytes(b"old")
    (folder / "new").write_bytes(b"new")
    (folder / "new").replace(folder / "old")
    if (folder / "old").read_bytes() != b"new":
        raise OSError(None, "the file has its old content")


def _move(folder: Path) -> None:
    (folder / "moved").write_bytes(b"")
    move_exclusively(folder / "moved", folder / "moved-to")


def _lock(folder: Path) -> None:
    with (folder / "lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _allocate(folder: Path) -> None:
    with (folder / "reserve").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 65536)


def _long_name(folder: Path) -> None:
    (folder / ("camera_with-a-long.name_2026-01-15_15-30-05" * 4)).write_bytes(b"")


TRIALS = (
    FilesystemTrial("sync", _sync_file, "a power cut costs more than a second", vital=True),
    FilesystemTrial("sync of a folder", _sync_folder, "a power cut may cost a whole new file"),
    FilesystemTrial("replacing a file", _replace, "state cannot be kept", vital=True),
    FilesystemTrial("renaming", _move, "MKV files cannot be made", vital=True),
    FilesystemTrial("locks", _lock, "a second camd on the same folder is not kept out"),
    FilesystemTrial("allocation", _allocate, "a full disk may keep a recording from being sealed"),
    FilesystemTrial("long names", _long_name, "cameras need short ids"),
)


def inspect_filesystem(
    folder: Path, mountinfo: Path = MOUNTINFO, trials: tuple[FilesystemTrial, ...] = TRIALS
) -> Iterator[CheckFinding]:
    """Try each operation in a temporary folder inside, and judge the kind of file system. Blocks.

    Yields nothing when the folder is not there, cannot be written, or is full: that is another
    finding.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".camd-check-", dir=folder) as trial_folder:
            failures = [found for each in trials if (found := _try(each, Path(trial_folder)))]
        kind = type_of_mount(
            mountinfo.read_text(encoding="utf-8", errors="replace"), folder.stat().st_dev
        )
        limit = file_size_limit(folder, mountinfo)
    except OSError:
        return
    yield from failures
    yield from judge_kind(kind, limit)
    if not failures:
        yield ok(SUBJECT, f"{kind or 'of unknown kind'}: syncs, renames and locks work")


def _try(trial: FilesystemTrial, folder: Path) -> CheckFinding | None:
    """Make one trial. Raises OSError when the disk is full."""
    try:
        trial.attempt(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # a full disk says nothing about its file system
        text = f"{trial.name} does not work here ({error.strerror}): {trial.loss}"
        advice = "Use ext4, XFS or Btrfs on a local disk."
        return (problem if trial.vital else warning)(SUBJECT, text, advice)
    return None


def judge_kind(kind: str, limit: int | None) -> Iterator[CheckFinding]:
    """Judge a kind of file system, and its largest file in bytes. Pure."""
    if kind in NETWORK:
        yield warning(
            SUBJECT,
            f"{kind} is a network mount: while the network is away nothing is recorded",
            "Record to a local disk, and copy the files to the network.",
        )
    if kind in IN_MEMORY:
        yield warning(SUBJECT, f"{kind} is memory: a restart loses all recordings", "Use a disk.")
    if limit is not None and limit <= FAT_LIMIT_BYTES:
        yield warning(
            SUBJECT,
            f"files can have {limit / 1e9:.1f} GB at most, and a power cut may damage the whole "
            "file system",
            "camd begins a new file in time; for footage that matters, format the disk with ext4.",
        )
