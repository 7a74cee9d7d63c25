"""Connections to MediaMTX, and why there is none."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import trio

from camd.model import Problem
from camd.publish.rules import stream_problems as problems

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_ENCRYPTED = frozenset(("https", "rtsps"))


class StreamServerError(Exception):
    """The server gave no useful answer, or none at all; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


async def connect_to_server(url: str, tls: ssl.SSLContext) -> trio.abc.Stream:
    """Connect to the host of a URL, with TLS where its scheme asks for it.

    Raises StreamServerError. Never gives up by itself: the caller sets a deadline.
    """
    parts = urlsplit(url)
    host, scheme = parts.hostname or "", parts.scheme.lower()
    try:
        stream = await trio.open_tcp_stream(host, parts.port or _PORTS[scheme])
    except OSError as error:
        raise StreamServerError(_unconnected(error)) from None
    if scheme not in _ENCRYPTED:
        return stream
    secured = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    shaken = False
    try:
        await secured.do_handshake()
        shaken = True
    except (trio.BrokenResourceError, OSError):
        raise StreamServerError(problems.TLS_FAILED) from None
    finally:
        if not shaken:
            await trio.aclose_forcefully(stream)
    return secured


def _unconnected(error: OSError) -> Problem:
    """Return why no address could be connected to; trio groups their errors in the cause."""
    cause = error.__cause__ or error
    group = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
    refused = all(isinstance(each, ConnectionRefusedError) for each in group)
    return problems.REFUSED if refused else problems.UNREACHABLE


def client_tls() -> ssl.SSLContext:
    """Return a context that verifies servers. Blocks: it reads the machine's certificates."""
    return ssl.create_default_context()
