"""What was recorded and what is missing, on the wire: sessions with their coverage, the ledger."""

from __future__ import annotations

import attrs

from camd.api import views
from camd.api.recordings import PageRequest, query_of
from camd.camera.roster import Cameras
from camd.model import SessionSummary
from camd.rpc.registry import Caller, Method
from camd.rpc.roles import Role
from camd.storage.actor import Storage


@attrs.define(eq=False)
class HistoryApi:
    """Handlers over storage, and over cameras for the sessions that run."""

    _cameras: Cameras
    _storage: Storage

    def methods(self) -> tuple[Method, ...]:
        """What this noun offers."""
        return (
            Method(
                "get_sessions",
                Role.VIEWER,
                PageRequest,
                self.get_sessions,
                "Sessions, newest first, each with how much of it is in files.",
            ),
            Method(
                "get_gaps",
                Role.VIEWER,
                PageRequest,
                self.get_gaps,
                "The ledger, newest first: footage that is missing, and why.",
            ),
        )

    async def get_sessions(self, caller: Caller, params: PageRequest) -> views.View:
        """List sessions; a running one as it is now."""
        page = await self._storage.sessions(await query_of(self._cameras, params))
        running = {
            session.session_id: SessionSummary.of(session)
            for session in (camera.status.session for camera in self._cameras)
            if session is not None
        }
        return {
            "sessions": [views.session(running.get(s.session_id, s)) for s in page.sessions],
            "total": page.total,
            "limit": params.limit,
            "offset": params.offset,
        }

    async def get_gaps(self, caller: Caller, params: PageRequest) -> views.View:
        """List ledger entries."""
        page = await self._storage.gaps(await query_of(self._cameras, params))
        return {
            "gaps": [views.gap(entry) for entry in page.gaps],
            "total": page.total,
            "limit": params.limit,
            "offset": params.offset,
        }
