"""The protocols of systemd: inherited sockets, notifications, the watchdog, journal entries.

As in sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3) and "Native Journal Protocol" of its
documentation, without libsystemd.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, MutableMapping
from pathlib import Path

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "camd"
_FIELD_CHARACTERS = 64
_FIRST_FD = 3  # SD_LISTEN_FDS_START
_LISTEN_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


def inherited_sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Take over the listening sockets that systemd opened for this process, in its order.

    Removes the variables, so that child processes do not use them, and closes the sockets on exec.
    Empty when there are none, or when they are meant for another process. Raises OSError when a
    descriptor is no socket, which is a mistake in the unit.
    """
    count, pid, _ = (environ.pop(name, "") for name in _LISTEN_VARIABLES)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return []
    descriptors = range(_FIRST_FD, _FIRST_FD + int(count))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def is_manager(environ: Mapping[str, str]) -> bool:
    """Whether a service manager wants to be notified."""
    return environ.get("NOTIFY_SOCKET", "").startswith(("/", "@"))


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send the service manager `READY=1`, `STATUS=…`, `WATCHDOG=1`, …; one assignment a line.

    Never raises and never blocks; returns whether the message was sent.
    """
    if not is_manager(environ):
        return False
    address = environ["NOTIFY_SOCKET"]
    if address.startswith("@"):  # the abstract namespace, unix(7)
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError:
        return False
    return True


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return the longest time between two `WATCHDOG=1`; None without a watchdog.

    sd_watchdog_enabled(3) recommends to notify after half of it.
    """
    period, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if pid not in ("", str(os.getpid())) or not (period.isascii() and period.isdigit()):
        return None
    return int(period) / 1_000_000 or None


# --- the journal: an entry of fields is one datagram to its socket ------------------------


def is_journal(stream: str, descriptor: int) -> bool:
    """Whether `$JOURNAL_STREAM` names what this descriptor is (systemd.exec(5))."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def connect_to_journald(path: Path = JOURNAL_SOCKET) -> socket.socket:
    """Connect to journald. Raises OSError."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        connected.connect(str(path))
    except OSError:
        connected.close()
        raise
    return connected


def journal_entry(message: str, priority: int, fields: Mapping[str, str]) -> bytes:
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
