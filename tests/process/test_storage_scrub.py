"""The scrub on real files: everything is read once, damage is told, and a restart goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
import trio.lowlevel
from support.fake_disk import roomy_disk
from support.recordings_folder import MATROSKA, RecordingsFolder, damage, session

from camd.config.schema import ScrubConfig, StorageConfig
from camd.errors import FILE_LEASED
from camd.model import DamageFound, Event, SegmentState
from camd.runtime.broadcast import Fanout
from camd.storage.check.recording_file import inspect_recording
from camd.storage.check.rules.findings import FindingKind
from camd.storage.check.rules.scrub_progress import ScrubProgress, decode_progress, encode_progress
from camd.storage.check.scrub import FILE, Scrub, open_scrub
from camd.storage.storage import Storage, open_storage

FAST = ScrubConfig(enabled=True, rate=10**12)


@pytest.fixture
def shelf(tmp_path: Path) -> RecordingsFolder:
    """Return a folder with three recordings."""
    made = RecordingsFolder(tmp_path / "recordings")
    for number in range(3):
        made.put(number)
    made.note(session(files=3))
    return made


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that were looked at, in order."""
    names: list[str] = []

    def noting(disk, path: Path, **options: object):
        names.append(path.name)
        return inspect_recording(disk, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("camd.storage.check.scrub.examine", noting)
    return names


@asynccontextmanager
async def scrubbing(
    shelf: RecordingsFolder, config: ScrubConfig = FAST, events: Fanout[Event] | None = None
) -> AsyncIterator[tuple[Scrub, Storage]]:
    """Run storage with a scrub, once stock has been taken."""
    told = events or Fanout[Event]()
    state = shelf.folder.parent / "state"
    with trio.fail_after(20):
        async with open_storage(
            StorageConfig(shelf.folder, state_dir=shelf.folder / ".state"), told, roomy_disk()
        ) as storage:
            await storage.unfinished_sessions()
            async with open_scrub(config, storage, state, told) as scrub:
                yield scrub, storage


async def over(scrub: Scrub) -> ScrubProgress:
    """Wait for the end of a round."""
    return await scrub.published.wait_until(lambda rounds: rounds.last is not None)


def saved(shelf: RecordingsFolder) -> ScrubProgress:
    """Read what a restart would know."""
    return decode_progress((shelf.folder.parent / "state" / FILE).read_bytes())


async def test_a_round_reads_every_recording_once(
    shelf: RecordingsFolder, looked: list[str]
) -> None:
    """From the oldest to the newest; then it rests, and says how it was."""
    async with scrubbing(shelf) as (scrub, _):
        rounds = await over(scrub)
    assert looked == sorted(path.name for path in shelf.folder.glob("*.mp4"))
    assert rounds.last is not None
    assert (rounds.last.files, rounds.last.problem_count) == (3, 0)
    assert saved(shelf) == rounds


def found_in(told: list[Event]) -> list[tuple[str, str]]:
    """Say which damage was announced."""
    return [(e.filename, e.fault) for e in told if isinstance(e, DamageFound)]


async def test_damage_is_told_and_stays_in_the_status(shelf: RecordingsFolder) -> None:
    """A changed bit is an event, and the round has it; a file that is gone is listed as missing."""
    names = sorted(path.name for path in shelf.folder.glob("*.mp4"))
    events, told = Fanout[Event](), list[Event]()
    async with scrubbing(shelf, ScrubConfig()) as (_, storage):
        damage(shelf.folder / names[1])
        (shelf.folder / names[2]).unlink()
        with events.subscribed(told.append):
            async with open_scrub(FAST, storage, shelf.folder / "state", events) as scrub:
                rounds = await over(scrub)
                gone = await storage.find(names[2])
    assert found_in(told) == [(names[1], "hash")]
    assert gone.state is SegmentState.MISSING
    assert rounds.last is not None
    problems = [(p.subject, p.fault) for p in rounds.last.problems]
    assert problems == [(names[1], FindingKind.HASH)]


async def test_it_is_off_unless_it_is_wanted(shelf: RecordingsFolder, looked: list[str]) -> None:
    """By default nothing is read, and no file is written."""
    async with scrubbing(shelf, ScrubConfig()) as (scrub, storage):
        await storage.guard.refresh()
        assert scrub.rounds == ScrubProgress()
    assert looked == []
    assert not (shelf.folder.parent / "state").exists()


async def test_a_restart_goes_on_where_it_was(shelf: RecordingsFolder, looked: list[str]) -> None:
    """It stops at once in the middle of a large file, and begins with that file again."""
    movie = shelf.put_mkv(9)
    large = attrs.evolve(movie, size_bytes=1 << 30)
    os.truncate(shelf.folder / movie.filename, large.size_bytes)
    shelf.know(large)
    slow = ScrubConfig(enabled=True, rate=1_000_000)
    async with scrubbing(shelf, slow) as (scrub, storage):
        await scrub.published.wait_until(lambda r: r.current is not None and r.current.files == 3)
        while storage.busy(movie) is not FILE_LEASED:
            await trio.lowlevel.checkpoint()
        began = trio.current_time()
    assert trio.current_time() - began < 1.0
    assert looked[3:] == [movie.filename]
    (shelf.folder / movie.filename).write_bytes(MATROSKA)
    shelf.know(movie)
    async with scrubbing(shelf) as (scrub, _):
        rounds = await over(scrub)
    assert looked[4:] == [movie.filename]
    assert rounds.last is not None
    assert (rounds.last.files, rounds.last.problem_count) == (4, 0)


async def test_it_rests_until_the_next_round_is_due(
    shelf: RecordingsFolder, looked: list[str]
) -> None:
    """A restart within the interval begins no round; one after it does."""
    async with scrubbing(shelf) as (scrub, _):
        rounds = await over(scrub)
    del looked[:]
    async with scrubbing(shelf) as (scrub, _):
        await scrub.published.wait_until(lambda found: found == rounds)
    assert looked == []
    assert rounds.last is not None
    earlier = attrs.evolve(rounds.last, began=rounds.last.began - timedelta(days=8))
    file = shelf.folder.parent / "state" / FILE
    file.write_bytes(encode_progress(attrs.evolve(rounds, last=earlier)))
    async with scrubbing(shelf) as (scrub, _):
        await scrub.published.wait_until(
            lambda found: found.last is not None and found.last.began > rounds.last.began  # type: ignore[union-attr]
        )
    assert len(looked) == 3


async def test_what_recovery_looks_after_is_passed(
    shelf: RecordingsFolder, looked: list[str]
) -> None:
    """A file that is missing or being recorded is none of the scrub's."""
    names = sorted(path.name for path in shelf.folder.glob("*.mp4"))
    (shelf.folder / names[0]).unlink()
    async with scrubbing(shelf, ScrubConfig()) as (_, storage):
        assert (await storage.find(names[0])).state is SegmentState.MISSING
        growing = attrs.evolve(await storage.find(names[1]), state=SegmentState.OPEN)
        storage.growing(growing, 0)
        async with open_scrub(FAST, storage, shelf.folder.parent / "state", Fanout()) as scrub:
            rounds = await over(scrub)
    assert looked == [names[2]]
    assert rounds.last is not None
    assert rounds.last.files == 1


async def test_what_changes_while_it_is_read_is_no_problem(
    shelf: RecordingsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that becomes another one meanwhile is passed; the reader holds a lease on it."""
    name = min(path.name for path in shelf.folder.glob("*.mp4"))
    reading, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def slowly(disk, path: Path, **options: object):
        if path.name == name:
            token.run_sync_soon(reading.set)
            assert go_on.wait(20)
        return inspect_recording(disk, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("camd.storage.check.scrub.examine", slowly)
    async with scrubbing(shelf) as (scrub, storage):
        await reading.wait()
        assert storage.busy(await storage.find(name)) is FILE_LEASED
        segment = await storage.find(name)
        made = attrs.evolve(segment, filename="other.mkv", number=99)
        await storage.note_replaced(name, made)
        (shelf.folder / name).unlink()
        go_on.set()
        rounds = await over(scrub)
        assert storage.busy(segment) is None
        assert (await storage.find("other.mkv")).state is SegmentState.MISSING  # never written
    assert rounds.last is not None
    assert rounds.last.problems == ()


async def test_a_book_that_cannot_be_written_costs_nothing_else(shelf: RecordingsFolder) -> None:
    """The round is made all the same; garbage in its place is no round."""
    state = shelf.folder.parent / "state"
    state.touch()
    async with scrubbing(shelf) as (scrub, _):
        rounds = await over(scrub)
    assert rounds.last is not None
    state.unlink()
    state.mkdir()
    (state / FILE).write_bytes(b"garbage")
    async with scrubbing(shelf) as (scrub, _):
        assert (await over(scrub)).last is not None
