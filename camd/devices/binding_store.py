"""Stores the known cameras in `cameras.json`: which camera id is which physical camera.

The file is replaced as a whole, durably, and only when something has changed. A file that cannot
be parsed is renamed before it is replaced. A file of a newer version is never replaced: as long as
it is there, nothing is saved.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

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
    """The text is not valid; the message says where."""


class NewerBindingsError(BindingsError):
    """The text is of a newer version."""


def render_bindings(known: Sequence[KnownCamera]) -> str:
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


def parse_bindings(text: str) -> tuple[KnownCamera, ...]:
    """Parse the file's text strictly. Raises BindingsError."""
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
    """Read the known cameras; none, and an error in the log, when the file cannot be used.

    Blocks. Never changes the file.
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
    """Save durably; False when the file has these already, or is of a newer version.

    Blocks for two syncs. Raises OSError, also when the present file cannot be read.
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
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BindingsError(f"is larger than {_MOST_BYTES} bytes")
    try:
        return parse_bindings(content.decode())
    except UnicodeDecodeError as error:
        raise BindingsError(f"is not UTF-8 text (byte {error.start})") from error


# --- the store ----------------------------------------------------------------------------

SAVE_TIMEOUT_SECONDS = 2.0
RETRY_SECONDS = 30.0

_Latest = tuple[KnownCamera, ...] | None  # None: none yet


@attrs.define(eq=False)
class BindingStore:
    """Saves the latest known cameras; nobody waits long for a disk that hangs or is full."""

    load: Callable[[], Awaitable[tuple[KnownCamera, ...]]]
    _save: Callable[[tuple[KnownCamera, ...]], Awaitable[None]]  # raises OSError
    _wanted: Published[_Latest] = attrs.field(factory=lambda: Published[_Latest](None), init=False)
    _tried: Published[_Latest] = attrs.field(factory=lambda: Published[_Latest](None), init=False)

    @classmethod
    def on_disk(cls, file: Path) -> BindingStore:
        """Make a store on a file, which is read and written in threads."""

        async def save(known: tuple[KnownCamera, ...]) -> None:
            await trio.to_thread.run_sync(save_known, file, known)

        return cls(partial(trio.to_thread.run_sync, load_known, file), save)

    async def keep(self, known: tuple[KnownCamera, ...]) -> None:
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
