"""The client: calls with typed results over a connection that is made again when it is lost."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any

import attrs
import trio

from camd.client.event_stream import EventStream, open_event_stream
from camd.client.reconnect import ReconnectPauses
from camd.client.remote_errors import RemoteError
from camd.client.results import (
    CameraCapabilities,
    CameraDetails,
    CameraInfo,
    DeletedFile,
    EventPage,
    GapList,
    RecordingDetails,
    RecordingList,
    RecordingStatus,
    ServerInfo,
    ServiceStatus,
    SessionList,
    StartedRecording,
    StoppedRecording,
    StorageInfo,
    TimelineInfo,
    read_result,
)
from camd.client.service_connection import (
    CannotConnectError,
    ConnectionLostError,
    ServiceAddress,
    ServiceConnection,
    open_connection,
)
from camd.errors import sole_exception
from camd.runtime.broadcast import Published

CALL_SECONDS = 60.0


class CallTimeoutError(Exception):
    """No answer in time; the call may be carried out nevertheless."""


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
    _state: Published[ServiceConnection | RemoteError | None] = attrs.field(
        factory=lambda: Published(None), init=False
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
        return read_result(tuple[CameraInfo, ...], (await self._ask("get_camera_list"))["cameras"])

    async def camera(self, device: str) -> CameraDetails:
        """Describe one camera."""
        return read_result(CameraDetails, await self._ask("get_camera_status", device=device))

    async def capabilities(self, device: str) -> CameraCapabilities:
        """List what a camera offers."""
        return read_result(
            CameraCapabilities, await self._ask("get_camera_capabilities", device=device)
        )

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
        answer = await self._ask(
            "start_recording",
            device=device,
            duration=duration,
            format=format,
            key=key,
            preroll=preroll,
        )
        return read_result(StartedRecording, answer)

    async def stop_recording(self, device: str) -> StoppedRecording:
        """Stop a recording; returns its receipt when all files are durable."""
        return read_result(StoppedRecording, await self._ask("stop_recording", device=device))

    async def recording_status(self, device: str) -> RecordingStatus | None:
        """Describe the running recording of a camera; None when there is none."""
        answer = await self._ask("get_recording_status", device=device)
        return None if answer is None else read_result(RecordingStatus, answer)

    async def recordings(
        self,
        *,
        camera: str | None = None,
        session_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> RecordingList:
        """List recordings, newest first."""
        page = _page(camera, session_id, start, end, limit, offset)
        return read_result(RecordingList, await self._ask("list_recordings", **page))

    async def recording(self, filename: str) -> RecordingDetails:
        """Describe one recording."""
        answer = await self._ask("get_recording_info", filename=filename)
        return read_result(RecordingDetails, answer)

    async def delete_recording(self, filename: str) -> DeletedFile:
        """Remove a recording."""
        return read_result(DeletedFile, await self._ask("delete_recording", filename=filename))

    async def pin_recording(
        self, filename: str, *, reason: str | None = None, until: datetime | None = None
    ) -> RecordingDetails:
        """Protect a recording from removal."""
        answer = await self._ask("pin_recording", filename=filename, reason=reason, until=until)
        return read_result(RecordingDetails, answer)

    async def unpin_recording(self, filename: str) -> RecordingDetails:
        """Remove the pin of a recording."""
        return read_result(RecordingDetails, await self._ask("unpin_recording", filename=filename))

    async def sessions(
        self,
        *,
        camera: str | None = None,
        session_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> SessionList:
        """List sessions with their coverage, newest first."""
        page = _page(camera, session_id, start, end, limit, offset)
        return read_result(SessionList, await self._ask("get_sessions", **page))

    async def gaps(
        self,
        *,
        camera: str | None = None,
        session_id: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> GapList:
        """List what is missing, newest first."""
        page = _page(camera, session_id, start, end, limit, offset)
        return read_result(GapList, await self._ask("get_gaps", **page))

    async def timeline(
        self, camera: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> TimelineInfo:
        """Say what was recorded of a camera in a range, and what is missing; a day by default."""
        answer = await self._ask("get_timeline", camera=camera, **{"from": start, "to": end})
        return read_result(TimelineInfo, answer)

    # --- The service.

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
        answer = await self._ask(
            "get_events", since=since, topics=named, camera=camera, limit=limit
        )
        return read_result(EventPage, answer)

    async def storage(self) -> StorageInfo:
        """Describe the recordings volume."""
        return read_result(StorageInfo, await self._ask("get_storage_info"))

    async def status(self) -> ServiceStatus:
        """Describe the state of the service."""
        return read_result(ServiceStatus, await self._ask("get_status"))

    async def server_info(self) -> ServerInfo:
        """Describe the software."""
        return read_result(ServerInfo, await self._ask("get_server_info"))

    # --- The connection.

    async def _ask(self, method: str, /, **params: object) -> Any:
        """Call a method without the parameters that are None."""
        return await self.call(method, **{n: v for n, v in params.items() if v is not None})

    async def _connection(self) -> ServiceConnection:
        state = await self._state.wait_until(self._is_usable)
        if isinstance(state, RemoteError):
            raise state
        assert state is not None
        return state

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
        pauses = ReconnectPauses()
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
                    pauses.connected_for(trio.current_time() - began)
            except (CannotConnectError, ConnectionLostError, RemoteError) as error:
                if not connected_before:
                    raise
                if isinstance(error, RemoteError) and not error.retryable:
                    self.client._state.publish(error)
                    return
            if not self.client.reconnect:
                return
            await trio.sleep(pauses.next())


def _page(
    camera: str | None,
    session_id: str | None,
    start: datetime | None,
    end: datetime | None,
    limit: int | None,
    offset: int | None,
) -> dict[str, object]:
    return {
        "camera": camera,
        "session_id": session_id,
        "from": start,
        "to": end,
        "limit": limit,
        "offset": offset,
    }


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
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = sole_exception(group)
        raise error from error.__cause__
