"""Live view for clients: the WebSocket `/live/{camera}`, and endless answers for plain clients.

`/live/{camera}.mp4` is for players such as VLC and FFmpeg; it ends with the capture.
`/live/{camera}.mjpeg` is JPEGs in one multipart answer: an MJPEG camera's own, or stills of others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs
from weakref import WeakValueDictionary

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from camd.api.http.app import Authenticate
from camd.api.http.live_answers import LiveAnswer, LiveMp4Answer, LiveResponse, MultipartAnswer
from camd.api.http.refused import refused_response
from camd.api.snapshot_methods import source_of
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.errors import RATE_LIMITED, UNSUPPORTED, Refusal
from camd.live.live_pictures import STILL_SECONDS, StillsWatch
from camd.live.live_view import LiveView, LiveViewEnd
from camd.live.rules.live_messages import WayToWatch, ended_message
from camd.live.rules.muted_fragments import MutedFragments
from camd.live.socket_viewer import SocketViewer, ViewerLink
from camd.live.transcoding import TooManyTranscodesError, TranscodedCamera, TranscodedCameras
from camd.live.viewer_counts import WHEN_TOO_MANY, TooManyViewersError, ViewerCounts
from camd.model import CameraId
from camd.snapshots.snapshots import PictureRequest, Snapshots, Still

TRY_LATER = 1013  # close codes of RFC 6455, 7.4.1 and its registry
POLICY = 1008
PREVIEW, TRANSCODE, STILLS = "preview", "transcode", "stills"
_NOT_TRANSCODED = LiveViewEnd(
    "not_transcoded",
    "FFmpeg cannot transcode this camera for viewers",
    "Look for transcoder_failed in the log.",
)


class LiveSocket(ViewerLink, Protocol):
    """The socket of a viewer, and what it asked for."""

    @property
    def name(self) -> str:
        """The camera."""

    @property
    def query(self) -> str:
        """The rest of its address."""


@attrs.define(eq=False)
class LiveRoutes:
    """Viewers of all cameras, on WebSockets and over HTTP."""

    _cameras: Cameras
    _snapshots: Snapshots
    _transcodes: TranscodedCameras
    _counts: ViewerCounts
    _clock: Clock = attrs.field(kw_only=True)
    _muted: WeakValueDictionary[CameraId, MutedFragments] = attrs.field(  # while somebody watches
        factory=WeakValueDictionary, init=False
    )

    # --- WebSockets

    async def serve_socket(self, socket: LiveSocket) -> None:
        """Show a camera to an authenticated viewer until it leaves."""
        try:
            camera = await self._cameras.locate(socket.name)
            asked = _read_query(socket.query, self._ways(camera))
        except Refusal as refusal:
            await _refuse(socket, POLICY, refusal)
            return
        try:
            with self._counts.admitted(camera.camera_id) as admitted:
                ways = () if asked.way is not None else self._ways(camera)
                muted = self._muted.setdefault(camera.camera_id, MutedFragments())
                viewer = SocketViewer(
                    socket, admitted, ways, muted=muted, with_sound=asked.with_sound
                )
                await self._serve_viewer(viewer, camera, asked.way)
        except (TooManyViewersError, TooManyTranscodesError) as error:
            too_many = Refusal(RATE_LIMITED, str(error), suggestion=WHEN_TOO_MANY)
            await _refuse(socket, TRY_LATER, too_many)

    async def _serve_viewer(self, viewer: SocketViewer, camera: Camera, way: str | None) -> None:
        present = partial(self._is_present, camera)
        if way == STILLS:
            await viewer.serve(StillsWatch(self._take_still(camera), present, viewer))
            return
        if way == TRANSCODE:
            async with self._transcodes.shared(camera, present) as transcode:
                await self._serve_transcode(viewer, transcode)
            return
        preview = self._cameras.preview(camera.camera_id) if way == PREVIEW else None
        await viewer.serve(LiveView(preview or camera, present, viewer, clock=self._clock))

    async def _serve_transcode(self, viewer: SocketViewer, transcode: TranscodedCamera) -> None:
        watch = LiveView(transcode, transcode.is_present, viewer, clock=self._clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(viewer.serve, watch)
            await transcode.failed.wait()
            nursery.cancel_scope.cancel()
        await viewer.ended(_NOT_TRANSCODED)
        viewer.link.end(TRY_LATER, _NOT_TRANSCODED.cause)

    def _ways(self, camera: Camera) -> tuple[WayToWatch, ...]:
        """Name the other ways to watch a camera, best first."""
        kinds = [STILLS]
        if self._transcodes.most:
            kinds.insert(0, TRANSCODE)
        if camera.config.preview is not None:
            kinds.insert(0, PREVIEW)
        return tuple(WayToWatch(kind, f"/live/{camera.camera_id}?as={kind}") for kind in kinds)

    def _is_present(self, camera: Camera) -> bool:
        return self._cameras.get(camera.camera_id) is camera

    def _take_still(self, camera: Camera) -> Callable[[], Awaitable[Still]]:
        request = PictureRequest(max_age=timedelta(seconds=STILL_SECONDS))
        return lambda: self._snapshots.show(source_of(camera), request)

    # --- HTTP

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes."""

        async def live(request: Request) -> Response:
            return await authenticate(request) or await self.live(request)

        return (Route("/live/{name:path}", live),)

    async def live(self, request: Request) -> Response:
        """Send a camera's stream as it arrives."""
        name, _, form = request.path_params["name"].rpartition(".")
        if form not in ("mp4", "mjpeg"):
            needed = {"Upgrade": "websocket", "Connection": "upgrade"}
            return Response("This path speaks WebSocket.\n", HTTPStatus.UPGRADE_REQUIRED, needed)
        try:
            camera = await self._cameras.locate(name)
        except Refusal as refusal:
            return refused_response(refusal)
        present, stills = partial(self._is_present, camera), self._take_still(camera)
        answer: LiveAnswer = MultipartAnswer(camera, present, stills, clock=self._clock)
        if form == "mp4":
            answer = LiveMp4Answer(camera, present, clock=self._clock)
        if request.method == "HEAD":  # without starting the camera
            return Response(media_type=answer.media_type, headers={"Cache-Control": "no-store"})
        return LiveResponse(answer, lambda: self._counts.admitted(camera.camera_id))


@attrs.frozen
class _AskedView:
    """What an address asks for: a way to watch (None: the camera's own stream), and sound."""

    way: str | None = None
    with_sound: bool = True


def _read_query(query: str, ways: Sequence[WayToWatch]) -> _AskedView:
    """Read the query of an address; what is not known in it is ignored. Raises Refusal."""
    try:
        fields = parse_qs(query, max_num_fields=10)
    except ValueError:
        fields = {"as": ["?"]}
    way = fields.get("as", [""])[-1]
    if way and way not in (each.kind for each in ways):
        raise Refusal(
            UNSUPPORTED,
            "No such way to watch this camera",
            suggestion="Take one of those that init lists in supported_as.",
        )
    return _AskedView(way or None, fields.get("sound", [""])[-1] != "off")


async def _refuse(socket: LiveSocket, code: int, refusal: Refusal) -> None:
    """Tell a viewer why it gets nothing, and close its socket."""
    await socket.send(ended_message(refusal.kind.name, refusal.message, refusal.suggestion))
    socket.end(code, refusal.message[:100])
