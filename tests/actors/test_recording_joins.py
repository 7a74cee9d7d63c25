"""Captures that begin between two key frames: no entry blames the disk."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from support.camera_rig import REQUEST, open_camera_rig
from support.fake_ffmpeg import Behaviour, FakeFfmpeg, streams
from support.media_streams import FPS, TICKS, VIDEO_AND_AUDIO, Sample, fragment
from trio.testing import MockClock

from camd.config.schema import RecordingConfig
from camd.errors import Refusal
from camd.model import CameraState, Session

SOUND = [Sample(10, 1024) for _ in range(23)]


def joined(*, frames_before: int) -> Behaviour:
    """Deliver sound for two seconds before the first key frame.

    `frames_before` frames come shortly before it.
    """

    async def part(child: FakeFfmpeg) -> int:
        child.write(VIDEO_AND_AUDIO)
        for number in range(400):
            await trio.sleep(0.5)
            if child.told_to_end.is_set():
                break
            tracks = [(2, number * 24_000, SOUND)]
            first = 20 - frames_before
            if number == 3 and frames_before:
                early = [Sample(100, TICKS, sync=False)] * frames_before
                tracks.append((1, first * TICKS, early))
            if number >= 4:
                picture = [Sample(100, TICKS, sync=not at and not number % 2) for at in range(5)]
                tracks.append((1, number * 5 * TICKS, picture))
            child.write(fragment(*tracks))
        return 255

    return part


async def _record(frames_before: int) -> Session:
    async with open_camera_rig(joined(frames_before=frames_before)) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(8.2)
        session = await rig.camera.stop_recording()
        assert session.frames_captured == session.frames_written + sum(
            gap.frames for gap in session.gaps
        )
        return session


async def test_sound_before_the_first_picture_is_not_missing(clock: MockClock) -> None:
    """It makes no entry in the ledger of a new session."""
    session = await _record(0)
    assert session.gaps == ()
    assert session.frames_written > 3 * FPS


async def test_a_session_begins_with_the_first_key_frame(clock: MockClock) -> None:
    """Frames before it are not part of a new session, and make no entry."""
    session = await _record(3)
    assert session.gaps == ()
    assert session.frames_written > 3 * FPS


async def test_a_start_without_another_key_frame_is_refused(clock: MockClock) -> None:
    """A start behind a key frame that the hub does not hold is refused after its time-out."""

    async def endless(child: FakeFfmpeg) -> int:
        child.stream.group = 10**9
        return await streams()(child)

    recording = RecordingConfig(answer_timeout=timedelta(hours=1))
    async with open_camera_rig(endless, always_on=True, recording=recording) as rig:
        rig.camera.hub.preroll.limit_bytes = 3000
        await rig.until(CameraState.STREAMING)
        await trio.sleep(10)
        rig.camera.reconfigure(RecordingConfig(answer_timeout=timedelta(seconds=6)))
        begun = trio.current_time()
        with trio.fail_after(30), pytest.raises(Refusal) as caught:
            await rig.camera.start_recording(REQUEST)
        assert caught.value.data["cause"] == "waiting_for_key_frame"
        assert trio.current_time() - begun < 7
        assert rig.camera.status.state is CameraState.STREAMING
        assert rig.camera.status.session is None


async def test_a_start_with_sound_alone_is_refused_by_its_name(clock: MockClock) -> None:
    """It is refused after at most three times the stall time-out, and names the problem."""

    async def frozen(child: FakeFfmpeg) -> int:
        child.write(VIDEO_AND_AUDIO)
        for number in range(1000):
            child.write(fragment((2, number * 23 * 1024, SOUND), sequence=number + 1))
            with trio.move_on_after(0.5):
                await child.told_to_end.wait()
                return 255
        return 1

    async with open_camera_rig(frozen) as rig:
        with trio.fail_after(30), pytest.raises(Refusal) as caught:
            await rig.camera.start_recording(REQUEST)
        assert caught.value.data["cause"] == "sound_only"
        assert 5 < trio.current_time() <= 15.5
