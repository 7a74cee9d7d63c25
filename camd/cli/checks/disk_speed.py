"""How fast a volume makes appended data durable, measured as a recording writes it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import attrs

FRAGMENT_BYTES = 512 * 1024  # half a second at 8 Mbit/s
FRAGMENTS = 40


@attrs.frozen
class DiskSpeed:
    """What each write with its fdatasync(2) took, in seconds, sorted."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median, in seconds."""
        return self.seconds[len(self.seconds) // 2]

    @property
    def longest(self) -> float:
        """Return the longest, in seconds."""
        return self.seconds[-1]

    @property
    def bytes_per_second(self) -> float:
        """Return how much became durable in a second, one write after the other."""
        return FRAGMENT_BYTES * len(self.seconds) / sum(self.seconds)


def measure_disk(folder: Path, fragments: int = FRAGMENTS) -> DiskSpeed:
    """Append and sync fragments to a file in a folder, which is removed. Blocks; raises OSError."""
    data, taken, path = os.urandom(FRAGMENT_BYTES), [], folder / "speed"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for _ in range(fragments):
            began = time.perf_counter()
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return DiskSpeed(tuple(sorted(taken)))
