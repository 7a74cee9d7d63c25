"""Which file a name leads to, for transfers that open it again for each part.

A file system may give the inode number of a file that was removed to the next one that is made
(ext4 does it at once). The generation of an inode tells them apart, where the file system has one.
"""

from __future__ import annotations

import fcntl
import os
import struct

import attrs

# FS_IOC_GETVERSION of linux/fs.h, _IOR('v', 1, long): the kernel writes an int.
_GET_GENERATION = 0x80007601 | struct.calcsize("l") << 16


@attrs.frozen
class FileIdentity:
    """A file, whatever its name; `generation` is 0 where the file system does not tell it."""

    device: int
    inode: int
    generation: int


def identity_of(descriptor: int) -> FileIdentity:
    """Return which file is open. Blocks. Raises OSError."""
    facts = os.fstat(descriptor)
    return FileIdentity(facts.st_dev, facts.st_ino, _generation(descriptor))


def _generation(descriptor: int) -> int:
    buffer = bytearray(struct.calcsize("l"))
    try:
        fcntl.ioctl(descriptor, _GET_GENERATION, buffer)
    except OSError:
        return 0
    (generation,) = struct.unpack_from("I", buffer)
    return int(generation)
