"""One sample of the recordings folder: how full it is, whether writing works, and the reserve.

Everything here may block. The reserve is a small file that is removed to make room for sealing.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import attrs

from camd.model import StorageLevel
from camd.runtime.file_presence import is_there
from camd.runtime.folders.access_advice import explain_access
from camd.storage.disk import Disk
from camd.storage.rules.admission import SEAL_RESERVE_BYTES
from camd.storage.rules.levels import Usage, VolumeFault, blames_volume

_RESERVE_SHARE = 100  # at most one percent of a small volume
_TRIAL = b"camd writes this to find out whether writing works\n"


@attrs.frozen
class VolumeSample:
    """What a sample shows. `works`: whether a trial write worked, None without one."""

    usage: Usage
    fault: VolumeFault | None = None
    works: bool | None = None


def sample_volume(
    folder: Path, disk: Disk, identify: Callable[[], VolumeFault | None]
) -> VolumeSample:
    """Return which volume the folder is on, whether it can be written, and how full it is."""
    try:
        # Identify first: another volume must not be touched.
        if (fault := identify()) is not None:
            return VolumeSample(Usage(0, 0), fault)
        if not stat.S_ISDIR(folder.stat().st_mode):
            return VolumeSample(Usage(0, 0), VolumeFault(StorageLevel.MISSING))
        usage = disk.usage(folder)
        if usage.read_only or not os.access(folder, os.W_OK | os.X_OK):
            return VolumeSample(usage, _explained(StorageLevel.READ_ONLY, folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return VolumeSample(Usage(0, 0), _explained(StorageLevel.MISSING, folder))
    except OSError as error:
        reason = f"The recordings volume cannot be read: {error.strerror}"
        advice = "Check that the disk is connected and healthy, then mount it again."
        return VolumeSample(Usage(0, 0), VolumeFault(StorageLevel.MISSING, reason, advice))
    return VolumeSample(usage)


def _explained(level: StorageLevel, folder: Path) -> VolumeFault:
    """Return the level, with what keeps this user from the folder, where that is the cause."""
    with contextlib.suppress(OSError):
        if (advice := explain_access(folder, "recordings folder")) is not None:
            return VolumeFault(level, advice.reason, advice.suggestion)
    return VolumeFault(level)


def writing_works(folder: Path, disk: Disk) -> bool:
    """Return whether a small file can be written and synced. A full volume is no failure."""
    path = folder / ".camd" / "trial"
    try:
        path.parent.mkdir(mode=0o750, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # left by an interrupted trial
            disk.unlink(path)
        file = disk.create(path)
        try:
            file.append([_TRIAL])
            file.sync()
        finally:
            file.close()
            disk.unlink(path)
    except OSError as error:
        return not blames_volume(error)
    return True


def reserve_of(folder: Path) -> Path:
    """Return the path of the reserve."""
    return folder / ".camd" / "reserve"


def keep_reserve(folder: Path, usage: Usage, disk: Disk) -> None:
    """Allocate a small file, so that sealing finds room on a full volume. Raises OSError."""
    reserve = reserve_of(folder)
    if is_there(reserve):
        return
    size = min(SEAL_RESERVE_BYTES, usage.total_bytes // _RESERVE_SHARE)
    if (largest := disk.file_size_limit(folder)) is not None:
        size = min(size, largest)
    if usage.available_bytes < 4 * size:
        return
    fd = os.open(reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, max(1, size))
    except OSError:
        free_reserve(folder)
        raise
    finally:
        os.close(fd)


def free_reserve(folder: Path) -> None:
    """Remove the reserve."""
    with contextlib.suppress(OSError):
        reserve_of(folder).unlink()
