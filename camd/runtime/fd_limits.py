"""How many files this process may have open, and for what: recordings first, then clients.

A process without descriptors cannot open the next segment, so clients get a share that leaves
enough for everything else.
"""

from __future__ import annotations

import errno
import resource
from contextlib import suppress

_NO_MORE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # accept(2), open(2)
_RESERVED = 512  # a camera with everything takes about eight
_CHILD_FILES = 1024  # what programs expect that use select(2)
_FEWEST_SOCKETS = 8


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one, as far as we may; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1_000_000


def for_sockets(limit: int) -> int:
    """How many clients may be connected; each may have a file open, too."""
    reserved = min(_RESERVED, limit // 2)
    return max(_FEWEST_SOCKETS, (limit - reserved) // 2)


def lower_for_child(pid: int) -> None:
    """Give a child the usual soft limit; it may raise it again. Fine when the child is gone."""
    with suppress(OSError, ValueError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if soft > _CHILD_FILES or soft == resource.RLIM_INFINITY:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_CHILD_FILES, hard))


def exhausted(error: BaseException) -> bool:
    """Whether an error says that there are no descriptors left, here or in the whole system."""
    if isinstance(error, BaseExceptionGroup):
        return all(exhausted(each) for each in error.exceptions)
    return isinstance(error, OSError) and error.errno in _NO_MORE
