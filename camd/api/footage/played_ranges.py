"""Ranges with their pieces, and whether anything can still come into them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import trio

from camd.api.footage.playback_methods import AskedRange
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.model import CameraId, CameraStatus
from camd.playback.playback import Playback
from camd.playback.rules.playable_files import PlayableRange
from camd.playback.rules.range_end import final_until, playable_ends
from camd.recording.rules.durability import AWAITS_DISK
from camd.storage.storage import Storage

_NO_END = datetime.max.replace(tzinfo=UTC)


@attrs.frozen
class PlayedRange:
    """Files and pieces of a range. Nothing can be added to one that is `complete`."""

    played: PlayableRange
    complete: bool


@attrs.define(eq=False, kw_only=True)
class PlayedRanges:
    """Reads ranges. Sessions of an earlier run of the daemon go on until `resumed` is set."""

    _cameras: Cameras
    _storage: Storage
    _playback: Playback
    _resumed: trio.Event
    _clock: Clock

    async def read(self, asked: AskedRange) -> PlayedRange:
        """Read a range. Raises Refusal."""
        searching = self._storage.searching  # before the files are read, as all of this
        final = await self._final_by_earlier_run(asked.camera_id)
        camera = self._cameras.get(asked.camera_id)
        status = camera.status if camera is not None else None
        played = await self._playback.range(asked.camera_id, asked.since, asked.until)
        final = min(final, self._final_until(status, played))
        return PlayedRange(played, complete=asked.until <= final and not searching)

    async def _final_by_earlier_run(self, camera_id: CameraId) -> datetime:
        if self._resumed.is_set():
            return _NO_END
        return await self._storage.unfinished_since(camera_id) or _NO_END

    def _final_until(self, status: CameraStatus | None, played: PlayableRange) -> datetime:
        session = status.session if status is not None else None
        if status is None or session is None:
            return _NO_END
        return final_until(
            session,
            playable_ends(played),
            now=self._clock.now(),
            preroll=timedelta(seconds=status.preroll_seconds),
            disk_takes_all=session.reason != AWAITS_DISK,
        )
