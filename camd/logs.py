"""How the daemon logs: events with fields, one line each, to stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog(3)


def set_up_logging(level: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send structured events to stderr: coloured on a terminal, with priorities for journald.

    Levels are those of `logging`: debug, info, warning, error.
    """
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(message)s")
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
    ]
    if environ.get("JOURNAL_STREAM"):  # journald adds the time, and reads the priority
        processors += [structlog.processors.format_exc_info, _for_journald]
    else:
        processors += [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # Never the one that shows local variables: they hold secrets, and megabytes.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    structlog.configure(
        processors=processors,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


_render = structlog.processors.LogfmtRenderer(key_order=["event"], bool_as_flag=False)


def _for_journald(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    """Prefix each line by its priority (sd-daemon(3)), so that `journalctl -p` works."""
    mark = f"<{_PRIORITIES.get(str(event.pop('level', 'info')), 6)}>"
    trace = event.pop("exception", None)
    lines = [str(_render(logger, name, event)), *(str(trace).splitlines() if trace else [])]
    return "\n".join(mark + line for line in lines)
