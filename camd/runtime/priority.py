"""How work steps back behind everything else that wants the disk or the processor (Linux).

Idle I/O is a hint: BFQ and mq-deadline heed it, other schedulers and most network file systems do
not. Python has no call for it, and glibc no wrapper (ioprio_set(2)).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SYSCALL = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "armv7l": 314, "armv6l": 314, "i686": 289}
_CALLING_THREAD = (1, 0)  # IOPRIO_WHO_PROCESS, ourselves
_CLASS_SHIFT = 13
_IDLE = 3 << _CLASS_SHIFT
_NONE = 0  # best effort, by niceness
_NICEST = 19


@contextmanager
def idle_io() -> Iterator[bool]:
    """Read and write in this thread only when nobody else does, while the block runs.

    Says whether the kernel agreed; where it cannot, nothing changes.
    """
    agreed = _set_io_priority(_IDLE)
    try:
        yield agreed
    finally:
        if agreed:
            _set_io_priority(_NONE)


def be_nice() -> None:
    """Let this process go behind all others, for the rest of its life.

    For a process of its own only: a thread that is nice would keep Python's lock from the others
    while it waits for a processor.
    """
    _set_io_priority(_IDLE)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICEST)


def _set_io_priority(priority: int) -> bool:
    """ioprio_set(2) for the calling thread; False where there is no such call."""
    machine = platform.machine()
    number = _SYSCALL.get(machine)
    wide = ctypes.sizeof(ctypes.c_void_p) == 8
    if number is None or wide != machine.endswith("64"):  # a 32-bit program has other numbers
        return False
    call = ctypes.CDLL(None, use_errno=True).syscall
    return bool(call(number, *_CALLING_THREAD, priority) == 0)
