"""Reconciling a real folder: whatever was done to it, the index matches it afterwards."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

import attrs
import pytest
import trio
from support.fake_disk import roomy_disk
from support.recordings import WHO, footage, gap, session

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.model import Event, RecordingQuery, Segment, SegmentState, SessionId
from camd.mp4.segment import SegmentLayout
from camd.runtime.broadcast import Fanout
from camd.storage.disk import PosixDisk
from camd.storage.index.recording_index import FOLDER, INDEX, FolderInUseError
from camd.storage.recovery.file_recovery import hash_file
from camd.storage.recovery.reconcile import FileOutcome, ReconcileFinding
from camd.storage.segment_file import SegmentFile
from camd.storage.storage import Storage, open_storage

ALL = RecordingQuery(limit=1000)
INIT, FRAGMENTS = footage(3)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Storage]:
    """Run storage over `folder`."""
    with trio.fail_after(300):
        async with open_storage(
            StorageConfig(folder, state_dir=folder / ".state"),
            Fanout[Event](),
            roomy_disk(),
            clock=SYSTEM_CLOCK,
        ) as storage:
            yield storage


def write_recording(folder: Path, number: int = 0, *, seal: bool = True) -> Path:
    """Record a file of a session, as a service would that is gone now."""
    metadata = attrs.evolve(WHO, number=number, start_micros=WHO.start_micros + number * 60_000_000)
    name = f"camera0_2026-01-15_14-{30 + number}-00.mp4"
    folder.mkdir(exist_ok=True)
    index = SegmentLayout(INIT, FRAGMENTS[0], metadata)
    file = SegmentFile.create(PosixDisk(), folder, repeat(name), index, FRAGMENTS[0])
    file.append(FRAGMENTS[1:])
    if seal:
        file.seal()
    file.close()
    return folder / name


async def reconciled(storage: Storage) -> dict[str, FileOutcome]:
    """Wait until the folder has been reconciled; return the outcomes."""
    await storage.unfinished_sessions()
    assert storage.recovery is not None
    assert storage.recovery.ended is not None
    return {finding.filename: finding.outcome for finding in storage.recovery.findings}


async def rows(storage: Storage) -> dict[str, Segment]:
    """Read the whole index."""
    page = await storage.list_recordings(ALL)
    return {segment.filename: segment for segment in page.segments}


async def hashed(storage: Storage, path: Path) -> None:
    """Wait until a file's hash is in the index; it is computed last, and nothing tells of it."""
    while (await rows(storage))[path.name].sha256 is None:  # noqa: ASYNC110
        await trio.sleep(0.01)
    assert (await rows(storage))[path.name].sha256 == hash_file(PosixDisk(), path)


async def test_what_a_crash_left_is_sealed_and_what_is_foreign_is_left(tmp_path: Path) -> None:
    """Each file of a messy folder is told apart, and only interrupted ones are written to."""
    sealed, torn = write_recording(tmp_path, 0), write_recording(tmp_path, 1, seal=False)
    with torn.open("ab") as file:
        file.write(b"torn" * 100)
    shutil.copy(sealed, tmp_path / "zz copy of it.mp4")
    (tmp_path / "holiday.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(5000))
    (tmp_path / "camera1_2026-01-15_14-30-00.mp4").touch()
    (tmp_path / "camera1_2026-01-15_14-31-00.mp4").write_bytes(sealed.read_bytes()[:-100])
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "not there")
    (tmp_path / ".hidden.mp4").touch()
    (tmp_path / "notes.txt").touch()
    left_alone = [p for p in tmp_path.iterdir() if p.is_file() and p != torn]  # noqa: ASYNC240
    before = {path: path.read_bytes() for path in left_alone}
    async with opened(tmp_path) as storage:
        found = await reconciled(storage)
        assert found == {
            sealed.name: FileOutcome.NEW_TO_INDEX,
            torn.name: FileOutcome.SEALED,
            "zz copy of it.mp4": FileOutcome.COPY,
            "holiday.mp4": FileOutcome.FOREIGN,
            "camera1_2026-01-15_14-30-00.mp4": FileOutcome.EMPTY,
            "camera1_2026-01-15_14-31-00.mp4": FileOutcome.EMPTY,
            "folder.mp4": FileOutcome.UNREADABLE,
            "nowhere.mp4": FileOutcome.UNREADABLE,
        }
        assert set(await rows(storage)) == {sealed.name, torn.name}
        for path in (sealed, torn):
            await hashed(storage, path)
        assert storage.recovery is not None
        torn_bytes = {f.filename: f.torn_bytes for f in storage.recovery.findings}
        assert torn_bytes[torn.name] == 400
    assert {path: path.read_bytes() for path in before} == before


async def test_a_renamed_file_keeps_its_place_and_its_hash(tmp_path: Path) -> None:
    """A file that somebody renamed is the same recording under another name."""
    path = write_recording(tmp_path)
    async with opened(tmp_path) as storage:
        await reconciled(storage)
        await hashed(storage, path)
        (old,) = (await rows(storage)).values()
    path.rename(tmp_path / "entrance.mp4")
    async with opened(tmp_path) as storage:
        assert await reconciled(storage) == {"entrance.mp4": FileOutcome.RENAMED}
        (new,) = (await rows(storage)).values()
    assert new == attrs.evolve(old, filename="entrance.mp4", modified=new.modified)


async def test_a_file_that_is_gone_is_missing_until_it_is_back(tmp_path: Path) -> None:
    """A file that somebody took away is listed as missing and not counted; put back, it is as
    before."""
    path = write_recording(tmp_path)
    async with opened(tmp_path) as storage:
        await reconciled(storage)
        await hashed(storage, path)
    path.rename(tmp_path / "away")
    async with opened(tmp_path) as storage:
        assert await reconciled(storage) == {path.name: FileOutcome.MISSING}
        assert (await rows(storage))[path.name].state is SegmentState.MISSING
        await storage.published.wait_until(lambda status: status.recordings_bytes == 0)
    async with opened(tmp_path) as storage:
        assert await reconciled(storage) == {}
    (tmp_path / "away").rename(path)
    async with opened(tmp_path) as storage:
        assert await reconciled(storage) == {path.name: FileOutcome.NEW_TO_INDEX}
        assert (await rows(storage))[path.name].state is SegmentState.SEALED


def spoil_nothing(index: Path) -> None:
    """Leave the index as it is."""


def spoil_away(index: Path) -> None:
    """Remove the index."""
    for path in index.parent.glob("index.sqlite*"):
        path.unlink()


def spoil_garbage(index: Path) -> None:
    """Write something else over it."""
    index.write_bytes(os.urandom(30_000))


def spoil_inside(index: Path) -> None:
    """Damage every page but the first."""
    data = index.read_bytes()
    index.write_bytes(data[:4096] + bytes(len(data) - 4096))


def spoil_older(index: Path) -> None:
    """Let it be of a version that is over."""
    db = sqlite3.connect(index)
    db.execute("PRAGMA user_version = 1")
    db.close()


@pytest.mark.parametrize(
    "spoil", [spoil_nothing, spoil_away, spoil_garbage, spoil_inside, spoil_older]
)
async def test_an_index_that_is_lost_is_rebuilt(tmp_path: Path, spoil) -> None:
    """I6: missing, garbage, damaged inside or of an older version: after the next start the index
    says again what it said, sessions, ledger, hashes and Matroska files included."""
    paths = [write_recording(tmp_path, 0), write_recording(tmp_path, 1)]
    mkv = tmp_path / "camera0_2026-01-15_14-32-00.mkv"
    mkv.write_bytes(b"Matroska")
    entry, unfinished = gap(3, "session"), session(session_id=SessionId("session"))
    async with opened(tmp_path) as storage:
        await reconciled(storage)
        for path in paths:
            await hashed(storage, path)
        last = (await rows(storage))[paths[1].name]
        await storage.note_segment(attrs.evolve(last, filename=mkv.name, number=2))
        await storage.note_session(unfinished)
        await storage.note_gaps([entry])
        before = await rows(storage)
    spoil(tmp_path / FOLDER / INDEX)
    async with opened(tmp_path) as storage:
        await reconciled(storage)
        assert await rows(storage) == before
        (found,) = await storage.unfinished_sessions()
        assert found.session_id == "session"
        assert found.gaps == (entry,)
        assert (await storage.gaps(ALL)).gaps == (entry,)


async def test_an_index_that_vanishes_is_rebuilt_while_the_service_runs(tmp_path: Path) -> None:
    """Somebody who deletes the index of a running service loses nothing."""
    path = write_recording(tmp_path)
    async with opened(tmp_path) as storage:
        await reconciled(storage)
        await storage.note_session(session())
        spoil_away(tmp_path / FOLDER / INDEX)
        await storage.space.refresh()
        assert set(await rows(storage)) == {path.name}
        assert [s.session_id for s in await storage.unfinished_sessions()] == ["s0"]
    assert (tmp_path / FOLDER / INDEX).exists()


async def test_one_service_has_a_folder(tmp_path: Path) -> None:
    """A second service is told who has the folder, and the first one goes on."""
    async with opened(tmp_path) as storage:
        with pytest.raises(ExceptionGroup) as raised:
            async with opened(tmp_path):
                raise AssertionError("opened twice")
        (error,) = raised.value.exceptions
        assert isinstance(error, FolderInUseError)
        assert f"is used by process {os.getpid()}; stop that one, or give" in str(error)
        assert (await storage.list_recordings(ALL)).total == 0
    async with opened(tmp_path) as storage:
        assert storage.recovery is not None


async def test_what_is_being_recorded_is_not_looked_at(tmp_path: Path) -> None:
    """A search never touches a file that somebody is writing: its creator has it locked."""
    index = SegmentLayout(INIT, FRAGMENTS[0], WHO)
    names = repeat("camera0_now.mp4")
    file = SegmentFile.create(PosixDisk(), tmp_path, names, index, FRAGMENTS[0])
    async with opened(tmp_path) as storage:
        assert await reconciled(storage) == {}
    file.append(FRAGMENTS[1:])
    file.seal()
    file.close()
    async with opened(tmp_path) as storage:
        assert await reconciled(storage) == {"camera0_now.mp4": FileOutcome.NEW_TO_INDEX}


async def test_many_findings_are_counted_and_some_are_kept(tmp_path: Path) -> None:
    """A report is bounded, whatever the folder holds; its counts are not."""
    for number in range(1100):
        (tmp_path / f"{number}.mp4").touch()
    async with opened(tmp_path) as storage:
        await reconciled(storage)
        report = storage.recovery
    assert report is not None
    assert report.counts == {FileOutcome.FOREIGN: 1100}
    assert len(report.findings) == 1000
    assert report.findings[0] == ReconcileFinding("0.mp4", FileOutcome.FOREIGN, "left alone")
