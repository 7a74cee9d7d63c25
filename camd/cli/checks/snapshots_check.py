"""The volume of the snapshots, where it is not that of the recordings."""

from __future__ import annotations

from collections.abc import Iterator

from camd.cli.checks.finding import CheckFinding, ok, problem, warning
from camd.config.schema import Config
from camd.storage.disk import Disk

SUBJECT = "snapshots"


def inspect_snapshots_volume(config: Config, disk: Disk) -> Iterator[CheckFinding]:
    """Report where snapshots are kept, and whether they fit; nothing on the recordings' volume."""
    storage = config.storage
    try:
        place = disk.locate(storage.snapshots_dir)
        if place.device == disk.locate(storage.recordings_dir).device:
            return
        usage = disk.usage(place.top)  # the folder may not be there yet
    except OSError as error:
        yield warning(SUBJECT, f"cannot be found out: {error.strerror}", "Check the disk.")
        return
    where = f"a mount of its own, {place.top}" if place.own_mount else "the root disk"
    text = f"on {where}, {usage.used_percent:.1f} % used, {usage.available_bytes / 1e9:.1f} GB left"
    advice = "Free space, or choose another storage.snapshots_dir."
    if usage.read_only:
        yield problem(SUBJECT, f"on {where}, which is read-only", "Mount it writable.")
    elif usage.used_percent >= storage.block_percent:
        line = f"{text}; from {storage.block_percent:g} % on no snapshot is taken"
        yield problem(SUBJECT, line, advice)
    elif usage.available_bytes < config.snapshots.max_size:
        limit = f"{text}; snapshots.max_size is {config.snapshots.max_size / 1e9:.1f} GB"
        yield warning(SUBJECT, limit, "Lower snapshots.max_size, or choose a larger disk.")
    else:
        yield ok(SUBJECT, text)
