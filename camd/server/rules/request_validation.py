"""Validate HTTP requests: handshake (RFC 6455, 4.2.1), origin, host name, target, framing.

A web page whose name resolves to this machine sends requests that the browser takes for requests
to that page's own host (DNS rebinding). So each request must name one of our own host names.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

# --- Host names of this service.

_LOOPBACK = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


def host_of(url: str) -> str | None:
    """Return the host of a URL in lower case; put `//` before a Host header to make it a URL."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def machine_names(node: str, hosts: str, resolver: str) -> tuple[str, ...]:
    """Collect the names of this machine, in lower case.

    They are its node name, the same under `.local` (multicast DNS) and under the domains that
    `resolver` searches, and the names that stand beside it in `hosts`. The texts are those of
    resolv.conf(5) and hosts(5).
    """
    node = node.lower().rstrip(".")
    if not node:
        return ()
    short = node.partition(".")[0]
    names = {node, short, *(f"{short}.{domain}" for domain in ("local", *_domains(resolver)))}
    for line in _fields(hosts):
        aliases = {name.lower() for name in line[1:]}
        if aliases & {node, short}:
            names |= aliases
    return tuple(sorted(names))


def _domains(resolver: str) -> Iterator[str]:
    for line in _fields(resolver):
        if line[0] in ("search", "domain"):
            yield from (domain.lower().strip(".") for domain in line[1:] if domain.strip("."))


def _fields(text: str) -> Iterator[list[str]]:
    """Split the lines of a configuration file into words, without comments."""
    for line in text.splitlines():
        if words := line.partition("#")[0].split():
            yield words


def own_names(configured: Iterable[str], addresses: Iterable[str]) -> frozenset[str]:
    """Collect our host names: loopback, listening addresses and configured ones."""
    listened = (host_of(f"//{address}") for address in addresses if not address.startswith("unix:"))
    return frozenset((*_LOOPBACK, *(name.lower() for name in configured), *filter(None, listened)))


def is_own(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header is one of `names` or an IP address, and at most a port besides."""
    name = host_of(f"//{host}") if _HOST_HEADER.fullmatch(host) else None
    return name is not None and (name.rstrip(".") in names or _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


# --- Requests.

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case


_HOST_NAME = r"[a-z0-9_.-]{1,80}"
_HOST_HEADER = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Za-z:.%]+\])(:[0-9]{0,5})?")  # RFC 9110, 7.2
_VERSIONS = (b"1.0", b"1.1")
_CREDENTIAL_NAMES = frozenset(
    (
        *("token", "auth_token", "access_token", "id_token", "bearer", "jwt", "authorization"),
        *("api_key", "apikey", "api-key", "x-api-key", "password", "secret"),
    )
)
_CREDENTIAL = re.compile(
    r"(?<![\w-])camd_[\w-]{43}(?![\w-])"  # an API key
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JWT: Base64 of `{"`
)


@attrs.frozen
class Denial:
    """A refusal as an HTTP response."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def wants_upgrade(headers: Headers) -> bool:
    """Whether a request asks for a WebSocket, correctly or not."""
    return "websocket" in _tokens(headers, b"upgrade")


def validate_upgrade(
    method: bytes,
    http_version: bytes,
    headers: Headers,
    origins: Sequence[str],
    names: frozenset[str] | None = None,
) -> Denial | None:
    """Validate an upgrade request; None: it may become a WebSocket.

    `names` are the allowed host names; None: all.
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


def validate_subprotocol(headers: Headers, subprotocol: str) -> Denial | None:
    """Validate that the client offers this subprotocol (RFC 6455, 4.2.2); None: it does."""
    offered = (
        each.strip()
        for value in _all(headers, b"sec-websocket-protocol")
        for each in value.split(",")
    )
    if subprotocol in offered:
        return None
    return Denial(400, f"This path speaks the WebSocket subprotocol {subprotocol}.")


def plain_head(headers: Headers, subprotocol: str = "") -> bytes:
    """Rebuild the head of a valid request from what the WebSocket library needs.

    The library fails on other headers that clients send: bytes outside ASCII, unusual extensions.
    """
    (key,) = _all(headers, b"sec-websocket-key")
    offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        "GET / HTTP/1.1\r\nHost: camd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"{offer}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode("ascii")


def bearer_of(headers: Headers) -> str:
    """Return the key or token of a request's headers; "" without one."""
    for value in _all(headers, b"authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
    return next(iter(_all(headers, b"x-api-key")), "")


def validate_framing(http_version: bytes, headers: Headers) -> Denial | None:
    """Refuse what another server in front of this one could read otherwise; None: it is plain.

    A request with two lengths may hold another request (RFC 9112, 6.3).
    """
    if http_version not in _VERSIONS:
        return Denial(505, "This service speaks HTTP/1.1.")
    encoded = bool(_all(headers, b"transfer-encoding"))
    if encoded and (http_version == b"1.0" or _all(headers, b"content-length")):
        return Denial(400, "The length of the body is given twice, or in a way of a later version.")
    return None


def validate_host(
    headers: Headers, names: frozenset[str] | None, target: bytes = b"/"
) -> Denial | None:
    """Validate the host names of a request, that of an absolute target included; None: allowed."""
    absolute = _authority(target.decode("latin-1"))
    hosts = [*_all(headers, b"host"), *([absolute] if absolute else [])]
    foreign = [host for host in hosts if names is not None and not is_own(host, names)]
    if not foreign:
        return None
    name = (host_of(f"//{foreign[0]}") or "") if _HOST_HEADER.fullmatch(foreign[0]) else ""
    shown = f'"{name}"' if re.fullmatch(_HOST_NAME, name) else "in the Host header"
    return Denial(
        403,
        f"The host name {shown} is not one of this service. Connect by its address or the name of "
        "its machine, or add the name to server.hosts in the configuration.",
    )


def validate_target(target: bytes) -> Denial | None:
    """Refuse a request whose target, path or query, holds credentials; None: it holds none."""
    text = target.decode("latin-1")
    url, _, query = text.partition("?")
    names = {name.lower() for name, _ in parse_qsl(query.replace(";", "&"), True)}
    plain = unquote(unquote(text))
    if names & _CREDENTIAL_NAMES or _CREDENTIAL.search(plain) or "@" in _authority(url):
        return Denial(
            400,
            "Credentials do not belong into a URL, which histories and logs keep. Send them in "
            'the header "Authorization: Bearer", or with the method authenticate. Revoke a key '
            "that was sent like this.",
        )
    return None


def _authority(url: str) -> str:
    """Return the part of an absolute target between `//` and the path, with user and port."""
    return url.partition("://")[2].partition("/")[0] if not url.startswith("/") else ""


def origin_allowed(
    headers: Headers, origins: Sequence[str], names: frozenset[str] | None = None
) -> bool:
    """Allow clients without an Origin (no browsers), our own host's web pages, set origins."""
    found = _all(headers, b"origin")
    if not found:
        return True
    if len(found) > 1:
        return False
    origin = found[0].rstrip("/").lower()
    if any(allowed in ("*", origin) for allowed in (o.rstrip("/").lower() for o in origins)):
        return True
    hosts = _all(headers, b"host")
    if len(hosts) != 1 or validate_host(headers, names) is not None:
        return False
    return _is_same_host(host_of(origin), host_of(f"//{hosts[0]}"))


def _is_same_host(web_page_host: str | None, host: str | None) -> bool:
    """Compare the host of a web page with ours; the names of loopback are one host."""
    if web_page_host is None or host is None:
        return False
    return web_page_host == host or (_is_loopback(web_page_host) and _is_loopback(host))


def _is_loopback(name: str) -> bool:
    try:
        return name.rstrip(".") in _LOOPBACK or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _all(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def _tokens(headers: Headers, name: bytes) -> set[str]:
    return {part.strip().lower() for value in _all(headers, name) for part in value.split(",")}


def _valid_key(found: list[str]) -> bool:
    try:
        return len(found) == 1 and len(base64.b64decode(found[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
