"""The size of a file is limited, as on FAT: no frame is lost, and no entry is made."""

from __future__ import annotations

import pytest
import trio
from support.camera_rig import REQUEST, open_camera_rig
from support.fake_ffmpeg import streams
from trio.testing import MockClock

from camd.model import GapCause, SegmentState, Session, StorageLevel
from camd.mp4.inspect import sealed_moov_offset


def is_whole(session: Session, frames: int) -> None:
    """Every frame is in a sealed file, and the files join without a seam."""
    assert session.gaps == ()
    assert {segment.state for segment in session.segments} == {SegmentState.SEALED}
    assert sum(segment.frames for segment in session.segments) == frames
    assert session.frames_captured == session.frames_written == frames
    assert [s.number for s in session.segments] == list(range(len(session.segments)))
    for before, after in zip(session.segments, session.segments[1:], strict=False):
        assert before.end == after.start


async def test_a_known_limit_is_never_met(clock: MockClock) -> None:
    """The next file begins at a key frame while frames and final index still have room."""
    async with open_camera_rig() as rig:
        rig.disk.known_limit = rig.disk.hard_limit = 40_000
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(60.2)
        session = await rig.camera.stop_recording()
        is_whole(session, 602)
        rig.check(session)
        assert rig.space.stored_bytes == sum(len(f.data) for f in rig.disk.files.values())
        assert 3 < len(session.segments) < 12
        assert all(s.frames % 10 == 0 for s in session.segments[:-1])
        for file in rig.disk.files.values():
            assert len(file.data) <= 40_000
            assert sealed_moov_offset(bytes(file.data)) is not None


@pytest.mark.parametrize("limit", range(30_000, 34_000, 250))
async def test_a_limit_that_is_met_costs_nothing(clock: MockClock, limit: int) -> None:
    """Wherever EFBIG comes, the newest frames move into the next file; it comes only once."""
    async with open_camera_rig() as rig:
        rig.disk.hard_limit = limit
        levels: list[StorageLevel] = []
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(80.2)
        levels.append(rig.storage.status.level)
        session = await rig.camera.stop_recording()
        is_whole(session, 802)
        rig.check(session)
        assert rig.space.stored_bytes == sum(len(f.data) for f in rig.disk.files.values())
        assert levels == [StorageLevel.OK]
        assert limit - 1000 <= (rig.disk.known_limit or 0) <= limit
        assert "ERROR" not in " ".join(rig.events_told)
        assert not any(kind.startswith("GAP") for kind in rig.events_told)
        for file in rig.disk.files.values():
            assert len(file.data) <= limit
            assert sealed_moov_offset(bytes(file.data)) is not None


async def test_frames_that_move_are_durable_before_they_are_removed(clock: MockClock) -> None:
    """A power cut during the move leaves the frames twice, or once, but never lost."""
    async with open_camera_rig() as rig:
        cuts: list[bool] = []

        def watch(what: str) -> None:
            if what == "truncate" and len(rig.disk.files) > 1:  # else it removes a torn write
                *_, moved = rig.disk.files.values()
                cuts.append(bytes(moved.data) == moved.durable)

        rig.disk.watch = watch
        rig.disk.hard_limit = 40_150
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(40.2)
        rig.check(await rig.camera.stop_recording())
        assert cuts[0]
        assert all(cuts)


async def test_a_final_index_without_room_moves_pictures_too(clock: MockClock) -> None:
    """A stop seals although the final index does not fit into the file."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(20.2)
        (file,) = rig.disk.files.values()
        rig.disk.hard_limit = len(file.data) + 300
        session = await rig.camera.stop_recording()
        is_whole(session, 202)
        rig.check(session)
        assert len(session.segments) > 1
        assert session.durable


async def test_a_group_of_pictures_that_no_file_holds_is_ledgered(clock: MockClock) -> None:
    """Without a key frame before the limit, frames without room are counted; nothing pauses."""

    async def long_groups(child: object) -> int:
        child.stream.group = 2000  # type: ignore[attr-defined]
        return await streams()(child)  # type: ignore[arg-type]

    async with open_camera_rig(long_groups) as rig:
        rig.disk.hard_limit = 30_000
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(60.2)
        session = await rig.camera.stop_recording()
        (gap,) = session.gaps
        assert (gap.cause, gap.exact) == (GapCause.STORAGE_ERROR, True)
        assert "may not become so large" in gap.action
        assert sum(segment.frames for segment in session.segments) + gap.frames == 602
        assert rig.storage.status.level is StorageLevel.OK
        rig.check(session)
