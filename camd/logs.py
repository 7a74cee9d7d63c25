"""The daemon's log: events with fields, one line each, to stderr.

Values may come from clients, cameras and file names, so control characters in them are escaped:
here, where a line is made, and nowhere else.
"""

from __future__ import annotations

import atexit
import io
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

MOST_TEXTS = 10_000  # waiting to be written
DRAIN_SECONDS = 1.0  # at the end of the process
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog(3)
_TRACE = "exception"
_LONGEST_VALUE = 4096  # characters
_CLEAN = (bool, int, float, type(None))

# Keys that structlog and the processors below set: no event may use them.
RESERVED_KEYS = frozenset({"event", "level", "logger", "timestamp", "exception", "stack"})


class NonBlockingStream(io.TextIOBase):
    """A stream whose writers never wait: a thread writes; texts beyond its queue are dropped.

    The reader of the log, or the disk that it is on, may hang; the daemon must not hang with it.
    """

    def __init__(self, descriptor: int, most_texts: int = MOST_TEXTS) -> None:
        super().__init__()
        self._descriptor, self._most_texts = descriptor, most_texts
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
                text = f"{lost} log lines lost: they were not read in time\n{text}"
            left = text.encode("utf-8", "backslashreplace")
            with suppress(OSError):  # there is nowhere else to report it
                while left:
                    left = left[os.write(self._descriptor, left) :]
            self._written += 1


def set_up_logging(
    level: str,
    environ: Mapping[str, str] = os.environ,
    stream: TextIO | NonBlockingStream | None = None,
) -> None:
    """Send structured events to stderr: coloured on a terminal, with priorities for journald.

    Levels are those of `logging`: debug, info, warning, error. Libraries that log through `logging`
    get the same format. `stream` replaces stderr.
    """
    times: list[Any] = []
    render: Any = _for_journald
    if not environ.get("JOURNAL_STREAM"):  # journald adds the time and reads the priority
        times = [structlog.processors.TimeStamper(fmt="iso", utc=True)]
        render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default shows local variables, which may hold secrets or megabytes.
            exception_formatter=structlog.dev.plain_traceback,
        )
    common: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        *times,
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                escape_values,
                render,
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


_render = structlog.processors.LogfmtRenderer(key_order=["event"], bool_as_flag=False)


def _for_journald(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    """Prefix each line with its priority (sd-daemon(3)), so that `journalctl -p` works."""
    mark = f"<{_PRIORITIES.get(str(event.pop('level', 'info')), 6)}>"
    trace = event.pop(_TRACE, None)
    lines = [str(_render(logger, name, event)), *(str(trace).splitlines() if trace else [])]
    return "\n".join(mark + line for line in lines)
