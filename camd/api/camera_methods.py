"""Methods and HTTP routes of cameras: list, status, capabilities and health."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import attrs
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from camd.api import result_fields
from camd.api.http.app import Authenticate, Health, component_response
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.contract.camera_results import CameraCapabilities, CameraDetails, CameraList
from camd.contract.result_types import doc
from camd.devices.v4l2.formats import CaptureMode, modes, unreadable_formats
from camd.model import (
    CameraState,
    CameraStatus,
    Capabilities,
    DeviceBinding,
    FormatChoice,
    VideoFormat,
)
from camd.rpc.registry import Caller, NoParams, method
from camd.rpc.roles import Role

LIST_SECONDS = 0.1  # for which an encoded list is reused
_IN_PROBLEM = (CameraState.RESTING, CameraState.FAULTED)
DEVICE = {"aliases": ("camera_id",)}
CameraName = Annotated[str, doc("a camera: its id, its device node, or a link to that")]


@attrs.frozen
class ByCamera:
    """A camera."""

    device: CameraName = attrs.field(metadata=DEVICE)


@attrs.define(eq=False)
class CamerasApi:
    """Handlers over the cameras."""

    _cameras: Cameras
    _clock: Clock = attrs.field(kw_only=True)
    _list: msgspec.Raw = attrs.field(factory=msgspec.Raw, init=False)
    _list_of: tuple[int, ...] = attrs.field(default=(), init=False)
    _list_until: float = attrs.field(default=0.0, init=False)  # monotonic seconds

    @method(role=Role.VIEWER, result=CameraList, immediate=True)
    async def get_camera_list(self, caller: Caller, params: NoParams) -> msgspec.Raw:
        """List all cameras with their state, recording included."""
        return self.listed()

    def listed(self) -> msgspec.Raw:
        """Encode the list of all cameras, as `get_camera_list` answers it."""
        # Clients poll this call: the encoded list is kept while no camera changes, for at most
        # LIST_SECONDS, so that its counters stay fresh.
        revisions = tuple([camera.revision for camera in self._cameras])
        if revisions != self._list_of or self._clock.monotonic() >= self._list_until:
            self._list = msgspec.Raw(msgspec.json.encode(self._all()))
            self._list_of = revisions
            self._list_until = self._clock.monotonic() + LIST_SECONDS
        return self._list

    def _all(self) -> result_fields.View:
        cameras = [result_fields.camera(camera.status) for camera in self._cameras]
        connected = sum(camera["status"] == "CONNECTED" for camera in cameras)
        return {"cameras": cameras, "total": len(cameras), "connected": connected}

    def counts(self) -> dict[str, int]:
        """Count all cameras, those that are usable, and those that record."""
        views = self._all()
        recording = sum(camera["recording"] for camera in views["cameras"])
        return {"total": views["total"], "connected": views["connected"], "recording": recording}

    @method(role=Role.VIEWER, result=CameraDetails, immediate=True)
    async def get_camera_status(self, caller: Caller, params: ByCamera) -> result_fields.View:
        """Describe one camera, with its counters and what it delivers."""
        camera = await self._cameras.locate(params.device)
        return _detailed(camera, self._clock.monotonic())

    @method(role=Role.VIEWER, result=CameraCapabilities, immediate=True)
    async def get_camera_capabilities(self, caller: Caller, params: ByCamera) -> result_fields.View:
        """List what a camera offers and what it is asked for."""
        camera = await self._cameras.locate(params.device)
        name = {"camera_id": camera.camera_id, "device": camera.status.device}
        return name | _capabilities(camera)


# --- HTTP routes.


@attrs.define(eq=False)
class CameraRoutes:
    """The list of cameras, and their health."""

    _api: CamerasApi
    _health: Health
    _clock: Clock = attrs.field(kw_only=True)

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes; the list needs a key, health needs none."""

        async def cameras(request: Request) -> Response:
            if (refusal := await authenticate(request)) is not None:
                return refusal
            return Response(bytes(self._api.listed()), media_type="application/json")

        return [Route("/api/cameras", cameras), Route("/health/cameras", self.health)]

    async def health(self, request: Request) -> Response:
        """Describe the cameras as a component, with counts; 500 when it is unhealthy."""
        return component_response(
            self._health()[1]["camera_monitor"], self._clock, **self._api.counts()
        )


# --- Fields of the results.


def _detailed(camera: Camera, monotonic: float) -> result_fields.View:
    status = camera.status
    since = status.streaming_since
    return result_fields.camera(status) | {
        "metrics": {
            "bytes_sent": status.bytes_captured,
            "readers": (status.session is not None)
            + (status.served.readers if status.served else 0),
            "uptime": int(monotonic - since) if since is not None else 0,
        },
        "capabilities": _capabilities(camera),
    }


def _capabilities(camera: Camera) -> result_fields.View:
    planner = camera.planner
    return capabilities(camera.status, planner.binding, planner.chosen, planner.expected)


# --- Capabilities as result fields.


def capabilities(
    status: CameraStatus,
    binding: DeviceBinding | None,
    chosen: FormatChoice | None,
    expected: VideoFormat,
) -> result_fields.View:
    """List what a V4L2 device offers; for other sources, what they deliver now, or will."""
    device = binding.device if binding else None
    known = device.capabilities if device else None
    formats = offered(known) if known is not None else _of_stream(status.video or expected)
    return formats | {
        "chosen": chosen and _choice(chosen),
        "validation_status": _validation(
            status, binding, known is not None or bool(formats["formats"])
        ),
    }


def _validation(status: CameraStatus, binding: DeviceBinding | None, known: bool) -> str:
    """How reliable the list is: what a driver lists is provisional until the camera streams."""
    if status.state is CameraState.ABSENT or (binding is not None and binding.device is None):
        return "disconnected"
    if status.state in _IN_PROBLEM:
        return "error"
    if status.state is CameraState.STREAMING and status.video is not None:
        return "confirmed"
    return "provisional" if known else "none"


def offered(known: Capabilities) -> result_fields.View:
    """List what a driver offers and FFmpeg can read: formats, sizes, rates, and combinations."""
    found = modes(known)
    sizes = sorted({(mode.width, mode.height) for mode in found}, key=_by_area, reverse=True)
    return {
        "formats": list(dict.fromkeys(mode.input_format for mode in found)),
        "resolutions": _resolutions(sizes),
        "fps_options": _rates(rate for mode in found for rate in _rates_of(mode)),
        "modes": [_mode(mode) for mode in found],
        "unreadable_formats": list(unreadable_formats(known)),
        "driver": known.driver,
    }


def _of_stream(video: VideoFormat) -> result_fields.View:
    """List the one format of a stream; nothing while it is not known."""
    size = result_fields.resolution(video.width, video.height)
    formats = [result_fields.codec(video.codec)] if video.codec else []
    rates = [round(video.fps, 2)] if video.fps else []
    return {
        "formats": formats,
        "resolutions": [size] if size else [],
        "fps_options": rates,
        "modes": [{"format": name, "resolution": size, "fps": rates} for name in formats],
    }


def _mode(mode: CaptureMode) -> result_fields.View:
    view: result_fields.View = {
        "format": mode.input_format,
        "resolution": result_fields.resolution(mode.width, mode.height),
        "fps": _rates(_rates_of(mode)),
    }
    if mode.rates.limits is not None:
        view["fps_range"] = list(mode.rates.limits)
    return view


def _choice(chosen: FormatChoice) -> result_fields.View:
    return {
        "format": chosen.input_format,
        "resolution": result_fields.resolution(chosen.width, chosen.height),
        "fps": round(chosen.fps, 2),
        "copied": chosen.copied,
        "codec": chosen.encoder or chosen.input_format,
        "reason": chosen.why,
    }


def _by_area(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] * size[1], size[0]


def _resolutions(sizes: Iterable[tuple[int, int]]) -> list[str]:
    texts = (result_fields.resolution(width, height) for width, height in sizes)
    return [text for text in texts if text is not None]


def _rates_of(mode: CaptureMode) -> tuple[float, ...]:
    return (*mode.rates.listed, *(mode.rates.limits or ()))


def _rates(rates: Iterable[float]) -> list[float]:
    return sorted({round(rate, 2) for rate in rates}, reverse=True)
