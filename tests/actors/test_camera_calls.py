"""Starting and stopping: which answer each caller gets, when, and what is left."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
import trio
from support.camera_rig import (
    OTHER_REQUEST,
    REQUEST,
    VOLUME_BYTES,
    CameraRig,
    Node,
    at,
    open_camera_rig,
)
from support.fake_ffmpeg import hangs, plays_once, refuses, streams
from trio.testing import MockClock

from camd.capture.consumer import EndOfStream
from camd.capture.process import HUNG
from camd.config.schema import RecordingConfig
from camd.errors import Refusal
from camd.model import (
    CameraState,
    GapCause,
    RecordingChanged,
    RecordingEventKind,
    RecordingRequest,
    Session,
    SessionState,
)
from camd.recording.recording_queue import RecordingQueue
from camd.storage.rules.admission import SEAL_RESERVE_BYTES
from camd.storage.rules.levels import Usage

HOUR = timedelta(hours=1)


async def refused(call: object) -> Refusal:
    """Await a call that must be refused."""
    with pytest.raises(Refusal) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_a_queue_wakes_its_reader(clock: MockClock) -> None:
    """A writer that waits gets an item as soon as it is put."""
    queue = RecordingQueue()

    async def put_later() -> None:
        await trio.sleep(3)
        queue.put(EndOfStream())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put_later)
        assert await queue.get() == EndOfStream()
    assert trio.current_time() == 3


# --- start --------------------------------------------------------------------------------


async def test_start_is_answered_when_frames_are_on_disk(clock: MockClock) -> None:
    """A slow disk delays the answer; when it comes, frames are durable."""
    async with open_camera_rig() as rig:
        rig.storage.seconds = 0.25
        session = await rig.camera.start_recording(REQUEST)
        assert trio.current_time() == 0.75  # half a second of pictures, and one call to the disk
        assert session.state is SessionState.RECORDING
        assert (session.owner, session.frames_written, session.healthy) == ("ann", 5, True)
        (segment,) = session.segments
        assert segment.filename == "camera0_2026-01-15_14-30-00.mp4"
        assert len(rig.data(segment)) == segment.size_bytes
        rig.storage.seconds = 0
        session = await rig.camera.stop_recording()
        rig.check(session)


async def test_of_many_starts_at_the_same_instant_one_wins(clock: MockClock) -> None:
    """The others are refused with its owner; there is one session and one FFmpeg process."""
    async with open_camera_rig() as rig:
        answers: list[Session | Refusal] = []

        async def start(number: int) -> None:
            try:
                answer = await rig.camera.start_recording(RecordingRequest(f"user{number}"))
                answers.append(answer)
            except Refusal as refusal:
                answers.append(refusal)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(start, number)
        (session,) = [answer for answer in answers if isinstance(answer, Session)]
        refusals = [answer for answer in answers if isinstance(answer, Refusal)]
        assert len(refusals) == 49
        for refusal in refusals:
            assert refusal.kind.code == -1006
            assert refusal.data["session_id"] == session.session_id
            assert refusal.data["owner"] == session.owner
        assert len(rig.launcher.processes) == 1
        assert rig.events_told == ["STARTED"]


async def test_the_same_key_joins_the_running_session(clock: MockClock) -> None:
    """A client that asks again gets its session, while it starts and later."""
    wish = RecordingRequest("ann", key="k1")
    async with open_camera_rig() as rig:
        sessions: list[Session] = []

        async def start() -> None:
            sessions.append(await rig.camera.start_recording(wish))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(start)
        await trio.sleep(1)
        await start()
        assert len({session.session_id for session in sessions}) == 1
        assert sessions[-1].frames_written > sessions[0].frames_written
        other = await refused(rig.camera.start_recording(attrs.evolve(wish, key="k2")))
        assert other.kind.code == -1006
        assert rig.events_told == ["STARTED"]


async def test_a_source_that_is_missing_is_a_refusal(clock: MockClock) -> None:
    """−32006 names the cause; no session, no file and no process is left."""
    async with open_camera_rig(node=Node([False])) as rig:
        refusal = await refused(rig.camera.start_recording(REQUEST))
        assert refusal.kind.code == -32006
        assert (refusal.data["cause"], refusal.data["camera_id"]) == ("not_found", "camera0")
        await rig.idle()
        await rig.until(CameraState.IDLE)
        assert (rig.launcher.processes, rig.disk.files, rig.events_told) == ([], {}, [])
        assert rig.storage.status.promised_bytes == 0


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("[error] /dev/video0: Device or resource busy", "busy"),
        ("[error] /dev/video0: Permission denied", "no_permission"),
        ("[error] something new", "unknown"),
    ],
)
async def test_a_source_that_cannot_be_opened_is_a_refusal(
    clock: MockClock, words: str, cause: str
) -> None:
    """FFmpeg's last message becomes the cause, at once and without a retry."""
    async with open_camera_rig(refuses(words)) as rig:
        refusal = await refused(rig.camera.start_recording(REQUEST))
        assert (refusal.kind.code, refusal.data["cause"]) == (-32006, cause)
        assert trio.current_time() < 1
        await rig.until(CameraState.IDLE)
        assert len(rig.launcher.processes) == 1


async def test_a_source_that_delivers_nothing_is_a_refusal(clock: MockClock) -> None:
    """A camera that hangs from the start is given up after the time for a start."""
    async with open_camera_rig(hangs()) as rig:
        refusal = await refused(rig.camera.start_recording(REQUEST))
        assert (refusal.kind.code, refusal.data["cause"]) == (-32006, "stalled")
        assert trio.current_time() == 5
        await rig.until(CameraState.IDLE)


def leave_room_for(rig: CameraRig, seconds: float) -> None:
    """Fill the volume so that so much of this camera's recording fits below the block line."""
    needed = rig.camera.planner.expected_bytes_per_second * seconds + SEAL_RESERVE_BYTES
    available = VOLUME_BYTES // 10 + int(needed) + 1
    rig.disk.volume = Usage(VOLUME_BYTES, available)
    rig.space.look()


async def test_an_open_end_begins_where_a_minute_fits(clock: MockClock) -> None:
    """Without a duration, 13 minutes of space are enough to begin and for another file, and the
    answer says so; a duration that does not fit is refused as -1008."""
    async with open_camera_rig(recording=RecordingConfig(rotation=timedelta(hours=1))) as rig:
        leave_room_for(rig, 780)
        refusal = await refused(rig.camera.start_recording(attrs.evolve(REQUEST, duration=HOUR)))
        assert (refusal.kind.code, refusal.data["fits_seconds"]) == (-1008, 780)
        session = await rig.camera.start_recording(REQUEST)
        assert session.fits_seconds == 780
        assert any("about 13 min" in warning for warning in session.warnings)
        minute = rig.camera.planner.expected_bytes_per_second * 60
        assert 0 < rig.space.status.promised_bytes <= minute
    async with open_camera_rig() as rig:
        leave_room_for(rig, 50)
        refusal = await refused(rig.camera.start_recording(REQUEST))
        assert (refusal.kind.code, refusal.data["fits_seconds"]) == (-1010, 50)


async def test_a_rotation_reserves_another_minute_only(clock: MockClock) -> None:
    """The reservation of a session without an end does not grow with the length of its files."""
    async with open_camera_rig(recording=RecordingConfig(rotation=timedelta(minutes=10))) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep(601)
        session = rig.camera.status.session
        assert session is not None
        assert len(session.segments) == 2
        per_second = session.segments[0].size_bytes / session.segments[0].duration_seconds
        assert 50 * per_second < rig.space.status.promised_bytes <= 60 * per_second


async def test_a_volume_without_room_is_a_refusal(clock: MockClock) -> None:
    """−1010 at the block line; no FFmpeg process is started."""
    async with open_camera_rig() as rig:
        rig.fill(91)
        refusal = await refused(rig.camera.start_recording(REQUEST))
        assert refusal.kind.code == -1010
        await rig.idle()
        assert rig.launcher.processes == []


async def test_a_nearly_full_volume_warns(clock: MockClock) -> None:
    """It records, and says that space is low."""
    async with open_camera_rig() as rig:
        rig.fill(85)
        session = await rig.camera.start_recording(REQUEST)
        assert session.warnings == ("Storage space is low: 85.0 % used",)


# --- stop ---------------------------------------------------------------------------------


async def test_stop_takes_the_frames_in_flight_and_waits_for_the_seal(
    clock: MockClock,
) -> None:
    """All frames until the stop are in the file (I8)."""
    async with open_camera_rig() as rig:
        started = await rig.camera.start_recording(REQUEST)
        await trio.sleep(2.2)
        session = await rig.camera.stop_recording()
        assert session.session_id == started.session_id
        assert (session.state, session.reason) == (SessionState.ENDED, "stopped")
        assert (session.frames_written, session.durable, session.gaps) == (27, True, ())
        assert session.end == at(2.7)
        rig.check(session)
        await rig.until(CameraState.IDLE)
        assert rig.events_told == ["STARTED", "STOPPED stopped"]
        assert rig.states == ["IDLE", "STARTING", "STREAMING", "STOPPING", "IDLE"]
        again = await refused(rig.camera.stop_recording())
        assert again.kind.code == -1020


async def test_everybody_who_stops_gets_the_same_receipt(clock: MockClock) -> None:
    """The session ends once for all callers."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        receipts: list[Session] = []

        async def stop() -> None:
            receipts.append(await rig.camera.stop_recording())

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(stop)
        assert len(receipts) == 5
        assert len(set(receipts)) == 1
        assert rig.events_told == ["STARTED", "STOPPED stopped"]


async def test_stopping_what_has_not_begun(clock: MockClock) -> None:
    """Both the start and the stop are refused since nothing was recorded; FFmpeg ends."""
    async with open_camera_rig(hangs()) as rig:
        refusals: list[Refusal] = []

        async def start() -> None:
            refusals.append(await refused(rig.camera.start_recording(REQUEST)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await rig.until(CameraState.STARTING)
            refusals.append(await refused(rig.camera.stop_recording()))
        await rig.until(CameraState.IDLE)
        assert [refusal.kind.code for refusal in refusals] == [-1003, -1003]
        assert {str(refusal.data["cause"]) for refusal in refusals} == {"stopped"}
        assert rig.disk.files == {}


async def test_stopping_while_the_camera_rests(clock: MockClock) -> None:
    """The receipt comes at once, with the gap until now."""
    async with open_camera_rig(streams(2.2), refuses("[error] x"), refuses("[error] x")) as rig:
        await rig.camera.start_recording(REQUEST)
        await rig.until(CameraState.RESTING)
        await trio.sleep(0.3)
        before = trio.current_time()
        session = await rig.camera.stop_recording()
        assert trio.current_time() == before
        (gap,) = session.gaps
        assert (gap.cause, gap.exact) == (GapCause.ENCODER_EXIT, False)
        assert (gap.start, gap.end) == (at(2.0), at(2.5))
        rig.check(session)
        await rig.until(CameraState.IDLE)
        await trio.sleep(60)
        assert len(rig.launcher.processes) == 1


async def test_stopping_while_the_camera_is_stuck(clock: MockClock) -> None:
    """The stop waits four seconds for frames in flight; then the session ends without them."""
    async with open_camera_rig(hangs(2.0, deaf=True)) as rig:
        rig.launcher.unkillable = True
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(4.0)
        session = await rig.camera.stop_recording()
        assert trio.current_time() == 8.0
        assert session.frames_written == 20
        (gap,) = session.gaps
        assert (gap.cause, gap.start, gap.end) == (GapCause.CAMERA_STALLED, at(2.0), at(4.0))
        rig.check(session)
        await rig.camera.published.wait_until(lambda s: s.problem == HUNG)
        for child in rig.launcher.processes:
            child._killed.cancel()
        await rig.until(CameraState.IDLE)


async def test_frames_in_a_killed_process_are_an_entry(clock: MockClock) -> None:
    """A process that waits for its source has to be killed; the frames in it are an entry."""
    async with open_camera_rig(hangs(2.0, deaf=True)) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(4.0)
        session = await rig.camera.stop_recording()
        assert trio.current_time() == 7.0
        (gap,) = session.gaps
        assert (gap.cause, gap.start, gap.end) == (GapCause.CAMERA_STALLED, at(2.0), at(4.0))
        rig.check(session)
        await rig.until(CameraState.IDLE)
        assert rig.camera.status.problem is None


async def test_a_second_session_uses_the_camera_again(clock: MockClock) -> None:
    """After a stop the next start works, even before the old process has exited."""
    async with open_camera_rig() as rig:
        first = await rig.camera.start_recording(REQUEST)
        await rig.camera.stop_recording()
        second = await rig.camera.start_recording(OTHER_REQUEST)
        assert second.session_id != first.session_id
        assert second.segments[0].filename != first.segments[0].filename


# --- sessions that end by themselves ------------------------------------------------------


async def test_a_timed_session_ends_by_itself(clock: MockClock) -> None:
    """It has the duration that was asked for, within a fragment."""
    async with open_camera_rig() as rig:
        wish = RecordingRequest("ann", duration=timedelta(seconds=3.2))
        await rig.camera.start_recording(wish)
        await rig.idle()
        session = rig.storage.sessions[-1]
        assert (session.state, session.reason) == (SessionState.ENDED, "duration")
        assert 32 <= session.frames_written <= 37
        rig.check(session)
        assert rig.events_told == ["STARTED", "STOPPED duration"]


async def test_a_stopped_sessions_timer_does_not_end_the_next_one(clock: MockClock) -> None:
    """The timer of a session ends with it."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(RecordingRequest("ann", duration=timedelta(seconds=4)))
        await rig.camera.stop_recording()
        second = await rig.camera.start_recording(OTHER_REQUEST)
        await trio.sleep(30)
        session = rig.camera.status.session
        assert session is not None
        assert (session.session_id, session.state) == (second.session_id, SessionState.RECORDING)


async def test_a_source_that_has_been_played_ends_its_session(clock: MockClock) -> None:
    """Nothing is missing: no gap, no second process."""
    async with open_camera_rig(plays_once(3.3), once=True) as rig:
        await rig.camera.start_recording(REQUEST)
        await rig.idle()
        session = rig.storage.sessions[-1]
        assert (session.frames_written, session.reason, session.gaps) == (33, "source_ended", ())
        rig.check(session)
        await rig.until(CameraState.IDLE)
        assert len(rig.launcher.processes) == 1


async def test_the_end_of_a_file_does_not_end_the_next_session(clock: MockClock) -> None:
    """A session that is admitted while the file ends is recorded from the next capture."""
    async with open_camera_rig(plays_once(3.0), always_on=True, once=True) as rig:
        await trio.sleep_until(2.9)
        rig.space.seconds = 0.2
        session = await rig.camera.start_recording(REQUEST)
        assert trio.current_time() == pytest.approx(3.1)
        await trio.sleep_until(5.2)
        assert rig.camera.status.session is not None
        assert rig.camera.status.session.session_id == session.session_id
        assert rig.camera.status.session.state is SessionState.RECORDING
        session = await rig.camera.stop_recording()
        assert [segment.frames for segment in session.segments] == [10, 25]


# --- always on ----------------------------------------------------------------------------


async def test_a_camera_that_is_always_on_keeps_its_process(clock: MockClock) -> None:
    """Its process outlives sessions; a stop waits only for the fragment in flight."""
    async with open_camera_rig(always_on=True) as rig:
        await rig.until(CameraState.STREAMING)
        await trio.sleep_until(3.2)
        session = await rig.camera.start_recording(REQUEST)
        assert trio.current_time() == 3.2
        assert session.preroll_seconds == 1.2
        await trio.sleep_until(5.2)
        session = await rig.camera.stop_recording()
        assert trio.current_time() == 5.5
        assert (session.start, session.end) == (at(2.0), at(5.5))
        rig.check(session)
        await rig.idle()
        assert rig.camera.status.state is CameraState.STREAMING
        assert [child.signals for child in rig.launcher.processes] == [[]]


async def test_a_camera_that_is_always_on_starts_again_by_itself(clock: MockClock) -> None:
    """The capture starts again without a call."""
    async with open_camera_rig(streams(2.0), always_on=True) as rig:
        await rig.until(CameraState.RESTING)
        await rig.until(CameraState.STREAMING)
        assert len(rig.launcher.processes) == 2


# --- rotation -----------------------------------------------------------------------------


async def test_rotation_loses_nothing(clock: MockClock) -> None:
    """The frames of all segments, joined, are what FFmpeg delivered (I3)."""
    recording = RecordingConfig(rotation=timedelta(seconds=2))
    async with open_camera_rig(recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep(20.2)
        session = await rig.camera.stop_recording()
        assert len(session.segments) == 11
        assert [segment.number for segment in session.segments] == list(range(11))
        assert all(
            one.end == two.start
            for one, two in zip(session.segments, session.segments[1:], strict=False)
        )
        rig.check(session)
        (child,) = rig.launcher.processes
        sent = b"".join(data[data.index(b"mdat") + 4 :] for data in child.stream.sent)
        assert rig.pictures(session) == sent
        assert rig.events_told == ["STARTED", *["ROTATED"] * 10, "STOPPED stopped"]


async def test_rotation_by_size(clock: MockClock) -> None:
    """No file grows beyond the configured size, except for its final index."""
    recording = RecordingConfig(max_file_size=6000)
    async with open_camera_rig(recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep(20.2)
        session = await rig.camera.stop_recording()
        rig.check(session)
        assert len(session.segments) > 4
        assert all(segment.size_bytes < 6000 + 1500 for segment in session.segments)


async def test_other_settings_reach_the_running_session(clock: MockClock) -> None:
    """A running session rotates by the new interval from then on."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep(5.2)
        assert rig.events_told == ["STARTED"]
        rig.camera.reconfigure(RecordingConfig(rotation=timedelta(seconds=1)))
        await trio.sleep(5)
        session = await rig.camera.stop_recording()
        rig.check(session)
        assert rig.events_told[1:-1] == ["ROTATED"] * 5


# --- events -------------------------------------------------------------------------------


async def test_progress_is_reported_every_five_seconds(clock: MockClock) -> None:
    """From the first frame on disk until the stop."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        began, told = trio.current_time(), []

        def listen(event: object) -> None:
            if isinstance(event, RecordingChanged) and event.kind is RecordingEventKind.PROGRESS:
                told.append((trio.current_time() - began, event.session.frames_written))

        with rig.camera._events.subscribed(listen):
            await trio.sleep(17)
            await rig.camera.stop_recording()
            await trio.sleep(30)
        assert [seconds for seconds, _ in told] == [5, 10, 15]
        assert [frames for _, frames in told] == sorted({frames for _, frames in told})


async def test_events_come_in_the_order_of_what_happened(clock: MockClock) -> None:
    """A client that only listens gets every change, in order."""
    recording = RecordingConfig(rotation=timedelta(seconds=2))
    async with open_camera_rig(streams(3.2), recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep(4)
        await rig.camera.stop_recording()
        assert rig.events_told == [
            "STARTED",
            "ROTATED",
            "GAP encoder_exit",
            "ROTATED",
            "STOPPED stopped",
        ]
        first, second = "IDLE STARTING STREAMING RESTING", "STARTING STREAMING STOPPING IDLE"
        assert rig.states == [*first.split(), *second.split()]


async def test_closing_seals(clock: MockClock) -> None:
    """When the service stops, a session ends as usual: sealed, with the frames in flight."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep(2.2)
        await rig.camera.close()
        session = rig.storage.sessions[-1]
        assert (session.state, session.reason) == (SessionState.WAITING, "shutdown")
        assert session.frames_written == 27
        rig.check(session)
        for call in (rig.camera.start_recording(OTHER_REQUEST), rig.camera.stop_recording()):
            assert (await refused(call)).kind.code == -1021
