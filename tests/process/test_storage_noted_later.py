"""What a failing disk refuses is done later: every step of recovery, and every kind of note."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from support.fake_disk import GaugedDisk, roomy_disk
from support.recordings import WHO, footage, gap, session

from camd.api import result_fields
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.errors import STORAGE_UNRESPONSIVE, Refusal
from camd.growing_delay import GrowingDelay
from camd.model import (
    Event,
    RecordingQuery,
    Segment,
    SegmentState,
    SessionId,
    SessionState,
)
from camd.mp4.segment import SegmentLayout
from camd.runtime.broadcast import Fanout
from camd.storage.disk import PosixDisk
from camd.storage.index.index_database import IndexDatabase
from camd.storage.index.index_journal import IndexJournal
from camd.storage.index.recording_index import FOLDER
from camd.storage.recovery.reconcile import FileOutcome, FolderComparison, Reconciler
from camd.storage.removal import Pin, Pins
from camd.storage.rules.timings import StorageLimits
from camd.storage.segment_file import SegmentFile
from camd.storage.storage import Storage, open_storage

ALL = RecordingQuery(limit=1000)
INIT, FRAGMENTS = footage(3)
NAME = "camera0_2026-01-15_14-30-00.mp4"


QUICK = StorageLimits(
    write_retry=GrowingDelay(0.01, 0.05),
    search_retry=GrowingDelay(0.01, 0.05),
    idle_sample_seconds=0.05,
    trial_seconds=0.01,
)


@asynccontextmanager
async def opened(
    folder: Path, disk: GaugedDisk | None = None, limits: StorageLimits = QUICK
) -> AsyncIterator[Storage]:
    """Run storage over `folder`."""
    config = StorageConfig(folder, state_dir=folder.parent / "state")
    with trio.fail_after(300):
        async with open_storage(
            config, Fanout[Event](), disk or roomy_disk(), clock=SYSTEM_CLOCK, limits=limits
        ) as storage:
            yield storage


def write_recording(folder: Path, name: str = NAME, *, number: int = 0, seal: bool = False) -> Path:
    """Record a file, as a service would that is gone now."""
    folder.mkdir(exist_ok=True)
    index = SegmentLayout(INIT, FRAGMENTS[0], attrs.evolve(WHO, number=number))
    file = SegmentFile.create(PosixDisk(), folder, repeat(name), index, FRAGMENTS[0])
    file.append(FRAGMENTS[1:])
    if seal:
        file.seal()
    file.close()
    return folder / name


class FailingMethod:
    """A method that fails some times, or until somebody says otherwise."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception
    ) -> None:
        self.times: float = float("inf")
        self.failed = 0
        original = getattr(owner, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            if self.times > 0:
                self.times -= 1
                self.failed += 1
                raise error
            return original(*args, **kwargs)

        # Faults of SQLite and of the journal at one step cannot be had from a disk.
        monkeypatch.setattr(owner, name, method)


BROKEN = OSError(errno.EIO, os.strerror(errno.EIO))
INDEX_BROKEN = sqlite3.OperationalError("disk I/O error")

# --- recovery -----------------------------------------------------------------------------

STEPS: dict[str, tuple[type, str, Exception]] = {
    "the folder is listed": (FolderComparison, "of", BROKEN),
    "the folder is compared": (Reconciler, "compare_names", INDEX_BROKEN),
    "the index is read": (IndexDatabase, "total_bytes", INDEX_BROKEN),
    "the journal is read": (IndexJournal, "read", BROKEN),
    "a file is opened": (GaugedDisk, "open", BROKEN),
    "what was found is noted": (Reconciler, "write_findings", BROKEN),
    "what is missing is looked for": (GaugedDisk, "exists", BROKEN),
    "what is missing is noted": (Reconciler, "mark_missing", INDEX_BROKEN),
    "what has no hash is looked up": (IndexDatabase, "unhashed", INDEX_BROKEN),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("times", [1, 4])
async def test_recovery_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, times: int
) -> None:
    """An error of the disk at any step ends nothing: the file is sealed, in the index and hashed,
    and a file that is gone is marked, as soon as the disk works."""
    folder = tmp_path / "recordings"
    gone = write_recording(folder, "camera0_gone.mp4", number=1, seal=True)
    async with opened(folder) as storage:
        await storage.unfinished_sessions()
    gone.unlink()
    write_recording(folder)
    owner, name, error = STEPS[step]
    failing = FailingMethod(monkeypatch, owner, name, error)
    failing.times = times
    async with opened(folder) as storage:
        while not (rows := await known(storage)) or rows[-1].sha256 is None:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert failing.failed == times
        assert {row.filename: row.state for row in rows} == {
            gone.name: SegmentState.MISSING,
            NAME: SegmentState.SEALED,
        }


async def test_a_file_of_which_the_disk_does_not_answer_is_not_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be there. Who asks is told so, and can ask again."""
    folder = tmp_path / "recordings"
    gone = write_recording(folder, seal=True)
    async with opened(folder) as storage:
        await storage.unfinished_sessions()
        gone.unlink()
        failing = FailingMethod(monkeypatch, GaugedDisk, "exists", BROKEN)
        failing.times = 1
        with pytest.raises(Refusal) as caught:
            await storage.note_missing(gone.name)
        assert caught.value.kind is STORAGE_UNRESPONSIVE
        assert (await storage.find(gone.name)).state is SegmentState.SEALED
        await storage.note_missing(gone.name)
        assert (await storage.find(gone.name)).state is SegmentState.MISSING


async def known(storage: Storage) -> list[Segment]:
    """Read the rows of the index, past everything that a listing needs; none while it fails."""
    try:
        names = await storage.index_worker.run(lambda index: index.database.filenames())
        found = [
            await storage.index_worker.run(lambda a, name=name: a.database.segment(name))  # type: ignore[misc]
            for name in names
        ]
    except (OSError, sqlite3.Error, Refusal):
        return []
    rows = [row for row in found if row is not None]
    return sorted(rows, key=lambda row: row.filename, reverse=True) if len(rows) == 2 else []


async def test_a_search_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status tells why and how often it was tried; when it is over, nothing is left of that."""
    folder = tmp_path / "recordings"
    write_recording(folder)
    failing = FailingMethod(monkeypatch, FolderComparison, "of", BROKEN)
    async with opened(folder) as storage:
        while failing.failed < 3:  # noqa: ASYNC110
            await trio.sleep(0.01)
        shown = result_fields.recovery(storage.recovery)
        assert shown is not None
        assert shown["ended"] is None
        assert shown["problem"] == str(BROKEN)
        assert shown["tries"] >= 2
        assert not storage._reconcile.done.is_set()
        failing.times = 0
        await storage.unfinished_sessions()
        shown = result_fields.recovery(storage.recovery)
        assert shown is not None
        assert (shown["problem"], shown["counts"]) == (None, {"sealed": 1})


async def test_sessions_do_not_wait_for_ever_for_a_folder_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some time they go on without; the search goes on, too."""
    folder = tmp_path / "recordings"
    async with opened(folder) as storage:
        await storage.note_session(session())
    failing = FailingMethod(monkeypatch, FolderComparison, "of", BROKEN)
    limits = attrs.evolve(QUICK, resume_timeout_seconds=0.05)
    async with opened(folder, limits=limits) as storage:
        assert len(await storage.unfinished_sessions()) == 1
        assert failing.failed


async def test_a_file_that_cannot_be_read_is_tried_alone(tmp_path: Path) -> None:
    """What the disk refuses to read is looked at again; what nobody can read is not."""
    folder = tmp_path / "recordings"
    bad, good = (
        write_recording(folder),
        write_recording(folder, "camera0_good.mp4", number=1, seal=True),
    )
    (folder / "folder.mp4").mkdir()
    looked: list[str] = []

    class ReluctantDisk(GaugedDisk):
        def open(self, path: Path) -> Any:
            looked.append(path.name)
            if path == bad and looked.count(bad.name) < 4:
                raise BROKEN
            return super().open(path)

    disk = ReluctantDisk()
    disk.fill(10, total=10**11)
    async with opened(folder, disk) as storage:
        while looked.count(bad.name) < 4:  # noqa: ASYNC110
            await trio.sleep(0.01)
        while storage.recovery is None or storage.recovery.problem:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert {f.filename: f.outcome for f in storage.recovery.findings} == {
            "folder.mp4": FileOutcome.UNREADABLE,
            good.name: FileOutcome.NEW_TO_INDEX,
            bad.name: FileOutcome.SEALED,
        }
        assert looked.count("folder.mp4") == 1


async def test_a_folder_that_appears_later_is_recovered_then(tmp_path: Path) -> None:
    """A service that began without its folder searches it as soon as it is there."""
    folder, away = tmp_path / "recordings", tmp_path / "away"
    folder.touch()  # no folder can be made there
    write_recording(away)
    async with opened(folder) as storage:
        assert storage.recovery is None
        await storage.note_session(session())  # nowhere to write it
        assert storage.index_worker.waiting == 1
        folder.unlink()
        away.rename(folder)
        await storage.unfinished_sessions()
        assert storage.recovery is not None
        assert storage.recovery.counted == {"sealed": 1}
        await storage.index_worker.wait_all_written()
        assert [s.session_id for s in await storage.unfinished_sessions()] == ["s0"]


# --- notes --------------------------------------------------------------------------------


def row(state: SegmentState) -> Segment:
    """Describe the file that is being recorded."""
    return Segment(
        *(NAME, WHO.camera_id, SessionId("s0"), 0),
        start=gap(0).start,
        end=gap(1).start,
        duration_seconds=1.0,
        frames=9,
        size_bytes=1000,
        state=state,
        codec="avc1",
        width=320,
        height=180,
        sha256="00" if state is SegmentState.SEALED else None,
        modified=gap(1).start,
    )


@asynccontextmanager
async def recording(tmp_path: Path) -> AsyncIterator[Storage]:
    """Run storage with a file that is being recorded."""
    async with opened(tmp_path / "recordings") as storage:
        await storage.unfinished_sessions()
        await storage.note_segment(row(SegmentState.OPEN))
        storage.growing(row(SegmentState.OPEN), 500)
        yield storage


Break = Callable[[pytest.MonkeyPatch], FailingMethod]
BREAKS: dict[str, tuple[type, str, Exception]] = {
    "index": (IndexDatabase, "apply", INDEX_BROKEN),
    "journal": (IndexJournal, "append", BROKEN),
    "pins": (Pins, "put", BROKEN),
}


@pytest.mark.parametrize("broken", ["index", "journal"])
@pytest.mark.parametrize("state", [SegmentState.SEALED, SegmentState.INTERRUPTED])
async def test_a_file_is_not_being_recorded_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, state: SegmentState
) -> None:
    """While its end cannot be noted it is shown as it is; when the disk works it is noted without
    anybody asking, and may be removed."""
    async with recording(tmp_path) as storage:
        failing = FailingMethod(monkeypatch, *BREAKS[broken])
        await storage.note_segment(row(state))
        (shown,) = (await storage.list_recordings(ALL)).segments
        assert shown.state is state
        if broken == "index" or state is SegmentState.SEALED:
            await storage.space.refresh()
            assert storage.status.notes_waiting > 0
            assert result_fields.storage(storage.status)["notes_waiting"] > 0
        failing.times = 0
        await storage.index_worker.wait_all_written()
        assert storage.status.notes_waiting == 0
        monkeypatch.undo()
        found = await storage.index_worker.run(lambda index: index.database.segment(NAME))
        assert found is not None
        assert found.state is not SegmentState.OPEN
        assert storage._growing == {}


NOTES: dict[str, Callable[[Storage], Any]] = {
    "gap": lambda storage: storage.note_gaps([gap(1), gap(2)]),
    "session": lambda storage: storage.note_session(ENDED),
    "segment": lambda storage: storage.note_segment(row(SegmentState.SEALED)),
}
ENDED = session(state=SessionState.ENDED)


@pytest.mark.parametrize("broken", ["index", "journal"])
async def test_every_kind_of_note_is_written_later_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Sessions, gaps and files: all are in index and journal when the disk works again, in the
    order in which they were told, each once."""
    async with recording(tmp_path) as storage:
        await storage.note_session(session())
        failing = FailingMethod(monkeypatch, *BREAKS[broken])
        for note in NOTES.values():
            await note(storage)
        failing.times = 0
        await storage.index_worker.wait_all_written()
        told = await storage.index_worker.run(
            lambda a: [r for rs, _ in a.journal.read() for r in rs]
        )
        kinds = [type(record).__name__ for record in told]
        assert kinds[-4:] == ["GapNoted", "GapNoted", "SessionNoted", "SegmentNoted"]
        assert len(kinds) == 5
        assert await storage.unfinished_sessions() == ()
        assert (await storage.gaps(ALL)).total == 2


async def test_notes_survive_a_caller_who_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note that was told is written although nobody waits for it, even at the very end."""
    folder = tmp_path / "recordings"
    async with opened(folder) as storage:
        await storage.unfinished_sessions()
        with trio.CancelScope() as scope:
            scope.cancel()
            await storage.note_gaps([gap(1)])
        assert (await storage.gaps(ALL)).total == 1
        storage.index_worker.limits = attrs.evolve(QUICK, write_retry=GrowingDelay(3600.0, 3600.0))
        failing = FailingMethod(monkeypatch, Pins, "put", BROKEN)
        await storage.index_worker.write(lambda a: Pins.of(storage.disk, folder).put(NAME, Pin()))
        assert failing.failed
        failing.times = 0
    assert (folder / FOLDER / "pins" / NAME).exists()


async def test_an_mkv_has_its_pin_before_its_mp4_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the pin cannot be carried over, the replacement is not noted, and its maker waits."""
    mkv = attrs.evolve(row(SegmentState.SEALED), filename=NAME.replace("mp4", "mkv"))
    async with recording(tmp_path) as storage:
        await storage.note_segment(row(SegmentState.SEALED))
        await storage.pin(NAME, Pin("evidence"))
        failing = FailingMethod(monkeypatch, Pins, "put", BROKEN)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(storage.note_replaced, NAME, mkv)
            while failing.failed < 3:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert (await storage.list_recordings(ALL)).segments[0].filename == NAME
            failing.times = 0
        assert (await storage.list_recordings(ALL)).segments[0].filename == mkv.filename
        assert [p.reason for p in (await storage.pins([mkv.filename])).values()] == ["evidence"]


async def test_a_file_that_could_not_be_sealed_is_sealed_when_the_disk_works(
    tmp_path: Path,
) -> None:
    """No restart is needed; what a sync refused stays uncertain."""
    folder = tmp_path / "recordings"
    async with opened(folder) as storage:
        await storage.unfinished_sessions()
        path = write_recording(folder)
        made = attrs.evolve(row(SegmentState.INTERRUPTED), certain=False)
        await storage.note_segment(made)
        while (found := (await storage.list_recordings(ALL)).segments[0]).sha256 is None:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert (found.state, found.certain) == (SegmentState.SEALED, False)
        assert found.size_bytes == path.stat().st_size


async def test_what_an_older_archive_could_not_write_the_next_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails and comes back as another file system loses no entry of the ledger."""
    folder, away = tmp_path / "recordings", tmp_path / "away"
    async with opened(folder) as storage:
        await storage.unfinished_sessions()
        failing = FailingMethod(monkeypatch, IndexJournal, "append", BROKEN)
        await storage.note_gaps([gap(1)])
        folder.rename(away)
        write_recording(folder)  # another one in its place
        while storage.index_worker.generation < 2 or storage.index_worker._stale:  # noqa: ASYNC110
            await trio.sleep(0.01)
        failing.times = 0
        await storage.index_worker.wait_all_written()
        assert (await storage.gaps(ALL)).total == 1


async def test_too_many_notes_are_told_and_files_are_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound the files' notes go first, and the files are searched when the disk works; what
    nothing else tells is counted in the status."""
    folder = tmp_path / "recordings"
    async with opened(folder, limits=attrs.evolve(QUICK, max_pending=3)) as storage:
        await storage.unfinished_sessions()
        with monkeypatch.context() as patch:
            failing = FailingMethod(patch, IndexJournal, "append", BROKEN)
            apply = FailingMethod(patch, IndexDatabase, "apply", INDEX_BROKEN)
            write_recording(folder, seal=True)
            await storage.note_segment(row(SegmentState.SEALED))
            await storage.note_gaps([gap(1), gap(2), gap(3)])
            assert storage.status.notes_lost == 0
            await storage.note_gaps([gap(4), gap(5)])
            await storage.space.refresh()
            assert storage.status.notes_lost == 2
            failing.times = apply.times = 0
            await storage.index_worker.wait_all_written()
            assert [g.start for g in (await storage.gaps(ALL)).gaps] == [
                gap(n).start for n in (5, 4, 3)
            ]
            while not (await storage.list_recordings(ALL)).total:  # noqa: ASYNC110
                await trio.sleep(0.01)
