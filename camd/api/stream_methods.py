"""Methods and HTTP routes of streams that viewers can have, and of their media server."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from camd.api import result_fields
from camd.api.camera_methods import ByCamera
from camd.api.http.app import Authenticate
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.contract.camera_results import StreamAddress, StreamInfo
from camd.model.notation import format_instant
from camd.publish.streams import Streams
from camd.rpc.registry import Caller, NoParams, method
from camd.rpc.roles import Role


@attrs.define(eq=False)
class StreamsApi:
    """Handlers over the published cameras and their server."""

    _cameras: Cameras
    _streams: Streams

    @method(role=Role.VIEWER, result=StreamAddress, immediate=True)
    async def get_stream_url(self, caller: Caller, params: ByCamera) -> result_fields.View:
        """Say where viewers can have a camera's stream; `available` is false while they cannot."""
        camera = await self._cameras.locate(params.device)
        served, publication = camera.status.served, self._streams.publication(camera.camera_id)
        view: result_fields.View = {
            "device": camera.status.device,
            "camera_id": camera.camera_id,
            "stream_name": publication.name or None,
            "stream_url": result_fields.stream_url(served),
            "available": served is not None,
            "formats": list(served.protocols) if served is not None else [],
            "streams": dict(served.addresses) if served is not None else {},
            "active_consumers": served.readers if served is not None else 0,
            "state": publication.state.value,
            "frames_dropped": publication.frames_dropped,
        }
        if publication.problem is not None:
            view |= result_fields.problem(publication.problem)
        return view

    @method(role=Role.VIEWER, result=tuple[StreamInfo, ...], immediate=True)
    async def get_streams(self, caller: Caller, params: NoParams) -> list[result_fields.View]:
        """List the streams of the media server: the cameras', and those of others."""
        return [
            {
                "name": stream.name,
                "source": stream.source,
                "camera_id": stream.camera_id,
                "ready": stream.ready,
                "readers": stream.readers,
                "bytes_sent": stream.bytes_sent,
            }
            for stream in self._streams.listed()
        ]


@attrs.define(eq=False)
class StreamRoutes:
    """The health route of the media server."""

    _streams: Streams
    _clock: Clock = attrs.field(kw_only=True)

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes; health needs no key."""
        return [Route("/health/mediamtx", self.health)]

    async def health(self, request: Request) -> Response:
        """Describe the media server as camd sees it; 200, because recordings do not need it."""
        status, details = self._streams.health()
        view = self._streams.view
        body = {
            "status": status,
            "timestamp": format_instant(self._clock.now()),
            "details": details,
            "enabled": self._streams.enabled,
            "reachable": view.healthy,
            "version": view.info.version or None,
            "paths": view.path_count,
            "streams_ready": sum(
                stream.ready for stream in self._streams.listed() if stream.camera_id is not None
            ),
        }
        return JSONResponse(body, HTTPStatus.OK)
