"""A small client of MediaMTX's control API v3: one request, one connection, everything bounded."""

from __future__ import annotations

import ssl
from typing import TypeVar
from urllib.parse import urlsplit

import attrs
import h11
import msgspec
import trio

from camd.config.schema import MediaMtxConfig
from camd.publish.connecting import StreamServerError, connect_to_server
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.api_answers import AnswerError, read_answer
from camd.publish.rules.rtsp_requests import basic_authorization
from camd.publish.rules.stream_problems import with_detail

REQUEST_SECONDS = 6.0  # to the end of the answer; MediaMTX holds a refusal back for some seconds
MOST_BODY_BYTES = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024

T = TypeVar("T", bound=msgspec.Struct)


@attrs.frozen
class HttpAnswer:
    """An answer; `challenges` are the values of WWW-Authenticate, in small letters."""

    status: int
    challenges: bytes
    body: bytes = attrs.field(repr=False)


@attrs.define(eq=False)
class MediaMtxApi:
    """The control API of one server. Every method raises StreamServerError."""

    _config: MediaMtxConfig
    _tls: ssl.SSLContext  # for an https address

    async def get(self, target: str, kind: type[T]) -> T | None:
        """Ask for something; None: there is no such thing (404)."""
        answer = await self._request("GET", target)
        if answer.status == 404:
            return None
        _validate_status(answer)
        try:
            return read_answer(answer.body, kind)
        except AnswerError as error:
            raise StreamServerError(with_detail(problems.NO_API, str(error))) from None

    async def post(self, target: str, content: object) -> None:
        """Send something as JSON."""
        _validate_status(await self._request("POST", target, msgspec.json.encode(content)))

    async def delete(self, target: str) -> None:
        """Delete something; what is not there any more (404) is deleted."""
        answer = await self._request("DELETE", target)
        if answer.status != 404:
            _validate_status(answer)

    async def _request(self, method: str, target: str, body: bytes = b"") -> HttpAnswer:
        try:
            with trio.fail_after(REQUEST_SECONDS):
                stream = await connect_to_server(self._config.api, self._tls)
                try:
                    return await _converse(stream, self._head(method, target, body), body)
                finally:
                    await trio.aclose_forcefully(stream)
        except trio.TooSlowError:
            raise StreamServerError(problems.SILENT) from None
        except h11.RemoteProtocolError:
            raise StreamServerError(problems.NO_API) from None
        except (OSError, trio.BrokenResourceError):
            raise StreamServerError(problems.UNREACHABLE) from None

    def _head(self, method: str, target: str, body: bytes) -> h11.Request:
        headers = [
            ("Host", urlsplit(self._config.api).netloc),
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", "application/json"),
        ]
        if self._config.username:
            value = basic_authorization(self._config.username, self._config.password)
            headers.append(("Authorization", value.decode()))
        base = urlsplit(self._config.api).path.rstrip("/")
        return h11.Request(method=method, target=base + target, headers=headers)


async def _converse(stream: trio.abc.Stream, head: h11.Request, body: bytes) -> HttpAnswer:
    """Send a request and read the whole answer; raise h11.RemoteProtocolError when it is none."""
    connection = h11.Connection(h11.CLIENT)
    request = connection.send(head) or b""
    request += connection.send(h11.Data(data=body)) or b""
    await stream.send_all(request + (connection.send(h11.EndOfMessage()) or b""))
    status, challenges, received = 0, b"", bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
        elif isinstance(event, h11.Response):
            status = event.status_code
            challenges = b", ".join(v for k, v in event.headers if k == b"www-authenticate")
        elif isinstance(event, h11.Data):
            received += event.data
            if len(received) > MOST_BODY_BYTES:
                raise StreamServerError(with_detail(problems.NO_API, "the answer is too long"))
        elif isinstance(event, h11.EndOfMessage):
            return HttpAnswer(status, challenges.lower(), bytes(received))
        elif isinstance(event, h11.ConnectionClosed):
            raise StreamServerError(problems.NO_API)


def _validate_status(answer: HttpAnswer) -> None:
    """Raise StreamServerError unless the status says success."""
    if answer.status in (401, 403):
        by_digest = b"digest" in answer.challenges and b"basic" not in answer.challenges
        raise StreamServerError(problems.API_BY_DIGEST if by_digest else problems.UNAUTHORISED)
    if answer.status >= 500:
        raise StreamServerError(with_detail(problems.SERVER_FAILS, f"status {answer.status}"))
    if not 200 <= answer.status < 300:
        raise StreamServerError(with_detail(problems.NO_API, f"status {answer.status}"))
