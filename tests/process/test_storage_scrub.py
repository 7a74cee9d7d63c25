"""The scrub on real files: everything is read once, damage is told, and a restart goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
import trio.lowlevel
from support.fake_disk import roomy_disk
from support.recordings_folder import MATROSKA, Recordings, damage, session

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import ScrubConfig, StorageConfig
from camd.errors import FILE_LEASED
from camd.model import DamageFound, Event, SegmentState
from camd.runtime.broadcast import Fanout
from camd.storage.read_only_disk import ReadOnlyDisk
from camd.storage.storage import Storage, open_storage
from camd.storage.verify.recording_file import inspect_recording
from camd.storage.verify.rules.findings import FileContents, FindingKind
from camd.storage.verify.rules.scrub_progress import ScrubProgress
from camd.storage.verify.scrub import FILE, Scrub, open_scrub, scrub_file

FAST = ScrubConfig(enabled=True, rate=10**12)


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    """Return a folder with three recordings."""
    made = Recordings(tmp_path / "recordings")
    for number in range(3):
        made.put(number)
    made.note(session(files=3))
    return made


class Looked(list[str]):
    """The names of the files that were inspected, in order."""

    def __call__(self, disk: ReadOnlyDisk, path: Path, *, expected: str | None) -> FileContents:
        """Note the name and inspect the file."""
        self.append(path.name)
        return inspect_recording(disk, path, expected=expected)


@pytest.fixture
def looked() -> Looked:
    """Return an inspection that notes the names of the files."""
    return Looked()


@asynccontextmanager
async def scrubbing(
    recordings: Recordings,
    config: ScrubConfig = FAST,
    events: Fanout[Event] | None = None,
    inspect: Callable[..., FileContents] = inspect_recording,
) -> AsyncIterator[tuple[Scrub, Storage]]:
    """Run storage with a scrub, once the folder has been reconciled."""
    told = events or Fanout[Event]()
    state = recordings.folder.parent / "state"
    with trio.fail_after(300):
        async with open_storage(
            StorageConfig(recordings.folder, state_dir=recordings.folder / ".state"),
            told,
            roomy_disk(),
            clock=SYSTEM_CLOCK,
        ) as storage:
            await storage.unfinished_sessions()
            async with open_scrub(
                config, storage, state, told, clock=SYSTEM_CLOCK, inspect=inspect
            ) as scrub:
                yield scrub, storage


async def over(scrub: Scrub) -> ScrubProgress:
    """Wait for the end of a run."""
    return await scrub.published.wait_until(lambda progress: progress.last is not None)


def saved(recordings: Recordings) -> ScrubProgress:
    """Read what a restart would know."""
    found = scrub_file(recordings.folder.parent / "state").load()
    assert found is not None
    return found


async def test_a_run_reads_every_recording_once(recordings: Recordings, looked: Looked) -> None:
    """From the oldest to the newest; then it waits, and reports."""
    async with scrubbing(recordings, inspect=looked) as (scrub, _):
        progress = await over(scrub)
    assert looked == sorted(path.name for path in recordings.folder.glob("*.mp4"))
    assert progress.last is not None
    assert (progress.last.files, progress.last.problem_count) == (3, 0)
    assert saved(recordings) == progress


def found_in(told: list[Event]) -> list[tuple[str, str]]:
    """Say which damage was announced."""
    return [(e.filename, e.fault) for e in told if isinstance(e, DamageFound)]


async def test_damage_is_told_and_stays_in_the_status(recordings: Recordings) -> None:
    """A changed bit is an event and a finding of the run; a missing file is listed as missing."""
    names = sorted(path.name for path in recordings.folder.glob("*.mp4"))
    events, told = Fanout[Event](), list[Event]()
    async with scrubbing(recordings, ScrubConfig()) as (_, storage):
        damage(recordings.folder / names[1])
        (recordings.folder / names[2]).unlink()
        with events.subscribed(told.append):
            async with open_scrub(
                FAST, storage, recordings.folder / "state", events, clock=SYSTEM_CLOCK
            ) as scrub:
                progress = await over(scrub)
                gone = await storage.find(names[2])
    assert found_in(told) == [(names[1], "hash")]
    assert gone.state is SegmentState.MISSING
    assert progress.last is not None
    problems = [(p.subject, p.fault) for p in progress.last.problems]
    assert problems == [(names[1], FindingKind.HASH)]


async def test_it_is_off_unless_it_is_wanted(recordings: Recordings, looked: Looked) -> None:
    """By default nothing is read, and no file is written."""
    async with scrubbing(recordings, ScrubConfig(), inspect=looked) as (scrub, storage):
        await storage.space.refresh()
        assert scrub.progress == ScrubProgress()
    assert looked == []
    assert not (recordings.folder.parent / "state").exists()


async def test_a_restart_goes_on_where_it_was(recordings: Recordings, looked: Looked) -> None:
    """It stops at once in the middle of a large file, and begins with that file again."""
    movie = recordings.put_mkv(9)
    large = attrs.evolve(movie, size_bytes=1 << 30)
    os.truncate(recordings.folder / movie.filename, large.size_bytes)
    recordings.know(large)
    slow = ScrubConfig(enabled=True, rate=1_000_000)
    async with scrubbing(recordings, slow, inspect=looked) as (scrub, storage):
        await scrub.published.wait_until(lambda r: r.current is not None and r.current.files == 3)
        while storage.busy(movie) is not FILE_LEASED:
            await trio.lowlevel.checkpoint()
    assert looked[3:] == [movie.filename]
    (recordings.folder / movie.filename).write_bytes(MATROSKA)
    recordings.know(movie)
    async with scrubbing(recordings, inspect=looked) as (scrub, _):
        progress = await over(scrub)
    assert looked[4:] == [movie.filename]
    assert progress.last is not None
    assert (progress.last.files, progress.last.problem_count) == (4, 0)


async def test_it_waits_until_the_next_run_is_due(recordings: Recordings, looked: Looked) -> None:
    """A restart within the interval begins no run; one after it does."""
    async with scrubbing(recordings, inspect=looked) as (scrub, _):
        progress = await over(scrub)
    del looked[:]
    async with scrubbing(recordings, inspect=looked) as (scrub, _):
        await scrub.published.wait_until(lambda found: found == progress)
    assert looked == []
    assert progress.last is not None
    earlier = attrs.evolve(progress.last, began=progress.last.began - timedelta(days=8))
    scrub_file(recordings.folder.parent / "state").save(attrs.evolve(progress, last=earlier))
    async with scrubbing(recordings, inspect=looked) as (scrub, _):
        await scrub.published.wait_until(
            lambda found: found.last is not None and found.last.began > progress.last.began  # type: ignore[union-attr]
        )
    assert len(looked) == 3


async def test_what_recovery_looks_after_is_passed(recordings: Recordings, looked: Looked) -> None:
    """A file that is missing or being recorded is none of the scrub's."""
    names = sorted(path.name for path in recordings.folder.glob("*.mp4"))
    (recordings.folder / names[0]).unlink()
    async with scrubbing(recordings, ScrubConfig(), inspect=looked) as (_, storage):
        assert (await storage.find(names[0])).state is SegmentState.MISSING
        growing = attrs.evolve(await storage.find(names[1]), state=SegmentState.OPEN)
        storage.growing(growing, 0)
        async with open_scrub(
            FAST,
            storage,
            recordings.folder.parent / "state",
            Fanout(),
            clock=SYSTEM_CLOCK,
            inspect=looked,
        ) as scrub:
            progress = await over(scrub)
    assert looked == [names[2]]
    assert progress.last is not None
    assert progress.last.files == 1


async def test_what_changes_while_it_is_read_is_no_problem(recordings: Recordings) -> None:
    """A file that becomes another one meanwhile is passed; the reader holds a lease on it."""
    name = min(path.name for path in recordings.folder.glob("*.mp4"))
    reading, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def slowly(disk, path: Path, **options: object):
        if path.name == name:
            token.run_sync_soon(reading.set)
            assert go_on.wait(200)
        return inspect_recording(disk, path, **options)  # type: ignore[arg-type]

    async with scrubbing(recordings, inspect=slowly) as (scrub, storage):
        await reading.wait()
        assert storage.busy(await storage.find(name)) is FILE_LEASED
        segment = await storage.find(name)
        made = attrs.evolve(segment, filename="other.mkv", number=99)
        await storage.note_replaced(name, made)
        (recordings.folder / name).unlink()
        go_on.set()
        progress = await over(scrub)
        assert storage.busy(segment) is None
        assert (await storage.find("other.mkv")).state is SegmentState.MISSING  # never written
    assert progress.last is not None
    assert progress.last.problems == ()


async def test_progress_that_cannot_be_saved_stops_nothing(
    recordings: Recordings,
) -> None:
    """The run completes all the same; garbage in the file counts as no run."""
    state = recordings.folder.parent / "state"
    state.touch()
    async with scrubbing(recordings) as (scrub, _):
        progress = await over(scrub)
    assert progress.last is not None
    state.unlink()
    state.mkdir()
    (state / FILE).write_bytes(b"garbage")
    async with scrubbing(recordings) as (scrub, _):
        assert (await over(scrub)).last is not None
