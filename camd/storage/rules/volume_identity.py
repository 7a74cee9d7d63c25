"""Whether the recordings folder is on the right disk. Pure.

A volume has a marker with an id, and camd remembers which volume it used and where its file system
began. So the bare mount point of an absent disk is not mistaken for the disk, and a disk that comes
back under another name is recognised.
"""

from __future__ import annotations

import enum
import json
from pathlib import Path

import attrs

from camd.model import StorageLevel
from camd.storage.rules.levels import VolumeFault

_ROOT = Path("/")


@attrs.frozen
class FilesystemLocation:
    """The top folder of a file system, and its st_dev (stat(2)).

    The top is the last folder on the way up with the same st_dev: the mount point, or "/". A bind
    mount of the surrounding file system has the same st_dev, so a service manager that binds a
    folder into a sandbox does not make it look like a disk.
    """

    top: Path
    device: int

    @property
    def own_mount(self) -> bool:
        """Whether it is on another file system than the root's."""
        return self.top != _ROOT


@attrs.frozen
class KnownVolume:
    """The volume used last: its id ("" when it could not be marked), and where it was."""

    volume_id: str
    folder: Path
    top: Path


class RecognisedAs(enum.Enum):
    """How a usable volume was recognised."""

    SAME = "same"  # the remembered one
    FOUND = "found"  # marked, and nothing is remembered
    NEW = "new"  # not marked
    CHANGED = "changed"  # marked with another id


BARE = VolumeFault(
    StorageLevel.MISSING,
    "The disk of the recordings is not mounted: the folder is on the file system around it",
    "Mount the disk; recording goes on by itself. To record without it from now on, stop the "
    "service, remove volume.json from its state folder, and start it again.",
)
NO_MOUNT = VolumeFault(
    StorageLevel.MISSING,
    "The recordings folder is on the root file system, and storage.require_mount forbids that",
    "Mount the disk; recording goes on by itself. To record without it, set "
    "storage.require_mount = false and restart the service.",
)


def recognise(
    location: FilesystemLocation,
    marker: str | None,
    known: KnownVolume | None,
    *,
    require_mount: bool,
) -> RecognisedAs | VolumeFault:
    """Return how the volume at `location` is recognised, or why it must not be touched.

    `marker` is its id, None when it has no marker.
    """
    if require_mount and not location.own_mount:
        return NO_MOUNT
    if known is None:
        return RecognisedAs.NEW if marker is None else RecognisedAs.FOUND
    if marker is not None and marker == known.volume_id:
        return RecognisedAs.SAME
    if known.top != location.top and known.top.is_relative_to(location.top):
        return BARE  # its file system is not mounted
    return RecognisedAs.NEW if marker is None else RecognisedAs.CHANGED


def parse_marker(text: str) -> str | None:
    """Return the id in a marker; None when it is damaged, for example by a power cut."""
    try:
        found = json.loads(text)["volume_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) and found else None


def parse_known(text: str) -> KnownVolume:
    """Parse what is remembered. Raises ValueError."""
    try:
        found = json.loads(text)
        return KnownVolume(
            str(found["volume_id"]), Path(found["folder"]), Path(found["mount_point"])
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"is not understood: {error!r}") from error


def render_known(known: KnownVolume) -> str:
    """Render what is to be remembered."""
    facts = {
        "volume_id": known.volume_id,
        "folder": str(known.folder),
        "mount_point": str(known.top),
    }
    return json.dumps(facts, indent=2) + "\n"
