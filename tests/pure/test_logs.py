"""The log shows all fields of an event, on one line."""

from __future__ import annotations

import ast
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path, PurePath

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import camd
from camd.logs import RESERVED_KEYS, escape_values, set_up_logging

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
def logged(environ: dict[str, str]) -> Iterator[io.StringIO]:
    """Capture stderr, and restore the logging for other tests."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level, configured = root.handlers[:], root.level, structlog.get_config()
    root.handlers.clear()
    try:
        with redirect_stderr(stream):
            set_up_logging("info", environ)
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


@pytest.mark.parametrize("environ", [{}, {"JOURNAL_STREAM": "8:1"}])
def test_text_from_outside_stays_on_its_line(environ: dict[str, str]) -> None:
    """Line ends and escape sequences in any value are escaped."""
    with logged(environ) as lines:
        say("bye\n<3>event=forged\r\x1b[31m\x9b\u2028\u202e\0")
    shown = lines.getvalue()
    assert not set(shown) & set("\r\x1b\x9b\u2028\u202e\0")
    assert "\\x1b[31m" in shown
    assert "critical" in shown
    left, foreign, crashed, *trace = shown.splitlines()
    assert "client_left" in left
    assert "peer said" in foreign
    assert "crashed" in crashed
    assert trace[0].endswith("  Traceback (most recent call last):")
    assert all(line.removeprefix("<3>").startswith("  ") for line in trace)


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text()) | st.integers() | st.none()))
def test_every_value_can_be_shown(event: dict[str, object]) -> None:
    """Whatever a field has, the line is printable and of limited length."""
    event.pop("exception", None)
    shown = escape_values(None, "info", {**event, "long": "x" * 10**6, "many": ["y"] * 10**5})
    assert all(str(value).isprintable() and repr(value).isprintable() for value in shown.values())
    assert all(len(str(value)) < 50_000 for value in shown.values())
