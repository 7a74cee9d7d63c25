"""The index's one thread, as the event loop sees it: one call at a time, with a timeout.

A damaged index is set aside and rebuilt; callers wait meanwhile. Records that cannot be written now
are written later, in order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

from camd.errors import STORAGE_MISSING, STORAGE_UNRESPONSIVE, Refusal
from camd.runtime.file_presence import is_there
from camd.runtime.folders.folder_lock import FolderRefusedError
from camd.storage.disk import Disk
from camd.storage.index.index_database import is_damage
from camd.storage.index.recording_index import (
    FOLDER,
    INDEX,
    RecordingIndex,
    file_id,
    is_derivable,
)
from camd.storage.rules.journal_records import Record
from camd.storage.rules.note_backlog import NoteBacklog
from camd.storage.rules.timings import STORAGE_LIMITS, StorageLimits
from camd.storage.space import SpaceMonitor

log = structlog.get_logger("camd.storage")

T = TypeVar("T")


@attrs.frozen(eq=False)
class IndexNote:
    """A write to the index. `derivable`: the recordings contain the same."""

    work: Callable[[RecordingIndex], None]
    derivable: bool = False


def _read_nothing(index: RecordingIndex) -> None:
    """Read nothing: waiting notes are written before any read."""


@attrs.define(eq=False)
class IndexWorker:
    """Owns the index of the folder that is there now, and reports failures to `space`.

    `generation` grows with every newly opened or rebuilt index: the folder must be searched then.
    """

    disk: Disk
    recordings: Path
    space: SpaceMonitor
    refusal: FolderRefusedError | None = attrs.field(default=None, init=False)
    generation: int = attrs.field(default=0, init=False)
    on_all_written: Callable[[], None] = lambda: None  # in the index's thread: nothing waits
    limits: StorageLimits = attrs.field(default=STORAGE_LIMITS, kw_only=True)
    _notes: NoteBacklog[IndexNote] = attrs.field(init=False)
    _write_error: OSError | sqlite3.Error | None = attrs.field(default=None, init=False)
    _logged: str = attrs.field(default="", init=False)  # the error that was logged last
    _has_waiting: trio.Event = attrs.field(factory=trio.Event, init=False)  # notes wait
    _attempted: trio.Event = attrs.field(factory=trio.Event, init=False)  # a call has been made
    _lost_before: int = attrs.field(default=0, init=False)  # notes of earlier indexes
    _index: RecordingIndex | None = attrs.field(default=None, init=False)
    _stale: list[RecordingIndex] = attrs.field(factory=list, init=False)  # of lost folders
    _damaged: bool = attrs.field(default=False, init=False)
    _thread: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )

    def __attrs_post_init__(self) -> None:
        self._notes = NoteBacklog(self.limits.max_pending, lambda note: note.derivable)

    # --- opening ---

    def open_current(self) -> None:
        """Open the index of the folder that is there now, unless it is open already.

        Blocks; one call at a time, in any thread. A folder that was lost and came back, or another
        one in its place, has another index. Raises OSError.
        """
        folder = self.recordings / FOLDER
        folder.mkdir(mode=0o750, exist_ok=True)
        if self._index is not None and file_id(folder) == self._index.folder_id:
            if not is_there(folder / INDEX):
                self._damaged = True
            return
        try:
            index = RecordingIndex.open(
                self.disk, self.recordings, max_pending=self.limits.max_pending
            )
        except FolderRefusedError as error:
            self.refusal = error
            raise
        except sqlite3.Error as error:
            log.error("index_cannot_be_opened", error=str(error))
            return
        if self._index is not None:
            self._stale.append(self._index)
        self._index, self._damaged, self.refusal = index, False, None
        self.generation += 1

    def _prepared(self, index: RecordingIndex) -> RecordingIndex:
        """In the index's thread: rebuild, catch up, and write what waits, before use."""
        if self._damaged and index is self._index:
            self._damaged = False
            index.rebuild()
            self.generation += 1
        index.catch_up()
        while self._stale:
            older = self._stale[0]
            try:
                older.close()  # tries to write once more
            finally:
                index.inherit(older)
                self._lost_before += older.lost
                self._stale.remove(older)
        index.flush()
        self._write_notes(index)
        return index

    def _write_notes(self, index: RecordingIndex) -> None:
        """Write waiting notes in order until one is refused."""
        refused: OSError | sqlite3.Error | None = None
        while refused is None and (note := self._notes.first) is not None:
            keep = False
            try:
                note.work(index)
            except OSError as error:
                refused, keep = error, True
            except sqlite3.Error as error:
                if keep := is_damage(error):
                    raise
                refused, keep = error, isinstance(error, sqlite3.OperationalError)
            finally:
                if not keep:
                    self._notes.remove([note])
        self._write_error = refused or index.problem
        if not self.waiting:
            self.on_all_written()
            if index.take_dropped() + self._notes.take_dropped():
                self.generation += 1  # a search of the folder restores what was dropped

    async def close(self) -> None:
        """Close the index; when cancelled, the thread completes that alone."""

        def close() -> None:
            try:
                if self._index is not None and len(self._notes):
                    self._prepared(self._index)
            except (OSError, sqlite3.Error) as error:
                log.error("notes_lost", count=self.waiting, error=str(error))
            for index in (*self._stale, self._index):
                if index is not None:
                    index.close()

        await trio.to_thread.run_sync(close, limiter=self._thread, abandon_on_cancel=True)

    # --- reading ---

    async def run(self, work: Callable[[RecordingIndex], T], *, abandon: bool = False) -> T:
        """Call `work` with the index, in its thread; waits as long as the disk takes.

        Waiting notes are written first. A damaged index is rebuilt and `work` called again. Raises
        Refusal without an index, and what `work` raises.
        """
        try:
            try:
                return await self._run(work, abandon)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                log.error("index_damaged", error=str(error))
                self._damaged = True
            return await self._run(work, abandon)
        finally:
            self._publish_counts()

    async def _run(self, work: Callable[[RecordingIndex], T], abandon: bool) -> T:
        if self._index is None:
            raise Refusal(STORAGE_MISSING)
        index = self._index
        with self.space.operation():
            return await trio.to_thread.run_sync(
                lambda: work(self._prepared(index)),
                limiter=self._thread,
                abandon_on_cancel=abandon,
            )

    async def read(self, read: Callable[[RecordingIndex], T], *, timed: bool = False) -> T:
        """Look something up. Raises Refusal on an error and after the timeout.

        `timed`: it needs the times of all rows, and waits until `serve_times` has read them.
        """
        with trio.move_on_after(self.limits.read_timeout_seconds):
            while timed and self._reads_times:
                await self._attempted.wait()
            try:
                return await self.run(read, abandon=True)
            except (OSError, sqlite3.Error) as error:
                self.space.suspect()
                raise Refusal(STORAGE_UNRESPONSIVE, "The index cannot be read") from error
        if timed and self._reads_times:
            raise Refusal(
                STORAGE_UNRESPONSIVE,
                "The times of all recordings are still being read",
                suggestion="Ask again in a few seconds.",
            )
        raise Refusal(STORAGE_UNRESPONSIVE)

    # --- writing ---

    @property
    def waiting(self) -> int:
        """How many notes wait for the disk."""
        indexes = [*self._stale, *([self._index] if self._index is not None else [])]
        return len(self._notes) + sum(index.pending for index in indexes)

    @property
    def lost(self) -> int:
        """How many notes were dropped since the start because too many waited."""
        return self._lost_before + self._notes.lost + (self._index.lost if self._index else 0)

    async def note(self, *records: Record) -> None:
        """Write records, now or as soon as the disk accepts them; see `write`."""
        told = all(map(is_derivable, records))
        await self.write(lambda index: index.accept(*records), derivable=told)

    async def write(
        self, write: Callable[[RecordingIndex], None], *, derivable: bool = False
    ) -> None:
        """Let `write` change the index, after all earlier notes.

        Returns after the first attempt. A failure is logged, and `write` is called again until it
        works; it must allow that. When `max_pending` notes wait, `derivable` ones are dropped
        first, then the oldest.
        """
        self._notes.add(IndexNote(write, derivable))
        await self._write_waiting()

    def write_soon(self, write: Callable[[RecordingIndex], None]) -> None:
        """Queue a change as `write` does, without waiting for the first attempt."""
        self._notes.add(IndexNote(write))
        self._has_waiting.set()

    async def wait_all_written(self) -> None:
        """Wait until all notes are written, however long the disk refuses."""
        while self.waiting:
            await self._attempted.wait()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Retry waiting notes until cancelled, with growing pauses."""
        task_status.started()
        while True:
            await self._has_waiting.wait()
            failures = 0
            while self.waiting:
                await trio.sleep(self.limits.write_retry.after(failures))
                await self._write_waiting()
                failures += 1
            self._has_waiting = trio.Event()

    @property
    def _reads_times(self) -> bool:
        return self._index is not None and not self._index.database.times_known

    async def serve_times(self) -> None:
        """Read the times of all rows in steps while they are not known, until cancelled."""
        failures = 0
        while True:
            while not self._reads_times:
                await self._attempted.wait()
            try:
                await self.run(lambda index: index.database.read_times())
                failures = 0
            except (OSError, sqlite3.Error, Refusal) as error:
                log.error("times_unknown", error=str(error))
                failures += 1
                await trio.sleep(self.limits.write_retry.after(failures))

    async def _write_waiting(self) -> None:
        """Write waiting notes, if that works; log an error once."""
        problem: Exception | None = None
        try:
            await self.run(_read_nothing)
        except (OSError, sqlite3.Error, Refusal) as error:
            problem = error
        problem = problem or self._write_error
        if problem is None:
            self._logged = ""
        elif str(problem) != self._logged:  # once, however often it is tried
            self._logged = str(problem)
            log.error("index_write_failed", error=str(problem), waiting=self.waiting)
            self.space.suspect(problem if isinstance(problem, OSError) else None)

    def _publish_counts(self) -> None:
        """Publish how many notes wait and were lost, after each call."""
        if self.lost > self.space.notes_lost:
            log.error("notes_lost", count=self.lost, most=self.limits.max_pending)
        self.space.notes_waiting, self.space.notes_lost = self.waiting, self.lost
        if self.waiting:
            self._has_waiting.set()
        self._attempted.set()
        self._attempted = trio.Event()
