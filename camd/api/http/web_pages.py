"""HTTP: the page at `/` and its files below `/web/`, with security headers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable

import attrs
import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from camd.api.http.app import Authenticate
from camd.api.http.files import is_unchanged

INDEX = "index.html"
WEB_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time; answered with 304
}
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@attrs.frozen
class WebFile:
    """One file of the page."""

    content: bytes = attrs.field(repr=False)
    media_type: str
    etag: str


@attrs.frozen
class WebPages:
    """The page at `/`, and its files."""

    _files: Mapping[str, WebFile]

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes; the files hold no data, and need no key."""
        return [Route("/", self.index), Route("/web/{name:path}", self.file)]

    async def index(self, request: Request) -> Response:
        """Send the page."""
        return self._respond(request, INDEX)

    async def file(self, request: Request) -> Response:
        """Send a file of the page; 404 for every other name."""
        return self._respond(request, request.path_params["name"])

    def _respond(self, request: Request, name: str) -> Response:
        file = self._files.get(name)
        if file is None:
            return PlainTextResponse("Not Found", HTTPStatus.NOT_FOUND, WEB_PAGE_HEADERS)
        headers = WEB_PAGE_HEADERS | {"ETag": file.etag}
        if is_unchanged(request.headers, {"etag": file.etag}):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(file.content, headers=headers, media_type=file.media_type)


async def load_web_pages() -> WebPages:
    """Read the files of the page."""
    return WebPages(await trio.to_thread.run_sync(_read_files))


def _read_files() -> dict[str, WebFile]:
    """Read the files of the package `camd.web` whose suffix has a media type. Blocks."""
    return dict(_files_below(resources.files("camd.web"), ""))


def _files_below(folder: Traversable, path: str) -> Iterator[tuple[str, WebFile]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files_below(entry, f"{path}{entry.name}/")
            continue
        media_type = _MEDIA_TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if media_type is not None:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            yield f"{path}{entry.name}", WebFile(content, media_type, etag)
