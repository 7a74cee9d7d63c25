"""Run camd, and let its search of the recordings folder pause before one of its files.

    python paused_search.py FILE NUMBER run --config …

The search looks at one file at a time, and before number NUMBER (from 0) waits until FILE exists.
It is a program of its own, so that the daemon is a real one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import trio


def main() -> None:
    file, number = Path(sys.argv[1]), int(sys.argv[2])
    sys.argv = ["camd", *sys.argv[3:]]
    from camd.cli import main as camd
    from camd.storage.recovery import reconcile

    inspect, inspected = reconcile.BackgroundReconcile._inspect, 0

    async def inspect_later(self: Any, names: Any) -> Any:
        nonlocal inspected
        here = trio.Path(file)
        while inspected == number and not await here.exists():  # noqa: ASYNC110 - another process makes it
            await trio.sleep(0.05)
        inspected += 1
        return await inspect(self, names)

    # A disk cannot be made so slow, at a chosen file, without being taken for one that hangs.
    reconcile.BackgroundReconcile._inspect = inspect_later  # type: ignore[method-assign]
    reconcile.BATCH = 1
    camd()


if __name__ == "__main__":
    main()
