"""A real volume of 64 MiB, for a daemon to record to and for a test to fill."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from running_daemon import Daemon, small_camera

MEBIBYTE = 1 << 20
VOLUME_BYTES = 64 * MEBIBYTE
MS_RDONLY, MS_REMOUNT, MNT_DETACH = 1, 32, 2


def libc() -> ctypes.CDLL:
    """Return the C library."""
    return ctypes.CDLL(None, use_errno=True)


def mount(folder: Path, flags: int, options: str) -> None:
    """mount(2) a tmpfs, or remount it."""
    if libc().mount(b"tmpfs", str(folder).encode(), b"tmpfs", flags, options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unmount(folder: Path) -> None:
    """umount2(2), also while something is open on it."""
    libc().umount2(str(folder).encode(), MNT_DETACH)


def fill(folder: Path, *, left_bytes: int) -> Path:
    """Fill the volume except for so many bytes."""
    facts = os.statvfs(folder)
    filler = folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, facts.f_bavail * facts.f_frsize - left_bytes)
    return filler


def fill_completely(folder: Path) -> Path:
    """Fill the volume completely, also what becomes free meanwhile."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        while free := os.statvfs(folder).f_bavail:
            size = free * os.statvfs(folder).f_frsize
            with contextlib.suppress(OSError):  # the daemon was faster
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
    return filler


def on_volume(daemon: Daemon, volume: Path, **recording: object) -> None:
    """Configure a daemon to record onto the volume."""
    daemon.thresholds = {}
    daemon.recordings.symlink_to(volume)
    daemon.configure(
        {"recording": {"rotation": "1s"} | recording},
        [small_camera()],
    )
