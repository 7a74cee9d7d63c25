"""Sources of video."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen
class TestSource:
    """A synthetic picture that shows its time and frame number."""

    __test__ = False  # its name looks like a test class to pytest

    width: int = 1280
    height: int = 720
    rate: float = 30.0
    audio: bool = False


@attrs.frozen
class FileSource:
    """A media file, read at `speed` times real time, repeatedly with `loop`."""

    path: Path
    loop: bool = True
    speed: float = 1.0


@attrs.frozen
class RtspSource:
    """An RTSP stream. `repr` leaves out the URL, which may contain credentials."""

    url: str = attrs.field(repr=False)


@attrs.frozen
class V4l2Source:
    """A Video4Linux camera of this machine, by its node or link, serial number, or USB port.

    With none of the three it is the camera that is bound to the entry's id.
    """

    path: Path | None = None
    serial: str = ""
    port: str = ""  # as the kernel names it ("1-1.3"), or as `camd devices` shows it

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        if self.serial:
            return f"serial={self.serial}"
        return f"port={self.port}" if self.port else ""


Source = TestSource | FileSource | RtspSource | V4l2Source
