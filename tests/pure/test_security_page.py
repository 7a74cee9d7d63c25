"""The limits in docs/security.md are those of the code, and none is left out."""

from __future__ import annotations

import importlib
import re
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from camd.config.schema import ServerConfig
from camd.server.http_connection import HttpLimits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
ROW = re.compile(r"^\| [^|]+ \| ([^|]+) \| `([^`|]+)` \| [^|]+ \|$", re.MULTILINE)
UNITS = {"": 1, " s": 1, " a second": 1, " a minute": 1, " KiB": 2**10, " MiB": 2**20}
UNITS |= {" Ki": 2**10, " Mi": 2**20}
MODULES = (
    "camd/auth/login_throttle.py",
    "camd/auth/sign_in.py",
    "camd/live/rules/viewer_backlog.py",
    "camd/live/viewer_counts.py",
    "camd/rpc/codec.py",
    "camd/server/connection.py",
    "camd/server/rules/answers.py",
    "camd/server/rules/connection_limits.py",
    "camd/server/send_queue.py",
    "camd/server/websocket.py",
)
NO_LIMITS = {"GOING_AWAY", "ABNORMAL", "POLICY", "TOO_BIG", "TRY_LATER", "BUSY_RETRY_MS"}


def rows() -> dict[str, float]:
    """Read the tables: where a limit is, and its value in bytes, seconds or pieces."""
    found = {}
    for value, where in ROW.findall(PAGE.read_text(encoding="utf-8")):
        number, unit = re.fullmatch(r"([0-9.]+)(.*)", value.strip()).groups()  # type: ignore[union-attr]
        assert where not in found, where
        found[where] = float(number) * UNITS[unit]
    return found


def module(path: str) -> ModuleType:
    return importlib.import_module(path.removesuffix(".py").replace("/", "."))


def in_code(where: str) -> Any:
    """Return the value of a key such as `server.path`, or of `camd/file.py:Class.field`."""
    if where.startswith("server."):
        return getattr(ServerConfig(), where.removeprefix("server."))
    path, _, names = where.partition(":")
    owner, _, field = names.partition(".")
    value = getattr(module(path), owner)
    return attrs.fields_dict(value)[field].default if field else value


@pytest.mark.parametrize("where", rows())
def test_a_limit_on_the_page_is_that_of_the_code(where: str) -> None:
    """Its value is the default of the key, the field or the constant."""
    value = in_code(where)
    if value is None:  # one slot, which is empty
        value = 1
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    assert seconds == rows()[where]


def test_no_limit_is_left_out() -> None:
    """Every number in the modules that limit clients, and every number of `[server]`, has a row."""
    constants = {
        f"{path}:{name}"
        for path in MODULES
        for name, value in vars(module(path)).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, int | float)
        if name not in NO_LIMITS
    }
    http = {f"camd/server/http_connection.py:HttpLimits.{f.name}" for f in attrs.fields(HttpLimits)}
    keys = {
        f"server.{name}"
        for name, value in attrs.asdict(ServerConfig()).items()
        if isinstance(value, int | timedelta) and name != "progress_interval"
    }
    assert constants | http | keys <= set(rows())
