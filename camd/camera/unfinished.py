"""Finish what an earlier run of the daemon left: its sessions, and its conversions to Matroska."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import attrs
import structlog
import trio

from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.config.schema import Config
from camd.errors import Refusal
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.model import GapCause, Segment, Session, SessionState
from camd.recording.convert import remove_superseded, to_mkv
from camd.recording.rules.ledger import SessionLedger
from camd.recording.rules.resume_point import BootMoment, ResumePoint, arrival_by_session
from camd.recording.session import DURABILITY_SECONDS, SHUTDOWN
from camd.storage.rules.clock_trust import RecordingEndMoment
from camd.storage.storage import Storage

log = structlog.get_logger("camd.camera")
remux_log = structlog.get_logger("camd.remux")


PlannedEnd = Callable[[Session], datetime | None]


def _no_end(_: Session) -> datetime | None:
    return None


@asynccontextmanager
async def open_unfinished_work(
    config: Config,
    *,
    storage: Storage,
    cameras: Cameras,
    clock: Clock,
    planned_end: PlannedEnd = _no_end,
) -> AsyncIterator[trio.Event]:
    """Continue unfinished sessions and make unfinished Matroska files while the block runs.

    Gives an event that is set when all sessions are continued or closed. `planned_end` says until
    when a session without a duration is to record.
    """
    work = UnfinishedWork(
        config=config, storage=storage, cameras=cameras, clock=clock, planned_end=planned_end
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.resume_sessions)
        nursery.start_soon(work.convert_files)
        yield work.resumed
        nursery.cancel_scope.cancel()


@attrs.frozen(kw_only=True)
class UnfinishedWork:
    """Continues sessions, or closes them with entries for what they lack; converts files."""

    _config: Config
    _storage: Storage
    _cameras: Cameras
    _clock: Clock
    _planned_end: PlannedEnd = _no_end
    resumed: trio.Event = attrs.field(factory=trio.Event, init=False)

    # --- sessions ---

    async def resume_sessions(self) -> None:
        """Continue the unfinished sessions; close those whose time is over."""
        for session in await self._storage.unfinished_sessions():
            if not await self._resumed(session):
                await self._close_session(session)
        self.resumed.set()

    def _end_of(self, session: Session, moment: BootMoment) -> datetime | None:
        """When a session was to end, by its duration or by its schedule; None: nobody knows."""
        return moment.planned_end_of(session) or self._planned_end(session)

    async def _resumed(self, session: Session) -> bool:
        camera, moment = self._cameras.get(session.camera_id), self._moment()
        end = self._end_of(session, moment)
        if camera is None or not session.segments or (end is not None and end <= moment.wall):
            return False
        if not self._config.recording.resume_sessions:
            return False
        try:
            return await camera.resume(session, await self._arrival(session))
        except Refusal as refusal:  # the camera's actor crashed, or the service stops
            log.error("not_resumed", session=session.session_id, why=refusal.message)
            return False

    async def _arrival(self, session: Session) -> RecordingEndMoment | None:
        """Find out when a session's last frame arrived: from its newest file, or its beginning."""
        if not session.segments:
            return None
        found = await self._storage.arrival(session.segments[-1])
        return found or arrival_by_session(session)

    async def _close_session(self, session: Session) -> None:
        """End a session that is not continued; store the entries for footage that it lacks."""
        moment = self._moment()
        point = ResumePoint.of(session, moment, await self._arrival(session))
        ledger = SessionLedger.resumed(session, moment=moment, point=point)
        wanted_until = self._wanted_until(session, moment)
        if wanted_until is not None or session.reason != SHUTDOWN:
            gaps = ledger.clock_found(point.untold, moment.wall) if point.untold else []
            gaps += ledger.enter_not_continued(
                point.until, wanted_until, self._most_lost(session, moment)
            )
            await self._storage.note_gaps(gaps)
        until = session.segments[-1].end if session.segments else session.start
        ledger.end_for(GapCause.DAEMON_DOWN.value, until)
        ledger.ended, ledger.state = until, SessionState.ENDED
        await self._storage.note_session(ledger.snapshot(self._clock.monotonic()))

    def _wanted_until(self, session: Session, moment: BootMoment) -> datetime | None:
        """Until when a session that is over should have recorded; None: nobody knows."""
        end = self._end_of(session, moment)
        if end is None or not self._config.recording.resume_sessions:
            return None
        return min(end, moment.wall)

    def _most_lost(self, session: Session, moment: BootMoment) -> timedelta:
        """How much captured footage may have been lost when the daemon ended (I2).

        The fragment in flight; and when the machine went down as well, what was not synced yet.
        """
        recording, profile = self._config.recording, self._config.storage.durability
        if session.boot_id == moment.boot_id:
            return recording.fragment
        cadence = DURABILITY_SECONDS[profile]
        unsynced = recording.rotation if cadence is None else timedelta(seconds=cadence)
        return unsynced + recording.fragment

    def _moment(self) -> BootMoment:
        clock = self._clock
        return BootMoment(clock.now(), clock.monotonic(), clock.boot_id())

    # --- conversions ---

    async def convert_files(self) -> None:
        """Convert the files that wait for it, one after the other; a failure is tried again at the
        next start."""
        superseded = await self._storage.superseded()
        waiting = await self._storage.unconverted()
        if not waiting and not superseded:
            return
        try:
            program = await self._cameras.find_program()
        except FfmpegMissingError as error:
            remux_log.error("mkv_failed", files=len(waiting), error=str(error))
            return
        for name in superseded:
            with suppress(OSError):
                if await remove_superseded(program, self._storage, name):
                    remux_log.info("mp4_removed", file=name)
        for segment in waiting:
            await self._convert(program, segment)

    async def _convert(self, program: FFmpegBinary, segment: Segment) -> None:
        with suppress(Refusal):  # the session itself may have converted it meanwhile
            if not await self._storage.knows(segment.filename):
                return
        made = await to_mkv(program, self._storage, segment, clock=self._clock)
        if made is None:
            return
        remux_log.info("mkv_made", file=made.filename)
        camera = self._cameras.get(segment.camera_id)
        if camera is not None:
            camera.file_replaced(made)
