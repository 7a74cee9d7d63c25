"""Pre-roll: how far back recordings begin, with what, and how much memory it takes."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from support.camera_rig import OTHER_REQUEST, REQUEST, CameraRig, at, open_camera_rig
from support.fake_ffmpeg import plays_once, streams
from trio.testing import MockClock

from camd.config.schema import RecordingConfig
from camd.model import CameraState, RecordingRequest, Session

TEN = RecordingConfig(preroll=timedelta(seconds=10))


def wish(seconds: float, **more: object) -> RecordingRequest:
    """Ask for so much pre-roll."""
    return RecordingRequest("ann", preroll=timedelta(seconds=seconds), **more)  # type: ignore[arg-type]


def held(rig: CameraRig) -> int:
    """Return how many bytes of pre-roll the hub keeps."""
    return rig.camera.hub.preroll.size_bytes


def check_pictures(rig: CameraRig, session: Session, first: int) -> None:
    """Compare the session's frames with what FFmpeg sent from its `first` frame on."""
    rig.check(session)
    (child,) = rig.launcher.processes
    sent = b"".join(data[data.index(b"mdat") + 4 :] for data in child.stream.sent)
    behind = sent[first * child.stream.frame_bytes :]
    assert rig.pictures(session) == behind[: session.frames_written * child.stream.frame_bytes]


async def test_a_start_begins_with_preroll(clock: MockClock) -> None:
    """It begins at the latest key frame that is old enough, is answered at once and named by it."""
    async with open_camera_rig(recording=TEN) as rig:
        await trio.sleep_until(30.2)
        session = await rig.camera.start_recording(REQUEST)
        assert trio.current_time() == 30.2
        assert (session.start, session.preroll_seconds, session.warnings) == (at(20), 10.2, ())
        assert session.segments[0].filename == "camera0_2026-01-15_14-30-20.mp4"
        await trio.sleep_until(35.2)
        session = await rig.camera.stop_recording()
        assert (session.start, session.end, session.gaps) == (at(20), at(35.5), ())
        assert session.elapsed_seconds == 15.5
        check_pictures(rig, session, 200)


@pytest.mark.parametrize(
    ("asked", "start", "warnings"),
    [
        (0, 29, ()),
        (0.1, 29, ()),
        (0.5, 29, ()),
        (3.2, 27, ()),
        (10, 20, ()),
        (25, 18, ("Pre-roll: 25 s were asked for, 10 s are kept",)),
    ],
)
async def test_as_much_as_is_asked_for(
    clock: MockClock, asked: float, start: int, warnings: tuple[str, ...]
) -> None:
    """Up to what is configured; a longer request gets what there is, and a warning."""
    async with open_camera_rig(recording=TEN) as rig:
        await trio.sleep_until(30.2)
        session = await rig.camera.start_recording(wish(asked))
        assert (session.start, session.warnings) == (at(start), warnings)
        assert session.preroll_seconds == pytest.approx(30.2 - start)
        session = await rig.camera.stop_recording()
        check_pictures(rig, session, start * 10)


async def test_a_camera_that_has_just_begun_has_a_short_preroll(clock: MockClock) -> None:
    """The answer has the pre-roll that was there."""
    async with open_camera_rig(recording=TEN) as rig:
        await trio.sleep_until(3.2)
        session = await rig.camera.start_recording(REQUEST)
        assert (session.start, session.preroll_seconds) == (at(0), 3.2)


async def test_the_preroll_goes_on_after_a_stop(clock: MockClock) -> None:
    """The capture goes on; the next session has its full pre-roll, also of recorded frames."""
    async with open_camera_rig(recording=TEN) as rig:
        await rig.until(CameraState.STREAMING)
        await trio.sleep_until(12.2)
        first = await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(15.2)
        first = await rig.camera.stop_recording()
        check_pictures(rig, first, 20)
        assert rig.camera.status.state is CameraState.STREAMING
        second = await rig.camera.start_recording(OTHER_REQUEST)
        assert (second.start, second.preroll_seconds) == (at(5), 10.5)
        assert second.start < (first.end or at(0))
        assert len(rig.launcher.processes) == 1


async def test_the_preroll_comes_on_top_of_the_duration(clock: MockClock) -> None:
    """Three seconds with ten of pre-roll are thirteen, and the fragment in flight."""
    async with open_camera_rig(recording=TEN) as rig:
        await trio.sleep_until(30.2)
        await rig.camera.start_recording(wish(10, duration=timedelta(seconds=3.2)))
        await rig.idle()
        session = rig.storage.sessions[-1]
        assert session.reason == "duration"
        assert (session.start, session.end) == (at(20), at(33.5))
        check_pictures(rig, session, 200)


async def test_a_slow_admission_costs_no_preroll(clock: MockClock) -> None:
    """The moment of the request counts."""
    async with open_camera_rig(recording=TEN) as rig:
        await trio.sleep_until(30.2)
        rig.space.seconds = 1.5
        session = await rig.camera.start_recording(REQUEST)
        assert (session.start, session.preroll_seconds) == (at(20), 10.2)


async def test_the_preroll_of_an_ended_capture_is_dropped(clock: MockClock) -> None:
    """Frames of an ended capture do not fit together with those of the next one."""
    async with open_camera_rig(streams(8.2), recording=TEN) as rig:
        await rig.until(CameraState.RESTING)
        assert held(rig) == 0
        await trio.sleep_until(12.9)
        session = await rig.camera.start_recording(REQUEST)
        assert session.start == at(8.7)
        rig.check(await rig.camera.stop_recording())


async def test_memory_is_given_back(clock: MockClock) -> None:
    """When no capture delivers any more, nothing is kept."""
    async with open_camera_rig(plays_once(8.2), once=True, recording=TEN) as rig:
        await trio.sleep_until(8.1)
        assert held(rig) > 8000
        await rig.until(CameraState.IDLE)
        assert held(rig) == 0


async def test_the_preroll_is_bounded_in_bytes_and_fits_into_the_queue(clock: MockClock) -> None:
    """All pre-roll that is kept reaches the file; the answer does not claim more."""
    recording = RecordingConfig(preroll=timedelta(seconds=60), preroll_size=15_000)
    async with open_camera_rig(recording=recording, queue_bytes=2000) as rig:
        await trio.sleep_until(60.2)
        assert 10_000 < held(rig) <= 15_000
        session = await rig.camera.start_recording(REQUEST)
        assert 8 < session.preroll_seconds < 12
        await trio.sleep_until(70.2)
        assert held(rig) <= 15_000
        session = await rig.camera.stop_recording()
        assert session.gaps == ()
        check_pictures(rig, session, round((session.start - at(0)).total_seconds() * 10))


async def test_an_old_first_frame_does_not_disturb_the_clock(clock: MockClock) -> None:
    """Minutes of pre-roll count as recorded time."""
    recording = RecordingConfig(preroll=timedelta(seconds=300))
    async with open_camera_rig(recording=recording) as rig:
        await trio.sleep_until(400.2)
        session = await rig.camera.start_recording(REQUEST)
        assert (session.preroll_seconds, session.elapsed_seconds) == (300.2, 300.2)
