"""Methods and HTTP routes of snapshots: take, list, describe, delete; stored and live pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from camd.api import result_fields
from camd.api.camera_methods import DEVICE, CameraName
from camd.api.event_publisher import about_camera
from camd.api.http.addresses import camera_and_format, times_in, whole_number
from camd.api.http.app import Authenticate
from camd.api.http.files import LeasedResponse, file_response, is_unchanged
from camd.api.http.refused import refused_response
from camd.api.recording_methods import ByFilename, PageRequest, query_of
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.contract.result_types import Time, doc, one_of
from camd.contract.snapshot_results import (
    DeletedSnapshot,
    SnapshotInfo,
    SnapshotList,
    TakenSnapshot,
)
from camd.errors import (
    ParamMistake,
    Refusal,
    invalid_params,
    unsupported_format,
)
from camd.model import StoredSnapshot
from camd.model.notation import format_instant
from camd.rpc.params import ParamsReader
from camd.rpc.registry import Caller, method
from camd.rpc.roles import Role
from camd.snapshots.live_frame import FrameSource
from camd.snapshots.rules.snapshot_names import FORMATS, read_name
from camd.snapshots.snapshots import PictureRequest, Snapshots, Still

LONGEST_AGE_MS = 86_400_000
SIZES = (16, 8192)  # of a picture's width, in pixels

_optional = attrs.validators.optional
_between = attrs.validators.and_
_QUALITY = _optional(_between(attrs.validators.ge(1), attrs.validators.le(100)))
_AGE = _optional(_between(attrs.validators.ge(0), attrs.validators.le(LONGEST_AGE_MS)))
_WIDTH = _optional(_between(attrs.validators.ge(SIZES[0]), attrs.validators.le(SIZES[1])))


@attrs.frozen
class SnapshotRequest:
    """Which camera, and which picture of it."""

    device: CameraName = attrs.field(metadata=DEVICE)
    filename: Annotated[str | None, doc("without it, such as camera0_2026-01-15_14-30-00.jpg")] = (
        None
    )
    format: Annotated[
        Annotated[str, one_of("jpg", "png")] | None, doc("without it, as `filename` says, or jpg")
    ] = None
    quality: Annotated[
        int | None, doc("of a JPEG; without it, 85, or the camera's own JPEG as it is")
    ] = attrs.field(default=None, validator=_QUALITY)
    max_age_ms: Annotated[
        int | None,
        doc("a frame that is no older at the call will do, and is faster; without it, the newest"),
    ] = attrs.field(default=None, validator=_AGE)
    width: Annotated[
        int | None, doc("in pixels, never more than the camera's; without it, the camera's")
    ] = attrs.field(default=None, validator=_WIDTH)
    at: Annotated[Time | None, doc("the picture of a past instant, from the recordings")] = None


@attrs.define(eq=False)
class SnapshotsApi:
    """Handlers over cameras, which have the pictures, and the stored snapshots."""

    _cameras: Cameras
    _snapshots: Snapshots

    @method(role=Role.OPERATOR, result=TakenSnapshot)
    async def take_snapshot(self, caller: Caller, params: SnapshotRequest) -> result_fields.View:
        """Store one frame of a camera as a JPEG or PNG; the answer comes when it is durable.

        The camera is started for it where it does not run. `frame_age_ms` is the age of the frame
        at the answer.
        """
        named = read_name(params.filename, _format(params.format))
        camera = await self._cameras.locate(params.device)
        caller.link.hold(about_camera(camera.camera_id))  # it may have to start
        request = _request(params, named.format)
        stored, still = await self._snapshots.take(source_of(camera), request, named.filename)
        return {
            "device": camera.status.device,
            "camera_id": camera.camera_id,
            "filename": stored.filename,
            "status": "completed",
            "timestamp": stored.time,
            "file_size": stored.size_bytes,
            "size_bytes": stored.size_bytes,
            "file_path": str(self._snapshots.files.folder / stored.filename),
            "frame_age_ms": _age_ms(still),
            "width": stored.width,
            "height": stored.height,
            "format": named.format,
            "download_url": _url(stored),
            "success": True,
        }

    @method(role=Role.VIEWER, result=SnapshotList)
    async def list_snapshots(self, caller: Caller, params: PageRequest) -> result_fields.View:
        """List stored snapshots, newest first."""
        page = await self._snapshots.files.page(await query_of(self._cameras, params))
        return {
            "files": [_stored(each) for each in page.snapshots],
            "total": page.total,
            "limit": params.limit,
            "offset": params.offset,
        }

    @method(role=Role.VIEWER, result=SnapshotInfo)
    async def get_snapshot_info(self, caller: Caller, params: ByFilename) -> result_fields.View:
        """Describe one stored snapshot."""
        return _stored(await self._snapshots.files.find(params.filename))

    @method(role=Role.OPERATOR, result=DeletedSnapshot)
    async def delete_snapshot(self, caller: Caller, params: ByFilename) -> result_fields.View:
        """Delete a stored snapshot; refused while it is being read."""
        deleted = await self._snapshots.files.delete(params.filename)
        return {
            "filename": deleted.filename,
            "deleted": True,
            "space_freed": deleted.size_bytes,
            "message": "Snapshot deleted",
            "success": True,
        }


def source_of(camera: Camera) -> FrameSource:
    """Return a camera as a snapshot sees it."""
    return FrameSource(camera.camera_id, camera.hub, camera.published)


def _request(params: SnapshotRequest, format: str) -> PictureRequest:
    if params.at is not None and params.max_age_ms is not None:
        raise invalid_params(ParamMistake("max_age_ms", "cannot be given together with at"))
    age = params.max_age_ms
    return PictureRequest(
        format=format,
        quality=params.quality,
        width=params.width,
        max_age=None if age is None else timedelta(milliseconds=age),
        at=params.at,
    )


def _format(name: str | None) -> str | None:
    known = "jpg" if name == "jpeg" else name
    if known is None or known in FORMATS:
        return known
    raise unsupported_format(known, FORMATS)


def _age_ms(still: Still) -> int:
    return max(0, round(still.age / timedelta(milliseconds=1)))


def _url(found: StoredSnapshot) -> str:
    return f"/files/snapshots/{found.filename}"


def _stored(found: StoredSnapshot) -> result_fields.View:
    """A stored snapshot, with the fields of a recording where they mean something."""
    return {
        "filename": found.filename,
        "file_size": found.size_bytes,
        "created_time": found.time,
        "modified_time": found.modified,
        "download_url": _url(found),
        "duration": 0.0,
        "camera_id": found.camera_id,
        "session_id": None,
        "start_time": found.time,
        "end_time": found.time,
        "frames": 1,
        "status": "completed",
        "pinned": False,
        "resolution": result_fields.resolution(found.width, found.height),
        "width": found.width,
        "height": found.height,
        "format": "png" if found.filename.lower().endswith(".png") else "jpg",
    }


# --- HTTP routes

_MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png"}
_NUMBERS = ("quality", "max_age_ms", "width")
_MOST_DIGITS = len(str(LONGEST_AGE_MS))


@attrs.define(eq=False)
class SnapshotRoutes:
    """HTTP: stored snapshots, and `/still/{camera}.jpg`, which stores nothing."""

    _cameras: Cameras
    _snapshots: Snapshots
    _read: Callable[[Mapping[str, object]], Any] = attrs.field(
        factory=lambda: ParamsReader(SnapshotRequest).read, init=False
    )

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes."""

        async def stored(request: Request) -> Response:
            return await authenticate(request) or self.stored(request)

        async def still(request: Request) -> Response:
            return await authenticate(request) or await self.still(request)

        return (
            Route("/files/snapshots/{name:path}", stored),
            Route("/still/{name:path}", still),
        )

    def stored(self, request: Request) -> Response:
        """Send a stored snapshot."""
        name, files = request.path_params["name"], self._snapshots.files
        return LeasedResponse(
            files.leased(name), lambda: file_response(files.stored_file, name, request.headers)
        )

    async def still(self, request: Request) -> Response:
        """Send a picture of a camera: the newest frame, or that of a past instant."""
        try:
            params = self._params(request)
            format = _format(params.format) or FORMATS[0]
            camera = await self._cameras.locate(params.device)
            still = await self._snapshots.show(source_of(camera), _request(params, format))
        except Refusal as refusal:
            return refused_response(refusal)
        headers = {
            "ETag": f'"{hashlib.sha256(still.picture).hexdigest()[:32]}"',
            "X-Frame-Time": format_instant(still.time),
            "X-Frame-Age-Ms": str(_age_ms(still)),
            "Cache-Control": "private, no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        if is_unchanged(request.headers, {"etag": headers["ETag"]}):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(still.picture, media_type=_MEDIA_TYPES[format], headers=headers)

    def _params(self, request: Request) -> SnapshotRequest:
        """Read camera, format and options from the address. Raises Refusal."""
        device, suffix = camera_and_format(request)
        query = request.query_params
        numbers = {name: query[name] for name in _NUMBERS if name in query}
        given = {"device": device, "format": suffix, **times_in(query, ("at",))} | {
            name: whole_number(name, text, _MOST_DIGITS) for name, text in numbers.items()
        }
        params: SnapshotRequest = self._read(given)
        return params
