"""What a power cut would leave of a recording, checked at many moments of it (I2)."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from support.camera_rig import REQUEST, CameraRig, open_camera_rig
from support.fake_disk import MemoryFile
from support.fake_ffmpeg import hangs
from support.media_streams import FPS, frames_in
from trio.testing import MockClock

from camd.config.schema import RecordingConfig

FRAGMENT_SECONDS = 0.5


def durable_frames(rig: CameraRig) -> int:
    """Count the frames on stable storage."""
    return sum(frames_in(file.durable)[0] for file in rig.disk.files.values() if file.durable)


@pytest.mark.parametrize(("durability", "bound"), [("1s", 1.0), ("5s", 5.0), ("30s", 30.0)])
@pytest.mark.parametrize("rotation", [3, 1800])
async def test_a_power_cut_costs_the_durability_and_a_fragment(
    clock: MockClock, durability: str, bound: float, rotation: int
) -> None:
    """I2: at every moment, all but the latest seconds and a fragment are on stable storage."""
    recording = RecordingConfig(rotation=timedelta(seconds=rotation))
    async with open_camera_rig(durability=durability, recording=recording) as rig:
        begun = trio.current_time()
        await rig.camera.start_recording(REQUEST)
        worst = 0.0
        for _ in range(160):
            await trio.sleep(0.25)
            fragments_of = trio.current_time() - begun
            worst = max(worst, fragments_of - durable_frames(rig) / FPS)
        assert worst <= bound + FRAGMENT_SECONDS
        if rotation > bound:
            assert worst > bound - FRAGMENT_SECONDS, "syncs come as rarely as was asked for"


async def test_the_segment_profile_syncs_where_files_begin_and_end(clock: MockClock) -> None:
    """Its first fragment and its seal are durable; in between nothing is synced."""
    async with open_camera_rig(durability="segment") as rig:
        await rig.camera.start_recording(REQUEST)
        assert durable_frames(rig) == 5
        await trio.sleep(60)
        assert durable_frames(rig) == 5
        session = await rig.camera.stop_recording()
        assert durable_frames(rig) == session.frames_written > 600


async def test_the_last_fragments_are_synced_although_nothing_follows(clock: MockClock) -> None:
    """When a camera delivers nothing more, the last fragments are synced in time."""
    async with open_camera_rig(hangs(2.6)) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep(4.2)
        (file,) = rig.disk.files.values()
        assert file.durable == bytes(file.data)
        assert frames_in(bytes(file.data))[0] > 20


async def test_a_start_is_answered_by_what_is_durable(clock: MockClock) -> None:
    """I7: when a start says that it records, its frames and the name of their file are synced."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        assert durable_frames(rig) == 5
        assert rig.disk.steps == ["create", "append", "sync", "sync_directory"]


async def test_a_file_is_durable_before_the_next_one_begins(clock: MockClock) -> None:
    """I2, I8: the moment a file is created, all others are sealed and synced, bit for bit."""
    recording = RecordingConfig(rotation=timedelta(seconds=2))
    unsynced: list[MemoryFile] = []
    async with open_camera_rig(durability="30s", recording=recording) as rig:

        def watch(what: str) -> None:
            files = rig.disk.files.values() if what == "create" else ()
            unsynced.extend(file for file in files if file.durable != bytes(file.data))

        rig.disk.watch = watch
        await rig.camera.start_recording(REQUEST)
        await trio.sleep(20)
        assert len(rig.disk.files) > 5
        session = await rig.camera.stop_recording()
        assert unsynced == []
        assert session.durable
        assert all(file.durable == bytes(file.data) for file in rig.disk.files.values())


@pytest.mark.parametrize("seconds", [1.5, 6.3])
async def test_what_is_reported_as_durable_is_synced(clock: MockClock, seconds: float) -> None:
    """The readable size of a growing file, and `durable` in the status, match what was synced."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        end, seen = trio.current_time() + seconds, set()
        while trio.current_time() < end:
            await trio.sleep(0.1)
            (growing,) = rig.storage._growing.values()
            (file,) = rig.disk.files.values()
            assert growing.durable_bytes == len(file.durable)
            durable = rig.camera.status.session.durable
            assert durable == (file.durable == bytes(file.data))
            seen.add(durable)
        assert seen == {True, False}


async def test_a_sync_goes_along_with_the_last_fragment_before_it_is_due(clock: MockClock) -> None:
    """No call to the disk syncs and writes nothing, as long as fragments come."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        assert rig.camera._running is not None
        rig.camera._running.writer.sync_seconds = 0.7  # between two fragments
        calls, steps = rig.storage.calls, len(rig.disk.steps)
        await trio.sleep(10)
        made = rig.disk.steps[steps:]
        assert made.count("append") == rig.storage.calls - calls >= 19
        assert made.count("sync") == made.count("append") // 2
        rig.check(await rig.camera.stop_recording())


async def test_a_writer_that_is_never_idle_syncs_as_often(clock: MockClock) -> None:
    """With a disk that is just fast enough, written frames become durable in time, although the
    next fragment always waits."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        rig.storage.seconds = FRAGMENT_SECONDS
        (file,) = rig.disk.files.values()
        for _ in range(100):
            await trio.sleep(0.3)
            written = frames_in(bytes(file.data))[0] / FPS
            assert written - frames_in(file.durable)[0] / FPS <= 1.0 + FRAGMENT_SECONDS
        rig.storage.seconds = 0.0
        rig.check(await rig.camera.stop_recording())
