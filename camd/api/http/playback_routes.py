"""HTTP routes below `/play/`: indexes, playlists, pieces of files as they lie there, and strips."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import attrs
import structlog
import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from camd.api.footage.playback_methods import AskedRange, RangeFinder, TimelineRequest, gap_view
from camd.api.footage.played_ranges import PlayedRange, PlayedRanges
from camd.api.http.addresses import times_in
from camd.api.http.app import Authenticate
from camd.api.http.files import is_unchanged
from camd.api.http.refused import encode_json, refused_response
from camd.api.result_fields import View
from camd.clock import to_unix_micros
from camd.errors import FILE_NOT_FOUND, ParamMistake, Refusal, invalid_params
from camd.model.notation import format_instant
from camd.mp4.boxes import MediaError
from camd.mp4.movies.applied_edits import AppliedEdits, EditApplier
from camd.playback.playback import Playback
from camd.playback.rules.playable_files import FilePieces, PlayableFile
from camd.playback.rules.playlist import APPLIED_EDITS, SOUND_OFF, Playlists
from camd.playback.rules.strip_choice import choose_tiles
from camd.playback.stored_bytes import StoredBytes
from camd.playback.strip import MOST_TILES, WIDTHS
from camd.rpc.params import ParamsReader

log = structlog.get_logger("camd.playback")

USUAL_TILES = 20
USUAL_WIDTH = 160
_BYTES = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_HEADER_BYTES = 8  # of a box
_NEVER_KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_KEPT = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[Request], Any]


@attrs.define(eq=False)
class PlaybackRoutes:
    """HTTP: what players load, and `/play/{camera}/strip.jpg`."""

    _playback: Playback
    _ranges: RangeFinder
    _played: PlayedRanges
    _read: Callable[[Mapping[str, object]], Any] = attrs.field(
        factory=lambda: ParamsReader(TimelineRequest).read, init=False
    )
    _playlists: Playlists = attrs.field(factory=Playlists, init=False)
    _writing: trio.Lock = attrs.field(factory=trio.Lock, init=False)  # one thread at a time

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes."""

        def guarded(handler: Handler) -> Handler:
            async def handle(request: Request) -> Response:
                if (refused := await authenticate(request)) is not None:
                    return refused
                try:
                    response: Response = await handler(request)
                except Refusal as refusal:
                    return refused_response(refusal)
                return response

            return handle

        return (
            Route("/play/{camera}/index.json", guarded(self.index)),
            Route("/play/{camera}/index.m3u8", guarded(self.playlist)),
            Route("/play/{camera}/strip.jpg", guarded(self.strip)),
            Route("/play/init/{file}", guarded(self.init)),
            Route("/play/{file}/{bytes}.m4s", guarded(self.piece)),
        )

    async def index(self, request: Request) -> Response:
        """List the files of a range with their pieces, and what is missing."""
        found = await self._played.read(await self._asked(request))
        body = await trio.to_thread.run_sync(lambda: encode_json(index_view(found)))
        return Response(body, headers=_NEVER_KEPT, media_type="application/json")

    async def playlist(self, request: Request) -> Response:
        """Write the range as an HLS playlist; with `sound=off`, of pieces without their sound."""
        found = await self._played.read(await self._asked(request))
        since, until = (request.query_params.get(name) for name in ("from", "to"))
        asked = found.played.timeline.camera_id, since, until
        wanted = {
            "complete": found.complete,
            "with_sound": request.query_params.get("sound") != "off",
        }
        write = partial(self._playlists.write, asked, found.played, **wanted)
        async with self._writing:
            text = await trio.to_thread.run_sync(write)
        return Response(text, headers=_NEVER_KEPT, media_type="application/vnd.apple.mpegurl")

    async def init(self, request: Request) -> Response:
        """Send what a player needs before the pieces of a file."""
        found = await self._playback.pieces.of_file(request.path_params["file"])
        if found is None:
            raise _not_playable(request.path_params["file"])
        edits = _applied_edits(request, found)
        data = found.init if edits is None else edits.data
        return Response(data, headers=_KEPT, media_type="video/mp4")

    async def piece(self, request: Request) -> Response:
        """Send bytes of a file as they lie there; 416 outside of its fragments.

        With applied edits the fragments are changed while they are sent, from a fragment on.
        """
        name, bounds = request.path_params["file"], _BYTES.fullmatch(request.path_params["bytes"])
        if bounds is None:
            raise Refusal(FILE_NOT_FOUND, filename=name)
        begin, end = map(int, bounds.groups())
        found = await self._playback.pieces.of_file(name)
        if found is None:
            raise _not_playable(name)
        table, edits = found.table, _applied_edits(request, found)
        known = table.media_begin <= begin < end <= table.media_end
        if known and edits is not None and begin not in table.begins:
            known = await self._begins_fragment(name, begin)
        if not known:
            wrong = {"error": "no such bytes", "from": table.media_begin, "to": table.media_end}
            return JSONResponse(wrong, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, _NEVER_KEPT)
        stored = await self._playback.stored_bytes(name, begin, end)
        headers = dict(_KEPT) if stored.sealed else dict(_NEVER_KEPT)
        kind = "muted" if request.url.query == SOUND_OFF else "edits"
        headers["ETag"] = f'"{begin}-{end}"' if edits is None else f'"{begin}-{end}-{kind}"'
        if stored.sealed and is_unchanged(request.headers, {"etag": headers["ETag"]}):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return StoredBytesResponse(stored, headers, None if edits is None else EditApplier(edits))

    async def _begins_fragment(self, name: str, begin: int) -> bool:
        stored = await self._playback.stored_bytes(name, begin, begin + _HEADER_BYTES)
        async with stored.opened() as reader:
            return (await reader.next())[4:] == b"moof"

    async def strip(self, request: Request) -> Response:
        """Send one JPEG of key frames side by side; `X-Tile-Times` says when each was taken."""
        count = _number(request, "count", USUAL_TILES, 1, MOST_TILES)
        width = _number(request, "width", USUAL_WIDTH, *WIDTHS)
        asked = await self._asked(request)
        played = await self._playback.range(asked.camera_id, asked.since, asked.until)
        tiles = choose_tiles(played, count)
        if not tiles:
            raise Refusal(
                FILE_NOT_FOUND,
                "There is no picture in that range",
                suggestion="Ask for a range in which something was recorded: see get_timeline.",
                camera_id=played.timeline.camera_id,
            )
        picture = await self._playback.strips.strip(played.timeline.camera_id, tiles, width)
        times = ",".join(format_instant(tile.time, "milliseconds") for tile in tiles)
        headers = {**_NEVER_KEPT, "X-Tile-Times": times}
        return Response(picture, headers=headers, media_type="image/jpeg")

    async def _asked(self, request: Request) -> AskedRange:
        times = times_in(request.query_params, ("from", "to"))
        given = {"camera": request.path_params["camera"], **times}
        return await self._ranges.find(self._read(given))


class StoredBytesResponse(Response):
    """Sends bytes of a recording, read while they are sent; shorter when the file is truncated.

    How many there will be is not known when edits are applied to them.
    """

    media_type = "video/mp4"

    def __init__(
        self, stored: StoredBytes, headers: Mapping[str, str], edits: EditApplier | None = None
    ) -> None:
        length = {"Content-Length": str(stored.end - stored.begin)} if edits is None else {}
        super().__init__(headers={**headers, **length})
        if edits is not None:
            del self.headers["Content-Length"]
        self._stored = stored
        self._edits = edits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes; ends without the rest when they cannot be read."""
        try:
            async with self._stored.opened() as reader:
                start = {"type": "http.response.start", "status": self.status_code}
                await send({**start, "headers": self.raw_headers})
                if scope["method"] == "HEAD":
                    await send({"type": "http.response.body", "body": b""})
                    return
                while part := await reader.next():
                    more = reader.left > 0
                    if self._edits is not None:
                        part = await trio.to_thread.run_sync(self._edits.take, part)
                    await send({"type": "http.response.body", "body": part, "more_body": more})
        except Refusal as refusal:
            await refused_response(refusal)(scope, receive, send)
        except MediaError as error:
            log.warning("piece_ended_early", filename=self._stored.path.name, error=str(error))


def index_view(found: PlayedRange) -> View:
    """A range as players need it."""
    played, line = found.played, found.played.timeline
    return {
        "camera_id": line.camera_id,
        "from": line.since,
        "to": line.until,
        "complete": found.complete,
        "files": [_file_view(file) for file in played.files],
        "unplayable": list(played.unplayable),
        "gaps": [gap_view(gap) for gap in line.gaps],
        "before": line.before,
        "after": line.after,
    }


def _file_view(file: PlayableFile) -> View:
    pieces, table = file.pieces, file.pieces.table
    at, muted = pieces.edits_offset, pieces.muted_offset
    return {
        "filename": file.filename,
        "session": file.span.session_id,
        "start": file.span.start,
        "start_us": to_unix_micros(file.span.start),
        "duration": round(float(table.seconds(table.end_time)), 6),
        "growing": file.span.growing,
        "mime": pieces.mime,
        "codecs": pieces.codecs,
        "width": pieces.width,
        "height": pieces.height,
        "frame_rate": table.frame_rate,
        "offset": round(float(pieces.offset), 6),
        "edits_offset": None if at is None else round(float(at), 6),
        "muted": None
        if pieces.muted is None or muted is None
        else {"mime": pieces.muted.mime, "offset": round(float(muted), 6)},
        "pieces": [
            {
                "begin": begin,
                "end": end,
                "time": round(time / table.timescale, 6),
                "duration": round(duration / table.timescale, 6),
            }
            for begin, end, time, duration in table.rows(file.numbers, grows=file.span.growing)
        ],
    }


def _number(request: Request, name: str, usual: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return usual
    if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    raise invalid_params(ParamMistake(name, f"must be a whole number from {least} to {most}"))


def _applied_edits(request: Request, pieces: FilePieces) -> AppliedEdits | None:
    """Return the edits to apply: those that the address asks for, where the file has any."""
    if request.url.query == SOUND_OFF:
        return None if pieces.muted is None else pieces.muted.edits
    return pieces.edits if request.url.query == APPLIED_EDITS else None


def _not_playable(filename: str) -> Refusal:
    return Refusal(
        FILE_NOT_FOUND,
        "The file has no pieces to play",
        suggestion=f"Download it: /files/recordings/{filename}",
        filename=filename,
    )
