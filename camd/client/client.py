"""The client: calls with typed results over a connection that is made again when it is lost."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import attrs
import trio

from camd.client.downloads import DownloadedExport, Progress, download_part
from camd.client.event_stream import EventStream, open_event_stream
from camd.client.http_fetch import StillPicture, fetch_still
from camd.client.remote_errors import RemoteError
from camd.client.results import read_result
from camd.client.service_connection import (
    RECONNECT_DELAY,
    STABLE_SECONDS,
    CannotConnectError,
    ConnectionLostError,
    ServiceAddress,
    ServiceConnection,
    open_connection,
)
from camd.contract.camera_results import (
    CameraCapabilities,
    CameraDetails,
    CameraInfo,
    CameraList,
    StreamAddress,
    StreamInfo,
)
from camd.contract.device_results import (
    AdoptedCamera,
    ChangedControl,
    ControlList,
    DeviceOverview,
    ForgottenCamera,
)
from camd.contract.event_results import EventPage
from camd.contract.export_results import ExportInfo, ExportPartInfo
from camd.contract.playback_results import TimelineInfo
from camd.contract.recording_results import (
    DeletedFile,
    GapList,
    PinnedRecording,
    RecordingDetails,
    RecordingList,
    RecordingStatus,
    SessionList,
    StartedRecording,
    StoppedRecording,
)
from camd.contract.schedule_results import ScheduleList
from camd.contract.sign_in_results import CreatedKey, KeyList, RevokedKey, SignInCode
from camd.contract.snapshot_results import (
    DeletedSnapshot,
    SnapshotInfo,
    SnapshotList,
    TakenSnapshot,
)
from camd.contract.storage_results import CleanupReport, RetentionState, StorageInfo, StoredPolicy
from camd.contract.system_results import (
    LogLevels,
    MetricsInfo,
    ReloadedConfig,
    ServerInfo,
    ServiceStatus,
)
from camd.errors import sole_exception
from camd.runtime.broadcast import LatestValue

T = TypeVar("T")

CALL_SECONDS = 60.0


class CallTimeoutError(Exception):
    """No answer in time; the call may be carried out nevertheless."""


class TimedListing(TypedDict, total=False):
    """Which part of a list is wanted: of a camera, from `start` to `end`, `limit` from `offset`."""

    camera: str | None
    start: datetime | None
    end: datetime | None
    limit: int | None
    offset: int | None


class Listing(TimedListing, total=False):
    """The same, or of one session."""

    session_id: str | None


class PictureChoice(TypedDict, total=False):
    """Which picture is wanted: the newest, or one that is no older than `max_age_ms`, or of `at`.

    `width` is in pixels, `quality` is that of a JPEG.
    """

    quality: int | None
    max_age_ms: int | None
    width: int | None
    at: datetime | None


@attrs.define(eq=False)
class Client:
    """A service. Calls may run concurrently.

    Each raises a `RemoteError` when it is refused, ConnectionLostError when the connection ends
    before the answer (the call may have been carried out), CallTimeoutError when there is no answer
    in time, and UnreadableAnswerError. A lost connection is made again, with growing pauses; a call
    waits for it.
    """

    address: ServiceAddress
    reconnect: bool
    timeout: float | None  # seconds for a call; None: as long as it takes
    _state: LatestValue[ServiceConnection | RemoteError | None] = attrs.field(
        factory=lambda: LatestValue(None), init=False
    )

    # --- Calls of any kind.

    async def call(self, method: str, /, **params: object) -> Any:
        """Call a method by its name, and return its result as it is."""
        with trio.move_on_after(float("inf") if self.timeout is None else self.timeout):
            connection = await self._connection()
            return await connection.call(method, **params)
        raise CallTimeoutError(f"no answer to {method} in {self.timeout:g} s")

    def notifications(self) -> AsyncIterator[tuple[str, Any]]:
        """Iterate over notifications of the present connection, as `ServiceConnection` does."""
        return self._present().notifications()

    async def next_notification(self) -> tuple[str, Any]:
        """Wait for the next notification of the present connection. Raises ConnectionLostError."""
        return await self._present().next_notification()

    def events(
        self,
        topics: Iterable[str] | None = None,
        *,
        camera: str | None = None,
        since: int | None = None,
        reconnect: bool | None = None,
    ) -> AbstractAsyncContextManager[EventStream]:
        """Follow events over a connection of their own; see `EventStream`.

        `reconnect`: as this client does, unless it is given.
        """
        wanted = {"topics": None if topics is None else list(topics), "camera": camera}
        again = self.reconnect if reconnect is None else reconnect
        return open_event_stream(self.address, wanted, since=since, reconnect=again)

    # --- Cameras.

    async def ping(self) -> None:
        """Return when the service has answered."""
        await self._ask("ping")

    async def cameras(self) -> tuple[CameraInfo, ...]:
        """List all cameras."""
        return (await self._result(CameraList, "get_camera_list")).cameras

    async def camera(self, device: str) -> CameraDetails:
        """Describe one camera."""
        return await self._result(CameraDetails, "get_camera_status", device=device)

    async def capabilities(self, device: str) -> CameraCapabilities:
        """List what a camera offers."""
        return await self._result(CameraCapabilities, "get_camera_capabilities", device=device)

    async def controls(self, device: str) -> ControlList:
        """List the controls of a camera: exposure, focus, gain and what else its driver offers."""
        return await self._result(ControlList, "get_camera_controls", device=device)

    async def set_control(
        self, device: str, control: str, value: bool | int | str | None
    ) -> ChangedControl:
        """Set a control, now and whenever the camera starts; None: to its default."""
        answer = await self.call("set_camera_control", device=device, control=control, value=value)
        return read_result(ChangedControl, answer)

    async def devices(self) -> DeviceOverview:
        """List the video devices of the service's machine, and the cameras that have none."""
        return await self._result(DeviceOverview, "get_devices")

    async def adopt_camera(self, device: str, node: str | None = None) -> AdoptedCamera:
        """Bind a camera to the device at a node from now on; None: to the only possible one."""
        return await self._result(AdoptedCamera, "adopt_camera", device=device, node=node)

    async def forget_camera(self, device: str) -> ForgottenCamera:
        """Forget a camera that was found automatically and is no longer plugged in."""
        return await self._result(ForgottenCamera, "forget_camera", device=device)

    async def stream(self, device: str) -> StreamAddress:
        """Say where viewers can have a camera's stream."""
        return await self._result(StreamAddress, "get_stream_url", device=device)

    async def streams(self) -> tuple[StreamInfo, ...]:
        """List the streams of the media server."""
        return await self._result(tuple[StreamInfo, ...], "get_streams")

    # --- Snapshots.

    async def take_snapshot(
        self,
        device: str,
        *,
        filename: str | None = None,
        format: str | None = None,
        **choice: Unpack[PictureChoice],
    ) -> TakenSnapshot:
        """Store one frame of a camera; returns when it is durable."""
        return await self._result(
            TakenSnapshot,
            "take_snapshot",
            device=device,
            filename=filename,
            format=format,
            **choice,
        )

    async def still(
        self,
        device: str,
        *,
        format: str = "jpg",
        **choice: Unpack[PictureChoice],
    ) -> StillPicture:
        """Fetch one frame of a camera as a picture, which the service does not store.

        It comes over HTTP, on a connection of its own. Raises as a call does, and
        CannotConnectError.
        """
        with trio.move_on_after(float("inf") if self.timeout is None else self.timeout):
            return await fetch_still(self.address, device, format, choice)
        raise CallTimeoutError(f"no picture of {device} in {self.timeout:g} s")

    async def snapshots(self, **listing: Unpack[TimedListing]) -> SnapshotList:
        """List stored snapshots, newest first."""
        return await self._result(SnapshotList, "list_snapshots", **_page(listing))

    async def snapshot(self, filename: str) -> SnapshotInfo:
        """Describe one stored snapshot."""
        return await self._result(SnapshotInfo, "get_snapshot_info", filename=filename)

    async def delete_snapshot(self, filename: str) -> DeletedSnapshot:
        """Remove a stored snapshot."""
        return await self._result(DeletedSnapshot, "delete_snapshot", filename=filename)

    # --- Recordings.

    async def start_recording(
        self,
        device: str,
        *,
        duration: int | None = None,
        format: str | None = None,
        key: str | None = None,
        preroll: float | None = None,
    ) -> StartedRecording:
        """Start a recording; returns when its first frames are on disk. Times are seconds."""
        return await self._result(
            StartedRecording,
            "start_recording",
            device=device,
            duration=duration,
            format=format,
            key=key,
            preroll=preroll,
        )

    async def stop_recording(self, device: str) -> StoppedRecording:
        """Stop a recording; returns its receipt when all files are durable."""
        return await self._result(StoppedRecording, "stop_recording", device=device)

    async def recording_status(self, device: str) -> RecordingStatus | None:
        """Describe the running recording of a camera; None when there is none."""
        answer = await self._ask("get_recording_status", device=device)
        return None if answer is None else read_result(RecordingStatus, answer)

    async def recordings(self, **listing: Unpack[Listing]) -> RecordingList:
        """List recordings, newest first."""
        return await self._result(RecordingList, "list_recordings", **_page(listing))

    async def recording(self, filename: str) -> RecordingDetails:
        """Describe one recording."""
        return await self._result(RecordingDetails, "get_recording_info", filename=filename)

    async def delete_recording(self, filename: str) -> DeletedFile:
        """Remove a recording."""
        return await self._result(DeletedFile, "delete_recording", filename=filename)

    async def pin_recording(
        self, filename: str, *, reason: str | None = None, until: datetime | None = None
    ) -> PinnedRecording:
        """Protect a recording from removal."""
        return await self._result(
            PinnedRecording, "pin_recording", filename=filename, reason=reason, until=until
        )

    async def unpin_recording(self, filename: str) -> PinnedRecording:
        """Remove the pin of a recording."""
        return await self._result(PinnedRecording, "unpin_recording", filename=filename)

    async def sessions(self, **listing: Unpack[Listing]) -> SessionList:
        """List sessions with their coverage, newest first."""
        return await self._result(SessionList, "get_sessions", **_page(listing))

    async def schedules(self) -> ScheduleList:
        """List the schedules of the configuration."""
        return await self._result(ScheduleList, "get_schedules")

    async def gaps(self, **listing: Unpack[Listing]) -> GapList:
        """List what is missing, newest first."""
        return await self._result(GapList, "get_gaps", **_page(listing))

    # --- Exports.

    async def get_export(self, device: str, start: datetime, end: datetime) -> ExportInfo:
        """Describe the download of what a camera recorded from `start` to before `end`."""
        return await self._result(
            ExportInfo, "get_export", device=device, **{"from": start, "to": end}
        )

    async def download_export(
        self, part: ExportPartInfo, path: Path, *, progress: Progress = lambda _: None
    ) -> DownloadedExport:
        """Download a part of an export into a new file, which is durable then.

        What an earlier call has left of it is continued. `progress` is called with the number of
        bytes that are there. `timeout` does not bound it. Raises FileExistsError when `path`
        exists, OSError when it cannot be written, ConnectionLostError when the connection ends
        before the last byte (call again to go on), ExportChangedError when the export is another
        one now, CannotConnectError, and a `RemoteError`.
        """
        return await download_part(self.address, part, path, progress)

    async def timeline(
        self, camera: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> TimelineInfo:
        """Say what was recorded of a camera in a range, and what is missing; a day by default."""
        return await self._result(
            TimelineInfo, "get_timeline", camera=camera, **{"from": start, "to": end}
        )

    # --- Retention.

    async def retention_policy(self) -> RetentionState:
        """Describe the retention policy and its last run."""
        return await self._result(RetentionState, "get_retention_policy")

    async def set_retention_policy(
        self,
        policy_type: str,
        *,
        enabled: bool,
        max_age_days: float | None = None,
        max_size_gb: float | None = None,
    ) -> StoredPolicy:
        """Set the policy (`age`, `size` or `manual`) by which recordings are removed."""
        return await self._result(
            StoredPolicy,
            "set_retention_policy",
            policy_type=policy_type,
            enabled=enabled,
            max_age_days=max_age_days,
            max_size_gb=max_size_gb,
        )

    async def preview_cleanup(self) -> CleanupReport:
        """List what the retention policy would remove now; changes nothing."""
        return await self._result(CleanupReport, "preview_cleanup")

    async def clean_up(self, *, force: bool | None = None) -> CleanupReport:
        """Run the retention policy once."""
        return await self._result(CleanupReport, "cleanup_old_files", force=force)

    # --- The service.

    async def sign_in_code(self, *, role: str | None = None) -> SignInCode:
        """Make a code that signs a browser in to the page: once, within a minute."""
        return await self._result(SignInCode, "create_sign_in_code", role=role)

    async def keys(self) -> KeyList:
        """List the API keys: names, roles and times, not the keys themselves."""
        return await self._result(KeyList, "list_keys")

    async def create_key(
        self, name: str, *, role: str | None = None, lifetime: float | None = None
    ) -> CreatedKey:
        """Make an API key, valid for `lifetime` seconds; the answer alone has the key itself."""
        return await self._result(CreatedKey, "create_key", name=name, role=role, lifetime=lifetime)

    async def revoke_key(self, name: str) -> RevokedKey:
        """Revoke an API key, and end the connections that use it."""
        return await self._result(RevokedKey, "revoke_key", name=name)

    async def past_events(
        self,
        *,
        since: int | None = None,
        topics: Iterable[str] | None = None,
        camera: str | None = None,
        limit: int | None = None,
    ) -> EventPage:
        """List kept events."""
        named = None if topics is None else list(topics)
        return await self._result(
            EventPage, "get_events", since=since, topics=named, camera=camera, limit=limit
        )

    async def storage(self) -> StorageInfo:
        """Describe the recordings volume."""
        return await self._result(StorageInfo, "get_storage_info")

    async def status(self) -> ServiceStatus:
        """Describe the state of the service."""
        return await self._result(ServiceStatus, "get_system_status")

    async def metrics(self) -> MetricsInfo:
        """Report the load of the service, and what each camera and the volume have done."""
        return await self._result(MetricsInfo, "get_metrics")

    async def server_info(self) -> ServerInfo:
        """Describe the software."""
        return await self._result(ServerInfo, "get_server_info")

    async def set_log_level(self, level: str | None = None) -> LogLevels:
        """Log more or less until the service's next start; None: only tell the level."""
        return await self._result(LogLevels, "set_log_level", level=level)

    async def reload_config(self) -> ReloadedConfig:
        """Let the service read its configuration again, and apply what can be applied."""
        return await self._result(ReloadedConfig, "reload_config")

    async def discover(self) -> dict[str, Any]:
        """Return the OpenRPC document of the service's methods."""
        return await self._result(dict[str, Any], "rpc.discover")

    # --- The connection.

    async def _ask(self, method: str, /, **params: object) -> Any:
        """Call a method without the parameters that are None."""
        return await self.call(method, **{n: v for n, v in params.items() if v is not None})

    async def _result(self, kind: type[T], method: str, /, **params: object) -> T:
        """Call a method without the parameters that are None; make a value of its result."""
        return read_result(kind, await self._ask(method, **params))

    async def _connection(self) -> ServiceConnection:
        state = await self._state.wait_until(self._is_usable)
        if isinstance(state, RemoteError):
            raise state
        assert state is not None
        return state

    async def _leave(self) -> None:
        """Say goodbye, so that the service does not take it for a lost connection; at most 2 s."""
        state = self._state.value
        if isinstance(state, ServiceConnection) and not state.lost:
            await state.leave()

    def _is_usable(self, state: ServiceConnection | RemoteError | None) -> bool:
        if isinstance(state, ServiceConnection):
            return not (self.reconnect and state.lost)
        return state is not None

    def _present(self) -> ServiceConnection:
        state = self._state.value
        if not isinstance(state, ServiceConnection):
            raise ConnectionLostError("there is no connection at present")
        return state


@attrs.frozen
class _ConnectionKeeper:
    client: Client

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Keep a connection; raises what is wrong with the first one."""
        failures = 0
        connected_before = False
        while True:
            try:
                async with open_connection(self.client.address) as connection:
                    self.client._state.publish(connection)
                    if not connected_before:
                        connected_before = True
                        task_status.started()
                    began = trio.current_time()
                    await connection.wait_lost()
                    if trio.current_time() - began >= STABLE_SECONDS:
                        failures = 0
            except (CannotConnectError, ConnectionLostError, RemoteError) as error:
                if not connected_before:
                    raise
                if isinstance(error, RemoteError) and not error.retryable:
                    self.client._state.publish(error)
                    return
            if not self.client.reconnect:
                return
            failures += 1
            await trio.sleep(RECONNECT_DELAY.after(failures, random.random()))


def _page(listing: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a listing as the service names them."""
    names = {"start": "from", "end": "to"}
    return {names.get(name, name): value for name, value in listing.items()}


@asynccontextmanager
async def connect(
    address: str,
    token: str | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    reconnect: bool = True,
    timeout: float | None = CALL_SECONDS,
) -> AsyncIterator[Client]:
    """Connect to `ws://host:port/ws`, `wss://…` or `unix:/path`, and authenticate with a token.

    `token` is an API key or a JWT; on a Unix socket it may be left out. Raises CannotConnectError
    or NotAuthenticatedError when the first connection fails; later ones are made again, unless
    `reconnect` is false. `timeout` bounds each call, in seconds.
    """
    client = Client(ServiceAddress(address, token, tls), reconnect, timeout)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_ConnectionKeeper(client).serve)
            yield client
            await client._leave()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = sole_exception(group)
        raise error from error.__cause__
