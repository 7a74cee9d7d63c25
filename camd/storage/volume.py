"""The identity of the recordings volume: its marker on disk, and what is remembered of it.

Everything blocks, in the space monitor's thread; `confirm` also in writer threads.
"""

from __future__ import annotations

import errno
import json
import uuid
from pathlib import Path

import attrs
import structlog

from camd.clock import Clock
from camd.runtime.file_presence import is_there
from camd.runtime.state_file import StateFile, replace_file
from camd.storage.disk import Disk
from camd.storage.rules.levels import VolumeFault
from camd.storage.rules.volume_identity import (
    FilesystemLocation,
    KnownVolume,
    RecognisedAs,
    parse_known,
    parse_marker,
    recognise,
    render_known,
)

log = structlog.get_logger("camd.storage")

MARKER = Path(".camd", "volume")
REMEMBERED = "volume.json"


@attrs.frozen
class VolumeObservation:
    """What was seen of a folder's volume, and how it was recognised."""

    location: FilesystemLocation
    marker: str | None
    verdict: RecognisedAs | VolumeFault


def identify_volume(
    folder: Path, disk: Disk, known: KnownVolume | None, *, require_mount: bool
) -> VolumeObservation:
    """Look at the volume that the folder is on, or would be on. Changes nothing. Raises OSError."""
    location = disk.locate(folder)
    marker = read_marker(folder)
    return VolumeObservation(
        location, marker, recognise(location, marker, known, require_mount=require_mount)
    )


def read_marker(folder: Path) -> str | None:
    """Return the id in the volume's marker, None without one. Raises OSError."""
    try:
        return parse_marker((folder / MARKER).read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def load_known_volume(state_dir: Path, folder: Path) -> KnownVolume | None:
    """Return what is remembered of the folder's volume, None for nothing. Raises OSError."""
    known = known_volume_file(state_dir).read()
    return known if known is not None and known.folder == folder else None


def known_volume_file(state_dir: Path) -> StateFile[KnownVolume]:
    """Return the file that remembers the volume used last."""
    return StateFile(state_dir / REMEMBERED, parse_known, render_known)


@attrs.define(eq=False)
class Volume:
    """Recognises the recordings volume, marks it and remembers it."""

    folder: Path
    _state_dir: Path
    _require_mount: bool
    _disk: Disk
    clock: Clock = attrs.field(kw_only=True)
    _known: KnownVolume | None = attrs.field(default=None, init=False)
    _loaded: bool = attrs.field(default=False, init=False)
    _found: VolumeObservation | None = attrs.field(
        default=None, init=False
    )  # the latest usable one
    _tried: int | None = attrs.field(default=None, init=False)  # st_dev; see `_make_folder`
    _device: int | None = attrs.field(default=None, init=False)  # where files may be created
    _saved: bool = attrs.field(default=False, init=False)
    _warned: set[str] = attrs.field(factory=set, init=False)

    def identify(self) -> VolumeFault | None:
        """Return why the folder must not be used; None: it is on the right or a new volume.

        Makes the folder when it is not there yet. Raises OSError.
        """
        if not self._loaded:
            self._load()
        try:
            found = identify_volume(
                self.folder, self._disk, self._known, require_mount=self._require_mount
            )
        except OSError:
            self._device = None
            raise
        if isinstance(found.verdict, VolumeFault):
            self._device = self._tried = None
            return found.verdict
        self._make_folder(found.location)
        self._found, self._device = found, found.location.device
        if self._known is None:  # where it is counts even while it cannot be marked
            self._remember_used(found, found.marker)
        return None

    def _load(self) -> None:
        self._loaded = True
        try:
            self._known = load_known_volume(self._state_dir, self.folder)
        except OSError as error:
            self._warn("volume_not_recalled", error)
        self._saved = self._known is not None

    def _make_folder(self, location: FilesystemLocation) -> None:
        """Make the folder once at the start, and once after the disk has come or changed.

        A folder that is gone while its disk stays is not made again: somebody may have moved it.
        """
        first = self._tried is None or (location.own_mount and location.device != self._tried)
        self._tried = location.device
        if first and not is_there(self.folder):
            try:
                self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            except OSError as error:
                log.error("recordings_folder_cannot_be_made", error=str(error))

    def claim(self) -> None:
        """Mark a new volume and remember the one in use; call it when the folder can be written.

        What cannot be written is logged and retried at the next call. Raises OSError when the
        volume has gone meanwhile.
        """
        if (found := self._found) is None:
            return
        self.confirm(self.folder)
        marker = self._mark() if found.verdict is RecognisedAs.NEW else found.marker
        self.confirm(self.folder)  # never mark or remember a bare mount point
        self._remember_used(found, marker)

    def _remember_used(self, found: VolumeObservation, marker: str | None) -> None:
        """Remember a volume as the one in use."""
        known = KnownVolume(marker or "", self.folder, found.location.top)
        if known == self._known and self._saved:
            return
        before = self._known.volume_id if self._known is not None else ""
        if isinstance(found.verdict, RecognisedAs) and known.volume_id != before:
            mount_point = str(known.top)
            log.info(f"volume_{found.verdict.value}", volume_id=marker, mount_point=mount_point)
        self._known, self._saved = known, self._remember(known)

    def confirm(self, folder: Path) -> None:
        """Raise OSError unless the folder is on the volume that was recognised.

        Files are created by path, and the disk may have gone since the last sample.
        """
        if self._device is None or self._disk.locate(folder).device != self._device:
            raise FileNotFoundError(errno.ENOENT, "The recordings volume is not there")

    def _mark(self) -> str | None:
        volume_id = str(uuid.uuid4())
        marker = {"volume_id": volume_id, "created": self.clock.now().isoformat()}
        try:
            path = self.folder / MARKER
            path.parent.mkdir(mode=0o750, exist_ok=True)
            replace_file(path, json.dumps(marker) + "\n")
        except OSError as error:
            self._warn("volume_not_marked", error)
            return None
        return volume_id

    def _remember(self, known: KnownVolume) -> bool:
        try:
            known_volume_file(self._state_dir).save(known)
        except OSError as error:
            self._warn("volume_not_remembered", error)
            return False
        return True

    def _warn(self, event: str, error: OSError) -> None:
        if event not in self._warned:
            self._warned.add(event)
            log.warning(event, error=str(error))
