"""Storage as the daemon has it: real folders and files, an index, and a small volume that fills."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
from support.fake_disk import GaugedDisk
from support.recordings import NOON, WHO, footage, growing_bytes, sealed_bytes, segment

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.errors import Refusal
from camd.model import (
    CameraId,
    Event,
    RecordingQuery,
    SegmentState,
    SessionId,
    StorageChanged,
    StorageLevel,
)
from camd.mp4.segment import HASHED_FROM, SegmentLayout
from camd.recording.segment_writer import SegmentWriter
from camd.runtime.broadcast import Fanout
from camd.storage.disk import Disk, PosixDisk
from camd.storage.rules.admission import SpaceNeed
from camd.storage.rules.naming import candidates
from camd.storage.segment_file import SegmentFile
from camd.storage.storage import Storage, open_storage

OK, LOW, BLOCKED, CRITICAL, MISSING, READ_ONLY, UNRESPONSIVE, NO_INODES, FAILING = StorageLevel
ALL = RecordingQuery()


@asynccontextmanager
async def opened(
    folder: Path, disk: Disk | None = None, events: Fanout[Event] | None = None
) -> AsyncIterator[Storage]:
    """Run storage over `folder`, on a volume that is half full unless there is another disk."""
    gauged = GaugedDisk()
    gauged.fill(50)
    config = StorageConfig(recordings_dir=folder, state_dir=folder.parent / "state")
    with trio.fail_after(300):
        async with open_storage(
            config, events or Fanout(), disk or gauged, clock=SYSTEM_CLOCK
        ) as storage:
            if storage.status.level.writable and (folder / ".camd").is_dir():
                await storage.unfinished_sessions()  # the folder has been searched
            yield storage


async def refused(attempt, *arguments: object) -> int:
    """Return the code of the refusal that a call ends with."""
    with pytest.raises(Refusal) as refusal:
        await attempt(*arguments)
    return refusal.value.kind.code


async def level(storage: Storage) -> StorageLevel:
    """Return the level of a fresh sample."""
    await storage.space.refresh()
    return storage.status.level


def put(folder: Path, data: bytes = b"x" * 1000, **facts: object):
    """Write a recording's file and describe it."""
    described = segment(size_bytes=len(data), **facts)
    (folder / described.filename).write_bytes(data)
    return described


# --- the folder ---


async def test_the_folder_is_made_and_known_when_the_block_begins(tmp_path: Path) -> None:
    """Missing folders are created, private to the service, and the level is there at once."""
    folder = tmp_path / "var" / "recordings"
    async with opened(folder) as storage:
        assert storage.status.level is OK
        assert storage.published.value.total_bytes > 0
        assert folder.stat().st_mode & 0o007 == 0
        assert (await storage.list_recordings(ALL)).total == 0


async def test_a_folder_that_cannot_be_made_is_a_level(tmp_path: Path) -> None:
    """Without a folder storage runs, says missing, refuses reading as -1014 and keeps notes to
    itself; when the folder appears, everything works."""
    (tmp_path / "var").touch()
    folder = tmp_path / "var" / "recordings"
    async with opened(folder) as storage:
        assert storage.status.level is MISSING
        assert await refused(storage.list_recordings, ALL) == -1014
        assert await refused(storage.stored_file, "a.mp4") == -1014
        await storage.note_segment(segment())
        (tmp_path / "var").unlink()
        folder.mkdir(parents=True)
        assert await level(storage) is OK
        await storage.note_segment(segment())
        assert (await storage.list_recordings(ALL)).total == 1


async def test_another_folder_in_the_place_of_a_lost_one_is_used(tmp_path: Path) -> None:
    """After a folder was lost, an empty one in its place gets an index of its own, and the old
    one is found again when it returns."""
    folder, away = tmp_path / "recordings", tmp_path / "away"
    async with opened(folder) as storage:
        (folder / segment().filename).touch()
        await storage.note_segment(segment())
        folder.rename(away)
        assert await level(storage) is MISSING
        folder.mkdir()
        assert await level(storage) is OK
        assert (await storage.list_recordings(ALL)).total == 0
        (folder / "other.mp4").touch()
        await storage.note_segment(segment("other.mp4"))
        assert (await storage.list_recordings(ALL)).segments == (segment("other.mp4"),)
        folder.rename(tmp_path / "gone")
        away.rename(folder)
        assert await level(storage) is OK
        assert (await storage.list_recordings(ALL)).segments == (segment(),)
        await storage.published.wait_until(lambda status: status.recordings_bytes == 1000)


async def test_an_index_that_cannot_be_made_costs_no_recording(tmp_path: Path) -> None:
    """With something else in the index's place the volume is still written to; only reading is
    refused."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / ".camd").touch()
    async with opened(folder) as storage:
        assert storage.status.level is OK
        admission = await storage.space.admit(SessionId("s0"), SpaceNeed(1.0, 1.0))
        assert admission.warnings == ()
        assert await refused(storage.list_recordings, ALL) == -1014


async def test_the_index_is_closed_however_the_block_ends(tmp_path: Path) -> None:
    """When the block raises, the log is folded into the database all the same."""
    crashed = False
    try:
        async with opened(tmp_path / "recordings") as storage:
            await storage.note_segment(segment())
            raise ZeroDivisionError
    except* ZeroDivisionError:
        crashed = True
    assert crashed
    found = {path.name for path in (tmp_path / "recordings" / ".camd").iterdir()}
    assert found == {
        *("format.json", "index.sqlite", "journal-000001.jsonl"),
        *("lock", "reserve", "volume"),
    }


async def test_what_a_crash_left_open_is_interrupted(tmp_path: Path) -> None:
    """Segments that were open when the last daemon ended are marked when the next begins."""
    left = segment(state=SegmentState.OPEN, sha256=None)
    async with opened(tmp_path) as storage:
        await storage.note_segment(left)
    (tmp_path / left.filename).mkdir()  # nothing that could be made right
    async with opened(tmp_path) as storage:
        await storage.unfinished_sessions()  # waits until the folder has been searched
        (found,) = (await storage.list_recordings(ALL)).segments
        assert found == attrs.evolve(left, state=SegmentState.INTERRUPTED)
        assert storage.status.recordings_bytes == left.size_bytes


# --- files by name ---


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *((name, -32602) for name in ("../x", "/etc/passwd", "a\0b", "", "..", ".camd", "a\n")),
        *((".camd/index.sqlite", -32602), ("unknown.mp4", -1005), ("unknown.mkv", -1005)),
        ("foreign.mp4", -1005),
    ],
)
async def test_only_known_recordings_are_found(tmp_path: Path, name: str, code: int) -> None:
    """Whatever is not a name in the index is refused, though such a file may be there."""
    (tmp_path / "foreign.mp4").touch()
    async with opened(tmp_path) as storage:
        await storage.note_segment(put(tmp_path))
        assert await refused(storage.stored_file, name) == code
        assert await refused(storage.recording, name) == code


async def test_a_sealed_file_is_read_whole(tmp_path: Path) -> None:
    """A sealed recording is as long as its file; one whose file is gone is not found."""
    async with opened(tmp_path) as storage:
        sealed = put(tmp_path)
        await storage.note_segment(sealed)
        file = await storage.stored_file(sealed.filename)
        assert file.path == tmp_path / sealed.filename
        assert (file.size_bytes, file.sealed) == (1000, True)
        file.path.unlink()
        assert await refused(storage.stored_file, sealed.filename) == -1005


async def test_a_growing_file_is_read_as_far_as_it_is_durable(tmp_path: Path) -> None:
    """Of a growing file only durable bytes are told, never more than there are; sealed, it is
    whole. The MKV that it will become is found as the growing MP4."""
    growing = put(tmp_path, state=SegmentState.OPEN, sha256=None)
    async with opened(tmp_path) as storage:
        await storage.note_segment(growing)
        for durable, told in ((0, 0), (600, 600), (5000, 1000)):
            storage.growing(growing, durable)
            file = await storage.stored_file(growing.filename)
            assert (file.size_bytes, file.sealed) == (told, False)
        mkv = growing.filename.replace("mp4", "mkv")
        assert (await storage.stored_file(mkv)).filename == growing.filename
        await storage.note_segment(attrs.evolve(growing, state=SegmentState.SEALED))
        file = await storage.stored_file(growing.filename)
        assert (file.size_bytes, file.sealed) == (1000, True)
        assert await refused(storage.stored_file, mkv) == -1005


async def test_a_growing_file_is_listed_as_it_is_now(tmp_path: Path) -> None:
    """Listings and look-ups show a growing segment's latest account, not its row."""
    row = segment(state=SegmentState.OPEN, sha256=None, frames=1)
    grown = attrs.evolve(row, frames=900, end=NOON + timedelta(minutes=10))
    async with opened(tmp_path) as storage:
        await storage.note_segment(row)
        storage.growing(grown, 500)
        since = RecordingQuery(since=NOON + timedelta(minutes=9))
        assert (await storage.list_recordings(since)).segments == (grown,)
        assert await storage.recording(row.filename) == (grown, ())


async def test_a_replaced_file_is_listed_once(tmp_path: Path) -> None:
    """An MKV takes the place of the MP4 that it was made from."""
    old, new = segment("a.mp4"), segment("a.mkv")
    async with opened(tmp_path) as storage:
        await storage.note_segment(old)
        await storage.note_replaced(old.filename, new)
        assert (await storage.list_recordings(ALL)).segments == (new,)


async def test_a_broken_index_is_an_answer(tmp_path: Path) -> None:
    """When the index fails, notes are logged and reading is refused; nothing crashes."""
    async with opened(tmp_path) as storage:
        await storage.note_segment(segment())
        other = sqlite3.connect(tmp_path / ".camd" / "index.sqlite")
        other.execute("DROP TABLE segments")
        other.close()
        assert await refused(storage.list_recordings, ALL) == -1016
        assert await refused(storage.stored_file, "a.mp4") == -1016
        await storage.note_segment(segment())
        assert storage.status.level is OK


# --- a volume that really fills ---


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Mount a volume of 16 MiB, and unmount it whatever happens."""
    if os.geteuid() != 0:
        pytest.skip("mounting a volume needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "camd-test", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no volume can be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(volume: Path, percent: float) -> None:
    """Make a foreign file as large as it takes for the volume to be used so far."""
    filler = volume / "filler"
    filler.unlink(missing_ok=True)
    facts = os.statvfs(volume)
    size = int(facts.f_blocks * percent / 100) - (facts.f_blocks - facts.f_bavail) + 1
    with filler.open("wb") as file:
        if size > 0:
            os.posix_fallocate(file.fileno(), 0, size * facts.f_frsize)


def fill_to_the_brim(volume: Path) -> None:
    """Use every byte that is left."""
    with (volume / "last").open("wb", buffering=0) as file:
        block = bytes(4096)
        try:
            while True:
                file.write(block)
        except OSError:
            return


@pytest.mark.root
async def test_a_real_volume_goes_through_every_level(volume: Path) -> None:
    """The levels follow what statvfs says of a volume that fills and is freed again."""
    told: list[Event] = []
    events: Fanout[Event] = Fanout()
    with events.subscribed(told.append):
        async with opened(volume / "recordings", PosixDisk(), events) as storage:
            for percent, expected in (
                *((50, OK), (81, LOW), (91, BLOCKED), (96, CRITICAL), (94.4, CRITICAL)),
                *((93, BLOCKED), (85, LOW), (10, OK)),
            ):
                fill(volume, percent)
                assert await level(storage) is expected
                assert storage.status.total_bytes == 16 * 1024 * 1024
                assert storage.status.used_percent == pytest.approx(percent, abs=0.1)
    announced = [event.status.level for event in told if isinstance(event, StorageChanged)]
    assert announced == [LOW, BLOCKED, CRITICAL, BLOCKED, LOW, OK]


@pytest.mark.root
async def test_a_segment_is_sealed_on_a_full_volume(volume: Path) -> None:
    """With not a byte left, an append fails and leaves whole fragments, the reserve makes room
    for the final index, and the sealed file is right; the daemon goes on."""
    folder = volume / "recordings"
    init, fragments = footage(40, frames=100)
    begun, rest = fragments[:-1], fragments[-1:]
    async with opened(folder, PosixDisk()) as storage:
        index = SegmentLayout(init, fragments[0], WHO)
        names = candidates(CameraId("camera0"), NOON)
        file = SegmentFile.create(storage.disk, folder, names, index, fragments[0])
        segment_now = SegmentWriter(
            file=file,
            camera_id=CameraId("camera0"),
            session_id=SessionId("s0"),
            number=0,
            begin_seconds=0.0,
            start=NOON,
            clock=SYSTEM_CLOCK,
        )
        await storage.on_disk(lambda: file.append(begun[1:]))
        assert (folder / ".camd" / "reserve").exists()
        fill_to_the_brim(volume)
        with pytest.raises(OSError, match="space"):
            await storage.on_disk(lambda: file.append(rest))
        assert file.path.read_bytes() == growing_bytes(init, begun, fragments[0])
        assert len(index.final_moov()) > 4096
        assert await segment_now.seal(storage) is None
        assert not (folder / ".camd" / "reserve").exists()
        assert await level(storage) is CRITICAL
        await storage.note_segment(segment_now.account(SegmentState.SEALED))
        data = sealed_bytes(init, begun, fragments[0])
        assert file.path.read_bytes() == data
        assert file.sha256 == hashlib.sha256(data[HASHED_FROM:]).hexdigest()
        (volume / "last").unlink()
        assert await level(storage) is OK
        assert (folder / ".camd" / "reserve").exists()


async def test_a_file_that_lost_everything_is_not_counted(tmp_path: Path) -> None:
    """I4: what the index says of a file of which nothing reached the disk is not believed."""
    config = StorageConfig(tmp_path, state_dir=tmp_path)
    left = segment(state=SegmentState.OPEN, sha256=None)
    with trio.fail_after(300):
        async with open_storage(
            config, Fanout[Event](), GaugedDisk(), clock=SYSTEM_CLOCK
        ) as storage:
            await storage.note_segment(left)
        path = tmp_path / left.filename
        path.write_bytes(b"")  # its name was durable, and nothing else
        async with open_storage(
            config, Fanout[Event](), GaugedDisk(), clock=SYSTEM_CLOCK
        ) as storage:
            await storage.unfinished_sessions()  # waits until the files have been looked at
            assert (await storage.list_recordings(RecordingQuery())).total == 0
    assert path.exists()
