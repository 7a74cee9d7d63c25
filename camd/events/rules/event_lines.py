"""Lines of the files in which events are kept: a checksum, and one event as JSON.

Each line stands for itself: one that is damaged or torn is left out, and the numbers say so.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import attrs
import msgspec

from camd.events.rules.history import KeptEvent
from camd.rpc.registry import Notification

HEADER = b"camd events 1\n"
_CHECKSUM = 9  # bytes


class _Line(msgspec.Struct, array_like=True):
    number: int
    before: int
    method: str
    coalesce_key: str | None
    about: tuple[str, ...]
    topics: tuple[str, ...]
    params: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


def encode_line(event: KeptEvent) -> bytes:
    """Encode an event as one line. Its parameters must be encoded already."""
    sent = event.notification
    params = sent.params if isinstance(sent.params, msgspec.Raw) else _encode(sent.params)
    line = _Line(
        event.number,
        event.before,
        sent.method,
        sent.coalesce_key,
        sent.about,
        sent.topics,
        msgspec.Raw(bytes(params)),
    )
    text = _encode(line)
    return _checksum(text) + text + b"\n"


def _checksum(text: bytes) -> bytes:
    return b"%08x " % zlib.crc32(text)


def decode_line(line: bytes) -> KeptEvent | None:
    """Decode one line; None when it is damaged."""
    text = line[_CHECKSUM:].rstrip(b"\n")
    if line[:_CHECKSUM] != _checksum(text):
        return None
    try:
        read = _decode(text)
    except msgspec.DecodeError:
        return None
    return KeptEvent(
        Notification(
            read.method,
            msgspec.Raw(bytes(read.params)),
            read.coalesce_key,
            read.about,
            seq=read.number,
            topics=read.topics,
        ),
        read.number,
        read.before,
        len(bytes(read.params)),
    )


@attrs.frozen
class DecodedEvents:
    """What a file holds: events in the order of their numbers, and how many lines are damaged."""

    events: tuple[KeptEvent, ...]
    damaged: int


def decode_file(content: bytes) -> DecodedEvents | None:
    """Decode a whole file; None when it is of another format."""
    head, _, rest = content.partition(b"\n")
    if head + b"\n" != HEADER:
        return None
    lines = [line for line in rest.split(b"\n") if line]
    events = [event for event in map(decode_line, lines) if event is not None]
    return DecodedEvents(tuple(ascending(events)), len(lines) - len(events))


def ascending(events: Iterable[KeptEvent]) -> Iterable[KeptEvent]:
    """Leave out events that were written a second time, after a write that failed half-way."""
    last = 0
    for event in events:
        if event.number > last:
            last = event.number
            yield event
