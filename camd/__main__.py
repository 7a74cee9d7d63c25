"""The start of `camd` and `python -m camd`: handles signals before the imports that take long."""

from __future__ import annotations

import os
import signal
import sys

from camd import early_signals


def main() -> None:
    """Run the command line and exit with its status.

    Signals are handled from the first line on, so also while the rest is imported.
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
    """Open /dev/null for each closed standard stream; return the numbers of those streams.

    Otherwise the next file that is opened, such as a recording, would get the printed text.
    """
    closed = set()
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    return frozenset(closed)


if __name__ == "__main__":
    main()
