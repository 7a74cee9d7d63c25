"""A camera with real FFmpeg, real files and the real clock, and what its files hold."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from shlex import split
from typing import Any

import attrs
import trio
from support import ffmpeg_media as ffmpeg
from support.fake_disk import roomy_disk

from camd.camera.camera import Camera
from camd.capture.consumer import CapturedFragment, HubItem
from camd.capture.planner import CapturePlanner
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import (
    CameraConfig,
    Config,
    FfmpegConfig,
    RecordingConfig,
    ServerConfig,
    StorageConfig,
)
from camd.ffmpeg.binary import FFmpegBinary, find_ffmpeg
from camd.model import (
    CameraId,
    CameraState,
    Event,
    RecordingChanged,
    RecordingRequest,
    Segment,
    SegmentState,
    Session,
    SessionState,
)
from camd.mp4.inspect import sealed_moov_offset, summarise_segment
from camd.runtime.broadcast import Fanout
from camd.runtime.child_process import TERMINATE_TIMEOUT_SECONDS, ChildProcess, open_child_process
from camd.sources import Source
from camd.storage.disk import Disk
from camd.storage.storage import Storage, open_storage

REQUEST = RecordingRequest("tester")
_TWO = ThreadPoolExecutor(2)
_AT_A_TIME = 10  # files that one FFmpeg looks at


@attrs.define(eq=False)
class FrameCounter:
    """A consumer that counts the frames of a capture, and knows when the newest one arrived."""

    grace_seconds: float = 0.0
    each_frame: bool = True
    frames: int = 0
    arrived: float = 0.0  # monotonic seconds
    _more: trio.Event = attrs.field(factory=trio.Event, init=False)

    def put(self, item: HubItem) -> None:
        """Count."""
        if isinstance(item, CapturedFragment):
            self.frames += item.fragment.frames
            self.arrived = item.arrived
            more, self._more = self._more, trio.Event()
            more.set()

    async def until(self, frames: int) -> None:
        """Wait until it has counted so many."""
        while self.frames < frames:
            await self._more.wait()

    async def until_quiet(self, seconds: float) -> None:
        """Wait until nothing has come for so long: what was in the pipe has been read."""
        before = -1
        while before != self.frames:
            before = self.frames
            await trio.sleep(seconds)


@attrs.define(eq=False)
class RealCamera:
    """A camera that runs, and its folder."""

    camera: Camera
    storage: Storage
    folder: Path
    children: list[ChildProcess]
    heard: list[Event]

    async def until(self, state: CameraState) -> None:
        """Wait until the camera is in `state`."""
        await self.camera.published.wait_until(lambda status: status.state is state)

    async def captured(self, frames: int) -> None:
        """Wait until so many more frames were captured, as fragments that a recording gets."""
        counter = FrameCounter(each_frame=False)
        async with self.camera.hub.attach(counter):
            await counter.until(frames)

    async def until_session(self, state: SessionState) -> None:
        """Wait until its session is in `state`."""
        await self.camera.published.wait_until(
            lambda status: status.session is not None and status.session.state is state
        )

    async def ended(self) -> Session:
        """Wait for the end of the session; return its receipt."""
        await self.camera.published.wait_until(lambda status: status.session is None)
        changes = [event for event in self.heard if isinstance(event, RecordingChanged)]
        return changes[-1].session

    async def grow(self, frames: int) -> None:
        """Wait until the session's newest segment has so many frames."""
        await self.camera.published.wait_until(
            lambda status: (
                status.session is not None
                and status.session.current is not None
                and status.session.current.frames >= frames
            )
        )

    @property
    def events_told(self) -> list[str]:
        """The events about recordings, without PROGRESS."""
        return [
            f"{event.kind.name} {event.reason}".strip()
            for event in self.heard
            if isinstance(event, RecordingChanged) and event.kind.name != "PROGRESS"
        ]


@asynccontextmanager
async def open_real_camera(
    program: str | Path,
    folder: Path,
    source: Source,
    *,
    codec: str = "auto",
    audio: str = "",
    recording: RecordingConfig | None = None,
    stall: float = 10.0,
    disk: Disk | None = None,
    state_dir: Path | None = None,
    found: FFmpegBinary | None = None,
    input_options: tuple[str, ...] = (),
    terminate_seconds: float = TERMINATE_TIMEOUT_SECONDS,
) -> AsyncIterator[RealCamera]:
    """Run one camera that records into `folder` while the block runs.

    `found` is an FFmpeg that an earlier search found.
    """
    config = Config(
        server=ServerConfig(progress_interval=timedelta(seconds=0.2)),
        storage=StorageConfig(recordings_dir=folder, state_dir=state_dir or folder / ".state"),
        recording=recording or RecordingConfig(),
        ffmpeg=FfmpegConfig(path=Path(program), stall_timeout=timedelta(seconds=stall)),
    )
    children: list[ChildProcess] = []

    @asynccontextmanager
    async def launch(arguments: Sequence[str]) -> AsyncIterator[Any]:
        async with open_child_process(arguments, terminate_seconds=terminate_seconds) as child:
            children.append(child)
            yield child

    async def find_program() -> FFmpegBinary:
        return found or await find_ffmpeg(config.ffmpeg.path)

    events: Fanout[Event] = Fanout()
    heard: list[Event] = []
    camera_config = CameraConfig(
        CameraId("camera0"), source, codec=codec, audio=audio, input_options=input_options
    )
    with events.subscribed(heard.append):
        async with open_storage(
            config.storage, events, disk or roomy_disk(), clock=SYSTEM_CLOCK
        ) as storage:
            planner = CapturePlanner(
                camera_config, config, find_program, launch, clock=SYSTEM_CLOCK
            )
            camera = Camera(
                config=camera_config,
                daemon_config=config,
                storage=storage,
                events=events,
                planner=planner,
                clock=SYSTEM_CLOCK,
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(camera.serve)  # noqa: ASYNC113 - its mailbox takes calls
                yield RealCamera(camera, storage, folder, children, heard)
                await camera.close()
                nursery.cancel_scope.cancel()
    assert not _alive(children)


def _alive(children: Sequence[ChildProcess]) -> list[int]:
    return [child.pid for child in children if Path(f"/proc/{child.pid}").exists()]


# --- what files hold ----------------------------------------------------------------------

Packets = dict[str, list[tuple[int, str]]]


def packets(program: str, *paths: Path) -> Packets:
    """Hash each stream's packets in order, and decode everything without an error.

    The packets of several files are joined in the order given.
    """
    inputs = [word for path in paths for word in ("-i", str(path))]
    mapped = [word for number in range(len(paths)) for word in ("-map", str(number))]
    done = ffmpeg.run(
        program,
        *inputs,
        *mapped,
        *split("-c copy -f framehash -hash md5 -"),
        *mapped,
        *ffmpeg.DECODED,
    )
    assert (done.returncode, done.stderr) == (0, b""), (paths, done.stderr)
    kinds: dict[str, str] = {}  # of the streams, which are in the order of the files
    held: dict[str, list[tuple[int, str]]] = {}
    for line in done.stdout.decode().splitlines():
        if line.startswith("#media_type"):
            number, _, kind = line.removeprefix("#media_type ").partition(": ")
            kinds[number], held[number] = kind, []
        elif line and not line.startswith("#"):
            number, _, _, _, size, digest, *_ = (part.strip() for part in line.split(","))
            held[number].append((int(size), digest))
    found: Packets = {"video": [], "audio": []}
    for number, kind in kinds.items():
        found[kind] += held[number]
    return found


def joined(program: str, paths: Sequence[Path]) -> Packets:
    """Join the packets of many files, in the order given."""
    whole: Packets = {"video": [], "audio": []}
    some = [paths[at : at + _AT_A_TIME] for at in range(0, len(paths), _AT_A_TIME)]
    for part in _TWO.map(lambda few: packets(program, *few), some):
        for kind, found in part.items():
            whole[kind] += found
    return whole


def check_receipt(folder: Path, session: Session) -> Iterator[Path]:
    """Compare each file with the receipt; yield their paths."""
    ledgered = sum(gap.frames for gap in session.gaps if gap.exact)
    assert session.frames_captured == session.frames_written + ledgered
    assert sum(segment.frames for segment in session.segments) == session.frames_written
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        segment.filename for segment in session.segments
    }
    for segment in session.segments:
        yield compare_file(folder, segment)


def compare_file(folder: Path, segment: Segment) -> Path:
    """Compare a file with its account."""
    path = folder / segment.filename
    data = path.read_bytes()
    assert len(data) == segment.size_bytes
    assert hashlib.sha256(data[48:]).hexdigest() == segment.sha256
    assert segment.state is SegmentState.SEALED
    if path.suffix == ".mp4":
        offset = sealed_moov_offset(data[:48])
        assert offset is not None
        said = summarise_segment(data[:65536], data[offset:])
        assert (said.frames, said.duration_seconds) == (segment.frames, segment.duration_seconds)
        assert said.metadata is not None
        assert said.metadata.session_id == segment.session_id
    return path
