"""The snapshots folder: pictures as files, their index, their limits, and reconciliation.

A picture is written under a hidden name, synced, and renamed exclusively: a name that is seen leads
to a complete picture. The folder is the truth, and the index's table is made of it again whenever
it is lost: each picture says itself which camera it shows, and when.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

from camd.clock import Clock
from camd.errors import (
    FILE_LEASED,
    FILE_NOT_FOUND,
    REMOVAL_FAILED,
    STORAGE_CRITICAL,
    STORAGE_FAILING,
    STORAGE_LOW,
    STORAGE_UNRESPONSIVE,
    ParamMistake,
    Refusal,
    invalid_params,
)
from camd.model import CameraId, ReadableRecording, RecordingQuery, SnapshotPage, StoredSnapshot
from camd.snapshots.rules.expiry import SnapshotLimits, expired
from camd.snapshots.rules.pictures import PictureError, PictureNote, picture_size, read_note
from camd.snapshots.rules.snapshot_names import (
    is_part_name,
    may_be_snapshot,
    names_for,
    parse_camd_name,
    part_name,
)
from camd.storage.disk import Disk, PosixDisk
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.leases import FileLeases
from camd.storage.rules.admission import room_below_block, space_facts
from camd.storage.rules.levels import Usage, level_of, message_of
from camd.storage.storage import Storage

log = structlog.get_logger("camd.snapshots")

T = TypeVar("T")

TIMEOUT_SECONDS = 10.0
THREADS = 4  # that wait for the folder's disk
CLEANUP_SECONDS = 600.0
BATCH = 200
_HEAD_BYTES = 64 * 1024
_MOST_NAMES = 10_000  # tried for one picture
_FULL = (errno.ENOSPC, errno.EDQUOT)


@attrs.frozen
class NewPicture:
    """A picture to store: its bytes, and what it shows. `filename` None: camd names it."""

    picture: bytes = attrs.field(repr=False)
    camera_id: CameraId
    time: datetime
    format: str
    filename: str | None = None


@attrs.define(eq=False)
class SnapshotFiles:
    """One folder of snapshots. Each call to its disk is bounded in time; see `serve`."""

    folder: Path
    limits: SnapshotLimits
    _storage: Storage
    _clock: Clock
    _disk: Disk = attrs.field(factory=PosixDisk)
    _threads: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, THREADS), init=False
    )
    _leases: FileLeases = attrs.field(factory=FileLeases, init=False)
    _fresh: set[str] = attrs.field(factory=set, init=False)  # being stored: not to be deleted
    _generation: int = attrs.field(default=-1, init=False)  # of the index that was reconciled
    _reconciling: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _limited: trio.Event = attrs.field(factory=trio.Event, init=False)  # anew: clean up soon

    def limit(self, limits: SnapshotLimits) -> None:
        """Keep the folder within other limits; `serve` applies them soon."""
        if limits != self.limits:
            self.limits = limits
            self._limited.set()

    # --- writing ---

    async def store(self, new: NewPicture) -> StoredSnapshot:
        """Write a picture durably, note it, and delete the oldest ones beyond the limits.

        Raises Refusal: −1010 or −1008 for want of space, −32602 when the name is taken, or why the
        folder cannot be written.
        """
        await self._admit(len(new.picture))
        stored = await self._on_disk(partial(self._write, new))
        self._fresh.add(stored.filename)
        try:
            await self._storage.index_worker.write(
                lambda index: index.database.snapshots.put([stored]), derivable=True
            )
            with suppress(Refusal):  # it is stored; `serve` tries again
                await self._clean_up()
        finally:
            self._fresh.discard(stored.filename)
        return stored

    async def _admit(self, size_bytes: int) -> None:
        """Refuse a picture that does not fit below the block threshold of its volume."""
        await self._storage.space.refresh()
        status = self._storage.status
        usage, shared = await self._on_disk(self._sample)
        if not shared:
            level = level_of(usage, self._storage.space.thresholds)
            status = attrs.evolve(
                status,
                level=level,
                reason="",
                suggestion="",
                total_bytes=usage.total_bytes,
                available_bytes=usage.available_bytes,
                used_bytes=usage.total_bytes - usage.available_bytes,
                used_percent=usage.used_percent,
                promised_bytes=0,
            )
        message = message_of(status)
        if message is not None and message.kind is not STORAGE_LOW:
            raise Refusal(
                message.kind,
                message.message,
                suggestion=message.suggestion,
                **space_facts(status),
            )
        if size_bytes > room_below_block(status):
            raise Refusal(STORAGE_LOW, suggestion="Free space.", **space_facts(status))

    def _sample(self) -> tuple[Usage, bool]:
        """Sample the folder's volume; say whether the recordings are on the same one. Blocks."""
        try:
            self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except FileExistsError as error:
            why = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, why, str(self.folder)) from error
        with suppress(OSError):
            same = self.folder.stat().st_dev == self._storage.folder.stat().st_dev
            return self._disk.usage(self.folder), same
        return self._disk.usage(self.folder), False

    def _write(self, new: NewPicture) -> StoredSnapshot:
        """Write, sync, rename, sync the folder. Blocks; raises OSError, FileExistsError."""
        part = self.folder / part_name(secrets.token_hex(8))
        file = self._disk.create(part)  # locked until it is closed: reconciliation leaves it alone
        try:
            file.append([new.picture])
            file.sync()
            name = self._take_name(part, new)
        except OSError:
            self._disk.unlink(part)
            raise
        finally:
            file.close()
        self._disk.sync_directory(self.folder)
        return self._look(name)

    def _names(self, new: NewPicture) -> Iterator[str]:
        if new.filename is not None:
            return iter((new.filename,))
        return islice(names_for(new.camera_id, new.time, new.format), _MOST_NAMES)

    def _take_name(self, part: Path, new: NewPicture) -> str:
        for name in self._names(new):
            try:
                self._disk.move(part, self.folder / name)
            except FileExistsError:
                continue
            return name
        raise FileExistsError(errno.EEXIST, "the name is taken", new.filename or part.name)

    # --- reading ---

    async def page(self, query: RecordingQuery) -> SnapshotPage:
        """List snapshots, newest first. Raises Refusal."""
        await self._reconcile()
        return await self._storage.index_worker.read(
            lambda index: index.database.snapshots.page(query)
        )

    async def find(self, filename: str) -> StoredSnapshot:
        """Find a snapshot by a name from outside. Raises Refusal: unknown, or not a name."""
        if not may_be_snapshot(filename):
            raise invalid_params(
                ParamMistake("filename", "must be a file name without a path, of a picture")
            )
        await self._reconcile()
        found = await self._storage.index_worker.read(
            lambda index: index.database.snapshots.find(filename)
        )
        if found is None:
            raise _not_found(filename)
        return found

    async def stored_file(self, filename: str) -> ReadableRecording:
        """Find a snapshot that can be read. Raises Refusal as `find` does."""
        found = await self.find(filename)
        looked = await self._on_disk(partial(self._look_if_there, found.filename))
        if looked is None:  # another program deleted it
            await self._forget([found.filename])
            raise _not_found(filename)
        return ReadableRecording(
            path=self.folder / found.filename,
            filename=found.filename,
            size_bytes=looked.size_bytes,
            sealed=True,
            modified=looked.modified,
        )

    def leased(self, filename: str) -> AbstractContextManager[None]:
        """Keep a file from being deleted while the block runs, because it is being read."""
        return self._leases.hold(filename)

    def _look(self, name: str) -> StoredSnapshot:
        """Describe a file by its head, its name and its state. Blocks; raises OSError."""
        path = self.folder / name
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise FileNotFoundError(errno.ENOENT, "not an ordinary file", str(path))
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        modified = _moment(facts.st_mtime)
        note, told = read_note(head), parse_camd_name(name)
        if note is None:
            note = PictureNote(*told) if told is not None else PictureNote("", modified)
        try:
            width, height = picture_size(head)
        except PictureError:
            width = height = 0
        return StoredSnapshot(
            name, CameraId(note.camera_id), note.time, facts.st_size, width, height, modified
        )

    def _look_if_there(self, name: str) -> StoredSnapshot | None:
        try:
            return self._look(name)
        except FileNotFoundError:
            return None

    # --- deleting ---

    async def delete(self, filename: str) -> StoredSnapshot:
        """Delete a snapshot. Raises Refusal: no such file, being read, or the disk refuses."""
        found = await self.find(filename)
        if filename in self._leases:
            raise Refusal(FILE_LEASED, filename=filename)
        await self._remove([found])
        log.info("snapshot_deleted", filename=filename)
        return found

    async def _remove(self, snapshots: Sequence[StoredSnapshot]) -> None:
        names = [each.filename for each in snapshots]
        try:
            await self._on_disk(partial(self._unlink, names))
        except Refusal as refusal:
            if refusal.kind is STORAGE_FAILING:
                raise Refusal(REMOVAL_FAILED, filename=names[0]) from refusal
            raise
        await self._forget(names)

    def _unlink(self, names: Sequence[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._disk.unlink(self.folder / name)
        self._disk.sync_directory(self.folder)

    async def _forget(self, names: Sequence[str]) -> None:
        await self._storage.index_worker.write(
            lambda index: index.database.snapshots.drop(names), derivable=True
        )

    async def _clean_up(self) -> None:
        """Delete the oldest snapshots beyond the limits; publish what is left."""
        worker, kept = self._storage.index_worker, self._fresh | self._leases.filenames
        removed: set[str] = set()
        while True:
            totals = await worker.read(lambda index: index.database.snapshots.totals())
            oldest = await worker.read(lambda index: index.database.snapshots.oldest(BATCH))
            chosen = expired(
                oldest,
                self.limits,
                count=totals.count,
                size_bytes=totals.size_bytes,
                now=self._clock.now(),
                kept=kept,
            )
            if not chosen or removed & {each.filename for each in chosen}:  # not in the index
                self._storage.space.snapshots_bytes = totals.size_bytes
                return
            await self._remove(chosen)
            removed |= {each.filename for each in chosen}
            log.info("snapshots_expired", count=len(chosen), oldest=chosen[0].filename)

    # --- the folder against the index ---

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reconcile at the start, and apply the limits now and then; until cancelled."""
        task_status.started()
        while True:
            self._limited = trio.Event()
            try:
                await self._reconcile()
                await self._clean_up()
            except Refusal as refusal:
                log.warning("snapshots_not_cleaned_up", why=refusal.message)
            with trio.move_on_after(CLEANUP_SECONDS):
                await self._limited.wait()

    async def _reconcile(self) -> None:
        """Compare the folder with the index, once for each index. Raises Refusal."""
        worker = self._storage.index_worker
        async with self._reconciling:
            await worker.read(lambda _: None)  # an index that has to be rebuilt is rebuilt now
            generation = worker.generation
            if generation == self._generation:
                return
            known = set(await worker.read(lambda index: index.database.snapshots.filenames()))
            present = await self._on_disk(self._present)
            for names in _batches(sorted(present - known)):
                found = await self._on_disk(partial(self._look_at_all, names))
                await worker.read(partial(_put, found))
            for names in _batches(sorted(known - present)):
                await self._forget(names)
            totals = await worker.read(lambda index: index.database.snapshots.totals())
            self._storage.space.snapshots_bytes = totals.size_bytes
            self._generation = generation
            if present ^ known:
                log.info(
                    "snapshots_reconciled", new=len(present - known), gone=len(known - present)
                )

    def _present(self) -> set[str]:
        """List the pictures in the folder, and remove those that a crash left incomplete."""
        try:
            names = self._disk.names(self.folder)
        except FileNotFoundError:
            return set()
        for name in names:
            if is_part_name(name):
                with suppress(OSError):
                    self._disk.open(self.folder / name).close()  # fails while it is being written
                    self._disk.unlink(self.folder / name)
        return {name for name in names if may_be_snapshot(name)}

    def _look_at_all(self, names: Sequence[str]) -> list[StoredSnapshot]:
        found = []
        for name in names:
            with suppress(OSError):
                found.append(self._look(name))
        return found

    async def _on_disk(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread for at most TIMEOUT_SECONDS. Raises Refusal."""
        with trio.move_on_after(TIMEOUT_SECONDS):
            try:
                return await trio.to_thread.run_sync(
                    work, limiter=self._threads, abandon_on_cancel=True
                )
            except FileExistsError:
                raise invalid_params(ParamMistake("filename", "exists already")) from None
            except FileNotFoundError as error:
                raise _not_found(Path(error.filename or "").name) from error
            except OSError as error:
                kind = STORAGE_CRITICAL if error.errno in _FULL else STORAGE_FAILING
                raise Refusal(kind, f"The snapshots folder: {error.strerror}") from error
        raise Refusal(STORAGE_UNRESPONSIVE, "The snapshots folder does not answer")


def _moment(seconds: float) -> datetime:
    """Convert a file's time; one that no calendar has becomes 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _put(snapshots: Sequence[StoredSnapshot], index: RecordingIndex) -> None:
    index.database.snapshots.put(snapshots)


def _not_found(filename: str) -> Refusal:
    return Refusal(FILE_NOT_FOUND, suggestion="list_snapshots shows the names.", filename=filename)


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), BATCH):
        yield names[at : at + BATCH]
