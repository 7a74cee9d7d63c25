"""The known cameras in a file of the state folder: which number is which physical camera.

Written whole and durably, and only when something changed. A file that cannot be understood is
set aside under another name, so that nothing is lost and the service starts; one that a newer
camd wrote is left alone, and nothing is written as long as it is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import attrs
import structlog

from camd.devices.identity import Identity, Known, natural
from camd.model import CameraId
from camd.runtime.replace import replace_file

log = structlog.get_logger("camd.devices")

FILE_NAME = "cameras.json"
VERSION = 1
_MOST_BYTES = 1024 * 1024
_MOST_ENTRIES = 1024
_MOST_CHARACTERS = 1024  # of one value
_ID = re.compile(r"[a-z0-9_-]{1,64}")
_ASIDE = ".damaged"


class BindingsError(Exception):
    """The text is not what `render_bindings` writes; the message says where."""


class NewerError(BindingsError):
    """A newer version wrote it."""


def render_bindings(known: Sequence[Known]) -> str:
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


def parse_bindings(text: str) -> tuple[Known, ...]:
    """Read the file's text, strictly; raises BindingsError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BindingsError(f"is not JSON: {error}") from error
    version = found.get("version") if isinstance(found, dict) else None
    if type(version) is not int or version < 1:
        raise BindingsError("has no version")
    if version > VERSION:
        raise NewerError(f"has version {version}, and this camd knows {VERSION}")
    cameras = _fields(found, {"version", "cameras"}, "file")["cameras"]
    if not isinstance(cameras, list) or len(cameras) > _MOST_ENTRIES:
        raise BindingsError(f"cameras: must be a list of at most {_MOST_ENTRIES}")
    known = tuple(_known(item, f"cameras[{index}]") for index, item in enumerate(cameras))
    if len({camera.camera_id for camera in known}) < len(known):
        raise BindingsError("cameras: an id stands there twice")
    return tuple(sorted(known, key=lambda camera: natural(camera.camera_id)))


def _known(raw: object, where: str) -> Known:
    fields = _fields(raw, {"id", "selector", "adopted", "identity"}, where)
    camera_id = _text(fields["id"], f"{where}.id")
    if not _ID.fullmatch(camera_id):
        raise BindingsError(f"{where}.id: is no camera's id")
    if not isinstance(fields["adopted"], bool):
        raise BindingsError(f"{where}.adopted: must be true or false")
    names = {field.name for field in attrs.fields(Identity)}
    identity = _fields(fields["identity"], names, f"{where}.identity")
    texts = {name: _text(identity[name], f"{where}.identity.{name}") for name in names}
    selector = _text(fields["selector"], f"{where}.selector")
    return Known(CameraId(camera_id), Identity(**texts), selector, fields["adopted"])


def _fields(raw: object, names: set[str], where: str) -> dict[str, object]:
    if not isinstance(raw, dict) or raw.keys() != names:
        raise BindingsError(f"{where}: must have exactly {', '.join(sorted(names))}")
    return raw


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        raise BindingsError(f"{where}: must be text of at most {_MOST_CHARACTERS} characters")
    return value


@attrs.define(eq=False)
class BindingsFile:
    """The file in a state folder. One owner, one thread at a time; everything blocks."""

    state_dir: Path
    _saved: tuple[Known, ...] | None = attrs.field(default=None, init=False)  # None: unknown
    _newer: bool = attrs.field(default=False, init=False)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.state_dir / FILE_NAME

    def load(self) -> tuple[Known, ...]:
        """Read what is known; no file, or none that can be understood, means nothing. Blocks.

        Raises OSError when the file is there and cannot be read: going on without it would give
        every number anew.
        """
        self._newer = False
        try:
            with self.path.open("rb") as stream:
                content = stream.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            self._saved = ()
            return ()
        try:
            if len(content) > _MOST_BYTES:
                raise BindingsError(f"is larger than {_MOST_BYTES} bytes")
            self._saved = parse_bindings(content.decode())
        except NewerError as error:
            self._newer = True
            log.error("bindings_newer", file=str(self.path), error=str(error))
        except (BindingsError, UnicodeDecodeError) as error:
            aside = self._set_aside()
            log.error("bindings_damaged", file=str(aside), error=str(error))
            self._saved = ()
        return self._saved or ()

    def save(self, known: Sequence[Known]) -> bool:
        """Write what is known now, durably; False when that was there or must not be written.

        Blocks for two syncs. Raises OSError; then the next call tries again.
        """
        if self._newer or tuple(known) == self._saved:
            return False
        self._saved = None
        self.state_dir.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, render_bindings(known))
        self._saved = tuple(known)
        return True

    def _set_aside(self) -> Path:
        """Rename the file to a name that nobody has, so that a person can look at it."""
        names = (self.path.with_name(f"{FILE_NAME}{_ASIDE}{n or ''}") for n in range(100))
        aside = next((name for name in names if not name.exists()), None)
        aside = aside or self.path.with_name(FILE_NAME + _ASIDE)
        self.path.replace(aside)
        return aside
