"""Stores the known cameras in `cameras.json`: which camera id is which physical camera.

The file is parsed strictly and saved only when something has changed (`runtime/state_file.py`).
"""

from __future__ import annotations

import json
import operator
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import attrs
import msgspec
import structlog
import trio

from camd.devices.matching.identity import DeviceIdentity, RememberedCamera, natural_sort_key
from camd.model import CameraId
from camd.model.ids import ID_PATTERN
from camd.runtime.broadcast import LatestValue
from camd.runtime.state_file import StateFile, from_json

log = structlog.get_logger("camd.devices")

KNOWN_FILE = "cameras.json"
VERSION = 1
_MOST_ENTRIES = 1024
_MOST_CHARACTERS = 1024  # of one value


_Text = Annotated[str, msgspec.Meta(max_length=_MOST_CHARACTERS)]


class _StoredIdentity(msgspec.Struct, forbid_unknown_fields=True):
    """A `DeviceIdentity`; all of it is there."""

    name: _Text
    vendor: _Text
    product: _Text
    serial: _Text
    port: _Text
    bus_info: _Text
    link: _Text
    formats: _Text


class _StoredCamera(msgspec.Struct, forbid_unknown_fields=True):
    """A `RememberedCamera`."""

    id: Annotated[str, msgspec.Meta(pattern=rf"\A({ID_PATTERN})\Z")]
    selector: _Text
    adopted: bool
    identity: _StoredIdentity

    def restored(self) -> RememberedCamera:
        """Return what was stored."""
        identity = DeviceIdentity(**msgspec.structs.asdict(self.identity))
        return RememberedCamera(CameraId(self.id), identity, self.selector, self.adopted)


class _StoredCameras(msgspec.Struct, forbid_unknown_fields=True):
    """The file's content."""

    version: int
    cameras: Annotated[tuple[_StoredCamera, ...], msgspec.Meta(max_length=_MOST_ENTRIES)]


def render_bindings(known: Sequence[RememberedCamera]) -> str:
    """Write the file's text."""
    cameras = [
        {
            "id": camera.camera_id,
            "selector": camera.selector,
            "adopted": camera.adopted,
            "identity": attrs.asdict(camera.identity),
        }
        for camera in known
    ]
    return json.dumps({"version": VERSION, "cameras": cameras}, indent=2) + "\n"


def parse_bindings(text: str) -> tuple[RememberedCamera, ...]:
    """Parse the file's text strictly. Raises ValueError."""
    stored = from_json(text, _StoredCameras, version=VERSION)
    known = tuple(camera.restored() for camera in stored.cameras)
    if len({camera.camera_id for camera in known}) < len(known):
        raise ValueError("cameras: an id stands there twice")
    return tuple(sorted(known, key=lambda camera: natural_sort_key(camera.camera_id)))


def load_known(file: Path) -> tuple[RememberedCamera, ...]:
    """Read the known cameras; none, and an error in the log, when the file cannot be used.

    Blocks. Never changes the file.
    """
    return _state_file(file).load() or ()


def look_up_known(file: Path) -> tuple[tuple[RememberedCamera, ...], OSError | ValueError | None]:
    """Read the known cameras for a person; none, and the error, when the file cannot be used.

    Blocks. Logs nothing, and never changes the file.
    """
    try:
        return _state_file(file).parsed(), None
    except FileNotFoundError:
        return (), None
    except (OSError, ValueError) as error:
        return (), error


def save_known(file: Path, known: Sequence[RememberedCamera]) -> bool:
    """Save durably; False when the file has these already, or is of a newer version.

    Blocks for two syncs. Raises OSError, also when the present file cannot be read.
    """
    return _state_file(file).save(tuple(known))


def _state_file(file: Path) -> StateFile[tuple[RememberedCamera, ...]]:
    return StateFile(file, parse_bindings, render_bindings)


# --- the store ----------------------------------------------------------------------------

SAVE_TIMEOUT_SECONDS = 2.0
RETRY_SECONDS = 30.0

_Latest = tuple[RememberedCamera, ...] | None  # None: none yet


@attrs.define(eq=False)
class BindingStore:
    """Saves the latest known cameras; a disk that hangs or is full delays nothing for long."""

    load: Callable[[], Awaitable[tuple[RememberedCamera, ...]]]
    _save: Callable[[tuple[RememberedCamera, ...]], Awaitable[None]]  # raises OSError
    _wanted: LatestValue[_Latest] = attrs.field(
        factory=lambda: LatestValue[_Latest](None), init=False
    )
    _tried: LatestValue[_Latest] = attrs.field(
        factory=lambda: LatestValue[_Latest](None), init=False
    )

    @classmethod
    def on_disk(cls, file: Path) -> BindingStore:
        """Make a store on a file, which is read and written in threads."""

        async def save(known: tuple[RememberedCamera, ...]) -> None:
            await trio.to_thread.run_sync(save_known, file, known)

        return cls(partial(trio.to_thread.run_sync, load_known, file), save)

    async def keep(self, known: tuple[RememberedCamera, ...]) -> None:
        """Save these; returns when they are saved, cannot be saved, or after the timeout."""
        self._wanted.publish(known)
        with trio.move_on_after(SAVE_TIMEOUT_SECONDS):
            await self._tried.wait_until(partial(operator.is_, known))
            return
        log.warning("known_cameras_not_saved_yet")

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save what `keep` gets, and retry what could not be saved; never returns."""
        task_status.started()
        saved: _Latest = None
        while True:
            known = await self._wanted.wait_until(partial(operator.is_not, saved))
            assert known is not None
            try:
                await self._save(known)
                saved = known
            except OSError as error:  # they stay known as long as the service runs
                log.error("known_cameras_not_saved", error=str(error))
            self._tried.publish(known)
            if saved is not known:
                with trio.move_on_after(RETRY_SECONDS):
                    await self._wanted.wait_until(partial(operator.is_not, known))
