"""The daemon's log: events with fields, one line each; for journald with fields of its own.

On a terminal the lines are for people, elsewhere they are JSON, and where stderr is journald's,
each event goes to journald's socket: `journalctl CAMD_CAMERA=camera0` finds those of a camera.

Values may come from clients, cameras and file names, so control characters in them are escaped:
here, where a line is made, and nowhere else.
"""

from __future__ import annotations

import atexit
import enum
import io
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

from camd import systemd

FORMAT_VARIABLE = "CAMD_LOG_FORMAT"
MOST_TEXTS = 10_000  # waiting to be written
DRAIN_SECONDS = 1.0  # at the end of the process
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog(3)
_TRACE = "exception"
_LONGEST_VALUE = 4096  # characters
_LONGEST_TRACE = 64 * 1024  # characters; a datagram to journald has to hold it
_CLEAN = (bool, int, float, type(None))

# Keys that structlog and the processors below set: no event may use them.
RESERVED_KEYS = frozenset({"event", "level", "logger", "timestamp", "exception", "stack"})


class LogFormat(enum.Enum):
    """How an event becomes bytes."""

    TERMINAL = "terminal"
    JSON = "json"
    JOURNAL = "journal"

    @property
    def terminator(self) -> str:
        """What ends an event; each datagram to journald is one."""
        return "" if self is LogFormat.JOURNAL else "\n"

    def encode(self, text: str) -> bytes:
        """Convert the text of an event, which stands for bytes in the case of journald."""
        if self is LogFormat.JOURNAL:
            return text.encode("latin-1")
        return text.encode("utf-8", "backslashreplace")

    def lost(self, count: int) -> str:
        """Write that so many events were not written."""
        message = f"{count} log lines lost: they were not read in time"
        match self:
            case LogFormat.JOURNAL:
                return systemd.journal_entry(message, _PRIORITIES["warning"], {}).decode("latin-1")
            case LogFormat.JSON:
                return f'{{"event": "{message}", "level": "warning"}}\n'
            case _:
                return f"{message}\n"


class NonBlockingStream(io.TextIOBase):
    """A stream whose writers never wait: a thread writes; texts beyond its queue are dropped.

    The reader of the log, or the disk that it is on, may hang; the daemon must not hang with it.
    """

    def __init__(
        self, descriptor: int, most_texts: int = MOST_TEXTS, log_format: LogFormat | None = None
    ) -> None:
        super().__init__()
        self._descriptor, self._most_texts = descriptor, most_texts
        self.log_format = log_format or LogFormat.TERMINAL
        self._texts: queue.SimpleQueue[str] = queue.SimpleQueue()  # safe in signal handlers
        self._lost = self._taken = self._written = 0
        threading.Thread(target=self._serve, name="log", daemon=True).start()
        atexit.register(self.drain, DRAIN_SECONDS)

    def write(self, text: str) -> int:
        """Queue a text; never waits."""
        if self._texts.qsize() >= self._most_texts:
            self._lost += 1
        else:
            self._taken += 1
            self._texts.put(text)
        return len(text)

    def drain(self, seconds: float) -> None:
        """Wait until everything is written, for some seconds at most. Blocks."""
        deadline = time.monotonic() + seconds
        while self._written < self._taken and time.monotonic() < deadline:
            time.sleep(0.005)

    def _serve(self) -> None:
        while True:
            text = self._texts.get()
            if self._lost:
                lost, self._lost = self._lost, 0
                self._put(self.log_format.lost(lost))
            self._put(text)
            self._written += 1

    def _put(self, text: str) -> None:
        left = self.log_format.encode(text)
        with suppress(OSError):  # there is nowhere else to report it
            while left:
                left = left[os.write(self._descriptor, left) :]


def open_log(environ: Mapping[str, str] = os.environ) -> NonBlockingStream:
    """Open the log of the daemon: journald's socket, when stderr is journald's, or else stderr."""
    descriptor, log_format = sys.stderr.fileno(), choose_log_format(environ, sys.stderr.fileno())
    if log_format is LogFormat.JOURNAL:
        try:
            descriptor = systemd.connect_to_journald().detach()
        except OSError:
            log_format = LogFormat.JSON
    return NonBlockingStream(descriptor, log_format=log_format)


def choose_log_format(environ: Mapping[str, str], descriptor: int) -> LogFormat:
    """Choose how events are written: by the variable, or else by what stderr is."""
    with suppress(ValueError):
        return LogFormat(environ.get(FORMAT_VARIABLE, ""))
    if systemd.is_journal(environ.get("JOURNAL_STREAM", ""), descriptor):
        return LogFormat.JOURNAL
    return LogFormat.TERMINAL if os.isatty(descriptor) else LogFormat.JSON


def set_up_logging(level: str, stream: TextIO | NonBlockingStream | None = None) -> None:
    """Send structured events to a stream, by default to stderr for people.

    Levels are those of `logging`: debug, info, warning, error. Libraries that log through `logging`
    get the same format.
    """
    log_format = getattr(stream, "log_format", LogFormat.TERMINAL)
    common: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        *([] if log_format is LogFormat.JOURNAL else [_TIMES]),  # journald has the time
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.terminator = log_format.terminator
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                escape_values,
                _RENDERERS[log_format],
            ],
            foreign_pre_chain=common,
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler])
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class LogLevel(enum.Enum):
    """How much is logged; each level includes those below it."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def current_level() -> LogLevel:
    """Return how much is logged now."""
    return LogLevel(logging.getLevelName(logging.getLogger().level).lower())


def set_level(level: LogLevel) -> None:
    """Log so much from now on."""
    logging.getLogger().setLevel(level.value.upper())


def escape_values(logger: Any, name: str, event: MutableMapping[str, Any]) -> Any:
    """Escape line breaks and terminal control characters in every value; shorten long values.

    A traceback keeps its lines, indented, so that none of them looks like an event.
    """
    for key, value in event.items():
        if key == _TRACE:
            event[key] = "\n".join(f"  {_escaped(line)}" for line in str(value).splitlines())
        elif isinstance(value, str):
            event[key] = _escaped(value)
        elif not isinstance(value, _CLEAN) and not _harmless(value):
            event[key] = _escaped(str(value))
    return event


def _harmless(value: object) -> bool:
    """Whether str() and repr() of an object can be shown as they are."""
    shown = str(value), repr(value)
    return all(text.isprintable() and len(text) <= _LONGEST_VALUE for text in shown)


def _escaped(text: str) -> str:
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


_TIMES = structlog.processors.TimeStamper(fmt="iso", utc=True)
_as_words = structlog.processors.LogfmtRenderer(key_order=["event"], bool_as_flag=False)


def _for_people(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    """Write a line with aligned names, coloured where stderr is a terminal."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        # The default shows local variables, which may hold secrets or megabytes.
        exception_formatter=structlog.dev.plain_traceback,
    )
    return renderer(logger, name, event)


def _for_journald(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    """Write an event as fields of journald; the text stands for bytes."""
    priority = _PRIORITIES.get(str(event.pop("level", "info")), 6)
    trace = str(event.pop(_TRACE, ""))[:_LONGEST_TRACE]
    fields = {f"CAMD_{key.upper()}": str(value) for key, value in event.items()}
    message = str(_as_words(logger, name, event))
    entry = systemd.journal_entry(f"{message}\n{trace}".rstrip("\n"), priority, fields)
    return entry.decode("latin-1")


def _as_json(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    """Write an object, with what a reader looks for first in front."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return json.dumps({**first, **event}, default=str)


_RENDERERS: Mapping[LogFormat, Any] = {
    LogFormat.TERMINAL: _for_people,
    LogFormat.JSON: _as_json,
    LogFormat.JOURNAL: _for_journald,
}
