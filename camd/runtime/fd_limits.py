"""The limit of open files, and the share of it that client sockets may use.

Without free descriptors no segment can be opened, so the share of clients leaves enough for
everything else.
"""

from __future__ import annotations

import errno
import resource
from contextlib import suppress

_NO_MORE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # accept(2), open(2)
_RESERVED = 512  # a camera uses about eight at most
_CHILD_FILES = 1024  # programs that use select(2) expect it
_FEWEST_SOCKETS = 8


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one where that is permitted; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1_000_000


def socket_limit(limit: int) -> int:
    """Return how many sockets may be open; each client may have a file open, too."""
    reserved = min(_RESERVED, limit // 2)
    return max(_FEWEST_SOCKETS, (limit - reserved) // 2)


def lower_for_child(pid: int) -> None:
    """Give a child process the usual soft limit; does nothing when the child has ended."""
    with suppress(OSError, ValueError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if soft > _CHILD_FILES or soft == resource.RLIM_INFINITY:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_CHILD_FILES, hard))


def exhausted(error: BaseException) -> bool:
    """Whether an error means that this process or the system has no descriptors left."""
    if isinstance(error, BaseExceptionGroup):
        return all(exhausted(each) for each in error.exceptions)
    return isinstance(error, OSError) and error.errno in _NO_MORE
