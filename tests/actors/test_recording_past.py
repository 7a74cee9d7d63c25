"""Recordings that begin in the past: how far, with what, and what it costs."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from support.camera_stage import (
    ANN,
    BOB,
    Stage,
    at,
    films,
    jump_clocks,
    open_stage,
    plays_once,
)
from trio.testing import MockClock

from camd.config.schema import RecordingConfig
from camd.model import CameraState, RecordingRequest, Session
from camd.recording import factory

TEN = RecordingConfig(preroll=timedelta(seconds=10))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> MockClock:
    """Nothing here takes any time."""
    jump_clocks(monkeypatch)
    return autojump_clock


def wish(seconds: float, **more: object) -> RecordingRequest:
    """Ask for so much of the past."""
    return RecordingRequest("ann", preroll=timedelta(seconds=seconds), **more)  # type: ignore[arg-type]


def held(stage: Stage) -> int:
    """Say how many bytes of the past the camera keeps."""
    return stage.camera.hub.ring.size_bytes


def check_pictures(stage: Stage, session: Session, first: int) -> None:
    """Compare the session's pictures with what the child sent from its `first` frame on."""
    stage.check(session)
    (child,) = stage.studio.children
    sent = b"".join(data[data.index(b"mdat") + 4 :] for data in child.film.sent)
    behind = sent[first * child.film.frame_bytes :]
    assert stage.pictures(session) == behind[: session.frames_written * child.film.frame_bytes]


async def test_a_start_begins_in_the_past(clock: MockClock) -> None:
    """At the latest key frame that is at least so old; answered at once, named by it."""
    async with open_stage(recording=TEN) as stage:
        await trio.sleep_until(30.2)
        session = await stage.camera.start_recording(ANN)
        assert trio.current_time() == 30.2
        assert (session.start, session.preroll_seconds, session.warnings) == (at(20), 10.2, ())
        assert session.segments[0].filename == "camera0_2026-01-15_14-30-20.mp4"
        await trio.sleep_until(35.2)
        session = await stage.camera.stop_recording()
        assert (session.start, session.end, session.gaps) == (at(20), at(35.5), ())
        assert session.elapsed_seconds == 15.5
        check_pictures(stage, session, 200)


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
    """Up to what is configured; more is answered with what there is, and a warning."""
    async with open_stage(recording=TEN) as stage:
        await trio.sleep_until(30.2)
        session = await stage.camera.start_recording(wish(asked))
        assert (session.start, session.warnings) == (at(start), warnings)
        assert session.preroll_seconds == pytest.approx(30.2 - start)
        session = await stage.camera.stop_recording()
        check_pictures(stage, session, start * 10)


async def test_a_camera_that_has_just_begun_has_a_short_past(clock: MockClock) -> None:
    """The answer tells what was achieved."""
    async with open_stage(recording=TEN) as stage:
        await trio.sleep_until(3.2)
        session = await stage.camera.start_recording(ANN)
        assert (session.start, session.preroll_seconds) == (at(0), 3.2)


async def test_the_past_goes_on_after_a_stop(clock: MockClock) -> None:
    """The camera stays on; the next session has its whole past, though another one wrote it."""
    async with open_stage(recording=TEN) as stage:
        await stage.until(CameraState.STREAMING)
        await trio.sleep_until(12.2)
        first = await stage.camera.start_recording(ANN)
        await trio.sleep_until(15.2)
        first = await stage.camera.stop_recording()
        check_pictures(stage, first, 20)
        assert stage.camera.status.state is CameraState.STREAMING
        second = await stage.camera.start_recording(BOB)
        assert (second.start, second.preroll_seconds) == (at(5), 10.5)
        assert second.start < (first.end or at(0))
        assert len(stage.studio.children) == 1


async def test_the_past_comes_on_top_of_the_duration(clock: MockClock) -> None:
    """Three seconds with ten of the past are thirteen, and what is in flight then."""
    async with open_stage(recording=TEN) as stage:
        await trio.sleep_until(30.2)
        await stage.camera.start_recording(wish(10, duration=timedelta(seconds=3.2)))
        await stage.idle()
        session = stage.storage.sessions[-1]
        assert session.reason == "duration"
        assert (session.start, session.end) == (at(20), at(33.5))
        check_pictures(stage, session, 200)


async def test_a_slow_admission_costs_nothing_of_the_past(clock: MockClock) -> None:
    """What counts is the moment of the request."""
    async with open_stage(recording=TEN) as stage:
        await trio.sleep_until(30.2)
        stage.guard.seconds = 1.5
        session = await stage.camera.start_recording(ANN)
        assert (session.start, session.preroll_seconds) == (at(20), 10.2)


async def test_the_past_of_a_dead_child_is_gone(clock: MockClock) -> None:
    """Its footage does not fit together with the next one's."""
    async with open_stage(films(8.2), recording=TEN) as stage:
        await stage.until(CameraState.RESTING)
        assert held(stage) == 0
        await trio.sleep_until(12.9)
        session = await stage.camera.start_recording(ANN)
        assert session.start == at(8.7)
        stage.check(await stage.camera.stop_recording())


async def test_memory_is_given_back(clock: MockClock) -> None:
    """When no child delivers any more, nothing is kept."""
    async with open_stage(plays_once(8.2), once=True, recording=TEN) as stage:
        await trio.sleep_until(8.1)
        assert held(stage) > 8000
        await stage.until(CameraState.IDLE)
        assert held(stage) == 0


async def test_the_past_is_bounded_in_bytes_and_fits_into_the_queue(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start never loses of its past what was kept; what was not kept was not promised."""
    monkeypatch.setattr(factory, "DEFAULT_LIMIT_BYTES", 2000)
    recording = RecordingConfig(preroll=timedelta(seconds=60), preroll_size=15_000)
    async with open_stage(recording=recording) as stage:
        await trio.sleep_until(60.2)
        assert 10_000 < held(stage) <= 15_000
        session = await stage.camera.start_recording(ANN)
        assert 8 < session.preroll_seconds < 12
        await trio.sleep_until(70.2)
        assert held(stage) <= 15_000
        session = await stage.camera.stop_recording()
        assert session.gaps == ()
        check_pictures(stage, session, round((session.start - at(0)).total_seconds() * 10))


async def test_an_old_first_frame_does_not_disturb_the_clock(clock: MockClock) -> None:
    """Minutes of the past count as recorded time."""
    recording = RecordingConfig(preroll=timedelta(seconds=300))
    async with open_stage(recording=recording) as stage:
        await trio.sleep_until(400.2)
        session = await stage.camera.start_recording(ANN)
        assert (session.preroll_seconds, session.elapsed_seconds) == (300.2, 300.2)
