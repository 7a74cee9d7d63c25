"""The private box in each segment that says what it is a part of, without any index."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import attrs
import msgspec

from camd.mp4.boxes import MediaError, box

FORMAT_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_USER_TYPE = uuid.UUID("7f3c9e52-5d0b-4a86-9b1e-c4a3d0f86b21").bytes


class MetadataError(MediaError):
    """A box that is not camd's, is damaged, or has a later version."""


def wall_time(micros: int) -> datetime:
    """Convert microseconds since 1970 to UTC, exactly."""
    return _EPOCH + timedelta(microseconds=micros)


@attrs.frozen
class SegmentMetadata:
    """The camera, session, number and start of a segment.

    `start_micros` is the first frame's wall time in microseconds since 1970, `monotonic_start` the
    same moment in seconds of the monotonic clock of the boot `boot_id`. `synchronised` says whether
    the wall clock was synchronised.
    """

    camera_id: str
    identity: str
    session_id: str
    number: int
    start_micros: int
    monotonic_start: float
    boot_id: str
    synchronised: bool
    software: str
    version: int = FORMAT_VERSION

    @property
    def start(self) -> datetime:
        """The first frame's wall time, UTC."""
        return wall_time(self.start_micros)

    def encode(self) -> bytes:
        """Build the `uuid` box (ISO/IEC 14496-12 clause 4.2): its type, then JSON."""
        return box(b"uuid", _USER_TYPE, json.dumps(attrs.asdict(self)).encode())


def is_metadata(uuid_box: bytes | memoryview) -> bool:
    """Whether a complete `uuid` box is camd's."""
    return bytes(uuid_box[4:24]) == b"uuid" + _USER_TYPE


def decode_metadata(uuid_box: bytes | memoryview) -> SegmentMetadata:
    """Parse a complete `uuid` box; unknown keys are ignored. Raises MetadataError."""
    if not is_metadata(uuid_box):
        raise MetadataError("not camd's box")
    try:
        values = msgspec.json.decode(bytes(uuid_box[24:]), type=dict[str, object])
        if values.get("version") != FORMAT_VERSION:
            raise MetadataError("the box is of another version")
        return msgspec.convert(values, SegmentMetadata)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MetadataError(f"the box is not understood: {error}") from error
