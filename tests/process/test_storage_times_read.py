"""The times of recordings are read in steps, and who needs all of them waits; nobody else does."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
from support.fake_disk import GaugedDisk, roomy_disk
from support.recordings import NOON, segment

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.errors import STORAGE_UNRESPONSIVE, Refusal
from camd.growing_delay import GrowingDelay
from camd.model import CameraId, Event, RecordingQuery
from camd.playback.playback import Playback
from camd.runtime.broadcast import Fanout
from camd.storage.index.index_database import TIMES_READ, IndexDatabase
from camd.storage.recovery.reconcile import FolderComparison
from camd.storage.rules.journal_records import SegmentNoted
from camd.storage.rules.timings import STORAGE_LIMITS, StorageLimits
from camd.storage.storage import Storage, open_storage

FILES = 2 * TIMES_READ + 500
CAMERA = CameraId("camera0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recordings folder whose index has many files, none of which is there."""
    folder = tmp_path_factory.mktemp("many") / "recordings"
    (folder / ".camd").mkdir(parents=True)
    database = IndexDatabase.open(folder / ".camd" / "index.sqlite")
    database.apply(
        SegmentNoted(
            segment(
                f"camera0_{number:06}.mp4",
                start=NOON + timedelta(minutes=number),
                end=NOON + timedelta(minutes=number + 1),
            )
        )
        for number in range(FILES)
    )
    database.close()
    return folder


@asynccontextmanager
async def opened(folder: Path, disk: GaugedDisk, limits: StorageLimits) -> AsyncIterator[Storage]:
    """Run storage over a folder."""
    config = StorageConfig(folder, state_dir=folder.parent / "state")
    with trio.fail_after(300):
        async with open_storage(
            config, Fanout[Event](), disk, clock=SYSTEM_CLOCK, limits=limits
        ) as storage:
            yield storage


def without_program() -> None:
    """Fail: no test here decodes anything."""
    raise AssertionError


async def test_a_time_line_waits_for_the_times_and_a_page_does_not(folder: Path) -> None:
    """Right after the start a page has its total, and a time line everything."""
    async with opened(folder, roomy_disk(), STORAGE_LIMITS) as storage:
        page = await storage.list_recordings(RecordingQuery(limit=3, offset=5))
        assert page.total == FILES
        assert [each.filename for each in page.segments] == [
            f"camera0_{FILES - 1 - number:06}.mp4" for number in (5, 6, 7)
        ]
        playback = Playback(storage, without_program)  # type: ignore[arg-type]
        found = await playback.timeline(CAMERA, NOON, NOON + timedelta(minutes=FILES))
        gone = sum(gap.merged for gap in found.gaps)
        assert sum(span.merged for span in found.spans) + gone <= FILES
        again = await storage.list_recordings(RecordingQuery(limit=3, offset=5))
        assert (again.total, again.segments[0].filename) == (FILES, page.segments[0].filename)


@attrs.define(eq=False)
class FaultyJournal(GaugedDisk):
    """A disk that cannot list the journal's files, once they are open, until it works."""

    listed: int = 0
    works: bool = False

    def names(self, folder: Path) -> list[str]:
        if folder.name == ".camd":
            self.listed += 1
            if self.listed > 1 and not self.works:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().names(folder)


async def test_a_time_line_that_cannot_wait_any_longer_says_why(
    folder: Path, tmp_path: Path
) -> None:
    """It may be asked for again, and is there as soon as the disk works, without another start."""
    copy = tmp_path / "recordings"
    await trio.to_thread.run_sync(shutil.copytree, folder, copy)
    limits = attrs.evolve(
        STORAGE_LIMITS,
        read_timeout_seconds=1.0,
        write_retry=GrowingDelay(0.01, 0.05),
    )
    disk = FaultyJournal()
    async with opened(copy, disk, limits) as storage:
        playback = Playback(storage, without_program)  # type: ignore[arg-type]
        with pytest.raises(Refusal, match="still being read") as refused:
            await playback.timeline(CAMERA, NOON, NOON + timedelta(hours=1))
        assert refused.value.kind is STORAGE_UNRESPONSIVE
        assert refused.value.suggestion == "Ask again in a few seconds."
        assert disk.listed > 1
        disk.works = True
        while True:
            try:
                found = await playback.timeline(CAMERA, NOON, NOON + timedelta(hours=1))
                break
            except Refusal:
                await trio.lowlevel.checkpoint()
    assert sum(span.merged for span in found.spans) + len(found.gaps) == 60


def test_a_folder_is_compared_a_part_at_a_time() -> None:
    """Whatever the parts are: files that the index lacks, files that are gone, interrupted ones;
    files that grow, and names that are not camd's, are left alone."""
    names = ["a.mp4", "b.mp4", "new.mp4", "grows.mp4", "notes.txt", "../x.mp4"]
    known = ["a.mp4", "b.mp4", "gone.mp4", "grew.mp4", "torn.mp4"]
    for cut in range(len(known) + 1):
        comparison = FolderComparison.of(names, {"grows.mp4", "grew.mp4"})
        comparison.take(known[:cut])
        comparison.take(known[cut:])
        found = comparison.difference(["b.mp4", "torn.mp4", "grew.mp4"])
        assert set(found.suspects) == {"new.mp4", "b.mp4"}
        assert found.missing == ("gone.mp4", "torn.mp4")
