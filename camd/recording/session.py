"""The session that a camera is recording now: its tasks, its clock, and who waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import structlog
import trio

from camd.capture.consumer import CaptureEnded, CaptureQueue, EndOfInput
from camd.clock import monotonic, now
from camd.errors import RECORDING_FAILED, STORAGE_CRITICAL, Refusal
from camd.model import (
    Cause,
    Problem,
    RecordingEventKind,
    Segment,
    SegmentState,
    Session,
    SessionState,
)
from camd.recording.rules.book import SessionBook
from camd.recording.rules.durability import AWAITS_CAMERA, AWAITS_DISK, judge_health
from camd.recording.rules.rotation import Rotation
from camd.recording.writer import SessionWriter
from camd.runtime.actor import Ask
from camd.storage.rules.levels import SpaceNeed, space_facts
from camd.storage.storage import Storage

log = structlog.get_logger("camd.session")

SHUTDOWN = "shutdown"  # why a session ended that the next life of the daemon continues
INTERRUPTED = "interrupted"  # the same, when the daemon failed or was ended at once
TICK_SECONDS = 1.0
CLOSE_SECONDS = 5.0  # for the session's row in the catalog
CONVERSION_SECONDS = 5.0  # for conversions at the end of the service: they are made again
DURABILITY_SECONDS: dict[str, float | None] = {
    "1s": 1.0,
    "5s": 5.0,
    "30s": 30.0,
    "segment": None,
}


# --- what a session reports to its camera -------------------------------------------------


@attrs.frozen
class SessionAdmitted:
    """Storage has promised room; frames may come."""

    active: RecordingSession


@attrs.frozen
class SessionBegan:
    """The first frames are on disk."""

    active: RecordingSession


@attrs.frozen
class SessionOver:
    """Everything is sealed and ledgered; nothing of the session runs any more."""

    active: RecordingSession


@attrs.frozen
class SessionChanged:
    """Its health, its state or its newest file is another one."""

    active: RecordingSession


@attrs.frozen
class DurationElapsed:
    """The duration that was asked for is over."""

    active: RecordingSession


SessionReport = SessionAdmitted | SessionBegan | SessionOver | SessionChanged | DurationElapsed
Reporter = Callable[[SessionReport], Awaitable[None]]
Finished = Callable[[Segment], Awaitable[Segment | None]]


@attrs.define(eq=False)
class RecordingSession:
    """One running session. Its camera decides; this carries out and reports."""

    book: SessionBook
    queue: CaptureQueue
    storage: Storage
    report: Reporter
    tell: Teller
    convert: Finished | None  # makes the file that was asked for out of a sealed MP4
    progress_seconds: float
    sync_seconds: float | None
    end_on_storage_error: bool
    resumable: bool
    stall_seconds: float = 0.0  # so long a camera may be silent
    recorder: SessionWriter = attrs.field(init=False)
    refusal: Refusal | None = attrs.field(default=None, init=False)
    ending: bool = attrs.field(default=False, init=False)
    admitted: bool = attrs.field(default=False, init=False)  # storage has promised room
    _starts: list[Ask[Any]] = attrs.field(factory=list, init=False)
    _stops: list[Ask[Any]] = attrs.field(factory=list, init=False)
    _reported: tuple[SessionState, bool] | None = attrs.field(default=None, init=False)
    _clock: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _conversions: list[trio.CancelScope] = attrs.field(factory=list, init=False)
    _patience: float = attrs.field(default=float("inf"), init=False)  # for a conversion, seconds
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    # --- who waits ---

    def join(self, ask: Ask[Any]) -> None:
        """Answer `ask` as soon as frames are on disk."""
        if self.book.first_frame_at is None:
            self._starts.append(ask)
        else:
            ask.answer(self.snapshot())

    def await_end(self, ask: Ask[Any]) -> None:
        """Answer `ask` when everything is sealed."""
        self._stops.append(ask)

    def answer_starts(self) -> None:
        """Tell everybody who waits for the first frames that they are there."""
        self._answer(self._starts)

    def answer_all(self) -> None:
        """Tell everybody who still waits how it ended."""
        self._answer(self._starts)
        self._answer(self._stops)

    def _answer(self, asks: list[Ask[Any]]) -> None:
        session = self.snapshot()
        for ask in asks:
            if session.segments:
                ask.answer(session)
            else:
                ask.refuse(self.refusal or self._nothing())
        asks.clear()

    def _nothing(self) -> Refusal:
        return Refusal(
            RECORDING_FAILED,
            "The recording ended before its first frame",
            camera_id=self.book.camera_id,
            cause=self.book.reason or "stopped",
        )

    def snapshot(self) -> Session:
        """The account as of now."""
        return self.book.snapshot(monotonic())

    # --- its life ---

    async def run(self, bytes_per_second: float, rotation: Rotation) -> None:
        """Get room, record until the queue is finished, convert, and report the end."""
        space, session_id = self.storage.space, self.book.session_id
        need = self._need(bytes_per_second, rotation)
        try:
            if self.book.first_frame_at is None:
                admission = await space.admit(session_id, need)
                self.book.warnings += admission.warnings
                self.book.fits_seconds = admission.fits_seconds
            else:  # it was admitted once; when there is no room now, it waits
                space.reserve(session_id, need.bytes)
        except Refusal as refusal:
            self.refusal = refusal
        else:
            await self.report(SessionAdmitted(self))
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    await self.recorder.record()
            finally:
                space.release(session_id)
                self._clock.cancel()
                with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
                    await self._close_book()
        await self.report(SessionOver(self))

    def _need(self, bytes_per_second: float, rotation: Rotation) -> SpaceNeed:
        """Say what room the session needs: one that goes on needs what is left of its time."""
        wish, seconds = self.book.wish, None
        preroll = wish.preroll_seconds
        if wish.duration is not None:
            seconds = wish.duration.total_seconds()
        if self.book.first_frame_at is not None:
            elapsed = monotonic() - self.book.first_frame_at
            seconds = None if seconds is None else max(0.0, seconds + preroll - elapsed)
            preroll = 0.0
        return SpaceNeed(bytes_per_second, seconds, preroll, rotation.max_seconds)

    async def _close_book(self) -> None:
        book = self.book
        if book.until is None:
            book.end_for(INTERRUPTED, now())
        book.ended, book.state = now(), SessionState.ENDED
        if book.segments:
            book.ended = book.segments[-1].end
            await self._look_hashes_up()
            await self.storage.note_session(self._final())
        self.recorder.accounts.check()

    async def _look_hashes_up(self) -> None:
        """Complete the account of files that were recovered: their hashes came later."""
        for segment in self.book.segments:
            if segment.sha256 is None and segment.state is SegmentState.SEALED:
                with suppress(Refusal):
                    self.book.replace((await self.storage.recording(segment.filename))[0])

    def _final(self) -> Session:
        """What is kept of the session: one that only the daemon's end ends is to be continued."""
        session = self.snapshot()
        if self.resumable and session.reason in (SHUTDOWN, INTERRUPTED):
            return attrs.evolve(session, state=SessionState.WAITING, end=None)
        return session

    def finish(self) -> None:
        """Nothing more will come: write what is queued, and seal."""
        self.queue.put(EndOfInput())

    def give_up_waiting(self, problem: Problem) -> None:
        """Finish without the frames that were in flight; the ledger has them, and `problem`."""
        self.queue.put(CaptureEnded(problem.ledger_cause, problem.message))
        self.finish()

    def refuse(self, refusal: Refusal) -> None:
        """Give up before the first frame."""
        self.refusal = self.refusal or refusal
        self.finish()

    async def keep_time(self) -> None:
        """Watch the session's health, report progress, and end it when its time is up."""
        assert self.book.first_frame_at is not None
        limit, end = self.book.wish.duration, float("inf")
        if limit is not None:  # pre-roll comes on top
            preroll = min(self.book.wish.preroll_seconds, self.book.preroll_seconds)
            end = self.book.first_frame_at + limit.total_seconds() + preroll
        progress_at = monotonic() + self.progress_seconds
        with self._clock:
            while monotonic() < end:
                due = min(end, progress_at) - monotonic()
                await trio.sleep(min(TICK_SECONDS, max(0.0, due)))
                await self._look_after_health()
                if monotonic() >= progress_at:
                    progress_at += self.progress_seconds
                    self.news(RecordingEventKind.PROGRESS, self._newest_name())
            await self.report(DurationElapsed(self))

    async def _look_after_health(self) -> None:
        """I7: "recording" is said only while bytes become durable; say what is the case."""
        book = self.book
        health = judge_health(
            *(book.written_at, book.durable_at, self.sync_seconds),
            *(monotonic(), self.stall_seconds),
        )
        book.healthy = health.good
        if not health.written and book.state is SessionState.RECORDING:
            disk = self.queue.waiting_bytes > 0  # pictures are there, and are not taken
            book.wait_for(AWAITS_DISK if disk else AWAITS_CAMERA)
        if (news := (book.state, book.healthy)) != self._reported:
            self._reported = news
            await self.report(SessionChanged(self))

    def _newest_name(self) -> str:
        return self.book.segments[-1].filename if self.book.segments else ""

    # --- what the recorder says ---

    async def began(self) -> None:
        """The first frames are on disk."""
        self.book.healthy = self.book.durable_at is not None
        await self.storage.note_session(self.snapshot())
        await self.report(SessionBegan(self))

    def failed(self, cause: Cause) -> None:
        """Storage refused: a session that has not begun is refused; others wait, or end."""
        if self.book.first_frame_at is None:
            kind = STORAGE_CRITICAL if cause is Cause.STORAGE_FULL else RECORDING_FAILED
            facts = space_facts(self.storage.status)
            self.refuse(Refusal(kind, camera_id=self.book.camera_id, cause=cause.value, **facts))
        elif self.end_on_storage_error:
            self.book.end_for(cause.value, now())
            self.finish()

    def news(self, news: RecordingEventKind, filename: str, reason: str = "") -> None:
        """Something that clients are told."""
        self.tell(self, news, filename, reason)

    def sealed(self, segment: Segment) -> None:
        """A segment is final: convert it where another format was asked for."""
        if self.convert is not None:
            assert self._nursery is not None
            self._nursery.start_soon(self._convert, segment)

    def hurry(self) -> None:
        """The service ends: what takes long to convert is converted after the next start."""
        self._patience = CONVERSION_SECONDS
        for scope in self._conversions:
            scope.deadline = min(scope.deadline, trio.current_time() + CONVERSION_SECONDS)

    async def _convert(self, segment: Segment) -> None:
        assert self.convert is not None
        converted = None
        with trio.move_on_after(self._patience) as scope:
            self._conversions.append(scope)
            converted = await self.convert(segment)
        self._conversions.remove(scope)
        if converted is not None:
            self.book.replace(converted)
        elif not scope.cancelled_caught:
            self.news(
                RecordingEventKind.ERROR, segment.filename, "conversion failed; the MP4 stays"
            )


Teller = Callable[[RecordingSession, RecordingEventKind, str, str], None]
