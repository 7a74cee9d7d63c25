"""Finds the processes that have a node open, as far as /proc shows them (proc(5))."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from camd.devices.sysfs import read_bytes
from camd.devices.v4l2.node import clean_text

MOST_PROCESSES = 4096
_MOST_FILES = 4096  # of one process


@attrs.frozen
class Holder:
    """A process that has a node open."""

    pid: int
    program: str
    user: str
    parent: int = 0  # the process that started it; 0 when unknown


@attrs.frozen
class DeviceUsers:
    """The processes that have a node open."""

    holders: tuple[Holder, ...]
    complete: bool  # False: some processes could not be examined, and may have it open too


def find_holders(node: Path, proc: Path = Path("/proc")) -> DeviceUsers:
    """Find the processes that have `node` open.

    Blocks for some milliseconds per hundred processes: call it in a thread. Only root can examine
    other users' processes. Never raises OSError.
    """
    try:
        wanted = node.stat()
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return DeviceUsers((), complete=False)
    found, complete = [], len(pids) <= MOST_PROCESSES
    for pid in pids[:MOST_PROCESSES]:
        try:
            files = _open_files(proc / str(pid), node.name)
            if any(_same(wanted, file) for file in files):
                found.append(_describe(pid, proc))
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        except OSError:
            complete = False
    return DeviceUsers(tuple(found), complete)


def _open_files(process: Path, node: str) -> Iterator[os.stat_result]:
    """Yield the open files that may be the node; others may be on a server that hangs."""
    folder = process / "fd"
    for name in os.listdir(folder)[:_MOST_FILES]:
        try:
            target = (folder / name).readlink()
            # In a container the node may be in another folder.
            if target.is_relative_to("/dev") or target.name.startswith(node):
                yield (folder / name).stat()
        except FileNotFoundError:
            continue


def _same(wanted: os.stat_result, other: os.stat_result) -> bool:
    if wanted.st_rdev:
        return wanted.st_rdev == other.st_rdev and stat.S_ISCHR(other.st_mode)
    return (wanted.st_dev, wanted.st_ino) == (other.st_dev, other.st_ino)


def _describe(pid: int, proc: Path) -> Holder:
    program, parent = clean_text(read_bytes(proc / str(pid) / "comm")), _parent(pid, proc)
    try:
        number = (proc / str(pid)).stat().st_uid
    except OSError:
        return Holder(pid, program, "", parent)
    try:
        return Holder(pid, program, pwd.getpwuid(number).pw_name, parent)
    except KeyError:
        return Holder(pid, program, str(number), parent)


def _parent(pid: int, proc: Path) -> int:
    """Read the parent from /proc/PID/stat, in which the name before it may contain anything."""
    fields = read_bytes(proc / str(pid) / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
