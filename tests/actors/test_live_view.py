"""What one viewer of a camera is given, in which order: exact times, without a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio
from structlog.testing import capture_logs
from support.camera_rig import CameraRig, Node, Wall, open_camera_rig
from support.fake_ffmpeg import hangs, plays_once, refuses, streams
from trio.testing import MockClock

from camd.capture.consumer import CapturedFragment, HubItem
from camd.live.live_view import LiveView, LiveViewEnd
from camd.live.rules.viewer_backlog import FramesLost
from camd.live.viewer_queue import GRACE_SECONDS
from camd.model import CameraState, DeviceBinding
from camd.model.problems import UNPLUGGED
from camd.mp4.fragments import Init


@attrs.define(eq=False)
class NotedSink:
    """Notes what a viewer gets; while `open` is not set, the viewer does not read."""

    told: list[str] = attrs.field(factory=list)
    fragments: list[CapturedFragment] = attrs.field(factory=list)
    lost: list[FramesLost] = attrs.field(factory=list)
    before_lost: int = 0  # fragments
    open: trio.Event = attrs.field(factory=trio.Event)
    more: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.open.set()

    def note(self, words: str) -> None:
        self.told.append(words)
        self.more.set()
        self.more = trio.Event()

    async def until(self, words: str, times: int = 1) -> None:
        """Wait until it was told this so many times."""
        with trio.fail_after(1000):
            while self.told.count(words) < times:
                await self.more.wait()

    async def until_footage(self, count: int) -> None:
        """Wait for so many fragments."""
        with trio.fail_after(1000):
            while len(self.fragments) < count:
                await self.more.wait()

    async def begin(self, init: Init, first: CapturedFragment) -> None:
        await self.open.wait()
        self.note("begin")
        assert first.fragment.starts_with_sync

    async def take(self, init: Init, fragments: Sequence[CapturedFragment]) -> None:
        await self.open.wait()
        self.fragments += fragments
        if self.told[-1:] != ["footage"]:
            self.told.append("footage")
        self.more.set()
        self.more = trio.Event()

    async def skipped(self, lost: FramesLost) -> None:
        await self.open.wait()
        self.lost.append(lost)
        self.before_lost = len(self.fragments)
        self.note("skipped")

    async def clock_set(self, init: Init, following: CapturedFragment) -> None:
        await self.open.wait()
        self.note("clock")

    async def ended(self, why: LiveViewEnd) -> None:
        await self.open.wait()
        self.note(f"ended {why.cause}")


@attrs.define(eq=False)
class Viewer:
    """A viewer of a camera."""

    watch: LiveView
    sink: NotedSink
    present: bool = True  # the camera


@asynccontextmanager
async def watching(rig: CameraRig, wall: Wall | None = None) -> AsyncIterator[Viewer]:
    """Watch a camera while the block runs."""
    sink = NotedSink()
    clocks = (wall or Wall()).clock
    viewer = Viewer(LiveView(rig.camera, lambda: viewer.present, sink, clock=clocks), sink)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(viewer.watch.run)
        yield viewer
        nursery.cancel_scope.cancel()


async def test_an_idle_camera_is_started_and_let_go(clock: MockClock) -> None:
    """A viewer needs the capture; ten seconds after the last one, it ends."""
    async with open_camera_rig() as rig:
        async with watching(rig) as viewer:
            await viewer.sink.until_footage(6)
            assert viewer.sink.told == ["begin", "footage"]
            assert viewer.sink.fragments[0].fragment.starts_with_sync
        left = trio.current_time()
        await rig.until(CameraState.IDLE)
        assert GRACE_SECONDS <= trio.current_time() - left < GRACE_SECONDS + 1


async def test_who_comes_later_begins_with_the_newest_key_frame_at_once(clock: MockClock) -> None:
    """Nothing has to be waited for."""
    async with open_camera_rig(always_on=True) as rig:
        await rig.until(CameraState.STREAMING)
        await trio.sleep(5.2)
        async with watching(rig) as viewer:
            before = trio.current_time()
            await viewer.sink.until_footage(1)
            assert trio.current_time() == before
            assert before - viewer.sink.fragments[0].arrived <= 1.0


async def test_footage_is_complete_for_a_viewer_that_reads(clock: MockClock) -> None:
    """A minute without a gap."""
    async with open_camera_rig() as rig, watching(rig) as viewer:
        await viewer.sink.until_footage(120)
        starts = [each.fragment.start_seconds for each in viewer.sink.fragments]
        assert starts[1:] == [each.fragment.end_seconds for each in viewer.sink.fragments[:-1]]
        assert viewer.sink.lost == []


async def test_a_viewer_that_stops_reading_is_live_again_within_a_group(clock: MockClock) -> None:
    """It goes on with the newest key frame of that moment, and hears what it has missed."""
    async with open_camera_rig() as rig, watching(rig) as viewer:
        sink = viewer.sink
        await sink.until_footage(4)
        before, sink.open = list(sink.fragments), trio.Event()
        await trio.sleep(30)
        resumed = trio.current_time()
        sink.open.set()
        await sink.until("skipped")
        held = sink.before_lost
        await sink.until_footage(held + 1)
        assert trio.current_time() == resumed
        assert held - len(before) <= 1  # the send that was running
        assert sink.told == ["begin", "footage", "skipped", "footage"]
        first, last = sink.fragments[held], sink.fragments[held - 1]
        assert first.fragment.starts_with_sync
        assert resumed - first.arrived <= 1.0
        missed = first.fragment.start_seconds - last.fragment.end_seconds
        (lost,) = sink.lost
        assert lost.frames == round(missed * 10)
        assert round(lost.seconds, 3) == round(missed, 3) > 25


async def test_a_pause_lets_the_camera_go(clock: MockClock) -> None:
    """Of a hidden page; coming back, it begins with the newest key frame, without a new header."""
    async with open_camera_rig() as rig, watching(rig) as viewer:
        sink = viewer.sink
        await sink.until_footage(4)
        viewer.watch.pause()
        await trio.sleep(GRACE_SECONDS - 2)
        assert len(sink.fragments) == 4
        assert rig.camera.hub.demand.value.consumers == 0
        viewer.watch.pause(False)
        before = trio.current_time()
        await sink.until_footage(5)
        assert trio.current_time() == before
        assert sink.fragments[4].fragment.starts_with_sync
        assert sink.told == ["begin", "footage"]


async def test_a_pause_that_outlasts_the_capture_ends_with_a_new_header(clock: MockClock) -> None:
    """The times of the new capture begin anew."""
    async with open_camera_rig() as rig, watching(rig) as viewer:
        await viewer.sink.until_footage(4)
        viewer.watch.pause()
        await rig.until(CameraState.IDLE)
        viewer.watch.pause(False)
        await viewer.sink.until("begin", 2)
        await viewer.sink.until_footage(5)
        assert viewer.sink.fragments[4].fragment.start_seconds == 0


async def test_a_camera_that_fails_is_explained_and_comes_back(clock: MockClock) -> None:
    """Once for each cause, however often it is tried; the viewer stays."""
    busy = refuses("[error] Device or resource busy")
    async with open_camera_rig(streams(3), busy, busy, busy) as rig, watching(rig) as viewer:
        await viewer.sink.until("begin", 2)
        await viewer.sink.until_footage(len(viewer.sink.fragments) + 1)
        told = viewer.sink.told
        assert told[:2] == ["begin", "footage"]
        assert told[-2:] == ["begin", "footage"]
        causes = told[2:-2]
        assert causes[-1] == "ended busy"
        assert causes.count("ended busy") == 1
        assert all(each.startswith("ended ") for each in causes)


async def test_a_stalled_camera_is_explained(clock: MockClock) -> None:
    """As soon as its capture was given up."""
    async with open_camera_rig(hangs(2.1), hangs()) as rig, watching(rig) as viewer:
        await viewer.sink.until("ended stalled")
        assert viewer.sink.told[0] == "begin"


async def test_a_camera_that_is_not_there_is_explained_at_once(clock: MockClock) -> None:
    """A viewer never looks at nothing."""
    gone = DeviceBinding("camera0", None, problem=UNPLUGGED)  # type: ignore[arg-type]
    async with open_camera_rig(node=Node(), binding=gone) as rig, watching(rig) as viewer:
        await viewer.sink.until("ended unplugged")
        assert trio.current_time() < 1
        await trio.sleep(100)
        assert viewer.sink.told == ["ended unplugged"]


async def test_a_source_that_is_over_is_told(clock: MockClock) -> None:
    """Where it is no failure."""
    async with open_camera_rig(plays_once(2), once=True) as rig, watching(rig) as viewer:
        await viewer.sink.until_footage(4)
        await trio.sleep(10)
        assert [each.split()[0] for each in viewer.sink.told] == ["begin", "footage", "ended"]


async def test_the_end_is_told_to_a_viewer_that_lags(clock: MockClock) -> None:
    """And nothing of what it has missed, since another capture follows."""
    async with (
        open_camera_rig(streams(20), refuses("[error] Device or resource busy")) as rig,
        watching(rig) as viewer,
    ):
        sink = viewer.sink
        await sink.until_footage(4)
        sink.open = trio.Event()
        await rig.until(CameraState.RESTING)
        sink.open.set()
        await sink.until("begin", 2)
        assert sink.told[:2] == ["begin", "footage"]
        assert "skipped" not in sink.told[sink.told.index("begin", 1) :]


async def test_a_step_of_the_clock_is_told_before_what_follows(clock: MockClock) -> None:
    """The player's bar shows wall time."""
    wall = Wall()
    async with open_camera_rig(wall=wall) as rig, watching(rig, wall) as viewer:
        await viewer.sink.until_footage(4)
        wall.step(hours=1)
        await viewer.sink.until_footage(6)
        assert viewer.sink.told == ["begin", "footage", "clock", "footage"]


@attrs.define(eq=False)
class BrokenConsumer:
    """A consumer with a bug."""

    grace_seconds: float = 0.0
    each_frame: bool = False
    works: bool = True

    def put(self, item: HubItem) -> None:
        if isinstance(item, CapturedFragment) and not self.works:
            raise ZeroDivisionError("a bug")


async def test_a_bug_in_the_camera_ends_no_viewer(clock: MockClock) -> None:
    """Its actor is started anew with another hub; the viewer goes on there."""
    async with open_camera_rig() as rig, watching(rig) as viewer:
        await viewer.sink.until_footage(4)
        broken = BrokenConsumer()
        async with rig.camera.hub.attach(broken):
            broken.works = False
            with capture_logs():  # the traceback
                await rig.until(CameraState.FAULTED)
        await viewer.sink.until("begin", 2)
        held = len(viewer.sink.fragments)
        await viewer.sink.until_footage(held + 2)
        assert rig.camera.hub.demand.value.consumers == 1


async def test_a_removed_camera_ends_the_viewer(clock: MockClock) -> None:
    """It hears why."""
    async with open_camera_rig() as rig, watching(rig) as viewer:
        await viewer.sink.until_footage(4)
        viewer.present = False
        await rig.camera.close()
        await viewer.sink.until("ended camera_removed")
        assert viewer.sink.told == ["begin", "footage", "ended camera_removed"]
