"""HTTP requests to the service: pictures and files."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import h11
import msgspec
import trio

from camd.client.remote_errors import RemoteError, remote_error
from camd.client.results import UnreadableAnswerError
from camd.client.service_connection import (
    MAX_MESSAGE_BYTES,
    ConnectionLostError,
    ServiceAddress,
    open_service_stream,
)
from camd.errors import NOT_AUTHENTICATED

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@attrs.frozen
class _HttpReply:
    """The answer to an HTTP request; the names of headers are in small letters."""

    headers: dict[str, str]
    body: bytes = attrs.field(repr=False)


async def _fetch(
    address: str, path: str, token: str | None = None, *, tls: ssl.SSLContext | None = None
) -> _HttpReply:
    """GET a path of the service at `address`, as `connect` takes it.

    Raises CannotConnectError, ConnectionLostError when the connection ends within the answer, and
    RemoteError when the service refuses.
    """
    stream, host, _ = await open_service_stream(ServiceAddress(address, token, tls))
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", host), ("Connection", "close")]
    if token is not None:
        headers.append(("Authorization", f"Bearer {token}"))
    request = h11.Request(method="GET", target=path, headers=headers)
    try:
        await stream.send_all(connection.send(request) + connection.send(h11.EndOfMessage()))
        answer, body = await _read_reply(stream, connection)
    except (h11.ProtocolError, trio.BrokenResourceError) as error:
        raise ConnectionLostError(str(error)) from error
    finally:
        await trio.aclose_forcefully(stream)
    if answer.status_code != HTTPStatus.OK:
        raise refused_reply(answer.status_code, body)
    return _HttpReply({name.decode(): value.decode() for name, value in answer.headers}, body)


async def _read_reply(
    stream: trio.abc.ReceiveStream, connection: h11.Connection
) -> tuple[h11.Response, bytes]:
    answer, body = h11.Response(status_code=500, headers=[]), bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            case h11.Response() as answer:
                pass
            case h11.Data(data):
                body += data
                if len(body) > MAX_MESSAGE_BYTES:
                    raise ConnectionLostError("the answer is too large")
            case h11.EndOfMessage() | h11.ConnectionClosed():
                return answer, bytes(body)


def refused_reply(status: int, body: bytes) -> RemoteError:
    """Read what a refused request says; in the words of the call that would be refused."""
    try:
        said = _decode(body)
    except (msgspec.DecodeError, UnicodeError):
        said = {}
    message = str(said.get("error", f"HTTP status {status}"))
    if status == HTTPStatus.UNAUTHORIZED:
        reason = {"reason": said.get("reason")}
        return remote_error(NOT_AUTHENTICATED.code, NOT_AUTHENTICATED.message, reason)
    return remote_error(int(said.get("code", -status)), message, said.get("data") or {})


# --- Pictures.


@attrs.frozen
class StillPicture:
    """One frame of a camera as a JPEG or PNG."""

    data: bytes = attrs.field(repr=False)
    time: datetime  # when the frame was captured
    age_ms: int  # when the service answered
    media_type: str


async def fetch_still(
    address: ServiceAddress, camera: str, format: str, options: Mapping[str, object]
) -> StillPicture:
    """Fetch a picture of a camera; without the options that are None. Raises as `_fetch`."""
    given = {name: _shown(value) for name, value in options.items() if value is not None}
    path = f"/still/{quote(camera, safe='')}.{quote(format, safe='')}?{urlencode(given)}"
    reply = await _fetch(address.url, path, address.token, tls=address.tls)
    try:
        return StillPicture(
            reply.body,
            datetime.fromisoformat(reply.headers["x-frame-time"]),
            int(reply.headers["x-frame-age-ms"]),
            reply.headers["content-type"],
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswerError(f"StillPicture: {error!r}") from error


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
