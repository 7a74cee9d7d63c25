"""Methods of playback: the time line of a camera."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import attrs

from camd.api import result_fields
from camd.api.camera_methods import CameraName
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.contract.playback_results import TimelineInfo
from camd.contract.result_types import Time, doc
from camd.errors import ParamMistake, invalid_params
from camd.model import CameraId
from camd.model.timeline import Timeline, TimelineGap, TimelineSpan
from camd.playback.playback import Playback
from camd.rpc.registry import Caller, method
from camd.rpc.roles import Role

USUAL_RANGE = timedelta(hours=24)


@attrs.frozen
class TimelineRequest:
    """A camera and a range of time."""

    camera: CameraName = attrs.field(metadata={"aliases": ("camera_id", "device")})
    since: Annotated[Time | None, doc("without it, 24 hours before the end")] = attrs.field(
        default=None, metadata={"name": "from"}
    )
    until: Annotated[Time | None, doc("without it, now")] = attrs.field(
        default=None, metadata={"name": "to"}
    )


@attrs.frozen
class AskedRange:
    """A camera and a range: `since` is before `until`."""

    camera_id: CameraId
    since: datetime
    until: datetime


@attrs.define(eq=False)
class RangeFinder:
    """Finds the camera and the range of a request, also of a camera that is gone."""

    _cameras: Cameras
    _playback: Playback
    _clock: Clock = attrs.field(kw_only=True)

    async def find(self, request: TimelineRequest) -> AskedRange:
        """Raise Refusal when the range is empty or backwards, or the camera was never there."""
        until = request.until or self._clock.now()
        since = request.since or _earlier(until)
        if since >= until:
            raise invalid_params(ParamMistake("to", "must be later than from"))
        camera_id = await self._cameras.locate_also_former(request.camera, self._playback.knows)
        return AskedRange(camera_id, since, until)


def _earlier(until: datetime) -> datetime:
    first = datetime.min.replace(tzinfo=UTC)
    return until - USUAL_RANGE if until - first > USUAL_RANGE else first


@attrs.define(eq=False)
class PlaybackApi:
    """Handlers over what was recorded."""

    _playback: Playback
    _ranges: RangeFinder

    @method(role=Role.VIEWER, result=TimelineInfo)
    async def get_timeline(self, caller: Caller, params: TimelineRequest) -> result_fields.View:
        """Say what was recorded of a camera in a range, and what is missing and why.

        At most 2000 spans and 2000 gaps, oldest first. Where there are more, neighbours are joined,
        and `merged` counts them. What is in neither was not asked to be recorded, or was removed
        through camd. `before` and `after`: where the nearest footage outside of the range ends and
        begins. `searching`: recordings are still looked for, and more may be found.
        """
        asked = await self._ranges.find(params)
        found = await self._playback.timeline(asked.camera_id, asked.since, asked.until)
        return timeline_view(found)


def timeline_view(found: Timeline) -> result_fields.View:
    """A time line."""
    return {
        "camera_id": found.camera_id,
        "from": found.since,
        "to": found.until,
        "spans": [_span(span) for span in found.spans],
        "gaps": [gap_view(gap) for gap in found.gaps],
        "before": found.before,
        "after": found.after,
        "searching": found.searching,
    }


def _span(span: TimelineSpan) -> result_fields.View:
    return {
        "start": span.start,
        "end": span.end,
        "filename": span.filename,
        "session": span.session_id,
        "growing": span.growing,
        "playable": span.playable,
        "merged": span.merged,
    }


def gap_view(gap: TimelineGap) -> result_fields.View:
    """Missing footage of a time line."""
    return {
        "from": gap.start,
        "to": gap.end,
        "cause": gap.cause,
        "exact": gap.exact,
        "merged": gap.merged,
    }
