"""Run camd, and write the number of its Trio tasks to a file whenever SIGUSR2 comes.

    python counted_daemon.py REPORT run --config …

It is a program of its own, so that the daemon is measured and not a part of the test.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import trio


class TaskCount(trio.abc.Instrument):
    """Counts the tasks that live."""

    living = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.living += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self.living -= 1


def main() -> None:
    report, count, run = Path(sys.argv[1]), TaskCount(), trio.run

    def write(*_: object) -> None:
        new = report.with_suffix(".new")
        new.write_text(str(count.living), encoding="ascii")
        new.replace(report)

    def run_counted(*args: Any, **options: Any) -> Any:
        return run(*args, **options, instruments=[count])

    signal.signal(signal.SIGUSR2, write)
    trio.run = run_counted  # the daemon offers no place for an instrument, and needs none
    sys.argv = ["camd", *sys.argv[2:]]
    from camd.cli import main as camd

    camd()


if __name__ == "__main__":
    main()
