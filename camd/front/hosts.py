"""By which names browsers may call the service while clients need not authenticate.

A web page can let its own host name point at our address (DNS rebinding); then its origin and the
Host header agree, and only the name tells that it is not ours. An address as Host cannot be made
to point at us.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

_LOOPBACK = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


def host_of(url: str) -> str | None:
    """Return the host of a URL (`//` before a Host header makes it one), in small letters."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def own_names(configured: Iterable[str], addresses: Iterable[str]) -> frozenset[str]:
    """Collect the names that are ours: loopback, those listened on, and configured ones."""
    listened = (host_of(f"//{address}") for address in addresses if not address.startswith("unix:"))
    return frozenset((*_LOOPBACK, *(name.lower() for name in configured), *filter(None, listened)))


def is_own(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names us: by one of `names`, or by an address."""
    name = host_of(f"//{host}")
    return name is not None and (name.rstrip(".") in names or _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
