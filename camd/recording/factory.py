"""How a camera's sessions are made: from its configuration, as it is at the moment."""

from __future__ import annotations

import uuid
from datetime import timedelta

import attrs
import structlog

from camd.capture.consumer import DEFAULT_LIMIT_BYTES, CaptureQueue
from camd.capture.hub import GOP_LIMIT_BYTES
from camd.capture.planner import CapturePlanner
from camd.capture.rules.preroll import PrerollBuffer
from camd.clock import boot_id, now
from camd.config.schema import Config, RecordingConfig
from camd.ffmpeg.binary import FfmpegMissingError
from camd.model import CameraId, RecordingRequest, Segment, SessionId
from camd.recording.convert import to_mkv
from camd.recording.rules.book import SessionBook
from camd.recording.rules.drops import DropDetector
from camd.recording.rules.rotation import Rotation
from camd.recording.session import DURABILITY_SECONDS, RecordingSession, Reporter, Teller
from camd.recording.writer import SessionWriter
from camd.storage.storage import Storage

log = structlog.get_logger("camd.camera")

SEAM_SECONDS = 0.5  # where a file begins anew: its sound often lasts longer than its pictures


@attrs.define(eq=False)
class SessionFactory:
    """Makes one camera's sessions. `recording` is what a reload may replace."""

    camera_id: CameraId
    config: Config
    recording: RecordingConfig
    storage: Storage
    capture: CapturePlanner

    def new_book(self, wish: RecordingRequest) -> SessionBook:
        """Open the book of a session that somebody wishes for."""
        kept = self.recording.preroll
        wished = kept if wish.preroll is None else wish.preroll
        book = SessionBook(
            session_id=SessionId(str(uuid.uuid4())),
            camera_id=self.camera_id,
            wish=attrs.evolve(wish, preroll=wished),
            format=wish.format or self.recording.format,
            started=now(),
            boot_id=boot_id(),
        )
        if wished > kept:
            asked, there = wished.total_seconds(), kept.total_seconds()
            book.warnings = (f"Pre-roll: {asked:g} s were asked for, {there:g} s are kept",)
        return book

    def ring(self) -> PrerollBuffer:
        """Make the memory that sessions begin from."""
        recording = self.recording
        if not recording.preroll:
            return PrerollBuffer(0.0, GOP_LIMIT_BYTES)
        return PrerollBuffer(recording.preroll.total_seconds(), recording.preroll_size)

    def _queue(self) -> CaptureQueue:
        """Make a queue that has room for the pre-roll, which comes into it at once."""
        extra = self.recording.preroll_size if self.recording.preroll else 0
        return CaptureQueue(DEFAULT_LIMIT_BYTES + extra)

    def rotation(self) -> Rotation:
        """When the sessions of this camera are cut."""
        recording = self.recording
        return Rotation.of(self.camera_id, recording.rotation, recording.max_file_size)

    @property
    def answer_timeout(self) -> timedelta:
        """How long a start waits for its first picture before it is refused."""
        return max(self.recording.answer_timeout, self.config.ffmpeg.start_timeout)

    def make(self, book: SessionBook, report: Reporter, tell: Teller) -> RecordingSession:
        """Make the running half of a session; nothing runs yet."""
        active = RecordingSession(
            book=book,
            queue=self._queue(),
            storage=self.storage,
            report=report,
            tell=tell,
            convert=self._to_mkv if book.format == "mkv" else None,
            progress_seconds=self.config.server.progress_interval.total_seconds(),
            sync_seconds=DURABILITY_SECONDS[self.config.storage.durability],
            end_on_storage_error=self.recording.on_storage_error == "end",
            resumable=self.recording.resume_sessions,
            stall_seconds=self.config.ffmpeg.stall_timeout.total_seconds(),
        )
        active.recorder = SessionWriter(
            identity=self.camera_id,
            book=book,
            queue=active.queue,
            storage=self.storage,
            observer=active,
            rotation=self.rotation(),
            sync_seconds=active.sync_seconds,
            holes=DropDetector(SEAM_SECONDS if self.capture.loops else 0.0),
        )
        return active

    async def _to_mkv(self, segment: Segment) -> Segment | None:
        try:
            program = await self.capture.find_program()
        except FfmpegMissingError as error:
            log.error("mkv_failed", file=segment.filename, error=str(error))
            return None
        return await to_mkv(program, self.storage, segment)
