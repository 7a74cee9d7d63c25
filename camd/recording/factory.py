"""Make a camera's sessions from its configuration as it is at the moment."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import attrs
import structlog

from camd.capture.consumer import DEFAULT_LIMIT_BYTES, ClockFound, LosslessQueue
from camd.capture.hub import StreamHub
from camd.capture.planner import CapturePlanner
from camd.clock import boot_id, monotonic, now
from camd.config.schema import Config, RecordingConfig
from camd.ffmpeg.binary import FfmpegMissingError
from camd.model import CameraId, Event, RecordingRequest, Segment, Session, SessionId
from camd.recording.accounts import SessionAccounts
from camd.recording.convert import SessionConversions, to_mkv
from camd.recording.rules.drops import DropDetector
from camd.recording.rules.ledger import BootMoment, GapLedger, ResumePoint, SessionLedger
from camd.recording.rules.rotation import Rotation
from camd.recording.session import DURABILITY_SECONDS, RecordingSession, SessionSettings
from camd.recording.writer import SessionWriter
from camd.runtime.broadcast import Fanout
from camd.storage.rules.clock_trust import FootageArrival
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
    planner: CapturePlanner
    events: Fanout[Event]
    name_device: Callable[[], str]  # as clients see it at the moment

    def new(self, request: RecordingRequest, hub: StreamHub) -> RecordingSession:
        """Make the session that somebody asks for."""
        kept = self.recording.preroll
        wanted = kept if request.preroll is None else request.preroll
        ledger = SessionLedger(
            session_id=SessionId(str(uuid.uuid4())),
            camera_id=self.camera_id,
            request=attrs.evolve(request, preroll=wanted),
            format=request.format or self.recording.format,
            started=now(),
            boot_id=boot_id(),
        )
        if wanted > kept:
            asked, there = wanted.total_seconds(), kept.total_seconds()
            ledger.warnings = (f"Pre-roll: {asked:g} s were asked for, {there:g} s are kept",)
        return self._make(ledger, hub)

    def resumed(
        self, session: Session, arrival: FootageArrival | None, hub: StreamHub
    ) -> RecordingSession:
        """Continue a session from before the daemon started.

        `arrival` is that of its last frame, where its newest file tells it.
        """
        moment = BootMoment(now(), monotonic(), boot_id())
        ledger = SessionLedger.resumed(session, moment)
        there = ResumePoint.of(ledger, moment, arrival)
        resumed = self._make(ledger, hub, there)
        if there.untold:
            resumed.queue.put(ClockFound(there.untold, moment.wall))
        log.info("session_resumed", camera=ledger.camera_id, session=ledger.session_id)
        return resumed

    def rotation(self) -> Rotation:
        """When the sessions of this camera begin another segment."""
        recording = self.recording
        return Rotation.of(self.camera_id, recording.rotation, recording.max_file_size)

    @property
    def answer_timeout(self) -> timedelta:
        """How long a start waits for its first frame before it is refused."""
        return max(self.recording.answer_timeout, self.config.ffmpeg.start_timeout)

    def _make(
        self, ledger: SessionLedger, hub: StreamHub, there: ResumePoint | None = None
    ) -> RecordingSession:
        accounts = SessionAccounts(
            ledger=ledger, storage=self.storage, events=self.events, name_device=self.name_device
        )
        conversions = SessionConversions(
            accounts=accounts, convert=self._to_mkv if ledger.format == "mkv" else None
        )
        queue, settings = self._queue(), self._settings()
        writer = SessionWriter(
            identity=self.camera_id,
            ledger=ledger,
            queue=queue,
            storage=self.storage,
            accounts=accounts,
            conversions=conversions,
            rotation=self.rotation(),
            sync_seconds=settings.sync_seconds,
            end_on_storage_error=self.recording.on_storage_error == "end",
            gaps=self._gaps(ledger, there),
        )
        return RecordingSession(
            ledger=ledger,
            queue=queue,
            hub=hub,
            storage=self.storage,
            accounts=accounts,
            writer=writer,
            conversions=conversions,
            settings=settings,
            expected_bytes_per_second=self.planner.expected_bytes_per_second,
        )

    def _settings(self) -> SessionSettings:
        return SessionSettings(
            progress_seconds=self.config.server.progress_interval.total_seconds(),
            sync_seconds=DURABILITY_SECONDS[self.config.storage.durability],
            stall_seconds=self.config.ffmpeg.stall_timeout.total_seconds(),
            resumable=self.recording.resume_sessions,
        )

    def _gaps(self, ledger: SessionLedger, there: ResumePoint | None) -> GapLedger:
        gaps = GapLedger(ledger, DropDetector(SEAM_SECONDS if self.planner.source.loops else 0.0))
        if there is not None:
            gaps.resume(there.until, there.moved, exact=there.exact)
        return gaps

    def _queue(self) -> LosslessQueue:
        """Make a queue with room for the pre-roll, which comes into it at once."""
        extra = self.recording.preroll_size if self.recording.preroll else 0
        return LosslessQueue(limit_bytes=DEFAULT_LIMIT_BYTES + extra)

    async def _to_mkv(self, segment: Segment) -> Segment | None:
        try:
            program = await self.planner.find_program()
        except FfmpegMissingError as error:
            log.error("mkv_failed", file=segment.filename, error=str(error))
            return None
        return await to_mkv(program, self.storage, segment)
