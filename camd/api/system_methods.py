"""Methods of the service (ping, status, information, reload) and of the recordings volume."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import attrs
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from camd import __version__
from camd.api import result_fields
from camd.api.http.app import Authenticate, component_response
from camd.api.recording_methods import FORMATS
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.config.changes import ConfigChanges
from camd.contract.result_types import doc
from camd.contract.storage_results import StorageInfo
from camd.contract.system_results import LogLevels, ReloadedConfig, ServerInfo, ServiceStatus
from camd.errors import CAMERA_LIMIT
from camd.ffmpeg.binary import FfmpegMissingError, encoders
from camd.logs import LogLevel, current_level, set_level
from camd.model import CameraState, ProblemKind, StorageLevel, StorageStatus
from camd.model.ids import MAX_CAMERAS
from camd.publish.streams import Streams
from camd.rpc.registry import EVERYTHING, Caller, NoParams, method
from camd.rpc.roles import Role
from camd.sources import BOUND_DEVICE
from camd.storage.rules.levels import message_of
from camd.storage.storage import Storage
from camd.storage.verify.scrub import Scrub

log = structlog.get_logger("camd.api")

MAX_REASONS = 20  # of cameras, in an answer
CAPABILITIES = (
    "recording",
    "timed_recording",
    "snapshots",
    "rotation",
    "stop_receipts",
    "gap_ledger",
    "session_history",
    "preroll",
    "pins",
    "retention",
    "scrub",
    "storage_guard",
    "notifications",
    "streaming",
    "event_replay",
    "schedules",
    "file_download",
    "reload_config",
)


@attrs.frozen
class LogLevelRequest:
    """How much is to be logged."""

    level: Annotated[LogLevel | None, doc("without it, nothing is changed")] = None


@attrs.define(eq=False)
class SystemApi:
    """Handlers over the service as a whole."""

    _cameras: Cameras
    _storage: Storage
    _reload: Callable[[], Awaitable[ConfigChanges]]
    _scrub: Scrub | None = None
    _clock: Clock = attrs.field(kw_only=True)
    _streams: Streams = attrs.field(factory=Streams, kw_only=True)
    _started: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._started = self._clock.monotonic()

    @method(role=Role.VIEWER, result=Literal["pong"], immediate=True)
    async def ping(self, caller: Caller, params: NoParams) -> str:
        """Answer `"pong"`."""
        return "pong"

    def health(self) -> tuple[str, dict[str, tuple[str, str]]]:
        """Return the status of the service, and status and details of each component."""
        failing = ["ffmpeg"] if self._cameras.no_program is not None else []
        failing += [camera.camera_id for camera in self._cameras if _has_problem(camera)]
        failing += self._cameras.left_out
        details = f"problems: {', '.join(failing)}" if failing else ""
        parts = {
            "camera_monitor": ("degraded" if failing else "healthy", details),
            "storage": _storage_health(self._storage.status),
            "service_manager": ("healthy", ""),
            "mediamtx": self._streams.health(),
        }
        order = ("healthy", "degraded", "unhealthy")
        return max((state for state, _ in parts.values()), key=order.index), parts

    @method(role=Role.ADMIN, result=ServiceStatus, immediate=True)
    async def get_status(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Describe the state of the service and of its components."""
        return self._status()

    @method(role=Role.VIEWER, result=ServiceStatus, immediate=True)
    async def get_system_status(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Describe the state of the service and of its components, as `get_status` does."""
        return self._status()

    def _status(self) -> result_fields.View:
        overall, parts = self.health()
        camera_status, storage_status = parts["camera_monitor"][0], parts["storage"][0]
        return {
            "status": overall,
            "uptime": round(self._clock.monotonic() - self._started, 3),
            "version": __version__,
            "components": {
                "websocket_server": "running",
                "camera_monitor": "running" if camera_status == "healthy" else camera_status,
                "mediamtx_controller": self._controller(parts["mediamtx"][0]),
                "storage": "running" if storage_status == "healthy" else storage_status,
            },
            "details": {name: text for name, (_, text) in parts.items() if text},
            "reasons": list(self._reasons(parts)),
            "cameras": len(self._cameras),
            "recording": sum(camera.status.session is not None for camera in self._cameras),
            "recovery": result_fields.recovery(self._storage.recovery),
            "scrub": self._scrub
            and result_fields.scrub(self._scrub.progress, enabled=self._scrub.config.enabled),
        }

    def _reasons(self, parts: Mapping[str, tuple[str, str]]) -> Iterator[str]:
        """Say in sentences why the service is not healthy; at most MAX_REASONS of cameras."""
        if (missing := self._cameras.no_program) is not None:
            yield f"{missing.message.rstrip('.')}. {missing.suggestion}"
        failing = [camera for camera in self._cameras if _has_problem(camera)]
        yield from (_sentence_of(camera) for camera in failing[:MAX_REASONS])
        if more := failing[MAX_REASONS:]:
            yield f"{len(more)} more cameras have problems."
        if left_out := self._cameras.left_out:
            ids = ", ".join(left_out[:MAX_REASONS])
            text = f"{MAX_CAMERAS} cameras are the most, and more were found: {ids}"
            yield f"{text}. {CAMERA_LIMIT.suggestion}"
        level = message_of(self._storage.status)
        advice = {} if level is None else {"storage": f" {level.suggestion}"}
        for name, said in (("storage", "Storage"), ("mediamtx", "Media server")):
            status, details = parts[name]
            if status != "healthy":
                yield f"{said}: {details.rstrip('.')}.{advice.get(name, '')}"

    def _controller(self, status: str) -> str:
        if not self._streams.enabled:
            return "disabled"
        return "running" if status == "healthy" else status

    @method(role=Role.ADMIN, result=ServerInfo)
    async def get_server_info(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Describe the software: version, capabilities, FFmpeg and its encoders."""
        try:
            program = await self._cameras.find_program()
            version, found = ".".join(map(str, program.version)), await encoders(program)
        except FfmpegMissingError:
            version, found = None, frozenset()
        shown = [name for name in sorted(found) if name.startswith(("h264", "hevc", "libx26"))]
        return {
            "name": "camd",
            "version": __version__,
            "capabilities": list(CAPABILITIES),
            "supported_formats": list(FORMATS),
            "max_cameras": MAX_CAMERAS,
            "ffmpeg_version": version,
            "encoders": shown + [name for name in ("mjpeg",) if name in found],
            "encoders_tried": {one.codec: one.summary for one in self._cameras.encoders.known},
        }

    @method(role=Role.ADMIN, result=ReloadedConfig)
    async def reload_config(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Read the configuration again and apply what can be applied.

        Running sessions are not touched.
        """
        caller.link.hold(EVERYTHING)
        changes = await self._reload()
        return {
            "applied": list(changes.applied),
            "restart_needed": list(changes.restart_needed),
            "success": True,
        }

    @method(role=Role.ADMIN, result=LogLevels, immediate=True)
    async def set_log_level(self, caller: Caller, params: LogLevelRequest) -> result_fields.View:
        """Log more or less from now on, until the next start; `previous` is the level before.

        Without `level` the level is only told. With `debug` the log has FFmpeg's messages.
        """
        previous = current_level()
        if params.level is not None and params.level is not previous:
            set_level(params.level)
            log.warning("log_level", now=params.level.value, previous=previous.value)
        return {"level": current_level().value, "previous": previous.value, "success": True}


def _has_problem(camera: Camera) -> bool:
    """Whether a camera fails to do what is expected of it.

    A camera that was found automatically may be unplugged while it is not recorded.
    """
    status = camera.status
    if status.session is not None and not status.session.healthy:
        return True
    if status.schedule is not None and status.schedule.message:
        return True
    if status.state is CameraState.ABSENT and camera.config.source == BOUND_DEVICE:
        return status.problem is not None and status.problem.kind not in (
            ProblemKind.ABSENT,
            ProblemKind.UNPLUGGED,
        )
    return status.state in (CameraState.RESTING, CameraState.ABSENT, CameraState.FAULTED)


def _sentence_of(camera: Camera) -> str:
    """Say what is wrong with a camera, and what to do."""
    status = camera.status
    found, schedule = status.problem, status.schedule
    if found is not None:
        said = f"{found.message.rstrip('.')}. {found.suggestion}"
    elif status.session is not None and not status.session.healthy:
        said = "what it records has not reached the disk for a while."
    elif schedule is not None and schedule.message:
        why = schedule.message.rstrip(".")
        said = f"schedule {schedule.name} cannot record: {why}. {schedule.suggestion}"
    else:
        said = f"it is {status.state.value.lower()}."
    return f"Camera {status.name}: {said}".rstrip()


def _storage_health(status: StorageStatus) -> tuple[str, str]:
    """Return status and details of the recordings volume."""
    match status.level:
        case StorageLevel.OK:
            return ("degraded", "the disk is slow") if status.slow else ("healthy", "")
        case StorageLevel.LOW:
            return "degraded", "space is low"
        case StorageLevel.BLOCKED:
            return "degraded", "no new recordings: space is critical"
        case StorageLevel.NO_INODES:
            return "degraded", "no new recordings: inodes are short"
        case level:
            why = f": {status.reason}" if status.reason else ""
            return "unhealthy", f"storage is {level.value}{why}"


# --- The recordings volume.

# What the health route shows without a key.
_SHOWN_OF_STORAGE = (
    "threshold_status",
    "total_space",
    "used_space",
    "available_space",
    "usage_percent",
    "code",
)


@attrs.define(eq=False)
class StorageApi:
    """Handlers over the recordings volume."""

    _storage: Storage

    @method(role=Role.ADMIN, result=StorageInfo, immediate=True)
    async def get_storage_info(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Describe the recordings volume: space, thresholds, reservations and a forecast.

        The values are those of the last sample.
        """
        return result_fields.storage(self._storage.status)


@attrs.define(eq=False)
class StorageRoutes:
    """The health route of the recordings volume."""

    _storage: Storage
    _clock: Clock = attrs.field(kw_only=True)

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes; health needs no key."""
        return [Route("/health/storage", self.health)]

    async def health(self, request: Request) -> Response:
        """Describe the volume as a component, with its space; 500 when it is unhealthy."""
        found = result_fields.storage(self._storage.status)
        return component_response(
            _storage_health(self._storage.status),
            self._clock,
            **{name: found[name] for name in _SHOWN_OF_STORAGE if name in found},
        )
