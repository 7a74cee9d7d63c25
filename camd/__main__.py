"""The program's first lines, for `camd` and `python -m camd`: they come before the long imports."""

from __future__ import annotations

import os
import signal
import sys

from camd import early_signals


def main() -> None:
    """Run the command line and end with its exit status.

    A signal or Ctrl-C is answered from here on, also while the rest is being imported.
    """
    if sys.argv[1:2] == ["run"]:
        early_signals.expect_service()
    else:
        early_signals.end_at_once(early_signals.INTERRUPTED, [signal.SIGINT])
    closed = fill_standard_descriptors()
    from camd.cli import main as command  # noqa: PLC0415 - takes a second on a small computer
    from camd.cli.exit import run_command  # noqa: PLC0415

    sys.exit(run_command(command, closed))


def fill_standard_descriptors() -> frozenset[int]:
    """Put /dev/null where a standard stream is closed, and say where that was.

    Else the next file that is opened, such as a recording, would be what is printed to.
    """
    closed = set()
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    return frozenset(closed)


if __name__ == "__main__":
    main()
