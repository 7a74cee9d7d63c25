"""Methods of recordings: start, stop, status, files, sessions, gaps and schedules."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import attrs

from camd.api import result_fields
from camd.api.camera_methods import DEVICE, ByCamera, CameraName
from camd.api.event_publisher import about_camera
from camd.camera.cameras import Cameras
from camd.contract.recording_results import (
    GapList,
    RecordingDetails,
    RecordingList,
    RecordingStatus,
    SessionList,
    StartedRecording,
    StoppedRecording,
)
from camd.contract.result_types import Time, doc, one_of
from camd.contract.schedule_results import ScheduleList
from camd.errors import ParamMistake, Refusal, invalid_params, unsupported_format
from camd.model import (
    CameraId,
    RecordingQuery,
    RecordingRequest,
    Session,
    SessionId,
    SessionSummary,
)
from camd.rpc.registry import Caller, NoParams, method
from camd.rpc.roles import Role
from camd.schedules.schedules import Schedules
from camd.storage.rules.naming import with_extension
from camd.storage.storage import Storage

MAX_DURATION_SECONDS = 86_400
FORMATS = ("mp4", "mkv")
_UNITS = {"duration": 1, "duration_seconds": 1, "duration_minutes": 60, "duration_hours": 3600}


@attrs.frozen
class StartRequest:
    """What to record, for how long, and how."""

    device: CameraName = attrs.field(metadata=DEVICE)
    duration: Annotated[
        int | None, doc("seconds, 1 to 86400; without a duration, until it is stopped")
    ] = None
    duration_seconds: Annotated[int | None, doc("the same")] = None
    duration_minutes: Annotated[int | None, doc("in place of seconds")] = None
    duration_hours: Annotated[int | None, doc("in place of seconds")] = None
    format: Annotated[
        Annotated[str, one_of(*FORMATS)] | None, doc("of the files; without it, as configured")
    ] = None
    preroll: Annotated[
        float | None,
        doc("how many seconds before the call it begins; without it, as configured"),
    ] = attrs.field(
        default=None,
        validator=attrs.validators.optional(
            [attrs.validators.ge(0), attrs.validators.le(MAX_DURATION_SECONDS)]
        ),
    )
    key: Annotated[
        str | None, doc("a start with the key of the running session answers that session")
    ] = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.max_len(256))
    )

    def limit(self) -> timedelta | None:
        """Return the requested duration. Raises Refusal when it is invalid or given twice."""
        given = {name: getattr(self, name) for name in _UNITS if getattr(self, name) is not None}
        if not given:
            return None
        name, value = next(iter(given.items()))
        if len(given) > 1:
            raise invalid_params(
                ParamMistake(name, f"only one duration may be given, not {', '.join(given)}")
            )
        seconds = value * _UNITS[name]
        if not 1 <= seconds <= MAX_DURATION_SECONDS:
            most = MAX_DURATION_SECONDS // _UNITS[name]
            raise invalid_params(ParamMistake(name, f"must be from 1 to {most}, not {value}"))
        return timedelta(seconds=seconds)


@attrs.frozen
class PageRequest:
    """A page of recordings, sessions or gaps, and filters for them."""

    limit: Annotated[int, doc("how many at most")] = attrs.field(
        default=100, validator=[attrs.validators.ge(1), attrs.validators.le(1000)]
    )
    offset: Annotated[int, doc("how many to leave out first")] = attrs.field(
        default=0, validator=[attrs.validators.ge(0), attrs.validators.le(2**62)]
    )
    camera: Annotated[str | None, doc("only those of this camera")] = None
    since: Annotated[Time | None, doc("only those that end later")] = attrs.field(
        default=None, metadata={"name": "from"}
    )
    until: Annotated[Time | None, doc("only those that begin earlier")] = attrs.field(
        default=None, metadata={"name": "to"}
    )
    session_id: Annotated[str | None, doc("only those of this session")] = None


@attrs.frozen
class ByFilename:
    """A file."""

    filename: Annotated[str, doc("its name, without a folder")]


@attrs.define(eq=False)
class RecordingsApi:
    """Handlers over cameras, which record, and storage, which has the files."""

    _cameras: Cameras
    _storage: Storage

    @method(role=Role.OPERATOR, result=StartedRecording)
    async def start_recording(self, caller: Caller, params: StartRequest) -> result_fields.View:
        """Start a recording; the answer comes when its first frames are on disk."""
        request = RecordingRequest(
            owner=caller.name,
            duration=params.limit(),
            format=_format(params.format),
            key=params.key,
            preroll=None if params.preroll is None else timedelta(seconds=params.preroll),
        )
        camera = await self._cameras.locate(params.device)
        caller.link.hold(about_camera(camera.camera_id))
        return _started(camera.status.device, await camera.start_recording(request))

    @method(role=Role.OPERATOR, result=StoppedRecording)
    async def stop_recording(self, caller: Caller, params: ByCamera) -> result_fields.View:
        """Stop a recording; the answer is a receipt and comes when all files are durable."""
        camera = await self._cameras.locate(params.device)
        caller.link.hold(about_camera(camera.camera_id))
        session = await camera.stop_recording()
        times = result_fields.SessionTimes.of(session)
        return {
            "device": camera.status.device,
            "camera_id": session.camera_id,
            "session_id": session.session_id,
            "recording_id": session.session_id,
            "filename": session.segments[-1].filename,
            "status": "STOPPED",
            "start_time": times.start,
            "end_time": times.end,
            "duration": times.seconds,
            "file_size": sum(segment.size_bytes for segment in session.segments),
            "format": session.format,
            "success": True,
            "reason": session.reason,
            "receipt": result_fields.receipt(session),
        }

    @method(role=Role.VIEWER, result=RecordingStatus | None, immediate=True)
    async def get_recording_status(
        self, caller: Caller, params: ByCamera
    ) -> result_fields.View | None:
        """Describe the session that a camera records; null when there is none."""
        status = (await self._cameras.locate(params.device)).status
        session = status.session
        if session is None:
            return None
        current = session.current
        return {
            "device": status.device,
            "camera_id": session.camera_id,
            "session_id": session.session_id,
            "recording_id": session.session_id,
            "status": session.state.value,
            "reason": session.reason,
            "owner": session.owner,
            "format": session.format,
            "start_time": session.start,
            "duration": session.duration_limit.total_seconds() if session.duration_limit else None,
            "elapsed_time": session.elapsed_seconds,
            "filename": current.filename if current else None,
            "current_file": current.filename if current else None,
            "file_size": current.size_bytes if current else 0,
            "files": [result_fields.segment(segment) for segment in session.segments],
            "bytes_written": session.bytes_written,
            "frames_captured": session.frames_captured,
            "frames_written": session.frames_written,
            "gaps": [result_fields.gap(entry) for entry in session.gaps],
            "recording_healthy": session.healthy,
            "durable": session.durable,
        }

    @method(role=Role.VIEWER, result=RecordingList)
    async def list_recordings(self, caller: Caller, params: PageRequest) -> result_fields.View:
        """List recorded files, newest first."""
        page = await self._storage.list_recordings(await query_of(self._cameras, params))
        pins = await self._storage.pins([s.filename for s in page.segments])
        return {
            "files": [result_fields.stored(s, pins.get(s.filename)) for s in page.segments],
            "total": page.total,
            "limit": params.limit,
            "offset": params.offset,
        }

    @method(role=Role.VIEWER, result=RecordingDetails)
    async def get_recording_info(self, caller: Caller, params: ByFilename) -> result_fields.View:
        """Describe one recorded file, with the gaps of its session."""
        found, gaps = await self._storage.recording(params.filename)
        pin = (await self._storage.pins([found.filename])).get(found.filename)
        return result_fields.stored(found, pin) | {
            "pin": result_fields.pin(pin),
            "created_time": found.start,
            "codec": result_fields.codec(found.codec),
            "resolution": result_fields.resolution(found.width, found.height),
            "sha256": found.sha256,
            "durable": found.durable,
            "segment_number": found.number,
            "gaps": [result_fields.gap(entry) for entry in gaps],
        }


async def query_of(cameras: Cameras, page: PageRequest) -> RecordingQuery:
    """Make the query of a page. A camera that no longer exists may still have recordings."""
    camera_id = None
    if page.camera is not None:
        try:
            camera_id = (await cameras.locate(page.camera)).camera_id
        except Refusal:
            camera_id = CameraId(page.camera)
    return RecordingQuery(
        limit=page.limit,
        offset=page.offset,
        camera_id=camera_id,
        session_id=SessionId(page.session_id) if page.session_id is not None else None,
        since=page.since,
        until=page.until,
    )


def _started(device: str, session: Session) -> result_fields.View:
    times = result_fields.SessionTimes.of(session)
    limit = session.duration_limit.total_seconds() if session.duration_limit else None
    filename = session.segments[0].filename
    if session.format != "mp4":
        filename = with_extension(filename, session.format)
    return {
        "device": device,
        "camera_id": session.camera_id,
        "session_id": session.session_id,
        "recording_id": session.session_id,
        "filename": filename,
        "status": "STARTED",
        "start_time": times.start,
        "duration": limit,
        "format": session.format,
        "preroll_achieved": session.preroll_seconds,
        "fits_seconds": session.fits_seconds,
        "warnings": list(session.warnings),
        "success": True,
        "recording": {
            "device_path": device,
            "recording_id": session.session_id,
            "filename": filename,
            "start_time": times.start.timestamp(),
            "duration": limit,
            "status": "STARTED",
        },
    }


def _format(name: str | None) -> str | None:
    if name is None or name in FORMATS:
        return name
    raise unsupported_format(name, FORMATS)


# --- Sessions and the gap ledger.


@attrs.define(eq=False)
class SessionsApi:
    """Handlers over storage, and over cameras for running sessions."""

    _cameras: Cameras
    _storage: Storage

    @method(role=Role.VIEWER, result=SessionList)
    async def get_sessions(self, caller: Caller, params: PageRequest) -> result_fields.View:
        """List sessions, newest first, each with its coverage: the share that is in files."""
        page = await self._storage.sessions(await query_of(self._cameras, params))
        running = {
            session.session_id: SessionSummary.of(session)
            for session in (camera.status.session for camera in self._cameras)
            if session is not None
        }
        return {
            "sessions": [
                result_fields.session(running.get(s.session_id, s)) for s in page.sessions
            ],
            "total": page.total,
            "limit": params.limit,
            "offset": params.offset,
        }

    @method(role=Role.VIEWER, result=GapList)
    async def get_gaps(self, caller: Caller, params: PageRequest) -> result_fields.View:
        """List the entries of the gap ledger, newest first: what is missing, and why."""
        page = await self._storage.gaps(await query_of(self._cameras, params))
        return {
            "gaps": [result_fields.gap(entry) for entry in page.gaps],
            "total": page.total,
            "limit": params.limit,
            "offset": params.offset,
        }


# --- Schedules.


@attrs.define(eq=False)
class SchedulesApi:
    """Handlers over the schedules of the configuration."""

    _cameras: Cameras
    _schedules: Schedules

    @method(role=Role.VIEWER, result=ScheduleList, immediate=True)
    async def get_schedules(self, caller: Caller, params: NoParams) -> result_fields.View:
        """List the schedules of the configuration, each with whether its window is open."""
        cameras = [camera.status for camera in self._cameras]
        found = [
            result_fields.schedule(one, self._schedules.due(one), cameras)
            for one in self._schedules.configured
        ]
        return {"schedules": found, "total": len(found)}
