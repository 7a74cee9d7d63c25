"""The known cameras in a file of the state folder: which number is which physical camera.

Written whole and durably, and only when something changed. Reading changes nothing. Before a
file that cannot be understood is replaced it is set aside under another name, so that nothing is
lost; one that a newer camd wrote is left alone, and nothing is written as long as it is there.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio

from camd.devices.matching.identity import DeviceIdentity, KnownCamera, natural
from camd.model import CameraId
from camd.model.ids import ID_PATTERN
from camd.runtime.broadcast import Published
from camd.runtime.state_file import StateFile, check_version

log = structlog.get_logger("camd.devices")

KNOWN_FILE = "cameras.json"
VERSION = 1
_MOST_ENTRIES = 1024
_MOST_CHARACTERS = 1024  # of one value


def render_bindings(known: Sequence[KnownCamera]) -> str:
    """Write the file's text; `parse_bindings` reads it back."""
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


def parse_bindings(text: str) -> tuple[KnownCamera, ...]:
    """Read the file's text, strictly; raises ValueError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    check_version(found, VERSION)
    cameras = _fields(found, {"version", "cameras"}, "file")["cameras"]
    if not isinstance(cameras, list) or len(cameras) > _MOST_ENTRIES:
        raise ValueError(f"cameras: must be a list of at most {_MOST_ENTRIES}")
    known = tuple(_known(item, f"cameras[{index}]") for index, item in enumerate(cameras))
    if len({camera.camera_id for camera in known}) < len(known):
        raise ValueError("cameras: an id stands there twice")
    return tuple(sorted(known, key=lambda camera: natural(camera.camera_id)))


def _known(raw: object, where: str) -> KnownCamera:
    fields = _fields(raw, {"id", "selector", "adopted", "identity"}, where)
    camera_id = _text(fields["id"], f"{where}.id")
    if not re.fullmatch(ID_PATTERN, camera_id):
        raise ValueError(f"{where}.id: is no camera's id")
    if not isinstance(fields["adopted"], bool):
        raise ValueError(f"{where}.adopted: must be true or false")
    names = {field.name for field in attrs.fields(DeviceIdentity)}
    identity = _fields(fields["identity"], names, f"{where}.identity")
    texts = {name: _text(identity[name], f"{where}.identity.{name}") for name in names}
    selector = _text(fields["selector"], f"{where}.selector")
    return KnownCamera(CameraId(camera_id), DeviceIdentity(**texts), selector, fields["adopted"])


def _fields(raw: object, names: set[str], where: str) -> dict[str, object]:
    if not isinstance(raw, dict) or raw.keys() != names:
        raise ValueError(f"{where}: must have exactly {', '.join(sorted(names))}")
    return raw


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        raise ValueError(f"{where}: must be text of at most {_MOST_CHARACTERS} characters")
    return value


def load_known(file: Path) -> tuple[KnownCamera, ...]:
    """Read the known cameras; none when there is no file, or none that can be read.

    Blocks. What is wrong is logged; the file stays as it is.
    """
    return _state_file(file).load() or ()


def save_known(file: Path, known: Sequence[KnownCamera]) -> bool:
    """Write the known cameras durably; False when nothing changed, or the file is newer.

    Blocks for two syncs. Raises OSError, also when the present file cannot be read.
    """
    return _state_file(file).save(tuple(known))


def _state_file(file: Path) -> StateFile[tuple[KnownCamera, ...]]:
    return StateFile(file, parse_bindings, render_bindings)


# --- Keeps the known cameras over restarts; nobody waits long for a disk that hangs or is full.

PATIENCE_SECONDS = 2.0
AGAIN_SECONDS = 30.0  # until the next try


class BindingFile(Protocol):
    """Where the known cameras are kept."""

    async def load(self) -> tuple[KnownCamera, ...]:
        """Return what was kept last."""

    async def save(self, known: tuple[KnownCamera, ...]) -> None:
        """Keep this from now on. Raises OSError."""


@attrs.frozen
class BindingFileOnDisk:
    """The known cameras in a file of the state folder, which threads read and write."""

    file: Path

    async def load(self) -> tuple[KnownCamera, ...]:
        """Read the file; nothing when there is none, or none that can be understood."""
        return await trio.to_thread.run_sync(load_known, self.file)

    async def save(self, known: tuple[KnownCamera, ...]) -> None:
        """Replace the file, durably, if anything is new. Raises OSError."""
        await trio.to_thread.run_sync(save_known, self.file, known)


_Latest = tuple[KnownCamera, ...] | None  # None: none yet


@attrs.define(eq=False)
class BindingStore:
    """The latest known cameras on their way to the disk (keep the latest only)."""

    kept: BindingFile
    _wanted: Published[_Latest] = attrs.field(factory=lambda: Published[_Latest](None), init=False)
    _tried: Published[_Latest] = attrs.field(factory=lambda: Published[_Latest](None), init=False)

    async def keep(self, known: tuple[KnownCamera, ...]) -> None:
        """Keep these from now on; returns when they are, or cannot be, or after the patience."""
        self._wanted.publish(known)
        with trio.move_on_after(PATIENCE_SECONDS):
            await self._tried.wait_until(partial(operator.is_, known))
            return
        log.warning("cameras_not_kept_yet")

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save what is wanted, one after another, and again what could not be saved."""
        task_status.started()
        saved: _Latest = None
        while True:
            known = await self._wanted.wait_until(partial(operator.is_not, saved))
            assert known is not None
            try:
                await self.kept.save(known)
                saved = known
            except OSError as error:  # they are recognised for as long as the service runs
                log.error("cameras_not_kept", error=str(error))
            self._tried.publish(known)
            if saved is not known:
                with trio.move_on_after(AGAIN_SECONDS):
                    await self._wanted.wait_until(partial(operator.is_not, known))
