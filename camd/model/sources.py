"""Where pictures come from."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen
class TestSource:
    """A synthetic picture with a clock and a frame number."""

    __test__ = False  # not a test class, whatever its name makes pytest think

    width: int = 1280
    height: int = 720
    rate: float = 30.0
    audio: bool = False


@attrs.frozen
class FileSource:
    """A media file, read at `speed` times real time; over and over when `loop`."""

    path: Path
    loop: bool = True
    speed: float = 1.0


@attrs.frozen
class RtspSource:
    """An RTSP stream over TCP. The URL may hold credentials, so `repr` leaves it out."""

    url: str = attrs.field(repr=False)


@attrs.frozen
class V4l2Source:
    """A Video4Linux capture node, or a link to one."""

    path: Path


Source = TestSource | FileSource | RtspSource | V4l2Source
