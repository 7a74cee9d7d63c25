"""Make a camera's sessions from its configuration as it is at the moment."""

from __future__ import annotations

import uuid
from datetime import timedelta

import attrs
import structlog

from camd.capture.hub import StreamHub
from camd.capture.planner import CapturePlanner
from camd.clock import Clock
from camd.config.schema import Config, RecordingConfig
from camd.ffmpeg.binary import FfmpegMissingError
from camd.model import CameraId, Event, RecordingRequest, Segment, Session, SessionId
from camd.recording.convert import MkvConversions, to_mkv
from camd.recording.recording_queue import (
    DEFAULT_LIMIT_BYTES,
    ClockSteppedWhileDown,
    RecordingQueue,
)
from camd.recording.reports import SessionReports
from camd.recording.rules.ledger import SessionLedger
from camd.recording.rules.resume_point import BootMoment, ResumePoint
from camd.recording.rules.rotation import Rotation
from camd.recording.rules.source_drops import DropDetector
from camd.recording.session import DURABILITY_SECONDS, RecordingSession, SessionSettings
from camd.recording.writer import SessionWriter
from camd.runtime.broadcast import Fanout
from camd.storage.rules.clock_trust import RecordingEndMoment
from camd.storage.storage import Storage

log = structlog.get_logger("camd.camera")

SEAM_SECONDS = 0.5  # where a file begins anew: its sound often lasts longer than its pictures


@attrs.define(eq=False, kw_only=True)
class SessionFactory:
    """Makes one camera's sessions. `recording` is what a reload may replace."""

    camera_id: CameraId
    config: Config
    recording: RecordingConfig
    storage: Storage
    planner: CapturePlanner
    events: Fanout[Event]
    clock: Clock
    queue_bytes: int = DEFAULT_LIMIT_BYTES  # that wait for the disk, pre-roll not counted

    def new(self, request: RecordingRequest, *, hub: StreamHub, device: str) -> RecordingSession:
        """Make the session that somebody asks for; events name its camera's `device`."""
        kept = self.recording.preroll
        wanted = kept if request.preroll is None else request.preroll
        warnings: tuple[str, ...] = ()
        if wanted > kept:
            asked, there = wanted.total_seconds(), kept.total_seconds()
            warnings = (f"Pre-roll: {asked:g} s were asked for, {there:g} s are kept",)
        ledger = SessionLedger(
            session_id=SessionId(str(uuid.uuid4())),
            camera_id=self.camera_id,
            request=attrs.evolve(request, preroll=wanted),
            format=request.format or self.recording.format,
            started=self.clock.now(),
            boot_id=self.clock.boot_id(),
            warnings=warnings,
            drops=self._drops(),
        )
        return self._make(ledger, hub, device)

    def resumed(
        self, session: Session, arrival: RecordingEndMoment | None, *, hub: StreamHub, device: str
    ) -> RecordingSession:
        """Continue a session that an earlier run of the daemon left.

        `arrival` is that of its last frame, where its newest file tells it.
        """
        clock = self.clock
        moment = BootMoment(clock.now(), clock.monotonic(), clock.boot_id())
        point = ResumePoint.of(session, moment, arrival)
        ledger = SessionLedger.resumed(session, moment=moment, point=point, drops=self._drops())
        resumed = self._make(ledger, hub, device)
        if point.untold:
            resumed.queue.put(ClockSteppedWhileDown(point.untold, moment.wall))
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

    def _make(self, ledger: SessionLedger, hub: StreamHub, device: str) -> RecordingSession:
        reports = SessionReports(
            ledger=ledger,
            storage=self.storage,
            events=self.events,
            device=device,
            clock=self.clock,
        )
        conversions = MkvConversions(
            reports=reports, convert=self._to_mkv if ledger.format == "mkv" else None
        )
        queue, settings = self._queue(), self._settings()
        writer = SessionWriter(
            ledger=ledger,
            queue=queue,
            storage=self.storage,
            reports=reports,
            conversions=conversions,
            rotation=self.rotation(),
            sync_seconds=settings.sync_seconds,
            end_on_storage_error=self.recording.on_storage_error == "end",
            clock=self.clock,
        )
        return RecordingSession(
            ledger=ledger,
            queue=queue,
            hub=hub,
            storage=self.storage,
            reports=reports,
            writer=writer,
            conversions=conversions,
            settings=settings,
            clock=self.clock,
            expected_bytes_per_second=self.planner.expected_bytes_per_second,
        )

    def _settings(self) -> SessionSettings:
        return SessionSettings(
            progress_seconds=self.config.server.progress_interval.total_seconds(),
            sync_seconds=DURABILITY_SECONDS[self.config.storage.durability],
            stall_seconds=self.config.ffmpeg.stall_timeout.total_seconds(),
            resumable=self.recording.resume_sessions,
        )

    def _drops(self) -> DropDetector:
        return DropDetector(SEAM_SECONDS if self.planner.source.loops else 0.0)

    def _queue(self) -> RecordingQueue:
        """Make a queue with room for the pre-roll, which comes into it at once."""
        extra = self.recording.preroll_size if self.recording.preroll else 0
        return RecordingQueue(limit_bytes=self.queue_bytes + extra)

    async def _to_mkv(self, segment: Segment) -> Segment | None:
        try:
            program = await self.planner.find_program()
        except FfmpegMissingError as error:
            log.error("mkv_failed", file=segment.filename, error=str(error))
            return None
        return await to_mkv(program, self.storage, segment, clock=self.clock)
