"""Which time zone this machine has, by name: the rules of a zone without a name are not enough.

A configuration is read on one machine and may be copied to another, and a person must be able to
see what a schedule means.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from camd.config.values import time_zone
from camd.model.schedule_values import TimeZone

LOCALTIME = Path("/etc/localtime")  # a link into the tz database (localtime(5))
_DATABASE = "/zoneinfo/"


def find_machine_zone(environ: Mapping[str, str], localtime: Path = LOCALTIME) -> TimeZone | None:
    """Return the zone that TZ names, else the one that /etc/localtime leads to; None: no name.

    Blocks: it reads a link and the tz database.
    """
    variable = environ.get("TZ", "").removeprefix(":")
    if variable and not variable.startswith("/"):
        return _zone(variable)
    try:
        target = variable or str(localtime.readlink())
    except OSError:
        return None
    _, found, name = target.partition(_DATABASE)
    return _zone(name) if found else None


def _zone(name: str) -> TimeZone | None:
    try:
        return time_zone(name)
    except ValueError:
        return None
