"""The answers of MediaMTX's control API v3, as far as camd uses them.

Fields that are missing have a value that claims nothing; fields that camd does not know are
ignored, because versions of the server differ in them.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

import msgspec

ITEMS_PER_PAGE = 500
MOST_PAGES = 20  # of the list of paths; camd's own are looked up one by one beyond that
PUBLISHED = frozenset(("rtspSession", "rtspsSession"))  # kinds of source of a path by RTSP

T = TypeVar("T", bound=msgspec.Struct)


class AnswerError(ValueError):
    """An answer that is not what the control API gives."""


class MediaServerInfo(msgspec.Struct, rename="camel", frozen=True):
    """Which version runs, and since when: another `started` is another server process."""

    version: str = ""
    started: str = ""

    @property
    def shown_version(self) -> str:
        """The version as one short line: it goes to clients, people and into the log."""
        return "".join(char for char in self.version if char.isprintable())[:40]


class MediaServerSettings(msgspec.Struct, rename="camel", frozen=True):
    """The global settings: which protocols viewers can have, and on which ports."""

    rtsp: bool = False
    rtsp_encryption: str = "no"
    rtsp_address: str = ""
    rtsp_transports: tuple[str, ...] = ("tcp",)
    rtsp_auth_methods: tuple[str, ...] = ("basic",)
    hls: bool = False
    hls_address: str = ""
    hls_encryption: bool = False
    webrtc: bool = False
    webrtc_address: str = ""
    webrtc_encryption: bool = False


class PathPeer(msgspec.Struct, frozen=True):
    """Who provides a path, or reads from it."""

    type: str = ""
    id: str = ""


class MediaServerPath(msgspec.Struct, rename="camel", frozen=True):
    """A path as it is now. `online` and `outbound_bytes` are newer names of other fields."""

    name: str
    source: PathPeer | None = None
    ready: bool | None = None
    online: bool | None = None
    readers: list[PathPeer] | None = None
    bytes_sent: int = 0
    outbound_bytes: int | None = None

    @property
    def is_ready(self) -> bool:
        """Whether viewers can have it."""
        return bool(self.ready if self.online is None else self.online)

    @property
    def sent_bytes(self) -> int:
        """Bytes that were sent to readers."""
        return self.bytes_sent if self.outbound_bytes is None else self.outbound_bytes


class PathSettings(msgspec.Struct, rename="camel", frozen=True):
    """The configuration of a path: where its stream comes from."""

    name: str = ""
    source: str = "publisher"


class PathPage(msgspec.Struct, rename="camel", frozen=True):
    """One page of the list of paths."""

    items: list[MediaServerPath]
    page_count: int = 0
    item_count: int = 0


def read_answer(body: bytes, kind: type[T]) -> T:
    """Read an answer strictly. Raises AnswerError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise AnswerError(f"is not what the control API answers: {error}"[:200]) from error


def page_target(number: int) -> str:
    """Return the request target of one page of the list of paths, from 0 on."""
    return f"/v3/paths/list?page={number}&itemsPerPage={ITEMS_PER_PAGE}"


def path_target(what: str, name: str) -> str:
    """Return the request target about one path, such as "config/paths/add"."""
    return f"/v3/{what}/{quote(name, safe='/~')}"
