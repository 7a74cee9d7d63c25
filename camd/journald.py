"""journald's native protocol: an entry of fields is one datagram to its socket.

As in "Native Journal Protocol" of systemd's documentation, without libsystemd.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "camd"
_FIELD_CHARACTERS = 64


def is_journal(stream: str, descriptor: int) -> bool:
    """Whether `$JOURNAL_STREAM` names what this descriptor is (systemd.exec(5))."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def connect_to_journald(path: Path = SOCKET) -> socket.socket:
    """Connect to journald. Raises OSError."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        connected.connect(str(path))
    except OSError:
        connected.close()
        raise
    return connected


def entry(message: str, priority: int, fields: Mapping[str, str]) -> bytes:
    """Write an entry; `priority` is syslog's. Names are made valid: `A` to `Z`, digits, `_`."""
    own = {"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": IDENTIFIER}
    further = {_field_name(name): value for name, value in fields.items()}
    return b"".join(_field(name, value) for name, value in (own | further | own).items())


def _field_name(name: str) -> str:
    valid = re.sub("[^A-Z0-9_]", "_", name.upper()).lstrip("_0123456789")
    return valid[:_FIELD_CHARACTERS] or "FIELD"


def _field(name: str, value: str) -> bytes:
    """Write one field: a line, or with its length in front when it has lines."""
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
