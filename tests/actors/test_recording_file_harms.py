"""Another program changes the file that is being recorded: it is noticed, reported, and bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from support.camera_rig import (
    FOLDER,
    RECORDING,
    REQUEST,
    CameraRig,
    at,
    open_camera_rig,
)
from support.fake_ffmpeg import Behaviour, streams
from trio.testing import MockClock

from camd.api.result_fields import receipt
from camd.config.schema import RecordingConfig
from camd.model import GapCause, SegmentState, Session, SessionState
from camd.mp4.inspect import sealed_moov_offset


def newest(rig: CameraRig) -> Path:
    """Name the file that is being recorded."""
    session = rig.camera.status.session
    assert session is not None
    return FOLDER / session.segments[-1].filename


def adds_up(rig: CameraRig, session: Session) -> None:
    """I4: what was captured is in files that are there, or in the ledger."""
    lost = sum(gap.frames for gap in session.gaps if gap.exact)
    assert session.frames_captured == session.frames_written + lost
    assert session.frames_written == sum(segment.frames for segment in session.segments)
    assert list(session.gaps) == rig.storage.gaps
    kept = [s for s in session.segments if s.state is not SegmentState.MISSING]
    assert rig.space.stored_bytes == sum(segment.size_bytes for segment in kept)
    assert rig.storage.still_growing == []
    assert rig.disk.open_files == 0


@asynccontextmanager
async def recorded_until(
    moment: float, *parts: Behaviour, recording: RecordingConfig = RECORDING
) -> AsyncIterator[tuple[CameraRig, Path]]:
    """Record until then; yield the rig, and the name of the newest file."""
    async with open_camera_rig(*parts, recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(moment)
        yield rig, newest(rig)


async def long_groups(child: object) -> int:
    """Deliver a key frame every five seconds."""
    child.stream.group = 50  # type: ignore[attr-defined]
    return await streams()(child)  # type: ignore[arg-type]


async def test_a_file_that_is_removed_is_missed_within_a_second(clock: MockClock) -> None:
    """The next file begins at once, with the newest GOP; the rest is in the ledger."""
    async with recorded_until(13.2, long_groups) as (rig, first):
        del rig.disk.files[first]
        await trio.sleep_until(14.2)
        assert newest(rig) in rig.disk.files
        (gap,) = rig.storage.gaps
        assert (gap.cause, gap.exact, gap.frames) == (GapCause.FILE_REMOVED, True, 100)
        assert (gap.start, gap.end) == (at(0), at(10))
        assert first.name in gap.action
        assert "removed" in gap.action
        await trio.sleep_until(15.2)
        assert rig.camera.status.session is not None
        assert rig.camera.status.session.healthy
        session = await rig.camera.stop_recording()
        assert [s.state for s in session.segments] == [SegmentState.MISSING, SegmentState.SEALED]
        assert [s.frames for s in session.segments] == [0, 52]
        assert session.segments[1].start == at(10)
        adds_up(rig, session)
        assert any("was removed" in kind for kind in rig.events_told)
        assert any(kind == "GAP file_removed" for kind in rig.events_told)


async def test_a_first_group_that_is_removed_is_not_lost(clock: MockClock) -> None:
    """All of it can still be read: it goes into the next file, under another name."""
    async with recorded_until(2.2, long_groups) as (rig, gone):
        del rig.disk.files[gone]
        await trio.sleep_until(7.2)
        session = await rig.camera.stop_recording()
        assert session.gaps == ()
        assert [segment.frames for segment in session.segments] == [0, 72]
        first, second = (segment.filename for segment in session.segments)
        assert second == first.replace(".mp4", "_1.mp4")
        assert not receipt(session)["durable"]
        adds_up(rig, session)


async def test_a_session_waits_where_frames_cannot_be_read_back(clock: MockClock) -> None:
    """Until the next key frame the session is waiting, and is not healthy."""
    async with recorded_until(2.2, long_groups) as (rig, first):
        del rig.disk.files[first].data[3000:]
        status = await rig.camera.published.wait_until(
            lambda status: status.session and status.session.state is SessionState.WAITING
        )
        assert trio.current_time() < 4.2
        assert not status.session.healthy
        assert "cut short" in status.session.reason
        await trio.sleep_until(7.2)
        session = await rig.camera.stop_recording()
        assert {gap.cause for gap in session.gaps} == {GapCause.FILE_REMOVED}
        whole, *_ = session.segments
        assert sum(gap.frames for gap in session.gaps) == 50 - whole.frames
        assert session.segments[-1].frames == 22
        adds_up(rig, session)


async def test_a_file_removed_right_before_the_stop_is_not_called_durable(
    clock: MockClock,
) -> None:
    """The receipt lists the removed file as missing, although nothing was written since."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(5.0)
        stopped = trio.Event()
        ended: list[Session] = []

        async def stop() -> None:
            ended.append(await rig.camera.stop_recording())
            stopped.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await trio.lowlevel.checkpoint()
            del rig.disk.files[newest(rig)]
        (session,) = ended
        assert session.segments[0].state is SegmentState.MISSING
        assert not receipt(session)["durable"]
        assert sum(gap.frames for gap in session.gaps) + session.frames_written == 50
        adds_up(rig, session)


async def test_a_file_removed_right_before_a_rotation_is_not_called_sealed(
    clock: MockClock,
) -> None:
    """The seal notices the removal; the newest frames go into the next file."""
    recording = RecordingConfig(rotation=timedelta(seconds=2))
    async with recorded_until(4.2, recording=recording) as (rig, second):
        del rig.disk.files[second]
        await trio.sleep_until(5.2)
        session = await rig.camera.stop_recording()
        states = [segment.state for segment in session.segments]
        assert states == [SegmentState.SEALED, SegmentState.MISSING, SegmentState.SEALED]
        assert session.segments[1].filename == second.name
        (gap,) = session.gaps
        assert (gap.cause, gap.exact, gap.frames) == (GapCause.FILE_REMOVED, True, 20)
        assert (gap.start, gap.end) == (at(2), at(4))
        assert not receipt(session)["durable"]
        adds_up(rig, session)


async def test_a_file_that_is_renamed_keeps_its_pictures(clock: MockClock) -> None:
    """It is sealed where it is, and the session goes on in another file."""
    async with recorded_until(5.2) as (rig, first):
        rig.disk.files[FOLDER / "mine.mp4"] = moved = rig.disk.files.pop(first)
        await trio.sleep_until(8.2)
        session = await rig.camera.stop_recording()
        assert session.gaps == ()
        assert [s.state for s in session.segments] == [SegmentState.MISSING, SegmentState.SEALED]
        assert [s.frames for s in session.segments] == [40, 42]
        assert sealed_moov_offset(bytes(moved.data)) is not None
        assert not receipt(session)["durable"]
        adds_up(rig, session)


async def test_a_file_that_replaces_the_segment_is_not_changed(clock: MockClock) -> None:
    """The replacement is not changed."""
    async with recorded_until(5.2) as (rig, first):
        del rig.disk.files[first]
        rig.disk.create(first).append([b"mine"])
        await trio.sleep_until(8.2)
        session = await rig.camera.stop_recording()
        assert bytes(rig.disk.files[first].data) == b"mine"
        (gap,) = session.gaps
        assert (gap.cause, gap.frames) == (GapCause.FILE_REMOVED, 40)
        rig.disk.files[first].close()
        adds_up(rig, session)


@pytest.mark.parametrize("size", [0, 5, 900, 2500, 4000])
async def test_a_file_that_is_truncated_keeps_its_whole_fragments(
    clock: MockClock, size: int
) -> None:
    """What is left is sealed and playable; the lost frames are in the ledger, exactly."""
    async with recorded_until(5.2) as (rig, first):
        assert len(rig.disk.files[first].data) > 5000
        del rig.disk.files[first].data[size:]
        await trio.sleep_until(8.2)
        session = await rig.camera.stop_recording()
        (gap,) = session.gaps
        assert (gap.cause, gap.exact) == (GapCause.FILE_REMOVED, True)
        assert gap.end == at(5.0)
        whole = session.segments[0]
        assert whole.frames + gap.frames == 50
        assert (whole.frames > 0) == (size >= 2500)
        if whole.frames:
            assert whole.state is SegmentState.SEALED
            assert whole.sha256 is None
            assert len(rig.disk.files[first].data) == whole.size_bytes
            assert gap.start == whole.end
        adds_up(rig, session)


async def test_a_volume_that_goes_is_no_removal(clock: MockClock) -> None:
    """A file that another file system hides counts as whole, not as removed."""
    async with recorded_until(5.2) as (rig, first):
        away = rig.disk.files.pop(first)
        rig.disk.files[Path("/elsewhere") / first.name] = away
        rig.disk.device = 2
        await trio.sleep_until(5.7)
        rig.disk.device = 1
        rig.disk.files[first] = away
        await trio.sleep_until(9.2)
        session = await rig.camera.stop_recording()
        assert {gap.cause for gap in session.gaps} == {GapCause.STORAGE_ERROR}
        assert session.segments[0].state is SegmentState.SEALED
        assert session.segments[0].frames == 50
        adds_up(rig, session)
