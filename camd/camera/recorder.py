"""Turns what one camera delivers into the files of one session, and accounts for every frame.

One task per session. It never drops anything by itself: what it cannot write goes into the
ledger (I4), and it says "recording" only while bytes become durable (I7).
"""

from __future__ import annotations

import errno
from datetime import datetime, timedelta
from typing import Protocol

import attrs
import structlog
import trio

from camd import __version__
from camd.camera.queue import (
    Captured,
    CaptureQueue,
    Finish,
    Item,
    Overflowed,
    RunBegan,
    RunEnded,
)
from camd.camera.sessions import Rotation, SessionBook
from camd.clock import boot_id, monotonic, now, synchronised, to_unix_micros
from camd.media.fragments import Init
from camd.media.identity import SegmentIdentity
from camd.media.mp4 import SegmentError, SegmentIndex
from camd.model import (
    CameraId,
    Cause,
    Gap,
    RecordingNews,
    Segment,
    SegmentState,
    StorageLevel,
    VideoFormat,
)
from camd.storage.actor import Storage
from camd.storage.naming import candidates
from camd.storage.segment import SegmentFile

log = structlog.get_logger("camd.recorder")

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
SAME_MOMENT = timedelta(milliseconds=250)  # capture times closer than this are one moment
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Observer(Protocol):
    """Who wants to know how the session goes."""

    async def began(self) -> None:
        """The first frames are on disk."""

    def failed(self, error: OSError) -> None:
        """The disk refused; the recorder waits and tries again."""

    def sealed(self, segment: Segment) -> None:
        """A segment is final and durable."""

    def news(self, news: RecordingNews, filename: str, reason: str = "") -> None:
        """Something that clients are told."""


@attrs.define(eq=False)
class _Open:
    """The segment being written."""

    file: SegmentFile
    number: int
    begin_seconds: float  # decode time of its first frame in the child's stream
    start: datetime

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.file.index.duration_seconds)


@attrs.define(eq=False)
class _Loss:
    """Frames that arrived and could not be written, so far."""

    start: datetime
    end: datetime
    frames: int
    cause: Cause
    action: str


@attrs.define(eq=False)
class Recorder:
    """One session's writer. `rotation` may be replaced while it runs."""

    camera_id: CameraId
    identity: str
    book: SessionBook
    queue: CaptureQueue
    storage: Storage
    observer: Observer
    rotation: Rotation
    sync_seconds: float | None  # None: only when a segment is sealed
    _init: Init | None = attrs.field(default=None, init=False)
    _open: _Open | None = attrs.field(default=None, init=False)
    _number: int = attrs.field(default=0, init=False)
    _sync_due: float | None = attrs.field(default=None, init=False)
    _last_end: datetime | None = attrs.field(default=None, init=False)
    _run_over: RunEnded | None = attrs.field(default=None, init=False)
    _paused: Cause | None = attrs.field(default=None, init=False)
    _loss: _Loss | None = attrs.field(default=None, init=False)
    _retry_at: float = attrs.field(default=0.0, init=False)
    _retry_delay: float = attrs.field(default=FIRST_RETRY_SECONDS, init=False)

    async def record(self) -> None:
        """Write until Finish comes out of the queue; then everything is sealed and ledgered."""
        while True:
            item: Item | None = None
            with trio.move_on_at(self._deadline()):
                item = await self.queue.get()
            if isinstance(item, Finish):
                break
            if item is None:
                await self._sync()
            else:
                await self._take(item)
        await self._seal()
        await self._ledger_loss()
        await self._ledger_absence(now())

    def _deadline(self) -> float:
        if self._sync_due is None:
            return float("inf")
        return trio.current_time() + max(0.0, self._sync_due - monotonic())

    async def _take(self, item: Captured | RunBegan | RunEnded | Overflowed) -> None:
        match item:
            case RunBegan(init):
                self._init = init
            case Captured():
                self.book.captured(item.fragment.frames)
                await self._capture(item)
            case Overflowed(start, end, frames):
                self.book.captured(frames)
                await self._seal()
                self._lose(start, end, frames, Cause.STORAGE_SLOW, "dropped whole GOPs")
                await self._ledger_loss()
            case RunEnded():
                await self._seal()
                await self._ledger_loss()
                self._run_over = item
                if item.cause is not None:
                    self.book.wait_for(item.reason)

    # --- fragments ---

    async def _capture(self, captured: Captured) -> None:
        """Write a fragment, or count it as lost."""
        fragment = captured.fragment
        if not await self._may_write():
            assert self._paused is not None
            self._lose(
                captured.start, captured.end, fragment.frames, self._paused, "paused, sealed"
            )
            return
        if self._open is not None and fragment.starts_with_sync and self._due(captured):
            await self._rotate()
        if self._open is None and not fragment.starts_with_sync:
            self._lose(
                captured.start,
                captured.end,
                fragment.frames,
                self._loss.cause if self._loss else Cause.STORAGE_ERROR,
                "waited for the next key frame",
            )
            return
        try:
            if self._open is None:
                await self._begin(captured)
            await self._append(captured)
        except OSError as error:
            await self._write_failed(error, captured)
        except SegmentError as error:
            await self._does_not_fit(error, captured)

    async def _does_not_fit(self, error: SegmentError, captured: Captured) -> None:
        """A fragment cannot follow in this file (a long hole, other tracks): begin another."""
        log.warning("segment_ended", session=self.book.session_id, why=str(error))
        begun = self._open is not None and self._open.file.index.frames > 0
        await self._seal()
        if begun and captured.fragment.starts_with_sync:
            await self._capture(captured)
        else:
            frames = captured.fragment.frames
            self._lose(captured.start, captured.end, frames, Cause.ENCODER_EXIT, str(error))

    def _due(self, captured: Captured) -> bool:
        assert self._open is not None
        fragment, segment = captured.fragment, self._open.file
        frame = fragment.duration_seconds / max(1, fragment.frames)
        return self.rotation.due(
            number=self._open.number,
            seconds=fragment.start_seconds - self._open.begin_seconds,
            size_bytes=segment.size_bytes,
            next_bytes=fragment.size_bytes,
            frame_seconds=frame,
        )

    async def _begin(self, captured: Captured) -> None:
        """Open a segment for a fragment that starts with a key frame. Raises OSError."""
        assert self._init is not None
        start = captured.start
        if self._last_end and abs(start - self._last_end) < SAME_MOMENT:
            start = self._last_end
        identity = SegmentIdentity(
            camera_id=self.camera_id,
            identity=self.identity,
            session_id=self.book.session_id,
            number=self._number,
            start_micros=to_unix_micros(start),
            monotonic_start=monotonic(),
            boot_id=boot_id(),
            synchronised=synchronised(),
            software=f"camd {__version__}",
        )
        index = SegmentIndex(self._init, captured.fragment, identity)
        file = await self.storage.on_disk(
            lambda: SegmentFile.create(
                self.storage.disk, self.storage.folder, candidates(self.camera_id, start), index
            )
        )
        self._open = _Open(file, self._number, captured.fragment.start_seconds, start)
        self._number += 1
        await self._ledger_loss()
        await self._ledger_absence(start)
        self.storage.guard.wrote(self.book.session_id, file.size_bytes)

    async def _append(self, captured: Captured) -> None:
        """Append to the open segment, and sync when it is due. Raises OSError."""
        assert self._open is not None
        segment, fragment = self._open.file, captured.fragment
        due = self._sync_due is not None and monotonic() >= self._sync_due

        def write() -> None:
            segment.append([fragment])
            if due:
                segment.sync()

        before = segment.size_bytes
        first = segment.index.frames == 0
        await self.storage.on_disk(write)
        grown = segment.size_bytes - before
        self.storage.guard.wrote(self.book.session_id, grown)
        self._last_end = self._open.end
        self.book.wrote(self._account(SegmentState.OPEN), fragment.frames, grown, monotonic())
        self._retry_delay = FIRST_RETRY_SECONDS
        self._synced() if due else self._arm_sync()
        if first:
            await self._announce()

    async def _announce(self) -> None:
        assert self._open is not None
        await self.storage.note_segment(self._account(SegmentState.OPEN))
        if self._open.number == 0:
            await self.observer.began()
        else:
            self.observer.news(RecordingNews.ROTATED, self._open.file.path.name)

    def _account(self, state: SegmentState) -> Segment:
        """Describe the open segment as it is now, and let clients read what is durable of it."""
        assert self._open is not None
        file = self._open.file
        track = file.index.init.video
        segment = Segment(
            filename=file.path.name,
            camera_id=self.camera_id,
            session_id=self.book.session_id,
            number=self._open.number,
            start=self._open.start,
            end=self._open.end,
            duration_seconds=file.index.duration_seconds,
            frames=file.index.frames,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            state=state,
            codec=track.codec,
            width=track.width,
            height=track.height,
            modified=now(),
        )
        if state is SegmentState.OPEN:
            self.storage.growing(segment, file.synced_bytes)
        return segment

    # --- durability ---

    def _arm_sync(self) -> None:
        if self._sync_due is None and self.sync_seconds is not None:
            self._sync_due = monotonic() + self.sync_seconds

    def _synced(self) -> None:
        self._sync_due = None
        self.book.synced(monotonic())
        self._account(SegmentState.OPEN)

    async def _sync(self) -> None:
        """Sync although nothing new has come."""
        if self._open is None:
            self._sync_due = None
            return
        try:
            await self.storage.on_disk(self._open.file.sync)
        except OSError as error:
            await self._write_failed(error, None)
        else:
            self._synced()

    async def _rotate(self) -> None:
        interval = self.rotation.max_seconds * (self.storage_rate() or 0.0)
        if self.book.wish.duration is None:
            self.storage.guard.renew(self.book.session_id, interval)
        await self._seal()

    def storage_rate(self) -> float | None:
        """Bytes per second of the open segment, as far as it goes."""
        if self._open is None or self._open.file.index.duration_seconds <= 0:
            return None
        return self._open.file.size_bytes / self._open.file.index.duration_seconds

    async def _seal(self) -> None:
        """Seal the open segment, if there is one; a failure leaves it playable, and is told."""
        if self._open is None:
            return
        opened, self._sync_due = self._open, None
        segment = opened.file
        before = segment.size_bytes

        def seal() -> None:
            try:
                segment.seal()
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self.storage.guard.give_reserve()
                segment.seal()

        state = SegmentState.SEALED
        try:
            await self.storage.on_disk(seal)
            self.book.synced(monotonic())
        except OSError as error:
            state = SegmentState.INTERRUPTED
            log.error("seal_failed", file=segment.path.name, error=str(error))
            self.observer.news(RecordingNews.ERROR, segment.path.name, f"seal failed: {error}")
            self.storage.guard.suspect()
        finally:
            await self.storage.on_disk(segment.close)
        self.storage.guard.wrote(self.book.session_id, segment.size_bytes - before)
        account = self._account(state)
        self.book.replace(account)
        self._open = None
        await self.storage.note_segment(account)
        if state is SegmentState.SEALED:
            self.observer.sealed(account)

    # --- trouble ---

    async def _may_write(self) -> bool:
        """Whether the volume may be written; seals and pauses when it may not any more."""
        level = self.storage.published.value.level
        if level is StorageLevel.UNRESPONSIVE:
            return self._paused is None
        if not level.writable:
            full = level is StorageLevel.CRITICAL
            await self._pause(Cause.STORAGE_FULL if full else Cause.STORAGE_ERROR, level.value)
            return False
        if self._paused is None:
            return True
        resumed = level in (StorageLevel.OK, StorageLevel.LOW) or (
            self._paused is Cause.STORAGE_ERROR
        )
        if not resumed or monotonic() < self._retry_at:
            return False
        self._paused = None
        return True

    async def _pause(self, cause: Cause, reason: str) -> None:
        if self._paused is not None:
            return
        self._paused = cause
        await self._seal()
        self.book.wait_for(f"storage {reason}")
        self.observer.failed(OSError(reason))
        self.observer.news(RecordingNews.ERROR, self._newest_name(), f"storage {reason}")

    async def _write_failed(self, error: OSError, captured: Captured | None) -> None:
        """Seal what is there, ledger the fragment, and try again later."""
        full = error.errno in NO_ROOM
        cause = Cause.STORAGE_FULL if full else Cause.STORAGE_ERROR
        log.error("write_failed", session=self.book.session_id, error=str(error))
        self._retry_at = monotonic() + self._retry_delay
        self._retry_delay = min(LONGEST_RETRY_SECONDS, self._retry_delay * 2)
        await self._pause(cause, error.strerror or "error")
        if captured is not None:
            self._lose(
                captured.start, captured.end, captured.fragment.frames, cause, "sealed, retried"
            )
        self.storage.guard.suspect()

    def _lose(
        self, start: datetime, end: datetime, frames: int, cause: Cause, action: str
    ) -> None:
        if self._loss is None:
            self._loss = _Loss(start, end, frames, cause, action)
        else:
            self._loss.end = max(self._loss.end, end)
            self._loss.frames += frames

    async def _ledger_loss(self) -> None:
        """Write frames that were lost so far into the ledger, as one entry."""
        if self._loss is None:
            return
        loss, self._loss = self._loss, None
        self._last_end = max(loss.end, self._last_end or loss.end)
        await self._ledger(
            self.book.lost(loss.start, loss.end, loss.frames, loss.cause, loss.action)
        )

    async def _ledger_absence(self, until: datetime) -> None:
        """Write the time since the last child ended into the ledger, if footage is missing."""
        over, self._run_over = self._run_over, None
        if over is None or over.cause is None:
            return
        start = self._last_end or self.book.started
        video = self._video_format()
        if until > start:
            await self._ledger(
                self.book.missed(start, until, video, over.cause, "started the camera again")
            )

    async def _ledger(self, gap: Gap) -> None:
        await self.storage.note_gaps([gap])
        self.observer.news(RecordingNews.GAP, self._newest_name(), gap.cause.value)

    def _newest_name(self) -> str:
        return self.book.segments[-1].filename if self.book.segments else ""

    def _video_format(self) -> VideoFormat | None:
        """What the newest segments show: needed to estimate missing frames."""
        for segment in reversed(self.book.segments):
            if segment.duration_seconds > 0:
                fps = segment.frames / segment.duration_seconds
                return VideoFormat(segment.codec, segment.width, segment.height, fps)
        return None
