"""Handlers for SIGTERM, SIGINT and SIGHUP before the program has started anything.

Imports only `os` and `signal`, so that it can run first. No signal is set to SIG_IGN, which
processes started later would inherit.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

STOP = (signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 128 + signal.SIGINT  # exit status, as in shells


def end_at_once(status: int, numbers: Iterable[signal.Signals]) -> None:
    """Let these signals end the process with `status`, without a message.

    For the time in which nothing runs that would have to end in order.
    """

    def end(number: int, frame: object) -> None:
        os._exit(status)

    for number in numbers:
        signal.signal(number, end)


def expect_service() -> None:
    """Before the service starts, let a stop signal end it with status 0, and ignore SIGHUP."""
    end_at_once(0, STOP)
    signal.signal(signal.SIGHUP, lambda number, frame: None)
