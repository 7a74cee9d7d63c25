"""Cameras on the wire: the list, one camera's status, and what it can do."""

from __future__ import annotations

import attrs
import msgspec

from camd.api import views
from camd.api.capabilities import capabilities
from camd.camera.actor import Camera
from camd.camera.roster import Cameras
from camd.clock import monotonic
from camd.rpc.registry import Caller, Method, NoParams
from camd.rpc.roles import Role

LIST_SECONDS = 0.1
DEVICE = {"aliases": ("camera_id",)}


@attrs.frozen
class ByDevice:
    """Which camera: its id, its device, or a link to it."""

    device: str = attrs.field(metadata=DEVICE)


@attrs.define(eq=False)
class CamerasApi:
    """Handlers over the roster of cameras."""

    _cameras: Cameras
    _list: msgspec.Raw = attrs.field(factory=msgspec.Raw, init=False)
    _list_of: tuple[int, ...] = attrs.field(default=(), init=False)
    _list_until: float = attrs.field(default=0.0, init=False)  # monotonic seconds

    def methods(self) -> tuple[Method, ...]:
        """What this noun offers."""
        return (
            Method(
                "get_camera_list",
                Role.VIEWER,
                NoParams,
                self.get_camera_list,
                "All cameras with their state, recording included.",
                immediate=True,
            ),
            Method(
                "get_camera_status",
                Role.VIEWER,
                ByDevice,
                self.get_camera_status,
                "One camera, with counters and what it delivers.",
                immediate=True,
            ),
            Method(
                "get_camera_capabilities",
                Role.VIEWER,
                ByDevice,
                self.get_camera_capabilities,
                "What a camera offers, and what it is asked for.",
                immediate=True,
            ),
        )

    async def get_camera_list(self, caller: Caller, params: NoParams) -> msgspec.Raw:
        """List all cameras.

        Consoles ask for it all the time, so the text is kept for as long as no camera has
        changed, and until the counters in it would be older than LIST_SECONDS.
        """
        revisions = tuple([camera.revision for camera in self._cameras])
        if revisions != self._list_of or monotonic() >= self._list_until:
            self._list = msgspec.Raw(msgspec.json.encode(self._all()))
            self._list_of = revisions
            self._list_until = monotonic() + LIST_SECONDS
        return self._list

    def _all(self) -> views.View:
        cameras = [views.camera(camera.status) for camera in self._cameras]
        connected = sum(camera["status"] == "CONNECTED" for camera in cameras)
        return {"cameras": cameras, "total": len(cameras), "connected": connected}

    async def get_camera_status(self, caller: Caller, params: ByDevice) -> views.View:
        """Describe one camera."""
        return _detailed(await self._cameras.locate(params.device))

    async def get_camera_capabilities(self, caller: Caller, params: ByDevice) -> views.View:
        """Say what one camera can do."""
        camera = await self._cameras.locate(params.device)
        name = {"camera_id": camera.camera_id, "device": camera.status.device}
        return name | _capabilities(camera)


def _detailed(camera: Camera) -> views.View:
    status = camera.status
    since = status.streaming_since
    return views.camera(status) | {
        "metrics": {
            "bytes_sent": status.bytes_captured,
            "readers": 1 if status.session else 0,
            "uptime": int(monotonic() - since) if since is not None else 0,
        },
        "capabilities": _capabilities(camera),
    }


def _capabilities(camera: Camera) -> views.View:
    return capabilities(camera.status, camera.capture.seat(), camera.capture.chosen)
