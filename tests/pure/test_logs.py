"""The log shows all fields of an event, on one line."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import structlog
from hypothesis import given
from hypothesis import strategies as st

import camd
from camd import systemd
from camd.logs import RESERVED_KEYS, LogFormat, escape_values, set_up_logging

METHODS = {"debug", "info", "warning", "error", "exception", "critical", "bind"}
LOGGERS = {"log", "_log", "logger", "_logger"}


def events_in(source: str) -> Iterator[ast.Call]:
    """Find every call that logs, and those of `guarded`, which logs its fields."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
                if name in LOGGERS and method in METHODS:
                    yield node
            case ast.Call(func=ast.Name(id="guarded")):
                yield node
            case ast.Call(func=ast.Name(id=name)) if name == "say":  # connection.py's choice of two
                yield node


def reserved_in(source: str) -> list[str | None]:
    """Name the keys that an event may not have; None stands for `**fields`."""
    return [
        keyword.arg
        for call in events_in(source)
        for keyword in call.keywords
        if keyword.arg is None or keyword.arg in RESERVED_KEYS or keyword.arg.startswith("_")
    ]


def test_no_event_has_a_key_that_is_the_loggers_own() -> None:
    """A field called `level` or `event` would be lost or would replace the real one."""
    folder = Path(camd.__file__).parent
    sources = {path.relative_to(folder): path.read_text() for path in folder.rglob("*.py")}
    found = {str(path): keys for path, text in sources.items() if (keys := reserved_in(text))}
    assert found == {"server/error_boundary.py": [None] * len(found["server/error_boundary.py"])}
    assert sum(len(list(events_in(text))) for text in sources.values()) > 60
    assert reserved_in('log.info("storage", level=1, _x=2, fine=3)') == ["level", "_x"]


@contextmanager
def logged(log_format: LogFormat) -> Iterator[io.StringIO]:
    """Capture the log in one format, and restore the logging for other tests."""
    stream, root = io.StringIO(), logging.getLogger()
    stream.log_format = log_format  # type: ignore[attr-defined]
    handlers, level, configured = root.handlers[:], root.level, structlog.get_config()
    root.handlers.clear()
    try:
        set_up_logging("info", stream)
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**configured)


def say(text: str) -> None:
    """Log text from outside in every possible place of an event."""
    log = structlog.get_logger("camd.test")
    log.warning("client_left", reason=text, listed=[text], path=PurePath(text), now="critical")
    logging.getLogger("library").warning("peer said %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("crashed")


ATTACK = "bye\n<3>event=forged\r\x1b[31m\x9b\u2028\u202e\0"


def test_text_from_outside_stays_on_its_line() -> None:
    """Line ends and escape sequences in any value are escaped."""
    with logged(LogFormat.TERMINAL) as lines:
        say(ATTACK)
    shown = lines.getvalue()
    assert not set(shown) & set("\r\x1b\x9b\u2028\u202e\0")
    assert "\\x1b[31m" in shown
    assert "critical" in shown
    left, foreign, crashed, *trace = shown.splitlines()
    assert "client_left" in left
    assert "peer said" in foreign
    assert "crashed" in crashed
    assert trace[0].endswith("  Traceback (most recent call last):")
    assert all(line.startswith("  ") for line in trace)


def test_each_event_is_a_line_of_json() -> None:
    """Programs read one object a line, with the traceback in a field of its own."""
    with logged(LogFormat.JSON) as lines:
        say(ATTACK)
    left, foreign, crashed = map(json.loads, lines.getvalue().splitlines())
    assert (left["event"], left["level"], left["logger"]) == ("client_left", "warning", "camd.test")
    assert left["now"] == "critical"
    assert left["reason"].startswith("bye\\n<3>event=forged")
    assert foreign["event"].startswith("peer said")
    assert "Traceback (most recent call last)" in crashed["exception"]


def test_an_event_for_journald_has_fields() -> None:
    """Each field can be asked for; the traceback belongs to the message; nothing is forged."""
    with logged(LogFormat.JOURNAL) as lines:
        structlog.get_logger("camd.test").warning("camera_state", camera="camera0", session="s1")
        say(ATTACK)
    state, left, _, crashed = entries(lines.getvalue().encode("latin-1"))
    assert (state["CAMD_CAMERA"], state["CAMD_SESSION"]) == ("camera0", "s1")
    assert (state["CAMD_EVENT"], state["CAMD_LOGGER"]) == ("camera_state", "camd.test")
    assert (state["PRIORITY"], state["SYSLOG_IDENTIFIER"]) == ("4", "camd")
    assert "camera=camera0" in state["MESSAGE"]
    assert left.keys() - state.keys() == {"CAMD_REASON", "CAMD_LISTED", "CAMD_PATH", "CAMD_NOW"}
    assert crashed["MESSAGE"].splitlines()[1].strip() == "Traceback (most recent call last):"
    assert crashed["PRIORITY"] == "3"


def entries(data: bytes) -> list[dict[str, str]]:
    """Read entries as journald does; each begins with its message."""
    found: list[dict[str, str]] = []
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
        if name == b"MESSAGE":
            found.append({})
        found[-1][name.decode()] = value.decode()
        data = rest
    return found


@given(st.text(), st.integers(0, 7), st.dictionaries(st.text(), st.text()))
def test_journald_reads_back_what_was_written(
    message: str, priority: int, fields: dict[str, str]
) -> None:
    """Whatever the values hold, no field spills into another, and names are valid."""
    (read,) = entries(systemd.journal_entry(message, priority, fields))
    written = message.encode("utf-8", "backslashreplace").decode()
    assert (read["MESSAGE"], read["PRIORITY"]) == (written, str(priority))
    assert all(re.fullmatch("[A-Z][A-Z0-9_]{0,63}", name) for name in read)


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text()) | st.integers() | st.none()))
def test_every_value_can_be_shown(event: dict[str, object]) -> None:
    """Whatever a field has, the line is printable and of limited length."""
    event.pop("exception", None)
    shown = escape_values(None, "info", {**event, "long": "x" * 10**6, "many": ["y"] * 10**5})
    assert all(str(value).isprintable() and repr(value).isprintable() for value in shown.values())
    assert all(len(str(value)) < 50_000 for value in shown.values())
