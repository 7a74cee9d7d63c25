"""`/export/{camera}.mp4`: what was recorded in a range, as one file, whole or in part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from camd.api.footage.export_methods import ExportRequest, export_range, url_of
from camd.api.http.addresses import camera_and_format, times_in, whole_number
from camd.api.http.app import Authenticate
from camd.api.http.files import is_unchanged
from camd.api.http.refused import refused_response
from camd.camera.cameras import Cameras
from camd.errors import (
    UNSUPPORTED,
    Refusal,
)
from camd.export.exports import Export, ExportPart, Exports
from camd.export.rules.byte_ranges import ByteSpan, UnsatisfiableRangeError, requested_span
from camd.export.rules.export_plan import ExportRange
from camd.export.source_files import SourceVanishedError
from camd.rpc.params import ParamsReader
from camd.storage.rules.naming import stem

_MOST_PARTS_DIGITS = 5


@attrs.define(eq=False)
class ExportRoutes:
    """HTTP: downloads of ranges, with HEAD, Range and If-Range."""

    _cameras: Cameras
    _exports: Exports
    _read: Callable[[Mapping[str, object]], Any] = attrs.field(
        factory=lambda: ParamsReader(ExportRequest).read, init=False
    )

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the route."""

        async def export(request: Request) -> Response:
            return await authenticate(request) or await self.export(request)

        return (Route("/export/{name:path}", export),)

    async def export(self, request: Request) -> Response:
        """Send a part of an export, the first one unless `part` says which."""
        try:
            params, part = self._params(request), _part_number(request.query_params)
            wanted = await export_range(self._cameras, self._exports, params)
        except Refusal as refusal:
            return refused_response(refusal)
        return _ExportResponse(self._exports, wanted, part, request.headers)

    def _params(self, request: Request) -> ExportRequest:
        """Read camera and range from the address. Raises Refusal."""
        device, suffix = camera_and_format(request)
        if suffix != "mp4":
            raise Refusal(
                UNSUPPORTED,
                f"Format not supported: {suffix[:40]}",
                suggestion="Exports are MP4 files.",
                supported=["mp4"],
            )
        given = {"device": device, **times_in(request.query_params, ("from", "to"))}
        params: ExportRequest = self._read(given)
        return params


def _part_number(query: Mapping[str, str]) -> int:
    return whole_number("part", query.get("part", "1"), _MOST_PARTS_DIGITS)


class _ExportResponse(Response):
    """Prepares an export and sends a part of it; its files are leased until then."""

    def __init__(
        self, exports: Exports, wanted: ExportRange, part: int, given: Mapping[str, str]
    ) -> None:
        super().__init__()
        self._exports, self._wanted, self._part, self._given = exports, wanted, part, given

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the connection ends within the body when a file is gone."""
        try:
            async with self._exports.opened(self._wanted, self._part) as export:
                await self._answer(export, scope, receive, send)
        except Refusal as refusal:
            await refused_response(refusal)(scope, receive, send)

    async def _answer(self, export: Export, scope: Scope, receive: Receive, send: Send) -> None:
        part = export.parts[self._part - 1]
        headers = _headers(export, part)
        if is_unchanged(self._given, headers):
            await Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)(
                scope, receive, send
            )
            return
        try:
            span = requested_span(self._given, part.etag, part.size_bytes)
        except UnsatisfiableRangeError:
            headers["content-range"] = f"bytes */{part.size_bytes}"
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            await Response(status_code=status, headers=headers)(scope, receive, send)
            return
        await self._send_part(part, span, headers, scope, send)

    async def _send_part(
        self,
        part: ExportPart,
        span: ByteSpan | None,
        headers: dict[str, str],
        scope: Scope,
        send: Send,
    ) -> None:
        whole = ByteSpan(0, part.size_bytes)
        sent = whole if span is None else span
        headers["content-length"] = str(sent.size)
        if span is not None:
            headers["content-range"] = f"bytes {span.begin}-{span.end - 1}/{part.size_bytes}"
        status = HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})

        async def send_body(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        if scope["method"] != "HEAD":
            try:
                await self._exports.send(part, sent, send_body)
            except SourceVanishedError:
                return  # the announced length is not reached: the connection is closed
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _headers(export: Export, part: ExportPart) -> dict[str, str]:
    name = stem(export.wanted.camera_id, part.start)
    several = len(export.parts) > 1
    name += f"_part{part.number}of{len(export.parts)}" if several else ""
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    headers = {
        "content-type": "video/mp4",
        "content-disposition": f'attachment; filename="{safe}.mp4"',
        "etag": part.etag,
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
        "x-export-parts": str(len(export.parts)),
    }
    if part.number < len(export.parts):
        headers["link"] = f'<{url_of(export, export.parts[part.number])}>; rel="next"'
    return headers
