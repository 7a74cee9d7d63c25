"""Fragments to record, the bytes of their segments, and values of sessions and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from support import media_streams as build

from camd.model import (
    CameraId,
    Gap,
    GapCause,
    Segment,
    SegmentState,
    Session,
    SessionId,
    SessionState,
)
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.segment import FTYP_SIZE, SegmentLayout
from camd.mp4.segment_metadata import SegmentMetadata

WHO = SegmentMetadata(
    *("camera0", "usb", "session", 0, 1_768_487_400_000_000, 7.25, "boot"),
    synchronised=True,
    software="camd 0",
)
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def footage(count: int, frames: int = 3) -> tuple[Init, list[Fragment]]:
    """Return a stream of `count` fragments, each a key frame and what follows it."""
    stream = build.VIDEO_ONLY + b"".join(
        build.fragment((1, number * frames * 512, build.group(frames, 100 + number)))
        for number in range(count)
    )
    init, *fragments = FragmentReader().feed(stream)
    return init, fragments


def growing_bytes(
    init: Init, fragments: Sequence[Fragment], first: Fragment, *, synced: bool = True
) -> bytes:
    """Return the bytes of a growing segment of `fragments` that began with `first`.

    `synced`: the first fragment was durable before the others were written, as in a real one.
    """
    return _grown(SegmentLayout(init, first, WHO), fragments, synced)


def sealed_bytes(
    init: Init, fragments: Sequence[Fragment], first: Fragment, *, synced: bool = True
) -> bytes:
    """Return the bytes of a sealed segment of `fragments`; see `growing_bytes`."""
    index = SegmentLayout(init, first, WHO)
    data = _grown(index, fragments, synced)
    header = index.seal_header(len(data))
    return data[:FTYP_SIZE] + header + data[FTYP_SIZE + len(header) :] + index.final_moov()


def _grown(index: SegmentLayout, fragments: Sequence[Fragment], synced: bool) -> bytes:
    data, durable = index.header, 0
    for fragment in fragments:
        data += b"".join(index.render(fragment, durable))
        index.record(fragment.runs, fragment.size_bytes)
        durable = durable or (len(data) if synced else 0)
    return data


def segment(filename: str = "camera0_2026-01-15_12-00-00.mp4", **facts: object) -> Segment:
    """Describe a file, sealed unless told otherwise."""
    values: dict[str, object] = {
        "filename": filename,
        "camera_id": CameraId("camera0"),
        "session_id": SessionId("s0"),
        "number": 0,
        "start": NOON,
        "end": NOON,
        "duration_seconds": 60.0,
        "frames": 1800,
        "size_bytes": 1000,
        "sha256": "ab" * 32,
        "state": SegmentState.SEALED,
        "codec": "avc1",
        "width": 1280,
        "height": 720,
        "modified": NOON,
    }
    return Segment(**(values | facts))  # type: ignore[arg-type]


def session(**facts: object) -> Session:
    """Describe a session that is recording unless told otherwise."""
    values: dict[str, object] = {
        "session_id": SessionId("s0"),
        "camera_id": CameraId("camera0"),
        "owner": "key:lab",
        "key": None,
        "format": "mp4",
        "start": NOON,
        "duration_limit": None,
        "state": SessionState.RECORDING,
        "reason": "",
        "segments": (),
        "gaps": (),
        "frames_captured": 10,
        "frames_written": 9,
        "bytes_written": 0,
        "elapsed_seconds": 1.0,
        "durable": False,
        "healthy": True,
    }
    return Session(**(values | facts))  # type: ignore[arg-type]


def gap(minute: float, session: str = "s0", **facts: object) -> Gap:
    """Describe a ledger entry of one second, so many minutes after noon."""
    start = NOON + timedelta(minutes=minute)
    values: dict[str, object] = {
        "camera_id": CameraId("camera0"),
        "session_id": SessionId(session),
        "start": start,
        "end": start + timedelta(seconds=1),
        "duration_seconds": 1.0,
        "frames": 30,
        "exact": True,
        "cause": GapCause.STORAGE_SLOW,
        "action": "dropped",
    }
    return Gap(**(values | facts))  # type: ignore[arg-type]
