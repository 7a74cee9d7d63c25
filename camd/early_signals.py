"""What SIGTERM, SIGINT and SIGHUP do while little or nothing of the program is there yet.

Imports nothing but `os` and `signal`, so that it can be the first thing that runs. Signals get
handlers and are never ignored by disposition: children would inherit that.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

STOP = (signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 128 + signal.SIGINT  # the exit status, as shells say it


def end_at_once(status: int, numbers: Iterable[signal.Signals]) -> None:
    """Let these signals end the process with `status`, without a message.

    For as long as nothing was begun that would have to be ended in order.
    """

    def end(number: int, frame: object) -> None:
        os._exit(status)

    for number in numbers:
        signal.signal(number, end)


def expect_service() -> None:
    """Before the service begins: a stop ends it well at once; SIGHUP has nothing to reload yet."""
    end_at_once(0, STOP)
    signal.signal(signal.SIGHUP, lambda number, frame: None)
