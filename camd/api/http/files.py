"""Files as HTTP responses: leased while they are sent, and no longer than what is durable."""

from __future__ import annotations

import importlib
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from http import HTTPStatus

import anyio
import trio
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from camd.errors import FILE_NOT_FOUND, INVALID_PARAMS, Refusal
from camd.model import ReadableRecording

_MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".mkv": "video/x-matroska",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}
_MEGABYTE = 1 << 20
PRIVATE = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}


async def file_response(
    find: Callable[[str], Awaitable[ReadableRecording]], name: str, headers: Mapping[str, str]
) -> Response:
    """Answer with the file that `find` returns for a name; 404 or 503 when it raises Refusal."""
    try:
        file = await find(name)
    except Refusal as refusal:
        missing = refusal.kind in (FILE_NOT_FOUND, INVALID_PARAMS)
        code = HTTPStatus.NOT_FOUND if missing else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"error": refusal.message, "code": refusal.kind.code}, code)
    response = DurableFileResponse(file)
    if is_unchanged(headers, response.headers):
        kept = {k: response.headers[k] for k in ("etag", "last-modified", "cache-control")}
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=kept)
    return response


@cache
def _load_file_reader() -> None:
    """Import what Starlette needs to read files; it would do so on the event loop. Blocks."""
    importlib.import_module("anyio._backends._trio")
    _ = anyio.open_file  # newer versions import at this access


class LeasedResponse(Response):
    """Holds the lease of a file while the file is looked up and sent."""

    def __init__(
        self, lease: AbstractContextManager[None], respond: Callable[[], Awaitable[Response]]
    ) -> None:
        super().__init__()
        self._lease, self._respond = lease, respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond under the lease."""
        with self._lease:
            response = await self._respond()
            await response(scope, receive, send)


class DurableFileResponse(FileResponse):
    """The first `size_bytes` of a file that may grow meanwhile."""

    chunk_size = _MEGABYTE

    def __init__(self, file: ReadableRecording) -> None:
        times = 3 * (file.modified.timestamp(),)
        super().__init__(
            file.path,
            media_type=_MEDIA_TYPES.get(file.path.suffix, "application/octet-stream"),
            filename=file.filename,
            headers=PRIVATE,
            stat_result=os.stat_result((0o100640, 0, 0, 1, 0, 0, file.size_bytes, *times)),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send no more than the announced length."""
        await trio.to_thread.run_sync(_load_file_reader)
        left = 0

        async def send_announced(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                left = int(dict(message["headers"]).get(b"content-length", b"0"))
                await send(message)
            elif message.get("body") and left > 0:
                body = message["body"][:left]
                left -= len(body)
                await send({**message, "body": body, "more_body": left > 0})
            elif not message.get("body"):
                await send(message)

        await super().__call__(scope, receive, send_announced)


def is_unchanged(request: Mapping[str, str], response: Mapping[str, str]) -> bool:
    """Whether the client has this version of the file (RFC 9110, 13.1.2 and 13.1.3)."""
    tags = request.get("if-none-match")
    if tags is not None:
        known = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return "*" in known or response["etag"] in known
    since = request.get("if-modified-since")
    return since is not None and since == response.get("last-modified") and "range" not in request
