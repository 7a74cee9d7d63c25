"""Problems around a session: FFmpeg, disks, bugs. Every frame stays accounted for."""

from __future__ import annotations

import errno
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from support.camera_rig import (
    OTHER_REQUEST,
    REQUEST,
    CameraRig,
    Node,
    at,
    open_camera_rig,
)
from support.fake_ffmpeg import FakeFfmpeg, hangs, refuses, says, streams
from trio.testing import MockClock, wait_all_tasks_blocked

from camd.capture.consumer import CapturedFragment
from camd.config.schema import RecordingConfig
from camd.errors import RECORDING_FAILED, SHUTTING_DOWN, Refusal
from camd.model import (
    CameraChanged,
    CameraState,
    Gap,
    GapCause,
    RecordingChanged,
    SegmentState,
    Session,
    SessionState,
    StorageChanged,
    StorageLevel,
)


def session_of(rig: CameraRig) -> Session:
    """Return the session that runs."""
    session = rig.camera.status.session
    assert session is not None
    return session


# --- FFmpeg -------------------------------------------------------------------------------


async def test_a_session_outlives_its_capture(clock: MockClock) -> None:
    """The same session goes on in another file; the gap is in the ledger and the receipt."""
    async with open_camera_rig(streams(3.2, status=-9)) as rig:
        started = await rig.camera.start_recording(REQUEST)
        status = await rig.camera.published.wait_until(
            lambda status: status.session and status.session.state is SessionState.WAITING
        )
        assert trio.current_time() < 3.7
        assert status.state is CameraState.RESTING
        assert status.session.reason == "FFmpeg was ended by signal 9"
        await trio.sleep_until(6.2)
        session = await rig.camera.stop_recording()
        assert session.session_id == started.session_id
        assert [segment.frames for segment in session.segments] == [30, 25]
        (gap,) = session.gaps
        assert (gap.cause, gap.exact, gap.frames) == (GapCause.ENCODER_EXIT, False, 7)
        assert (gap.start, gap.end) == (at(3.0), at(3.7))
        assert session.segments[0].end == gap.start
        assert session.segments[1].start == gap.end
        rig.check(session)


async def test_a_camera_that_hangs_is_started_again(clock: MockClock) -> None:
    """The stall is noticed, FFmpeg is ended, and the gap has the cause `camera_stalled`."""
    async with open_camera_rig(hangs(2.0)) as rig:
        await rig.camera.start_recording(REQUEST)
        await rig.until(CameraState.RESTING)
        assert trio.current_time() == 5.0
        assert rig.camera.status.problem is not None
        assert rig.camera.status.problem.kind == "stalled"
        await rig.until(CameraState.STREAMING)
        await trio.sleep_until(8.2)
        session = await rig.camera.stop_recording()
        (gap,) = session.gaps
        assert (gap.cause, gap.start, gap.end) == (GapCause.CAMERA_STALLED, at(2.0), at(5.5))
        assert gap.frames == 35
        rig.check(session)
        assert len(rig.launcher.processes) == 2


async def test_a_camera_that_is_unplugged_comes_back(clock: MockClock) -> None:
    """It is absent, tried again and again, and the session goes on when it is back."""
    node = Node()
    async with open_camera_rig(streams(2.2, status=0), node=node) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(2.1)
        rig.launcher.processes[0].write_error("[error] VIDIOC_DQBUF: No such device")
        node.there.append(False)
        await rig.until(CameraState.ABSENT)
        await trio.sleep_until(20)
        assert rig.camera.status.state is CameraState.ABSENT
        assert len(rig.launcher.processes) == 1
        node.there.append(True)
        await rig.until(CameraState.STREAMING)
        await trio.sleep(1.2)
        session = await rig.camera.stop_recording()
        (gap,) = session.gaps
        assert (gap.cause, gap.start) == (GapCause.CAMERA_LOST, at(2.0))
        rig.check(session)


async def test_failures_in_a_row_are_tried_ever_more_slowly(clock: MockClock) -> None:
    """The pauses grow with each failure, and start over after ten seconds of frames."""
    failing = [refuses("[error] Input/output error", after=0.0) for _ in range(5)]
    async with open_camera_rig(streams(2.2), *failing, streams(12.2), always_on=True) as rig:
        births: list[float] = []

        def watch(event: object) -> None:
            if isinstance(event, CameraChanged) and event.status.state is CameraState.STARTING:
                births.append(trio.current_time())

        with rig.camera._events.subscribed(watch):
            await trio.sleep_until(50)
        pauses = [round(two - one, 3) for one, two in pairwise(births)]
        assert pauses == [2.7, 1.0, 2.0, 4.0, 8.0, 16.0, 12.7]


async def test_a_start_that_takes_long_does_not_keep_failures(clock: MockClock) -> None:
    """The time that resets the pause counts from the first frames, not from the process."""
    failing = [refuses("[error] Input/output error", after=0.0) for _ in range(3)]

    async def late(child: FakeFfmpeg) -> int:
        await trio.sleep(4.0)
        return await streams()(child)

    async with open_camera_rig(*failing, late, always_on=True, steady_seconds=3.0) as rig:
        await rig.until(CameraState.STREAMING)
        streaming = trio.current_time()
        await trio.sleep_until(streaming + 2.9)
        assert rig.camera.capture.failures == 3
        await trio.sleep_until(streaming + 3.1)
        assert rig.camera.capture.failures == 0


async def test_garbage_is_not_recorded(clock: MockClock) -> None:
    """A process that writes something else is ended, and the caller is refused."""
    async with open_camera_rig(says(b"no such thing as a box" * 100)) as rig:
        with pytest.raises(Refusal) as caught:
            await rig.camera.start_recording(REQUEST)
        assert (caught.value.kind.code, caught.value.data["cause"]) == (-32006, "bad_stream")
        await rig.until(CameraState.IDLE)
        assert rig.disk.files == {}


async def test_garbage_in_the_middle_ends_the_process_not_the_session(clock: MockClock) -> None:
    """Frames before it are sealed; the next process is recorded."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(2.2)
        rig.launcher.processes[0].write(b"\0\0\0\1junk" * 10)
        await rig.until(CameraState.RESTING)
        await trio.sleep_until(5.2)
        session = await rig.camera.stop_recording()
        assert len(session.segments) == 2
        assert [gap.cause for gap in session.gaps] == [GapCause.ENCODER_EXIT]
        rig.check(session)


# --- the daemon ---------------------------------------------------------------------------


async def test_an_outage_is_in_the_ledger_once(clock: MockClock) -> None:
    """After a kill between an entry and the next frame, the next entry begins at its end."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        session = await rig.camera.stop_recording()
        entry = Gap(
            camera_id=session.camera_id,
            session_id=session.session_id,
            start=session.segments[-1].end,
            end=at(6.0),
            duration_seconds=2.8,
            frames=28,
            exact=False,
            cause=GapCause.DAEMON_DOWN,
            action="",
        )
        await rig.storage.note_gaps([entry])
        await trio.sleep_until(9.0)
        left = attrs.evolve(session, state=SessionState.WAITING, end=None, gaps=(entry,))
        assert await rig.camera.resume(left)
        await trio.sleep_until(12.2)
        session = await rig.camera.stop_recording()
        first, second = session.segments
        assert [(gap.start, gap.end) for gap in session.gaps] == [
            (first.end, at(6.0)),
            (at(6.0), second.start),
        ]
        assert session.gaps[1].frames == round((second.start - at(6.0)).total_seconds() * 10)
        rig.check(session)


async def test_a_continued_session_reserves_the_rest_of_its_time(
    clock: MockClock,
) -> None:
    """Space is reserved only for the rest of its duration."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(attrs.evolve(REQUEST, duration=timedelta(seconds=100)))
        await trio.sleep_until(3.2)
        session = await rig.camera.stop_recording()
        left = attrs.evolve(session, state=SessionState.WAITING, end=None)
        await trio.sleep_until(90.0)
        assert await rig.camera.resume(left)
        await wait_all_tasks_blocked()
        rate = rig.camera.hub.bytes_per_second or rig.camera.planner.expected_bytes_per_second
        promised = rig.storage.status.promised_bytes
        assert 9 * rate < promised < 11 * rate


async def test_an_outage_is_in_the_ledger_before_the_file_behind_it(clock: MockClock) -> None:
    """I4: a kill between the two finds the entry alone, but never the file alone."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        session = await rig.camera.stop_recording()
        await trio.sleep_until(9.0)
        seen: list[tuple[int, int]] = []  # files and entries, whenever a file is created

        def watch(what: str) -> None:
            if what == "create":
                seen.append((len(rig.disk.files), len(rig.storage.gaps)))

        rig.disk.watch = watch
        left = attrs.evolve(session, state=SessionState.WAITING, end=None)
        assert await rig.camera.resume(left)
        await trio.sleep_until(12.2)
        session = await rig.camera.stop_recording()
        assert seen == [(1, 1)]
        assert [gap.cause for gap in session.gaps] == [GapCause.DAEMON_DOWN]


# --- storage ------------------------------------------------------------------------------


async def test_a_critical_volume_pauses_a_session(clock: MockClock) -> None:
    """Sealed at the critical line, resumed below the block line; the gap's frames are exact."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        rig.fill(96)
        await trio.sleep_until(5.2)
        paused = session_of(rig)
        assert (paused.state, paused.reason) == (SessionState.WAITING, "storage: critical")
        assert [segment.state for segment in paused.segments] == [SegmentState.SEALED]
        rig.fill(92)
        await trio.sleep_until(7.2)
        assert session_of(rig).state is SessionState.WAITING
        rig.fill(50)
        await trio.sleep_until(9.2)
        assert session_of(rig).state is SessionState.RECORDING
        session = await rig.camera.stop_recording()
        (gap,) = session.gaps
        assert (gap.cause, gap.exact, gap.frames) == (GapCause.STORAGE_FULL, True, 40)
        assert (gap.start, gap.end) == (at(3.0), at(7.0))
        rig.check(session)
        assert rig.events_told == [
            "STARTED",
            "ERROR storage: critical",
            "GAP storage_full",
            "ROTATED",
            "STOPPED stopped",
        ]


async def test_a_session_that_is_stopped_while_paused_says_what_is_missing(
    clock: MockClock,
) -> None:
    """The last entry of the ledger ends at the stop."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        rig.fill(96)
        await trio.sleep_until(5.2)
        session = await rig.camera.stop_recording()
        (gap,) = session.gaps
        assert (gap.start, gap.end, gap.frames, gap.exact) == (at(3.0), at(5.2), 22, True)
        rig.check(session)


async def test_a_slow_disk_costs_the_oldest_frames_and_says_so(clock: MockClock) -> None:
    """Memory stays bounded, FFmpeg is read all the same, and the frames are counted."""
    async with open_camera_rig(queue_bytes=12_000) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        rig.storage.seconds = 10.0
        await trio.sleep_until(40)
        rig.storage.seconds = 0.0
        await trio.sleep_until(52.2)
        session = await rig.camera.stop_recording()
        assert {gap.cause for gap in session.gaps} == {GapCause.STORAGE_SLOW}
        assert all(gap.exact for gap in session.gaps)
        assert sum(gap.frames for gap in session.gaps) > 200
        rig.check(session)


@pytest.mark.parametrize(("code", "answer"), [(errno.ENOSPC, -1010), (errno.EIO, -1003)])
@pytest.mark.parametrize("step", range(4))
async def test_a_disk_that_fails_before_the_first_frame_is_a_refusal(
    clock: MockClock, step: int, code: int, answer: int
) -> None:
    """No event says that a recording began, and no empty file is left."""
    async with open_camera_rig() as rig:
        rig.disk.fail(step, code=code)
        with pytest.raises(Refusal) as caught:
            await rig.camera.start_recording(REQUEST)
        assert caught.value.kind.code == answer
        await rig.idle()
        assert (rig.disk.files, rig.disk.open_files) == ({}, 0)
        assert (rig.events_told, rig.storage.status.promised_bytes) == ([], 0)


WRITES = range(24)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("step", WRITES)
async def test_no_frame_is_unaccounted_for_when_the_disk_fails(
    clock: MockClock, step: int, code: int
) -> None:
    """Whichever operation fails: the session goes on, and files and ledger have all frames."""
    recording = RecordingConfig(rotation=timedelta(seconds=2))
    async with open_camera_rig(recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        rig.disk.fail(step, code=code)
        await trio.sleep_until(9.2)
        assert session_of(rig).state is SessionState.RECORDING
        session = await rig.camera.stop_recording()
        rig.check(session)
        assert session.frames_captured == 92
        assert all(gap.exact for gap in session.gaps)


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((6, 7, 8), errno.EIO),
        ((10, 11, 12, 13), errno.ENOSPC),
        (tuple(range(6, 18)), errno.EIO),
    ],
)
async def test_a_disk_that_goes_on_failing(
    clock: MockClock, steps: tuple[int, ...], code: int
) -> None:
    """Files whose seal fails too are playable, and are not called sealed."""
    recording = RecordingConfig(rotation=timedelta(seconds=2))
    async with open_camera_rig(recording=recording) as rig:
        rig.disk.fail(*steps, code=code)
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(250.2)
        assert session_of(rig).state is SessionState.RECORDING
        session = await rig.camera.stop_recording()
        rig.check(session)
        assert session.frames_captured == 2502


async def test_an_error_of_the_disk_is_a_level_and_the_session_tries_by_itself(
    clock: MockClock,
) -> None:
    """Clients get the level and the reason; the session tries again after its own delay, although
    the level has not changed back."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        rig.disk.fail(0, code=errno.EIO)
        await trio.sleep_until(6.2)
        told = [event.status for event in rig.heard if isinstance(event, StorageChanged)]
        assert [status.level for status in told] == [StorageLevel.FAILING]
        assert "Input/output error" in told[0].reason
        assert session_of(rig).state is SessionState.RECORDING
        session = await rig.camera.stop_recording()
        rig.check(session)
        assert {gap.cause for gap in session.gaps} == {GapCause.STORAGE_ERROR}


async def test_a_session_may_end_on_a_full_disk(clock: MockClock) -> None:
    """With on_storage_error = "end" a full disk ends the session; its caller can see why."""
    async with open_camera_rig(recording=RecordingConfig(on_storage_error="end")) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        rig.fill(96)
        await rig.idle()
        session = rig.storage.sessions[-1]
        assert (session.state, session.reason) == (SessionState.ENDED, "storage_full")
        rig.check(session)
        await rig.until(CameraState.IDLE)
        assert rig.events_told[-1] == "STOPPED storage_full"


# --- health -------------------------------------------------------------------------------


async def test_a_session_is_healthy_only_while_bytes_become_durable(clock: MockClock) -> None:
    """A camera that delivers nothing makes its session unhealthy until it delivers again (I7)."""
    async with open_camera_rig(streams(3.2), *[refuses("[error] x")] * 4) as rig:
        told: list[tuple[float, bool]] = []

        def listen(event: object) -> None:
            if isinstance(event, CameraChanged) and event.status.session is not None:
                word = (trio.current_time(), event.status.session.healthy)
                if not told or told[-1][1] is not word[1]:
                    told.append(word)

        with rig.camera._events.subscribed(listen):
            await rig.camera.start_recording(REQUEST)
            await trio.sleep_until(30)
        assert [healthy for _, healthy in told] == [False, True, False, True]
        assert told[1][0] == 0.5
        assert 7 < told[2][0] < 9.5


@pytest.mark.parametrize("durability", ["1s", "5s", "30s", "segment"])
async def test_a_session_is_healthy_from_its_beginning(clock: MockClock, durability: str) -> None:
    """A first sync that is not due yet does not make it unhealthy."""
    async with open_camera_rig(durability=durability) as rig:
        await rig.camera.start_recording(REQUEST)
        rig.storage.seconds = 0.05
        sick: list[float] = []

        def listen(event: object) -> None:
            session = event.status.session if isinstance(event, CameraChanged) else None
            if session is not None and not session.healthy:
                sick.append(trio.current_time())

        with rig.camera._events.subscribed(listen):
            await trio.sleep(70)
        assert sick == []


async def test_a_disk_that_never_syncs_is_not_healthy(clock: MockClock) -> None:
    """Writing without a sync is not enough."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(5.2)
        assert session_of(rig).healthy
        rig.storage.seconds = 30
        await trio.sleep_until(15)
        assert not session_of(rig).healthy
        rig.storage.seconds = 0


# --- bugs ---------------------------------------------------------------------------------


@attrs.define(eq=False)
class FaultyConsumer:
    """A consumer with a bug: it raises an exception when a fragment comes."""

    works: bool = False
    grace_seconds: float = 0.0
    each_frame: bool = False

    def put(self, item: object) -> None:
        """Raise, unless it works for now."""
        if isinstance(item, CapturedFragment) and not self.works:
            raise ZeroDivisionError("a bug")


async def test_a_bug_ends_the_session_and_the_camera_starts_anew(clock: MockClock) -> None:
    """The caller is answered, the file is sealed, and after a second the camera works again."""
    faulty = FaultyConsumer(works=True)
    async with (
        open_camera_rig() as rig,
        rig.camera.hub.attach(faulty, needs_capture=False),
        open_camera_rig() as other,
    ):
        await other.camera.start_recording(OTHER_REQUEST)
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        faulty.works = False
        with capture_logs() as logs:
            await rig.until(CameraState.FAULTED)
        assert "actor_crashed" in {entry["event"] for entry in logs}
        assert trio.current_time() == 3.5
        problem = rig.camera.status.problem
        assert problem is not None
        assert (problem.kind, rig.camera.status.restarts) == ("internal_error", 1)
        assert rig.camera.status.session is None
        assert (rig.launcher.alive, rig.disk.open_files) == (0, 0)
        (segment,) = rig.storage.segments.values()
        assert segment.state is SegmentState.SEALED
        assert segment.frames == 25
        assert rig.storage.still_growing == []
        assert rig.storage.status.promised_bytes == 0
        noted = rig.storage.sessions[-1]
        assert (noted.state, noted.reason) == (SessionState.ENDED, "internal_error")
        assert noted.end == segment.end
        assert (noted.frames_captured, noted.frames_written) == (25, 25)
        assert rig.events_told[-1] == "ERROR internal_error"
        told = [event for event in rig.heard if isinstance(event, RecordingChanged)][-1]
        assert attrs.evolve(told.session, elapsed_seconds=0) == attrs.evolve(
            noted, elapsed_seconds=0
        )

        for ask in (rig.camera.stop_recording, partial(rig.camera.start_recording, REQUEST)):
            with pytest.raises(Refusal) as refused:
                await ask()
            assert refused.value.kind is RECORDING_FAILED
            assert refused.value.data["cause"] == "restarting"
        assert trio.current_time() == 3.5  # the calls do not wait for the restart

        await rig.camera.published.wait_until(lambda s: s.state is not CameraState.FAULTED)
        session = await rig.camera.start_recording(REQUEST)
        assert trio.current_time() == 5.0  # a second's delay, and the first fragment
        assert session.state is SessionState.RECORDING
        assert session_of(other).gaps == ()
        assert other.camera.status.restarts == 0


async def test_a_camera_that_is_closed_before_its_restart_does_not_restart(
    clock: MockClock,
) -> None:
    """Closing returns at once, and later calls are refused because the service stops."""
    async with (
        open_camera_rig() as rig,
        rig.camera.hub.attach(FaultyConsumer(), needs_capture=False),
    ):
        with capture_logs():
            with pytest.raises(Refusal):
                await rig.camera.start_recording(REQUEST)
            await rig.until(CameraState.FAULTED)
        before = trio.current_time()
        await rig.camera.close()
        assert trio.current_time() == before
        with pytest.raises(Refusal) as refused:
            await rig.camera.start_recording(REQUEST)
        assert refused.value.kind is SHUTTING_DOWN
        await trio.sleep(120)
        assert rig.camera.status.restarts == 1
        assert rig.camera.status.state is CameraState.FAULTED


async def test_calls_that_wait_are_refused_after_a_bug(clock: MockClock) -> None:
    """A start and a stop that wait are refused, and may be tried again."""
    async with (
        open_camera_rig(hangs()) as rig,
        rig.camera.hub.attach(FaultyConsumer(), needs_capture=False),
    ):
        heard: list[Refusal] = []

        async def hear(call: Any) -> None:
            with pytest.raises(Refusal) as caught:
                await call
            heard.append(caught.value)

        with capture_logs():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hear, rig.camera.start_recording(REQUEST))
                await rig.until(CameraState.STARTING)
                await wait_all_tasks_blocked()
                rig.launcher.processes[0].write(rig.launcher.processes[0].stream.next(5))
        assert [(each.kind.code, each.data["cause"]) for each in heard] == [(-1003, "restarting")]
        assert heard[0].data["retryable"] is True


@pytest.mark.parametrize("disk_seconds", [0.0, 0.3])
async def test_a_second_signal_still_seals(clock: MockClock, disk_seconds: float) -> None:
    """All captured frames are sealed when everything is cancelled; the session may be continued."""
    with trio.CancelScope() as signals:
        async with open_camera_rig() as rig:
            await rig.camera.start_recording(REQUEST)
            await trio.sleep_until(3.2)
            rig.storage.seconds = disk_seconds
            await trio.sleep_until(4.1)
            signals.cancel()
            await trio.sleep(1)
    session = rig.storage.sessions[-1]
    assert (session.state, session.reason) == (SessionState.WAITING, "interrupted")
    assert session.end is None
    assert session.frames_captured == 40
    rig.check(session)
    assert trio.current_time() < 6
