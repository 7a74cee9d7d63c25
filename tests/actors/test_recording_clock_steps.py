"""The wall clock is set: names and times follow it, footage and lengths do not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import attrs
import pytest
import trio
from support.camera_rig import (
    OTHER_REQUEST,
    REQUEST,
    CameraRig,
    Node,
    Wall,
    at,
    jump_clocks,
    open_camera_rig,
)
from support.fake_ffmpeg import refuses, streams
from trio.testing import MockClock

from camd.api.result_fields import SessionTimes
from camd.config.schema import RecordingConfig
from camd.model import CameraChanged, Gap, GapCause, RecordingRequest, Session, SessionState
from camd.storage.rules.clock_trust import RecordingEndMoment
from camd.storage.rules.rows import IndexedSession
from camd.storage.verify.rules.sessions import compare_session

STEPS = [
    timedelta(days=365),
    timedelta(days=-365),
    timedelta(hours=3),
    timedelta(hours=-3),
    timedelta(seconds=1),
    timedelta(seconds=-1),
]


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock may be set."""
    return jump_clocks(monkeypatch)


@pytest.fixture
def clock(wall: Wall, autojump_clock: MockClock) -> MockClock:
    """Nothing here takes any time."""
    return autojump_clock


@pytest.fixture(params=STEPS, ids=str)
def step(request: pytest.FixtureRequest) -> timedelta:
    """By how much the clock is set."""
    by: timedelta = request.param
    return by


def outages(session: Session) -> list[Gap]:
    """Return the entries for missing footage."""
    return [gap for gap in session.gaps if gap.cause is not GapCause.CLOCK_STEP]


def check_step(session: Session, moment: float, step: timedelta) -> None:
    """Check the one entry for the step: its moment, direction and size."""
    (entry,) = [gap for gap in session.gaps if gap.cause is GapCause.CLOCK_STEP]
    assert entry.start == entry.end == at(moment) + step
    assert (entry.duration_seconds, entry.frames, entry.exact) == (0, 0, True)
    way = "forward" if step > timedelta(0) else "back"
    assert entry.action.startswith(f"the clock was set {way} by {abs(step.total_seconds()):.3f} s")


@contextmanager
def all_healthy(rig: CameraRig) -> Iterator[None]:
    """Check that no event shows an unhealthy session while it records."""
    sick: list[float] = []

    def listen(event: object) -> None:
        session = event.status.session if isinstance(event, CameraChanged) else None
        if session and session.state is SessionState.RECORDING and not session.healthy:
            sick.append(trio.current_time())

    with rig.camera._events.subscribed(listen):
        yield
    assert sick == []


async def test_a_new_file_begins_and_no_frame_is_lost(
    clock: MockClock, wall: Wall, step: timedelta
) -> None:
    """A new file begins at the next key frame, is named by the new time, and has no seam (I3)."""
    async with open_camera_rig(wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        with all_healthy(rig):
            await trio.sleep_until(12.2)
            wall.step(days=step.days, seconds=step.seconds)
            await trio.sleep_until(20.2)
        running = rig.camera.status.session
        assert running is not None
        assert running.elapsed_seconds == 20.2
        session = await rig.camera.stop_recording()
        rig.check(session)
        (child,) = rig.launcher.processes
        sent = b"".join(data[data.index(b"mdat") + 4 :] for data in child.stream.sent)
        assert rig.pictures(session) == sent
        first, second = session.segments
        assert (first.start, first.end) == (at(0), at(12))
        assert (second.start, second.end) == (at(12) + step, at(20.2) + step)
        assert f"{second.start:camera0_%Y-%m-%d_%H-%M-%S}" in second.filename
        assert outages(session) == []
        check_step(session, 12.5, step)
        assert (session.start, session.end) == (at(0), second.end)
        assert session.elapsed_seconds == SessionTimes.of(session).seconds == 20.2
        assert rig.events_told == ["STARTED", "GAP clock_step", "ROTATED", "STOPPED stopped"]


async def test_small_corrections_of_the_clock_begin_no_file(clock: MockClock, wall: Wall) -> None:
    """Small corrections of the clock are not steps."""
    async with open_camera_rig(wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        for _ in range(8):
            await trio.sleep(1)
            wall.step(seconds=0.2)
        session = await rig.camera.stop_recording()
        assert (session.gaps, len(session.segments)) == ((), 1)
        rig.check(session)


async def test_a_step_does_not_change_how_long_a_timed_session_is(
    clock: MockClock, wall: Wall, step: timedelta
) -> None:
    """A timed session has the same length and number of files as without the step."""
    recording = RecordingConfig(rotation=timedelta(seconds=5))
    wish = RecordingRequest("ann", duration=timedelta(seconds=20))
    async with open_camera_rig(recording=recording, wall=wall) as rig:
        await rig.camera.start_recording(wish)
        await trio.sleep_until(12.2)
        wall.step(days=step.days, seconds=step.seconds)
        await rig.idle()
        assert trio.current_time() == 20
        session = rig.storage.sessions[-1]
        assert (session.reason, session.elapsed_seconds) == ("duration", 20)
        assert [segment.frames for segment in session.segments] == [50, 50, 20, 50, 30]
        rig.check(session)


async def test_a_step_while_the_camera_is_absent(
    clock: MockClock, wall: Wall, step: timedelta
) -> None:
    """The entry has the true length of the outage, and times of the new clock."""
    node = Node()
    async with open_camera_rig(streams(10.2, status=0), node=node, wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(10.1)
        node.there.append(False)
        await trio.sleep_until(15)
        wall.step(days=step.days, seconds=step.seconds)
        await trio.sleep_until(20)
        node.there.append(True)
        await trio.sleep_until(60.2)
        session = await rig.camera.stop_recording()
        (gap,) = outages(session)
        assert gap.cause is GapCause.CAMERA_LOST
        assert gap.start == session.segments[0].end + step == at(10) + step
        assert gap.end == session.segments[1].start
        assert 10 < gap.duration_seconds == (gap.end - gap.start).total_seconds() < 30
        assert gap.frames == round(gap.duration_seconds * 10)
        assert [each.cause for each in session.gaps].count(GapCause.CLOCK_STEP) == 1
        assert session.elapsed_seconds == pytest.approx(60.2)
        rig.check(session)


async def test_a_step_and_a_stop_while_the_camera_rests(
    clock: MockClock, wall: Wall, step: timedelta
) -> None:
    """A stop before the next frame returns the true length of the outage, too."""
    failing = [refuses("[error] x")] * 4
    async with open_camera_rig(streams(5.2), *failing, wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(7.2)
        wall.step(days=step.days, seconds=step.seconds)
        await trio.sleep_until(8.5)
        session = await rig.camera.stop_recording()
        (gap,) = outages(session)
        assert (gap.start, gap.end) == (at(5) + step, at(8.5) + step)
        check_step(session, 8.5, step)
        rig.check(session)


async def test_a_step_during_a_pause_of_the_disk(
    clock: MockClock, wall: Wall, step: timedelta
) -> None:
    """The loss has its true length; the next file has the new time."""
    async with open_camera_rig(wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        rig.fill(96)
        await trio.sleep_until(5.2)
        wall.step(days=step.days, seconds=step.seconds)
        await trio.sleep_until(7.2)
        rig.fill(50)
        await trio.sleep_until(9.2)
        session = await rig.camera.stop_recording()
        (gap,) = outages(session)
        assert (gap.cause, gap.frames, gap.exact) == (GapCause.STORAGE_FULL, 40, True)
        assert (gap.start, gap.end, gap.duration_seconds) == (at(3) + step, at(7) + step, 4)
        check_step(session, 5.5, step)
        assert session.segments[1].start == at(7) + step
        rig.check(session)


async def test_a_step_back_into_seconds_that_are_taken(clock: MockClock, wall: Wall) -> None:
    """No file is replaced: a file name that exists gets a number (I5)."""
    recording = RecordingConfig(rotation=timedelta(seconds=5))
    async with open_camera_rig(recording=recording, wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(7.2)
        before = {path: bytes(file.data) for path, file in rig.disk.files.items()}
        wall.step(seconds=-7)
        await trio.sleep_until(15.2)
        session = await rig.camera.stop_recording()
        names = [segment.filename.partition("_14-30-")[2] for segment in session.segments]
        assert names == ["00.mp4", "05.mp4", "00_1.mp4", "05_1.mp4"]
        sealed = next(iter(before))
        assert bytes(rig.disk.files[sealed].data) == before[sealed]
        rig.check(session)


async def test_a_clock_that_is_set_several_times(clock: MockClock, wall: Wall) -> None:
    """Each step is an entry; all frames are there, and the session's length is right."""
    async with open_camera_rig(wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        for hours in (5, -2, -9, 6, 24):
            await trio.sleep(3.3)
            wall.step(hours=hours)
        await trio.sleep_until(25.2)
        session = await rig.camera.stop_recording()
        assert [gap.cause for gap in session.gaps] == [GapCause.CLOCK_STEP] * 5
        assert session.frames_written == 252
        assert session.elapsed_seconds == SessionTimes.of(session).seconds == 25.2
        rig.check(session)


async def test_a_stop_right_after_a_step(clock: MockClock, wall: Wall, step: timedelta) -> None:
    """A file that was not ended before the stop has the times of the old clock, and its length."""
    async with open_camera_rig(wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(4.7)
        wall.step(days=step.days, seconds=step.seconds)
        session = await rig.camera.stop_recording()
        (segment,) = session.segments
        assert (segment.start, segment.end) == (at(0), at(4.7))
        assert session.elapsed_seconds == 4.7
        rig.check(session)


async def test_a_step_before_the_first_frame(clock: MockClock, wall: Wall, step: timedelta) -> None:
    """The session begins in the new time, with no entry and no pre-roll."""
    async with open_camera_rig(wall=wall) as rig:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.camera.start_recording, REQUEST)
            await trio.sleep(0.2)
            wall.step(days=step.days, seconds=step.seconds)
        session = await rig.camera.stop_recording()
        assert session.gaps == ()
        assert session.preroll_seconds == 0
        assert session.start == session.segments[0].start == at(0) + step
        assert session.elapsed_seconds == 0.5
        rig.check(session)


async def test_a_step_between_two_sessions(clock: MockClock, wall: Wall, step: timedelta) -> None:
    """The pre-roll of a camera that is always on has the new time."""
    async with open_camera_rig(always_on=True, wall=wall) as rig:
        await trio.sleep_until(3.2)
        wall.step(days=step.days, seconds=step.seconds)
        session = await rig.camera.start_recording(OTHER_REQUEST)
        assert (session.start, session.preroll_seconds) == (at(2) + step, 1.2)
        await trio.sleep_until(5.2)
        session = await rig.camera.stop_recording()
        assert session.gaps == ()
        assert session.elapsed_seconds == 3.5
        rig.check(session)


async def test_a_step_while_the_daemon_was_down(
    clock: MockClock, wall: Wall, step: timedelta
) -> None:
    """The ledger has the true length of the outage, and the step; the session's length is right."""
    async with open_camera_rig(wall=wall) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        session = await rig.camera.stop_recording()
        left = attrs.evolve(session, state=SessionState.WAITING, end=None)
        seconds = (session.segments[-1].end - at(0)).total_seconds()
        await trio.sleep_until(9.0)
        wall.step(seconds=step.total_seconds())
        assert await rig.camera.resume(left, RecordingEndMoment(left.boot_id, seconds))
        await trio.sleep_until(12.2)
        session = await rig.camera.stop_recording()
        first, second = session.segments
        (outage,) = outages(session)
        assert outage.end == second.start
        if abs(step) >= timedelta(seconds=2):  # a file tells no better when it arrived
            true = (second.start - step - first.end).total_seconds()
            assert 5 < outage.duration_seconds < 7
            assert outage.duration_seconds == pytest.approx(true, abs=1e-3)
            assert session.stepped_seconds == step.total_seconds()
            assert [gap.stepped for gap in session.gaps] == [step, timedelta(0)]
        assert rig.storage.gaps == list(session.gaps)
        assert compare_session(account_of(session)) == []


def account_of(session: Session) -> IndexedSession:
    """Return the row of a session as a check of the folder reads it."""
    return IndexedSession(session, session.frames_captured, session.frames_written)
