"""Check HTTP requests: WebSocket handshake (RFC 6455, 4.2.1), origin and host name."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

import attrs

# --- Host names of this service, checked while clients need not authenticate (DNS rebinding).

_LOOPBACK = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


def host_of(url: str) -> str | None:
    """Return the host of a URL in lower case; put `//` before a Host header to make it a URL."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def own_names(configured: Iterable[str], addresses: Iterable[str]) -> frozenset[str]:
    """Collect our host names: loopback, listening addresses and configured ones."""
    listened = (host_of(f"//{address}") for address in addresses if not address.startswith("unix:"))
    return frozenset((*_LOOPBACK, *(name.lower() for name in configured), *filter(None, listened)))


def is_own(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header has one of `names`, or an IP address."""
    name = host_of(f"//{host}")
    return name is not None and (name.rstrip(".") in names or _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


# --- Checks of requests.

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case


@attrs.frozen
class Denial:
    """A refusal as an HTTP response."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def wants_upgrade(headers: Headers) -> bool:
    """Whether a request asks for a WebSocket, correctly or not."""
    return "websocket" in _tokens(headers, b"upgrade")


def check_upgrade(
    method: bytes,
    http_version: bytes,
    headers: Headers,
    origins: Sequence[str],
    names: frozenset[str] | None = None,
) -> Denial | None:
    """Check an upgrade request; None: it may become a WebSocket.

    `names` are the allowed host names; None: all, since clients need a key.
    """
    if not wants_upgrade(headers) or "upgrade" not in _tokens(headers, b"connection"):
        needed = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))
        return Denial(426, "This path speaks WebSocket.", needed)
    if method != b"GET" or http_version != b"1.1":
        return Denial(400, "A WebSocket starts with GET over HTTP/1.1.")
    if _all(headers, b"sec-websocket-version") != ["13"]:
        return Denial(426, "WebSocket version 13 is needed.", ((b"sec-websocket-version", b"13"),))
    if not _valid_key(_all(headers, b"sec-websocket-key")):
        return Denial(400, "Sec-WebSocket-Key is missing or malformed.")
    if _all(headers, b"transfer-encoding") or set(_all(headers, b"content-length")) - {"0"}:
        return Denial(400, "A WebSocket starts without a body.")
    if not origin_allowed(headers, origins, names):
        return Denial(403, "Web pages of this origin may not connect.")
    return None


def plain_head(headers: Headers) -> bytes:
    """Rebuild the head of a checked request from what the WebSocket library needs.

    The library fails on other headers that clients send: bytes outside ASCII, unusual extensions.
    """
    (key,) = _all(headers, b"sec-websocket-key")
    return (
        "GET / HTTP/1.1\r\nHost: camd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode("ascii")


def check_host(headers: Headers, names: frozenset[str] | None) -> Denial | None:
    """Check the host name of a request; None: it is allowed."""
    hosts = _all(headers, b"host")
    if names is None or not hosts or is_own(hosts[0], names):
        return None
    return Denial(403, "This host name is not known here; server.hosts may name it.")


def origin_allowed(
    headers: Headers, origins: Sequence[str], names: frozenset[str] | None = None
) -> bool:
    """Allow clients without an Origin (no browsers), pages of our own host, configured origins."""
    found = _all(headers, b"origin")
    if not found:
        return True
    if len(found) > 1:
        return False
    origin = found[0].rstrip("/").lower()
    if any(allowed in ("*", origin) for allowed in (o.rstrip("/").lower() for o in origins)):
        return True
    hosts = _all(headers, b"host")
    if len(hosts) != 1 or check_host(headers, names) is not None:
        return False
    return host_of(origin) is not None and host_of(origin) == host_of(f"//{hosts[0]}")


def _all(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def _tokens(headers: Headers, name: bytes) -> set[str]:
    return {part.strip().lower() for value in _all(headers, name) for part in value.split(",")}


def _valid_key(found: list[str]) -> bool:
    try:
        return len(found) == 1 and len(base64.b64decode(found[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
