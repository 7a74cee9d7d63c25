"""Unfinished conversions to Matroska are made at the next start, and nothing else is left."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import imageio_ffmpeg
import pytest
import trio
from click.testing import CliRunner
from real_camera import REQUEST, check_receipt, open_real_camera, packets
from structlog.testing import capture_logs
from support.fake_disk import roomy_disk

from camd.camera.unfinished import UnfinishedWork
from camd.cli.commands.file_commands import recover, verify
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import Config, RecordingConfig, StorageConfig
from camd.ffmpeg.binary import FFmpegBinary, find_ffmpeg
from camd.model import Segment, Session
from camd.recording import convert
from camd.runtime.broadcast import Fanout
from camd.sources import SyntheticSource
from camd.storage import filesystem
from camd.storage.recovery import file_recovery
from camd.storage.storage import Storage, open_storage

BUNDLED = Path(imageio_ffmpeg.get_ffmpeg_exe())
MATROSKA = RecordingConfig(format="mkv")


def script(folder: Path, text: str) -> Path:
    """Write an FFmpeg that runs `text` when it is asked for Matroska."""
    path = folder / "ffmpeg"
    path.write_text(f'#!/bin/sh\ncase "$*" in *matroska*) {text};; esac\nexec {BUNDLED} "$@"\n')
    path.chmod(0o755)
    return path


async def record(folder: Path, program: Path = BUNDLED) -> Segment:
    """Record a short session that is to be converted; return its file."""
    async with open_real_camera(
        program, folder, SyntheticSource(160, 90, 25), recording=MATROSKA
    ) as rig:
        await rig.camera.start_recording(REQUEST)
        await rig.grow(10)
        (segment,) = (await rig.camera.stop_recording()).segments
    return segment


class NoCameras:
    """No cameras, and the bundled FFmpeg."""

    def get(self, camera_id: object) -> None:
        """Return none."""

    async def find_program(self) -> FFmpegBinary:
        """Find the bundled FFmpeg."""
        return await find_ffmpeg(BUNDLED)


@asynccontextmanager
async def storage_of(folder: Path) -> AsyncIterator[Storage]:
    """Open the storage of a folder, as the next run of the daemon does."""
    config = StorageConfig(recordings_dir=folder, state_dir=folder / ".state")
    async with open_storage(config, Fanout(), roomy_disk(), clock=SYSTEM_CLOCK) as storage:
        yield storage


async def catch_up(storage: Storage) -> None:
    """Convert what was left."""
    work = UnfinishedWork(config=Config(), storage=storage, cameras=NoCameras(), clock=SYSTEM_CLOCK)
    await work.convert_files()


async def to_mkv(
    storage: Storage, segment: Segment, program: Path, seconds: float = 60.0
) -> Segment | None:
    """Convert one file with an FFmpeg, within a time."""
    ffmpeg = FFmpegBinary(program, (5, 1))
    return await convert.to_mkv(
        ffmpeg, storage, segment, clock=SYSTEM_CLOCK, timeout_seconds=seconds
    )


def files(folder: Path) -> list[str]:
    """List the recordings, and the partial files."""
    found = [*folder.iterdir(), *(folder / ".camd").iterdir()]
    return sorted(path.name for path in found if "camera0" in path.name)


async def test_an_interrupted_conversion_is_made_at_the_next_start(tmp_path: Path) -> None:
    """The announced name is found all the time, partial files are removed, and modes are kept."""
    folder = tmp_path / "recordings"
    with trio.fail_after(300):
        left = await record(folder, script(tmp_path, "exit 1"))
        assert left.filename.endswith(".mp4")
        before = packets(BUNDLED, folder / left.filename)
        mode = stat.S_IMODE((folder / left.filename).stat().st_mode)
        assert mode == 0o640
        mkv = left.filename.replace(".mp4", ".mkv")
        for part in (folder / f".{mkv}.part", folder / ".camd" / f"{mkv}.part"):
            part.write_bytes(b"half")
        async with storage_of(folder) as storage:
            assert (await storage.stored_file(mkv)).filename == left.filename
            await catch_up(storage)
            found, _ = await storage.recording(mkv)
    assert files(folder) == [mkv]
    made = folder / mkv
    assert packets(BUNDLED, made) == before
    assert stat.S_IMODE(made.stat().st_mode) == mode
    assert (found.number, found.frames, found.session_id) == (0, left.frames, left.session_id)
    assert found.sha256 == hashlib.sha256(made.read_bytes()[48:]).hexdigest()


async def test_a_whole_mkv_that_is_not_in_the_index_is_adopted(tmp_path: Path) -> None:
    """A kill between the rename and the index does not make a second MKV."""
    folder = tmp_path / "recordings"
    with trio.fail_after(300):
        left = await record(folder, script(tmp_path, "exit 1"))
        mkv = folder / left.filename.replace(".mp4", ".mkv")
        async with storage_of(folder) as storage:
            source = folder / left.filename
            await trio.run_process([str(BUNDLED), "-v", "error", "-i", source, "-c", "copy", mkv])
            ours = await trio.Path(mkv).read_bytes()
            await catch_up(storage)
            assert (await storage.recording(mkv.name))[0].size_bytes == len(ours)
    assert files(folder) == [mkv.name]
    assert mkv.read_bytes() == ours


async def test_an_mp4_whose_mkv_is_stored_is_removed_at_the_next_start(tmp_path: Path) -> None:
    """A kill right before the removal leaves both files; a user's copy of the MP4 stays."""
    folder = tmp_path / "recordings"
    with trio.fail_after(300):
        left = await record(folder, script(tmp_path, "exit 1"))
        mp4 = trio.Path(folder / left.filename)
        content = await mp4.read_bytes()
        async with storage_of(folder) as storage:
            await catch_up(storage)
        assert not await mp4.exists()
        await mp4.write_bytes(content)
        await mp4.with_name("mine.mp4").write_bytes(content)
        async with storage_of(folder) as storage:
            await catch_up(storage)
    assert files(folder) == [left.filename.replace(".mp4", ".mkv")]
    assert await mp4.with_name("mine.mp4").read_bytes() == content


async def test_a_conversion_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT and others have neither links nor modes: the MKV is made nevertheless."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(filesystem, "_rename_noreplace", refuse)
    with trio.fail_after(300):
        made = await record(tmp_path)
    assert files(tmp_path) == [made.filename]
    assert made.filename.endswith(".mkv")
    assert len(packets(BUNDLED, tmp_path / made.filename)["video"]) == made.frames


async def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path) -> None:
    """When the daemon stops, FFmpeg ends, the partial file is removed, and the MP4 stays."""
    folder, pids = tmp_path / "recordings", tmp_path / "pids"
    with trio.fail_after(300):
        left = await record(folder, script(tmp_path, "exit 1"))
        part = folder / ".camd" / left.filename.replace(".mp4", ".mkv.part")
        program = script(tmp_path, f"echo $$ > {pids}; echo half > {part}; exec sleep 1000")
        async with storage_of(folder) as storage, trio.open_nursery() as nursery:
            nursery.start_soon(to_mkv, storage, left, program)
            while not part.exists():  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.01)
            assert storage.converting == {left.filename}
            assert await to_mkv(storage, left, program) is None
            nursery.cancel_scope.cancel()
        assert storage.converting == set()
    assert files(folder) == [left.filename]
    with pytest.raises(ProcessLookupError):
        os.kill(int(await trio.Path(pids).read_text()), 0)


async def test_a_conversion_does_not_delay_the_end_of_the_service(tmp_path: Path) -> None:
    """It has a few seconds; the stop is answered with the MP4, and without an error."""
    folder = tmp_path / "recordings"
    program = script(tmp_path, "exec sleep 1000")
    receipts: list[Session] = []
    with trio.fail_after(300):
        async with (
            open_real_camera(
                program, folder, SyntheticSource(160, 90, 25), recording=MATROSKA
            ) as rig,
            trio.open_nursery() as nursery,
        ):
            await rig.camera.start_recording(REQUEST)
            assert rig.camera._session is not None
            rig.camera._session.conversions.shutdown_seconds = 0.3
            await rig.grow(10)

            async def stop() -> None:
                receipts.append(await rig.camera.stop_recording())

            nursery.start_soon(stop)
            while not rig.storage.converting:  # noqa: ASYNC110 - it is not published
                await trio.sleep(0.01)
            await rig.camera.close()
    (segment,) = receipts[0].segments
    assert files(folder) == [segment.filename]
    assert segment.filename.endswith(".mp4")
    assert rig.events_told == ["STARTED", "STOPPED stopped"]


async def test_a_conversion_that_hangs_is_given_up(tmp_path: Path) -> None:
    """It ends after a time-out that grows with the file; the MP4 stays, the log says why."""
    folder = tmp_path / "recordings"
    with trio.fail_after(300):
        left = await record(folder, script(tmp_path, "exit 1"))
        program = script(tmp_path, "exec sleep 1000")
        async with storage_of(folder) as storage:
            with capture_logs() as logs:
                assert await to_mkv(storage, left, program, seconds=0.2) is None
    assert files(folder) == [left.filename]
    (entry,) = [entry for entry in logs if entry["event"] == "mkv_failed"]
    assert "took longer" in entry["error"]


async def test_verify_and_recover_name_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commands name a partial file, and recovery removes it."""
    folder = tmp_path / "recordings"
    with trio.fail_after(300):
        left = await record(folder, script(tmp_path, "exit 1"))
    part = folder / ".camd" / left.filename.replace(".mp4", ".mkv.part")
    part.write_bytes(b"half")
    configuration = tmp_path / "camd.toml"
    configuration.write_text(
        f'[storage]\nrecordings_dir = "{folder}"\nstate_dir = "{tmp_path / "state"}"\n'
    )
    monkeypatch.setenv("COLUMNS", "300")
    async with storage_of(folder):
        part.write_bytes(b"going on")  # behind the search that removes what was left
        assert list(file_recovery.parts_in(folder)) == [f".camd/{part.name}"]
        assert file_recovery.is_locked(folder)
    assert not file_recovery.is_locked(folder)
    chosen = ["--config", str(configuration)]
    run = CliRunner().invoke
    with ThreadPoolExecutor(1) as own_thread:  # the command lowers the priority of its thread
        result = own_thread.submit(run, verify, chosen).result()
    assert "conversion that was interrupted" in result.output
    assert result.exit_code == 0
    result = run(recover, [*chosen, "--dry-run"])
    assert "would be removed" in result.output
    assert (result.exit_code, part.exists()) == (1, True)
    result = run(recover, chosen)
    assert (result.exit_code, part.exists()) == (0, False)


async def test_a_receipt_is_right_after_a_conversion(tmp_path: Path) -> None:
    """The receipt names the MKV, as it is on the disk."""
    with trio.fail_after(300):
        async with open_real_camera(
            BUNDLED, tmp_path, SyntheticSource(160, 90, 25), recording=MATROSKA
        ) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.camera.stop_recording()
    (path,) = check_receipt(tmp_path, session)
    assert path.suffix == ".mkv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
