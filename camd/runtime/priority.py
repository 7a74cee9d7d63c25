"""Low priority for background work: idle I/O for a thread, low CPU priority for a process (Linux).

Idle I/O is a hint: BFQ and mq-deadline follow it, other schedulers and most network file systems
do not. Neither Python nor glibc wraps the call (ioprio_set(2)).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_SYSCALL = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "armv7l": 314, "armv6l": 314, "i686": 289}
_CALLING_THREAD = (1, 0)  # IOPRIO_WHO_PROCESS, this thread
_CLASS_SHIFT = 13
_IDLE = 3 << _CLASS_SHIFT
_NONE = 0  # best effort, by niceness
_NICEST = 19


def set_io_priority(priority: int, machine: str = platform.machine()) -> bool:
    """Call ioprio_set(2) for the calling thread; False where that is not possible."""
    number = _SYSCALL.get(machine)
    wide = ctypes.sizeof(ctypes.c_void_p) == 8
    if number is None or wide != machine.endswith("64"):  # a 32-bit program has other numbers
        return False
    call = ctypes.CDLL(None, use_errno=True).syscall
    return bool(call(number, *_CALLING_THREAD, priority) == 0)


@contextmanager
def idle_io(set_priority: Callable[[int], bool] = set_io_priority) -> Iterator[bool]:
    """Give this thread idle I/O priority while the block runs; yield whether the kernel agreed."""
    agreed = set_priority(_IDLE)
    try:
        yield agreed
    finally:
        if agreed:
            set_priority(_NONE)


def lower_priority() -> None:
    """Give this process the lowest I/O and CPU priority until it ends.

    For a whole process only: a nice thread that waits for a CPU may hold Python's lock meanwhile.
    """
    set_io_priority(_IDLE)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICEST)
