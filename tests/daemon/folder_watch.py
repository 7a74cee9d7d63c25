"""Wait until a recording is created and written, with inotify(7)."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

WATCH_SECONDS = 60.0
IN_MODIFY, IN_CREATE = 0x2, 0x100


@contextmanager
def watching(folder: Path) -> Iterator[Callable[[int], None]]:
    """Yield a function that blocks until a file is created in `folder` and written so many times.

    It fails after some seconds.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    try:
        if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(folder), IN_CREATE | IN_MODIFY) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
        yield lambda writes: _wait_writes(fd, writes)
    finally:
        os.close(fd)


def _wait_writes(fd: int, writes: int) -> None:
    count: dict[str, int] = {}
    while select.select([fd], [], [], WATCH_SECONDS)[0]:
        events = memoryview(os.read(fd, 65536))
        while events:
            _, mask, _, length = struct.unpack_from("iIII", events)
            name = bytes(events[16 : 16 + length]).rstrip(b"\0").decode()
            events = events[16 + length :]
            if mask & IN_CREATE and name.endswith(".mp4"):
                count[name] = 0
            elif name in count:
                count[name] += 1
        if any(times >= writes for times in count.values()):
            return
    raise AssertionError("no file was created or written")
