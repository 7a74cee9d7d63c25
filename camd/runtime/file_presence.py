"""Whether a file is there: yes, no, or an error of the disk, which is neither.

`Path.exists`, `Path.is_file` and their kind raise that error before Python 3.14, and return False
from then on. So nobody here calls them: who needs the error calls these functions, and whom it does
not matter calls `os.path.exists`, which returns False on every Python.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def is_there(path: Path) -> bool:
    """Return whether there is a file, folder or anything else. Blocks; raises OSError.

    What a link leads to counts, and a link that leads to nothing is not there.
    """
    return mode_of(path) is not None


def is_name_taken(path: Path) -> bool:
    """Return whether there is something of this name, a dangling link included. As `is_there`."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    return True


def is_regular_file(path: Path) -> bool:
    """Return whether there is a file, or a link to one. Blocks; raises OSError."""
    mode = mode_of(path)
    return mode is not None and stat.S_ISREG(mode)


def mode_of(path: Path) -> int | None:
    """Return the mode that stat(2) says; None when there is nothing. Blocks; raises OSError."""
    try:
        return path.stat().st_mode
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return None
