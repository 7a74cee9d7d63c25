"""The page over HTTP: types, headers, versions, and nothing from outside of its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_daemon import Daemon

import camd

WEB = Path(camd.__file__).parent / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


@pytest.mark.parametrize(
    ("path", "file", "kind"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/web/app.js", "app.js", "text/javascript; charset=utf-8"),
        ("/web/timeline/timeline.js", "timeline/timeline.js", "text/javascript; charset=utf-8"),
        ("/web/style.css", "style.css", "text/css; charset=utf-8"),
        ("/web/icon.svg", "icon.svg", "image/svg+xml"),
        ("/web/vendor/LICENSE-htm.txt", "vendor/LICENSE-htm.txt", "text/plain; charset=utf-8"),
    ],
)
async def test_files_need_no_key_and_have_their_headers(
    shared_daemon: Daemon, path: str, file: str, kind: str
) -> None:
    """The page holds no data; what a browser may do with it is the same for each file."""
    answer = await shared_daemon.get(path, anonymous=True)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.body == (WEB / file).read_bytes()
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_file_that_the_browser_has_is_not_sent_again(shared_daemon: Daemon) -> None:
    """Asked for with its ETag: 304 and no body; with another one, the file."""
    first = await shared_daemon.get("/web/app.js", anonymous=True)
    tag = first.headers["etag"]
    again = await shared_daemon.get("/web/app.js", headers={"If-None-Match": tag}, anonymous=True)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert again.headers["content-security-policy"] == POLICY
    other = await shared_daemon.get("/web/app.js", headers={"If-None-Match": '"x"'}, anonymous=True)
    assert other.status == 200
    head = await shared_daemon.get("/web/app.js", "HEAD", anonymous=True)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(first.body))


@pytest.mark.parametrize(
    "path",
    [
        "/web/",
        "/web/nothing.js",
        "/web/__init__.py",
        "/web/../daemon.py",
        "/web/..%2fdaemon.py",
        "/web/views/../../daemon.py",
        "/web/%2e%2e/daemon.py",
        "/web//etc/passwd",
        "/web/app.js%00.css",
        "/web/views",
    ],
)
async def test_nothing_else_is_served(shared_daemon: Daemon, path: str) -> None:
    """No folder, no program, nothing outside."""
    assert (await shared_daemon.get(path, anonymous=True)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_the_page_is_only_read(shared_daemon: Daemon, method: str) -> None:
    """Other methods are refused."""
    assert (await shared_daemon.get("/", method, anonymous=True)).status == 405
