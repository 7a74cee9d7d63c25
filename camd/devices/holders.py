"""Who has a node open: the processes, as far as /proc lets us see them (proc(5))."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

import attrs

from camd.devices.sysfs import read_bytes
from camd.devices.v4l2.node import clean
from camd.model import CameraId, Device

MOST_PROCESSES = 4096
_MOST_FILES = 4096  # of one process


@attrs.frozen
class Holder:
    """A process that has a node open."""

    pid: int
    program: str
    user: str
    parent: int = 0  # the process that started it; 0 when nobody knows


@attrs.frozen
class Holders:
    """Who has a node open."""

    holders: tuple[Holder, ...]
    complete: bool  # False: some processes could not be looked at, and may hold it too


def find_holders(
    node: Path, proc: Path = Path("/proc"), *, without: Collection[int] = ()
) -> Holders:
    """Find the processes that have `node` open, except those in `without`.

    Blocks for some milliseconds per hundred processes: for a thread. Other users' processes can
    be looked at by root only, and threads share their process's files. Never raises OSError.
    """
    try:
        wanted = node.stat()
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return Holders((), complete=False)
    found, complete = [], len(pids) <= MOST_PROCESSES
    for pid in pids[:MOST_PROCESSES]:
        if pid in without:
            continue
        try:
            files = _open_files(proc / str(pid), node.name)
            holds = any(_same(wanted, file) for file in files)
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        except OSError:
            complete = False
            continue
        if holds:
            found.append(_describe(pid, proc))
    return Holders(tuple(found), complete)


def _open_files(process: Path, node: str) -> Iterator[os.stat_result]:
    """Look at the files that may be the node: others may be on a server that hangs."""
    folder = process / "fd"
    for name in os.listdir(folder)[:_MOST_FILES]:
        try:
            target = (folder / name).readlink()
            # Of a process in a container only the end of the path is certain.
            if target.is_relative_to("/dev") or target.name.startswith(node):
                yield (folder / name).stat()
        except FileNotFoundError:
            continue


def _same(wanted: os.stat_result, other: os.stat_result) -> bool:
    if wanted.st_rdev:
        return wanted.st_rdev == other.st_rdev and stat.S_ISCHR(other.st_mode)
    return (wanted.st_dev, wanted.st_ino) == (other.st_dev, other.st_ino)


def _describe(pid: int, proc: Path) -> Holder:
    program, parent = clean(read_bytes(proc / str(pid) / "comm")), _parent(pid, proc)
    try:
        number = (proc / str(pid)).stat().st_uid
    except OSError:
        return Holder(pid, program, "", parent)
    try:
        return Holder(pid, program, pwd.getpwuid(number).pw_name, parent)
    except KeyError:
        return Holder(pid, program, str(number), parent)


def _parent(pid: int, proc: Path) -> int:
    """Read the parent from /proc/PID/stat, where the name before it may hold anything."""
    fields = read_bytes(proc / str(pid) / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0


# --- Which camera's child may have a device open: one at a time, whatever is decided meanwhile.


@attrs.define(eq=False)
class DeviceLeases:
    """Who has which device; by its plugging, since a node's name may come back."""

    _holders: dict[int, CameraId] = attrs.field(factory=dict, init=False)

    def take(self, device: Device, camera_id: CameraId) -> CameraId | None:
        """Give the device to a camera: None when it has it now, else whose it is."""
        holder = self._holders.setdefault(device.plugged, camera_id)
        return None if holder == camera_id else holder

    def release(self, device: Device, camera_id: CameraId) -> None:
        """The camera's child is gone."""
        if self._holders.get(device.plugged) == camera_id:
            del self._holders[device.plugged]
