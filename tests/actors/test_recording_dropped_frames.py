"""Frames that a camera leaves out are entered into the session's ledger, and reported."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from support.camera_rig import REQUEST, at, open_camera_rig
from support.fake_ffmpeg import skips, streams
from trio.testing import MockClock

from camd.config.schema import RecordingConfig
from camd.model import GapCause

DROPPED = GapCause.FRAMES_DROPPED_BY_SOURCE


async def test_drops_are_entered_when_the_intervals_are_regular_again(clock: MockClock) -> None:
    """Two drops close to each other are one entry; the sum of exact numbers does not change."""
    async with open_camera_rig(skips(5.0, 9.0, frames=10)) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(19.2)
        assert rig.events_told == ["STARTED"]
        await trio.sleep_until(23.2)
        assert rig.events_told == ["STARTED", f"GAP {DROPPED.value}"]
        session = await rig.camera.stop_recording()
        (gap,) = session.gaps
        assert (gap.cause, gap.exact, gap.frames) == (DROPPED, False, 20)
        assert gap.duration_seconds == pytest.approx(2.0)
        assert (gap.start, gap.end) == (at(5.0), at(10.0))
        assert len(session.segments) == 1
        rig.check(session)


async def test_drops_are_entered_at_every_seal_and_at_the_end(clock: MockClock) -> None:
    """All drops of a file are entered when it is sealed, even if more follow at once."""
    recording = RecordingConfig(rotation=timedelta(seconds=20))
    part = skips(*range(5, 70, 5), frames=10)
    async with open_camera_rig(part, recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(70.2)
        session = await rig.camera.stop_recording()
        assert {gap.cause for gap in session.gaps} == {DROPPED}
        assert len(session.gaps) == len(session.segments) == 4
        sent = rig.launcher.processes[0].stream.frames
        assert sent == session.frames_written + sum(gap.frames for gap in session.gaps)
        rig.check(session)


async def test_a_drop_just_before_an_exit_has_its_own_entry(clock: MockClock) -> None:
    """Frames that the source left out and the outage after the exit are two entries."""
    async with open_camera_rig(skips(5.0, frames=10)) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(8.2)
        rig.launcher.processes[0]._killed.cancel()
        await trio.sleep_until(14.2)
        session = await rig.camera.stop_recording()
        assert [gap.cause for gap in session.gaps] == [DROPPED, GapCause.ENCODER_EXIT]
        assert session.gaps[0].frames == 10
        rig.check(session)


async def test_a_pause_of_the_disk_is_no_drop(clock: MockClock) -> None:
    """Frames that could not be written are accounted for once, and exactly."""
    async with open_camera_rig(streams()) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(5.2)
        rig.fill(96)
        await trio.sleep_until(8.2)
        rig.fill(50)
        await trio.sleep_until(15.2)
        session = await rig.camera.stop_recording()
        assert [gap.cause for gap in session.gaps] == [GapCause.STORAGE_FULL]
        rig.check(session)
