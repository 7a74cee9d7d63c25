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

from camd.devices.matching.identity import DeviceIdentity, KnownCamera, natural_key
from camd.model import CameraId
from camd.model.ids import ID_PATTERN
from camd.runtime.broadcast import Published
from camd.runtime.files import replace_file, set_aside

log = structlog.get_logger("camd.devices")

KNOWN_FILE = "cameras.json"
VERSION = 1
_MOST_BYTES = 1024 * 1024
_MOST_ENTRIES = 1024
_MOST_CHARACTERS = 1024  # of one value


class BindingsError(Exception):
    """The text is not what `render_bindings` writes; the message says where."""


class NewerBindingsError(BindingsError):
    """A newer version wrote it."""


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
    """Read the file's text, strictly; raises BindingsError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BindingsError(f"is not JSON: {error}") from error
    version = found.get("version") if isinstance(found, dict) else None
    if type(version) is not int or version < 1:
        raise BindingsError("has no version")
    if version > VERSION:
        raise NewerBindingsError(f"has version {version}, and this camd knows {VERSION}")
    cameras = _fields(found, {"version", "cameras"}, "file")["cameras"]
    if not isinstance(cameras, list) or len(cameras) > _MOST_ENTRIES:
        raise BindingsError(f"cameras: must be a list of at most {_MOST_ENTRIES}")
    known = tuple(_known(item, f"cameras[{index}]") for index, item in enumerate(cameras))
    if len({camera.camera_id for camera in known}) < len(known):
        raise BindingsError("cameras: an id stands there twice")
    return tuple(sorted(known, key=lambda camera: natural_key(camera.camera_id)))


def _known(raw: object, where: str) -> KnownCamera:
    fields = _fields(raw, {"id", "selector", "adopted", "identity"}, where)
    camera_id = _text(fields["id"], f"{where}.id")
    if not re.fullmatch(ID_PATTERN, camera_id):
        raise BindingsError(f"{where}.id: is no camera's id")
    if not isinstance(fields["adopted"], bool):
        raise BindingsError(f"{where}.adopted: must be true or false")
    names = {field.name for field in attrs.fields(DeviceIdentity)}
    identity = _fields(fields["identity"], names, f"{where}.identity")
    texts = {name: _text(identity[name], f"{where}.identity.{name}") for name in names}
    selector = _text(fields["selector"], f"{where}.selector")
    return KnownCamera(CameraId(camera_id), DeviceIdentity(**texts), selector, fields["adopted"])


def _fields(raw: object, names: set[str], where: str) -> dict[str, object]:
    if not isinstance(raw, dict) or raw.keys() != names:
        raise BindingsError(f"{where}: must have exactly {', '.join(sorted(names))}")
    return raw


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        raise BindingsError(f"{where}: must be text of at most {_MOST_CHARACTERS} characters")
    return value


def load_known(file: Path) -> tuple[KnownCamera, ...]:
    """Read what is known; nothing when there is no file, or none that can be understood.

    Blocks. What is wrong is logged; the file stays as it is.
    """
    try:
        return _read(file)
    except FileNotFoundError:
        return ()
    except NewerBindingsError as error:
        log.error("known_cameras_newer", file=str(file), error=str(error))
    except BindingsError as error:
        log.error("known_cameras_damaged", file=str(file), error=str(error))
    except OSError as error:
        log.error("known_cameras_unreadable", file=str(file), error=str(error))
    return ()


def save_known(file: Path, known: Sequence[KnownCamera]) -> bool:
    """Keep what is known now, durably; False when that stands there, or must not be replaced.

    Blocks for two syncs. Raises OSError, also when what is there cannot be read.
    """
    try:
        if _read(file) == tuple(known):
            return False
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    except NewerBindingsError as error:
        log.error("known_cameras_newer", file=str(file), error=str(error))
        return False
    except BindingsError as error:
        aside = set_aside(file)
        log.error("known_cameras_set_aside", file=str(aside), error=str(error))
    replace_file(file, render_bindings(known))
    return True


def _read(file: Path) -> tuple[KnownCamera, ...]:
    """Raises OSError and BindingsError."""
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BindingsError(f"is larger than {_MOST_BYTES} bytes")
    try:
        return parse_bindings(content.decode())
    except UnicodeDecodeError as error:
        raise BindingsError(f"is not UTF-8 text (byte {error.start})") from error


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
