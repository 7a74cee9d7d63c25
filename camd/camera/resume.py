"""Continue or close the sessions that were unfinished when the daemon ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

import attrs
import structlog

from camd.camera.camera import Camera
from camd.clock import boot_id, monotonic, now
from camd.config.schema import Config
from camd.errors import Refusal
from camd.model import CameraId, Cause, Session, SessionState
from camd.recording.rules.ledger import BootMoment, ResumePoint, SessionLedger, arrival_by_session
from camd.recording.session import DURABILITY_SECONDS, SHUTDOWN
from camd.storage.rules.clock_trust import FootageArrival
from camd.storage.storage import Storage

log = structlog.get_logger("camd.camera")


class ResumableCameras(Protocol):
    """Finds cameras."""

    def get(self, camera_id: CameraId) -> Camera | None:
        """Look a camera up by its id."""


@attrs.frozen
class SessionResumption:
    """Continues sessions, or closes them with entries for what they lack."""

    _config: Config
    _storage: Storage
    _cameras: ResumableCameras

    async def resume_sessions(self) -> None:
        """Continue the unfinished sessions; close those whose time is over."""
        for session in await self._storage.unfinished_sessions():
            if not await self._resumed(session):
                await self._close_session(session)

    async def _resumed(self, session: Session) -> bool:
        camera, moment = self._cameras.get(session.camera_id), _now()
        end = moment.planned_end_of(session)
        if camera is None or not session.segments or (end is not None and end <= moment.wall):
            return False
        if not self._config.recording.resume_sessions:
            return False
        try:
            return await camera.resume(session, await self._arrival(session))
        except Refusal as refusal:  # the camera's actor crashed, or the service stops
            log.error("not_resumed", session=session.session_id, why=refusal.message)
            return False

    async def _arrival(self, session: Session) -> FootageArrival | None:
        """Find out when a session's last frame arrived: from its newest file, or its beginning."""
        if not session.segments:
            return None
        found = await self._storage.arrival(session.segments[-1])
        ledger = SessionLedger.resumed(session, _now())
        return found or arrival_by_session(ledger, session.boot_id, session.monotonic_start)

    async def _close_session(self, session: Session) -> None:
        """End a session that is not continued; ledger the footage that it lacks."""
        moment = _now()
        ledger = SessionLedger.resumed(session, moment)
        until = ledger.segments[-1].end if ledger.segments else session.start
        wanted_until = self._wanted_until(session, moment)
        if wanted_until is not None or session.reason != SHUTDOWN:
            there = ResumePoint.of(ledger, moment, await self._arrival(session))
            gaps = ledger.clock_set(there.untold, moment.wall) if there.untold else []
            gap = ledger.cut_off(wanted_until, self._most_lost(session, moment), there.until)
            await self._storage.note_gaps([*gaps, *([gap] if gap is not None else [])])
        ledger.end_for(Cause.DAEMON_DOWN.value, until)
        ledger.ended, ledger.state = until, SessionState.ENDED
        await self._storage.note_session(ledger.snapshot(monotonic()))

    def _wanted_until(self, session: Session, moment: BootMoment) -> datetime | None:
        """Until when a session that is over should have recorded; None: nobody knows."""
        end = moment.planned_end_of(session)
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


def _now() -> BootMoment:
    return BootMoment(now(), monotonic(), boot_id())
