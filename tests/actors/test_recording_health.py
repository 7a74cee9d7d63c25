"""A session is reported as recording only while its frames become durable (I7)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from support.camera_rig import REQUEST, CameraRig, at, open_camera_rig
from support.fake_ffmpeg import FakeFfmpeg, hangs, refuses, streams
from support.media_streams import VIDEO_AND_AUDIO, Sample, fragment
from trio.testing import MockClock

from camd.model import CameraChanged, CameraState, GapCause, SessionState
from camd.model.problems import HUNG, STALLED
from camd.recording.rules.durability import AWAITS_CAMERA, AWAITS_DISK

Word = tuple[float, bool, SessionState, str]


@contextmanager
def heard(rig: CameraRig) -> Iterator[list[Word]]:
    """Collect each change of the session's health, state or reason in events."""
    words: list[Word] = []

    def listen(event: object) -> None:
        session = event.status.session if isinstance(event, CameraChanged) else None
        if session is not None:
            word = (trio.current_time(), session.healthy, session.state, session.reason)
            if not words or words[-1][1:] != word[1:]:
                words.append(word)

    with rig.camera._events.subscribed(listen):
        yield words


def healthy_at(words: list[Word], moment: float) -> bool:
    """Return the health that clients knew at `moment`."""
    return [healthy for time, healthy, _, _ in words if time <= moment][-1]


@pytest.mark.parametrize("durability", ["1s", "5s", "30s", "segment"])
async def test_a_camera_that_delivers_nothing_is_reported_within_seconds(
    clock: MockClock, durability: str
) -> None:
    """However rarely files are synced: when a camera ends, and when it only stalls."""
    for ending in (streams(3.2), hangs(3.2)):
        failing = [refuses("[error] Input/output error", after=0.0)] * 5
        async with open_camera_rig(ending, *failing, durability=durability) as rig:
            start = trio.current_time()
            with heard(rig) as words:
                await rig.camera.start_recording(REQUEST)
                await trio.sleep_until(start + 12)
                assert healthy_at(words, start + 3.2)
                assert not healthy_at(words, start + 9.5)
                await rig.camera.stop_recording()


async def test_a_process_that_cannot_be_ended_leaves_the_session_waiting(clock: MockClock) -> None:
    """While a process cannot be ended, the session is not RECORDING; the ledger names the cause."""
    async with open_camera_rig(hangs(2.0, deaf=True)) as rig:
        rig.launcher.unkillable = True
        with heard(rig) as words:
            await rig.camera.start_recording(REQUEST)
            await trio.sleep_until(40)
        assert rig.camera.status.problem == HUNG
        time, healthy, state, reason = words[-1]
        assert time < 9
        assert (healthy, state, reason) == (False, SessionState.WAITING, AWAITS_CAMERA)
        assert len(rig.launcher.processes) == 1
        rig.launcher.unkillable = False
        rig.launcher.processes[0]._killed.cancel()
        await rig.until(CameraState.STREAMING)
        await trio.sleep(2.2)
        session = await rig.camera.stop_recording()
        assert [(gap.cause, gap.start) for gap in session.gaps] == [(GapCause.CAMERA_HUNG, at(2.0))]
        rig.check(session)


async def test_a_disk_that_hangs_is_not_reported_as_the_camera(clock: MockClock) -> None:
    """Frames wait in memory: the session waits for the disk, and says so."""
    async with open_camera_rig() as rig:
        with heard(rig) as words:
            await rig.camera.start_recording(REQUEST)
            await trio.sleep_until(3.2)
            rig.storage.seconds = 20.0
            await trio.sleep_until(15)
            assert words[-1][1:] == (False, SessionState.WAITING, AWAITS_DISK)
            rig.storage.seconds = 0.0
            await trio.sleep_until(50)
            assert words[-1][1:3] == (True, SessionState.RECORDING)
        session = await rig.camera.stop_recording()
        assert session.gaps == ()
        rig.check(session)


async def _only_sound_after_two_seconds(child: FakeFfmpeg) -> int:
    """Deliver two seconds of pictures, then only sound until told to end."""
    child.write(VIDEO_AND_AUDIO)
    for number in range(400):
        with trio.move_on_after(0.5):
            await child.told_to_end.wait()
            return 255
        sound = fragment((2, number * 24000, [Sample(50, 24000)]), sequence=number)
        child.write(child.stream.next(5) if number < 4 else sound)
    return 255


async def test_sound_without_pictures_is_a_stall(clock: MockClock) -> None:
    """A capture with sound alone is noticed as soon as a silent one, and started again."""
    async with open_camera_rig(_only_sound_after_two_seconds) as rig:
        with heard(rig) as words:
            await rig.camera.start_recording(REQUEST)
            status = await rig.camera.published.wait_until(
                lambda status: status.state is CameraState.RESTING
            )
            assert trio.current_time() <= 5.5
            assert status.problem == STALLED
            await trio.sleep_until(8)
        assert words[-1][1] is True
        session = await rig.camera.stop_recording()
        assert [gap.cause for gap in session.gaps] == [GapCause.CAMERA_STALLED]


async def _resumes(child: FakeFfmpeg) -> int:
    """Stall until told to end, and deliver again before the exit."""
    child.write(child.stream.head)
    child.write(child.stream.next(20))
    await child.told_to_end.wait()
    for _ in range(8):
        await trio.sleep(0.25)
        child.write(child.stream.next(5))
    return 255


async def test_frames_between_the_stall_and_the_exit_are_recorded(clock: MockClock) -> None:
    """Frames before the exit are recorded; there is one stall, and one next process."""
    async with open_camera_rig(_resumes) as rig:
        await rig.camera.start_recording(REQUEST)
        await rig.until(CameraState.RESTING)
        await rig.until(CameraState.STREAMING)
        await trio.sleep(2.2)
        session = await rig.camera.stop_recording()
        assert session.frames_written == session.frames_captured
        assert session.segments[0].frames == 60
        assert GapCause.CAMERA_STALLED in {gap.cause for gap in session.gaps}
        assert len(rig.launcher.processes) == 2
        rig.check(session)
