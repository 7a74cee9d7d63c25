"""A camera's whole actor on a stage: its child is played, its disk is memory, its clock jumps."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import attrs
import pytest
import trio
from support.camera_films import EPOCH, FPS, Film, frames_in
from support.disk import MemoryDisk

from camd import clock
from camd.camera.camera import Camera
from camd.capture import supervisor
from camd.capture.planner import CapturePlanner
from camd.config.schema import CameraConfig, Config, FfmpegConfig, RecordingConfig, StorageConfig
from camd.ffmpeg.binary import FFmpegBinary
from camd.model import (
    CameraChanged,
    CameraId,
    CameraState,
    DeviceBinding,
    Event,
    Gap,
    RecordingChanged,
    RecordingRequest,
    Segment,
    SegmentState,
    Session,
    TestSource,
    V4l2Source,
)
from camd.mp4.inspect import sealed_moov_offset, summarise
from camd.runtime import child_process
from camd.runtime.broadcast import Fanout
from camd.runtime.files import PathLookup
from camd.storage.rules.levels import Thresholds, Usage, level_of
from camd.storage.space import SpaceMonitor
from camd.storage.storage import Storage

T = TypeVar("T")

FOLDER = Path("/disk")
VOLUME_BYTES = 10**12
CAMERA = CameraId("camera0")
RECORDING = RecordingConfig()
ANN, BOB = RecordingRequest("ann"), RecordingRequest("bob")


@attrs.define(eq=False)
class Wall:
    """The wall clock, which somebody may set."""

    ahead: timedelta = timedelta(0)  # of where it would be

    def step(self, **by: float) -> None:
        """Set it by so much; back when negative."""
        self.ahead += timedelta(**by)

    def now(self, _: object = None) -> datetime:
        """Say what it shows."""
        return at(trio.current_time()) + self.ahead


def jump_clocks(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """Let wall time and monotonic time run with the test's clock, and rests have no jitter."""
    wall = Wall()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=trio.current_time))
    monkeypatch.setattr(clock, "datetime", SimpleNamespace(now=wall.now))
    monkeypatch.setattr(supervisor, "random", SimpleNamespace(uniform=lambda low, high: 1.0))
    return wall


def at(seconds: float) -> datetime:
    """Name the moment so long after the test began."""
    return EPOCH.astimezone(UTC) + timedelta(seconds=seconds)


# --- children -----------------------------------------------------------------------------

Part = Callable[["FakeChild"], Awaitable[int]]


@attrs.define(eq=False)
class FakeChild:
    """What `open_child` gives, played: it says what its part says, and hears signals."""

    pid: int
    film: Film = attrs.field(factory=Film)
    signals: list[signal.Signals] = attrs.field(factory=list)
    told_to_end: trio.Event = attrs.field(factory=trio.Event)
    immortal: bool = False  # stuck in the kernel: SIGKILL does nothing
    _pipes: tuple[_Pipe, _Pipe] = attrs.field(factory=lambda: (_Pipe(), _Pipe()))
    _killed: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _ended: trio.Event = attrs.field(factory=trio.Event)
    _status: int = 0

    def write(self, data: bytes) -> None:
        """Put bytes into the pipe of stdout."""
        self._pipes[0].put(data)

    def complain(self, words: str) -> None:
        """Put a line into the pipe of stderr."""
        self._pipes[1].put(f"{words}\n".encode())

    async def play(self, part: Part) -> None:
        """Live through a part; its result is the exit status."""
        self._status = -signal.SIGKILL
        with self._killed:
            self._status = await part(self)
        for pipe in self._pipes:
            pipe.put(b"")
        self._ended.set()

    async def read_output(self, size: int = 0) -> bytes:
        """Wait for some of stdout; empty at its end."""
        return await self._pipes[0].get()

    async def read_errors(self, size: int = 0) -> bytes:
        """Wait for some of stderr; empty at its end."""
        return await self._pipes[1].get()

    async def wait(self) -> int:
        """Wait until the part is over."""
        await self._ended.wait()
        return self._status

    def signal(self, number: signal.Signals) -> None:
        """Hear a signal."""
        if self._ended.is_set():
            return
        self.signals.append(number)
        self.told_to_end.set()
        if number is signal.SIGKILL and not self.immortal:
            self._killed.cancel()

    async def end(self) -> int | None:
        """Ask the child to end, then make it."""
        for number, patience in (
            (signal.SIGTERM, child_process.TERMINATE_PATIENCE_SECONDS),
            (signal.SIGKILL, child_process.KILL_PATIENCE_SECONDS),
        ):
            self.signal(number)
            with trio.move_on_after(patience):
                return await self.wait()
        return None


@attrs.define(eq=False)
class _Pipe:
    """Bytes on their way; the empty ones are the end, and stay."""

    _chunks: deque[bytes] = attrs.field(factory=deque)
    _filled: trio.Event = attrs.field(factory=trio.Event)

    def put(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._filled.set()

    async def get(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._chunks:
            self._filled = trio.Event()
            await self._filled.wait()
        return self._chunks.popleft() if self._chunks[0] else b""


def films(seconds: float = float("inf"), *, status: int = -9, flush: bool = False) -> Part:
    """Play a child that delivers a fragment every half second and ends when it is told to.

    After `seconds` it ends by itself; `flush` says whether the frames in flight come out then.
    """

    async def part(child: FakeChild) -> int:
        child.write(child.film.head)
        end = trio.current_time() + seconds
        while True:
            begun = trio.current_time()
            with trio.move_on_at(min(begun + 0.5, end)):
                await child.told_to_end.wait()
            told, over = child.told_to_end.is_set(), trio.current_time() >= end
            frames = round((trio.current_time() - begun) * FPS)
            if frames and (flush or not over or frames == 5):
                child.write(child.film.next(frames))
            if told or over:
                return 255 if told else status

    return part


def skips(*moments: float, frames: int = 7) -> Part:
    """Play a child that leaves out so many frames at each of these moments, and goes on."""

    async def part(child: FakeChild) -> int:
        child.write(child.film.head)
        coming, begun = deque(moments), trio.current_time()
        while not child.told_to_end.is_set():
            if coming and trio.current_time() >= begun + coming[0]:
                coming.popleft()
                child.film.skip(frames)
                await trio.sleep(frames / FPS)
            with trio.move_on_after(0.5):
                await child.told_to_end.wait()
            child.write(child.film.next(5))
        return 255

    return part


def plays_once(seconds: float) -> Part:
    """Play a child whose source comes to its end."""
    return films(seconds, status=0, flush=True)


def refuses(words: str, after: float = 0.1, status: int = 1) -> Part:
    """Play a child that says why it cannot, and ends."""

    async def part(child: FakeChild) -> int:
        with trio.move_on_after(after):
            await child.told_to_end.wait()
        child.complain(words)
        return status

    return part


def hangs(after: float = 0.0, *, deaf: bool = False) -> Part:
    """Play a child that delivers for a while, then says nothing; a deaf one has to be killed."""

    async def part(child: FakeChild) -> int:
        child.write(child.film.head)
        end = trio.current_time() + after
        while trio.current_time() < end and not child.told_to_end.is_set():
            with trio.move_on_after(0.5):
                await child.told_to_end.wait()
            child.write(child.film.next(5))
        await child.told_to_end.wait()
        if deaf:
            await trio.sleep_forever()
        return 255

    return part


def says(data: bytes) -> Part:
    """Play a child that writes these bytes and waits to be told to end."""

    async def part(child: FakeChild) -> int:
        child.write(data)
        await child.told_to_end.wait()
        return 255

    return part


@attrs.define(eq=False)
class Studio:
    """Plays children: the parts in order, then films without end."""

    parts: deque[Part] = attrs.field(factory=deque)
    children: list[FakeChild] = attrs.field(factory=list)
    immortal: bool = False
    alive: int = 0
    most_alive: int = 0

    def then(self, *parts: Part) -> None:
        """Say what the next children do."""
        self.parts.extend(parts)

    @asynccontextmanager
    async def launch(self, arguments: Sequence[str]) -> AsyncIterator[Any]:
        """Do what `open_child` does."""
        child = FakeChild(1000 + len(self.children), immortal=self.immortal)
        self.children.append(child)
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child.play, self.parts.popleft() if self.parts else films())
                yield child
                nursery.cancel_scope.cancel()
        finally:
            self.alive -= 1


# --- storage ------------------------------------------------------------------------------


@attrs.define(eq=False)
class MemoryGuard(SpaceMonitor):
    """A guard whose samples are taken when somebody asks, in so many seconds."""

    seconds: float = 0.0

    async def refresh(self) -> None:
        """Take a sample."""
        await trio.sleep(self.seconds)
        self.look()

    def look(self) -> None:
        """Judge what the disk says now."""
        self._usage = self._disk.usage(self.folder)
        self._judge(level_of(self._usage, self._thresholds, self._level))

    def give_reserve(self) -> None:
        """Give nothing: there is none."""


@attrs.define(eq=False)
class MemoryStorage(Storage):
    """Storage without threads; what would go into the catalog is in lists."""

    segments: dict[str, Segment] = attrs.field(factory=dict)
    sessions: list[Session] = attrs.field(factory=list)
    gaps: list[Gap] = attrs.field(factory=list)
    seconds: float = 0.0  # how long the disk takes for everything

    async def on_disk(self, work: Callable[[], T]) -> T:
        """Do the work after the time that it takes, like a thread that is never abandoned."""
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await trio.sleep(self.seconds)
        return work()

    async def note_segment(self, segment: Segment) -> None:
        """Remember a segment."""
        await trio.lowlevel.checkpoint()
        if segment.state is not SegmentState.OPEN:
            self._growing.pop(segment.filename, None)
        self.segments[segment.filename] = segment

    async def note_session(self, session: Session) -> None:
        """Remember a session."""
        await trio.lowlevel.checkpoint()
        self.sessions.append(session)

    def note_session_soon(self, session: Session) -> None:
        """Remember a session."""
        self.sessions.append(session)

    async def note_gaps(self, gaps: Sequence[Gap]) -> None:
        """Remember entries of the ledger."""
        await trio.lowlevel.checkpoint()
        self.gaps += gaps

    @property
    def still_growing(self) -> list[str]:
        """Which files are said to be written at the moment."""
        return list(self._growing)


# --- the stage ----------------------------------------------------------------------------


@attrs.frozen
class Node:
    """A device node that can be unplugged."""

    there: list[bool] = attrs.field(factory=lambda: [True])

    def exists(self) -> bool:
        """Say whether it is plugged in."""
        return self.there[-1]

    def __str__(self) -> str:
        return "/dev/video0"


class AtOnce(PathLookup):
    """Looks at nodes that are played, without a thread, which an autojump clock does not know."""

    async def ask(self, look: Callable[[], T], otherwise: T) -> T:
        """Look."""
        return look()


@attrs.define(eq=False)
class OncePlanner(CapturePlanner):
    """A camera whose film is played once."""

    @property
    def may_end(self) -> bool:
        """Say that it has an end."""
        return True


@attrs.define(eq=False)
class Stage:
    """Everything around one camera."""

    camera: Camera
    storage: MemoryStorage
    guard: MemoryGuard
    disk: MemoryDisk
    studio: Studio
    heard: list[Event]

    def fill(self, percent: float) -> None:
        """Let so much of the volume be used, and let the guard see it."""
        self.disk.volume = usage(percent)
        self.guard.look()

    async def until(self, state: CameraState) -> None:
        """Wait until the camera is in `state`."""
        await self.camera.published.wait_until(lambda status: status.state is state)

    async def idle(self) -> None:
        """Wait until no session runs."""
        await self.camera.published.wait_until(lambda status: status.session is None)

    @property
    def news(self) -> list[str]:
        """What clients were told about recordings, PROGRESS left out."""
        words = [
            f"{event.news.name} {event.reason}".strip()
            for event in self.heard
            if isinstance(event, RecordingChanged)
        ]
        return [word for word in words if not word.startswith("PROGRESS")]

    @property
    def states(self) -> list[str]:
        """Which states the camera was told to be in, repetitions left out."""
        states: list[str] = []
        for event in self.heard:
            if isinstance(event, CameraChanged) and [event.status.state.value] != states[-1:]:
                states.append(event.status.state.value)
        return states

    def data(self, segment: Segment) -> bytes:
        """Read a file back."""
        return bytes(self.disk.files[FOLDER / segment.filename].data)

    def check(self, session: Session) -> None:
        """Compare an ended session's account with what is on the disk, and with the ledger."""
        ledgered = sum(gap.frames for gap in session.gaps if gap.exact)
        assert session.frames_captured == session.frames_written + ledgered
        assert sum(segment.frames for segment in session.segments) == session.frames_written
        assert list(session.gaps) == self.storage.gaps
        assert {FOLDER / segment.filename for segment in session.segments} == set(self.disk.files)
        pictures = b""
        for segment in session.segments:
            data = self.data(segment)
            frames, more = frames_in(data)
            pictures += more
            assert frames == segment.frames > 0
            if segment.state is SegmentState.SEALED:
                assert len(data) == segment.size_bytes
                offset = sealed_moov_offset(data[:48])
                assert offset is not None
                assert summarise(data[:65536], data[offset:]).frames == frames
            assert self.storage.segments[segment.filename] == segment
        assert self.disk.open_files == 0
        assert self.storage.still_growing == []
        assert self.storage.status.promised_bytes == 0

    def pictures(self, session: Session) -> bytes:
        """Join what the files of a session show."""
        return b"".join(frames_in(self.data(segment))[1] for segment in session.segments)


def usage(percent: float) -> Usage:
    """Describe a volume that is so full."""
    return Usage(VOLUME_BYTES, VOLUME_BYTES - round(VOLUME_BYTES * percent / 100))


def memory_storage(events: Fanout[Event] | None = None) -> MemoryStorage:
    """Make a volume in memory that is nearly empty."""
    disk = MemoryDisk(volume=usage(10))
    guard = MemoryGuard(FOLDER, disk, Thresholds(), events or Fanout())
    guard.look()
    return MemoryStorage(FOLDER, disk, guard)


@asynccontextmanager
async def open_stage(
    *parts: Part,
    node: Node | None = None,
    always_on: bool = False,
    once: bool = False,
    recording: RecordingConfig = RECORDING,
    durability: str = "1s",
    binding: DeviceBinding | None = None,
) -> AsyncIterator[Stage]:
    """Run a camera while the block runs; its children play `parts`, then film without end."""
    source = TestSource(320, 180, FPS) if node is None else V4l2Source(node)  # type: ignore[arg-type]
    config = Config(
        storage=StorageConfig(durability=durability),
        recording=recording,
        ffmpeg=FfmpegConfig(stall_timeout=timedelta(seconds=3), start_timeout=timedelta(seconds=5)),
    )
    events: Fanout[Event] = Fanout()
    heard: list[Event] = []
    storage = memory_storage(events)
    disk, guard = storage.disk, storage.guard
    studio = Studio(deque(parts))
    camera_config = CameraConfig(CAMERA, source, always_on=always_on)
    planner = (OncePlanner if once else CapturePlanner)(
        camera_config, config, find_program, studio.launch, binding=binding
    )
    planner.looks = AtOnce()
    camera = Camera(camera_config, config, storage, events, planner)
    with events.subscribed(heard.append):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(camera.serve)  # noqa: ASYNC113 - its mailbox takes calls already
            yield Stage(camera, storage, guard, disk, studio, heard)
            await camera.close()
            nursery.cancel_scope.cancel()
    assert studio.most_alive <= 1
    assert studio.alive == 0


async def find_program() -> FFmpegBinary:
    """Find a program that is never run."""
    await trio.lowlevel.checkpoint()
    return FFmpegBinary(Path("/usr/bin/ffmpeg"), (5, 1))
