"""The scrub: reads every recording again from time to time, so that damage is known early.

One file at a time, slowly, at idle priority, in a thread that ends soon after the daemon stops. It
continues after a restart.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.clock import Clock
from camd.config.schema import ScrubConfig
from camd.errors import FILE_IN_USE, Refusal
from camd.model import DamageFound, Event, Segment, SegmentState, StorageStatus
from camd.runtime.broadcast import Fanout, LatestValue
from camd.runtime.priority import idle_io
from camd.runtime.state_file import StateFile, from_json
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.read_only_disk import ReadOnlyDisk
from camd.storage.storage import Storage
from camd.storage.verify.recording_file import inspect_recording
from camd.storage.verify.rules.findings import FileContents, FileKind, Finding, compare_file
from camd.storage.verify.rules.scrub_progress import (
    ScrubPace,
    ScrubPosition,
    ScrubProgress,
    ScrubRun,
)

log = structlog.get_logger("camd.scrub")

FILE = "scrub.json"
RETRY_SECONDS = 60.0  # after an error of index or disk
LOOK_AGAIN_SECONDS = 3600.0  # the wall clock may be set while the scrub waits
SAVE_SECONDS = 30.0  # of work, which a crash may lose
CLOSE_SECONDS = 0.5
_SLOW_SECONDS = 1.0  # between two looks at an unusable volume


class _StoppedError(Exception):
    """The thread is to end."""


@attrs.define(eq=False)
class Scrub:
    """Verifies all recordings, run after run. `published` is its progress."""

    config: ScrubConfig
    storage: Storage
    file: StateFile[ScrubProgress]
    events: Fanout[Event]
    clock: Clock = attrs.field(kw_only=True)
    inspect: Callable[..., FileContents] = attrs.field(default=inspect_recording, kw_only=True)
    published: LatestValue[ScrubProgress] = attrs.field(
        factory=lambda: LatestValue(ScrubProgress()), init=False
    )
    _saved_at: float = attrs.field(default=0.0, init=False)
    _read_limiter: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )
    _save_limiter: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )

    @property
    def progress(self) -> ScrubProgress:
        """The present progress; never waits."""
        return self.published.value

    async def serve(self) -> None:
        """Verify all recordings until cancelled, whenever a run is due."""
        await self._load()
        while True:
            wait = self.progress.seconds_until_due(self.clock.now(), self.config.interval)
            if wait > 0:
                await trio.sleep(min(wait, LOOK_AGAIN_SECONDS))
                continue
            try:
                await self._run()
            except (OSError, sqlite3.Error, Refusal) as error:
                log.warning("scrub_failed_will_retry", error=str(error))
                await trio.sleep(RETRY_SECONDS)

    async def _run(self) -> None:
        """Verify from the saved position to the newest file. Raises what the index raises."""
        self.published.publish(self.progress.begun(self.clock.now()))
        while (current := self.progress.current) is not None:
            await self.storage.published.wait_until(_usable)
            mark = current.at
            found = await self.storage.index_worker.read(partial(_next_segment, mark=mark))
            if not found:
                self.published.publish(self.progress.over(self.clock.now()))
                log.info("scrub_over", files=current.files, problems=current.problem_count)
                await self.save()
                return
            self._advance(await self._verify_next(current, found[0]))
            if self.clock.monotonic() - self._saved_at >= SAVE_SECONDS:
                await self.save()

    def _advance(self, current: ScrubRun) -> None:
        self.published.publish(attrs.evolve(self.progress, current=current))

    # --- one file ---

    async def _verify_next(self, current: ScrubRun, segment: Segment) -> ScrubRun:
        """Verify a sealed file; skip others, which recovery repairs."""
        name = segment.filename
        if segment.state is not SegmentState.SEALED or self.storage.busy(segment) is FILE_IN_USE:
            return current.passed(segment)
        with self.storage.leased(name):
            seen = await self._read(segment)
        if seen.shape is FileKind.GONE:
            await self.storage.note_missing(name)
            return current.passed(segment)
        known = await self.storage.index_worker.read(lambda index: index.database.segment(name))
        if known != segment:  # removed, converted or hashed meanwhile
            return current.passed(segment)
        found = [c for c in compare_file(seen, known) if not c.fault.harmless]
        for finding in found:
            self._tell(finding)
        return current.verified(segment, seen.size_bytes, found)

    def _tell(self, finding: Finding) -> None:
        name, fault = finding.subject, finding.fault.value
        log.error("recording_damaged", filename=name, fault=fault, text=finding.text)
        self.events.publish(DamageFound(name, fault, finding.text, finding.advice))
        self._saved_at = -SAVE_SECONDS  # save a problem at once

    async def _read(self, segment: Segment) -> FileContents:
        """Read a file in a thread that is abandoned on cancellation, and ends soon."""
        stop, pace = threading.Event(), ScrubPace(self.config.rate)

        def told(size_bytes: int, seconds: float) -> None:
            pause = pace.pause_after(size_bytes, seconds)
            while stop.wait(pause) or not _usable(self.storage.published.value):
                if stop.is_set():
                    raise _StoppedError
                pause = _SLOW_SECONDS

        def look() -> FileContents:
            with idle_io():
                path = self.storage.folder / segment.filename
                disk = ReadOnlyDisk(told, clock=self.clock)
                return self.inspect(disk, path, expected=segment.sha256)

        try:
            return await trio.to_thread.run_sync(
                look, limiter=self._read_limiter, abandon_on_cancel=True
            )
        finally:
            stop.set()

    # --- across restarts ---

    async def _load(self) -> None:
        found = await trio.to_thread.run_sync(self.file.load, abandon_on_cancel=True)
        self.published.publish(found or ScrubProgress())

    async def save(self) -> None:
        """Save the progress; a failure is logged, and some files will be verified again."""
        self._saved_at = self.clock.monotonic()
        try:
            await trio.to_thread.run_sync(
                self.file.save, self.progress, limiter=self._save_limiter, abandon_on_cancel=True
            )
        except OSError as error:
            log.warning("scrub_not_saved", error=str(error))


def scrub_file(state_dir: Path) -> StateFile[ScrubProgress]:
    """Return the file that keeps the progress over restarts."""
    return StateFile(state_dir / FILE, partial(from_json, kind=ScrubProgress))


def _next_segment(index: RecordingIndex, mark: ScrubPosition | None) -> tuple[Segment, ...]:
    return index.database.oldest(mark, 1)


def _usable(status: StorageStatus) -> bool:
    """Return whether the volume has room for a scrub."""
    return status.level.writable


@asynccontextmanager
async def open_scrub(
    config: ScrubConfig,
    storage: Storage,
    state_dir: Path,
    events: Fanout[Event],
    *,
    clock: Clock,
    inspect: Callable[..., FileContents] = inspect_recording,
) -> AsyncIterator[Scrub]:
    """Scrub while the block runs, if the configuration enables it."""
    file = scrub_file(state_dir)
    scrub = Scrub(config, storage, file, events, clock=clock, inspect=inspect)
    if not config.enabled:
        yield scrub
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scrub.serve)
        try:
            yield scrub
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
                await scrub.save()
