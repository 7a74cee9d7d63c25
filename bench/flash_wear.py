"""What one fdatasync(2) of an appended file writes beside its data: on ext4, in a loop device.

`python bench/flash_wear.py` as root, with mkfs.ext4. The result is SYNC_BYTES of
camd/cli/checks/flash_wear.py.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

SIZES = (62_500, 500_000, 5_000_000)  # bytes between two syncs: 0.5, 4 and 40 Mbit/s
SYNCS = 40
SECTOR = 512  # of /proc/diskstats, whatever the disk has


def written(device: str) -> int:
    """Return the bytes written to a block device so far."""
    for line in Path("/proc/diskstats").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if fields[2] == device:
            return int(fields[9]) * SECTOR
    raise LookupError(device)


def measure(folder: Path, device: str, size: int) -> float:
    """Return the bytes that each sync wrote beside its data."""
    with (folder / "file").open("wb", buffering=0) as file:
        os.sync()
        before = written(device)
        for _ in range(SYNCS):
            file.write(os.urandom(size))
            os.fdatasync(file.fileno())
        extra = written(device) - before - SYNCS * size
    (folder / "file").unlink()
    return extra / SYNCS


def main() -> None:
    """Make a file system in a file, mount it, and print a table."""
    with tempfile.TemporaryDirectory() as temporary:
        image, folder = Path(temporary) / "image", Path(temporary) / "mount"
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(600_000_000)
        options = "lazy_itable_init=0,lazy_journal_init=0"  # nothing else may write meanwhile
        subprocess.run(["mkfs.ext4", "-q", "-E", options, image], check=True)
        subprocess.run(["mount", "-o", "loop", image, folder], check=True)
        try:
            status = folder.stat().st_dev
            device = Path(f"/sys/dev/block/{os.major(status)}:{os.minor(status)}").resolve().name
            print("| bytes between syncs | written beside them |\n| --- | --- |")
            for size in SIZES:
                print(f"| {size} | {measure(folder, device, size):.0f} |")
        finally:
            subprocess.run(["umount", folder], check=True)


if __name__ == "__main__":
    main()
