"""Differences between file systems: the largest file, and how to rename without replacing.

Everything blocks.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from contextlib import suppress
from pathlib import Path

FAT_LIMIT_BYTES = 2**32 - 1  # a size has 32 bits there
_FAT = ("vfat", "msdos")  # and not exfat
MOUNTINFO = Path("/proc/self/mountinfo")  # proc(5)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # renameat2(2)
_NOT_OFFERED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK)


def file_size_limit(folder: Path, mountinfo: Path = MOUNTINFO) -> int | None:
    """Return how large a file in `folder` can become, in bytes; None: no known limit.

    Raises OSError when the folder is not there.
    """
    limits = []
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    mounts = ""
    with suppress(OSError):
        mounts = mountinfo.read_text(encoding="utf-8", errors="replace")
    if type_of_mount(mounts, folder.stat().st_dev) in _FAT:
        limits.append(FAT_LIMIT_BYTES)
    return min(limits, default=None)


def type_of_mount(mounts: str, device: int) -> str:
    """Return the type of the file system with this st_dev from the text of mountinfo, or ""."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2 and fields[2] == wanted and "-" in fields[3:]:
            return "".join(fields[fields.index("-", 3) + 1 :][:1])
    return ""


def move_exclusively(path: Path, target: Path) -> None:
    """Rename a file. Raises FileExistsError when `target` exists, and OSError.

    Tries renameat2(2), then link(2); where both are missing, an empty file reserves the name and is
    then replaced.
    """
    try:
        _rename_noreplace(path, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
    else:
        return
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
    else:
        path.unlink()
        return
    _move_by_reservation(path, target)


def _rename_noreplace(path: Path, target: Path) -> None:
    """renameat2(2), which not every C library has."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = os.fsencode(path), os.fsencode(target)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(path), None, str(target))


def _move_by_reservation(path: Path, target: Path) -> None:
    """Create the target exclusively, and replace only that file."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        ours, there = os.fstat(fd), target.lstat()
        if there.st_size or not os.path.samestat(ours, there):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        path.replace(target)
    finally:
        os.close(fd)
