"""Files and folders are removed during a real recording."""

from __future__ import annotations

import shutil
from pathlib import Path

import imageio_ffmpeg
import trio
from real_camera import REQUEST, open_real_camera

from camd.model import GapCause, SegmentState, SessionState
from camd.sources import SyntheticSource

BUNDLED = Path(imageio_ffmpeg.get_ffmpeg_exe())
SMALL = SyntheticSource(160, 90, 25)


async def test_a_file_that_is_removed_is_followed_by_another(tmp_path: Path) -> None:
    """The status names the next file, which holds the later frames; the ledger has the rest."""
    with trio.fail_after(100):
        async with open_real_camera(BUNDLED, tmp_path, SMALL) as rig:
            started = await rig.camera.start_recording(REQUEST)
            await rig.grow(30)
            name = started.segments[0].filename
            await trio.Path(tmp_path / name).unlink()
            await rig.camera.published.wait_until(
                lambda status: status.session is not None and len(status.session.segments) == 2
            )
            await rig.camera.published.wait_until(
                lambda status: status.session is not None and status.session.healthy
            )
            session = await rig.camera.stop_recording()
            listed = await rig.storage.recording(name)
    first, second = session.segments
    assert (first.filename, first.state, first.frames) == (name, SegmentState.MISSING, 0)
    assert listed[0].state is SegmentState.MISSING
    assert second.state is SegmentState.SEALED
    (gap,) = session.gaps
    assert (gap.cause, gap.exact) == (GapCause.FILE_REMOVED, True)
    assert session.frames_captured == second.frames + gap.frames
    assert second.start - gap.end < second.end - second.start


async def test_a_folder_that_is_removed_is_no_recording(tmp_path: Path) -> None:
    """The session waits, and says so; when the folder is back it goes on."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    state = tmp_path / "state"
    with trio.fail_after(100):
        async with open_real_camera(BUNDLED, folder, SMALL, state_dir=state) as rig:
            await rig.camera.start_recording(REQUEST)
            await rig.grow(30)
            await trio.to_thread.run_sync(shutil.rmtree, folder)
            status = await rig.camera.published.wait_until(
                lambda status: (
                    status.session is not None and status.session.state is SessionState.WAITING
                )
            )
            assert status.session is not None
            assert not status.session.healthy
            await rig.storage.published.wait_until(lambda status: status.level.value == "missing")
            await trio.Path(folder).mkdir()
            await rig.until_session(SessionState.RECORDING)
            await rig.grow(10)
            session = await rig.camera.stop_recording()
    assert session.segments[0].state is SegmentState.MISSING
    assert session.segments[-1].state is SegmentState.SEALED
    causes = {gap.cause for gap in session.gaps}
    assert GapCause.FILE_REMOVED in causes
    assert causes <= {GapCause.FILE_REMOVED, GapCause.STORAGE_ERROR}
    lost = sum(gap.frames for gap in session.gaps if gap.exact)
    assert session.frames_captured == session.frames_written + lost
    kept = [s for s in session.segments if s.state is SegmentState.SEALED]
    assert session.frames_written == sum(segment.frames for segment in kept)
