"""The URL of a stream: is it one, are its credentials percent-encoded, does its host answer."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

import trio

from camd.sources.source import SourceFinding

TRY_TIMEOUT_SECONDS = 5


def split_stream_url(url: str, what: str, example: str) -> SplitResult:
    """Return the parts of a stream's URL; `what` is "an rtsp source".

    Raises ValueError without repeating the URL.
    """
    try:
        parts = urlsplit(url)
        # Reading the port checks it; a name that DNS cannot hold raises UnicodeError (RFC 3490).
        fine = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        fine = False
    spaced = any(character.isspace() or character < " " for character in url)
    if _has_bare_password(url) or (spaced and "@" in url):
        raise ValueError(
            f"user name and password of {what} are percent-encoded: write %23 for #, "
            "%2F for /, %3F for ?, %40 for @, %3A for :, %20 for a space, and %25 for % itself"
        )
    if not fine or spaced:
        raise ValueError(f'{what} is a URL such as "{example}"')
    return parts


def _has_bare_password(url: str) -> bool:
    """Whether an unencoded `/`, `?` or `#` in a user name or password ends the host too early.

    Then the text before the first of `/?#` has no `@`, and the text behind it has one.
    """
    _, _, rest = url.partition("://")
    found = re.search("[/?#]", rest)
    if found is None or "@" in rest[: found.start()]:
        return found is not None and found[0] == "#" and "@" in rest[found.end() :]
    behind = rest[found.end() :]
    return "@" in (re.split("[?#]", behind)[0] if found[0] == "/" and _is_host(rest) else behind)


def _is_host(rest: str) -> bool:
    """Whether the text before the first `/` is a host, with or without a port."""
    return re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?", rest.partition("/")[0]) is not None


async def try_tcp_port(host: str, port: int) -> SourceFinding:
    """Connect to a stream's host; sends nothing."""
    try:
        with trio.fail_after(TRY_TIMEOUT_SECONDS):
            stream = await trio.open_tcp_stream(host, port)
            await stream.aclose()
    except (OSError, trio.TooSlowError) as error:
        reason = "no answer" if isinstance(error, trio.TooSlowError) else str(error)
        return SourceFinding(
            f"{host}:{port} cannot be reached: {reason}",
            "Check the address, the network and the camera's power; it is tried again by itself.",
        )
    return SourceFinding(f"{host}:{port} answers")
