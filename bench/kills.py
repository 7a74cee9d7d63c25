"""The loss of footage when the daemon is killed again and again at the worst moments.

    python bench/kills.py [--kills 100] [--cameras 4] [--daemons 2] [--seed N]

Every daemon records its cameras in sessions that outlive it, with a new file each second. It is
killed while it starts, recovers, records, makes and seals files, and stops. After each kill and at
the end `tests/daemon/repeated_kills.py` checks everything: all sessions continue, the ledger has
one entry for each outage, every file is sealed and plays, all frames that the daemon had reported
as written exist, copied packets are the source's in order, no process is left. The exit status is 1
when anything is wrong. It takes about five seconds a kill and daemon.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

sys.path.append(str(Path(__file__).parents[1] / "tests" / "daemon"))

from kill_rules import FileState, Kill, Moment, moments_of
from repeated_kills import RepeatedKills, run_kills
from running_daemon import Daemon, make_clip, roomy_folder


async def run_all(runs: Sequence[RepeatedKills], clip: Path, kills: int) -> None:
    """Kill all daemons at the same time, each its share of the kills.

    The first kill of each comes when its sessions have just begun.
    """
    async with trio.open_nursery() as nursery:
        for number, each in enumerate(runs):
            each.configure(clip)
            share = kills // len(runs) + (number < kills % len(runs))
            nursery.start_soon(partial(run_kills, each, moments_of(each.rng, share - 1)))


def spread(seconds: Sequence[float]) -> str:
    """Median and worst, or nothing."""
    if not seconds:
        return f"{'':>7} {'':>7}"
    return f"{statistics.median(seconds):7.2f} {max(seconds):7.2f}"


def row(what: str, kills: Sequence[Kill]) -> str:
    """One line of the table."""
    left = sum((kill.left for kill in kills), Counter())
    lost = [seconds for kill in kills for seconds in kill.lost]
    back = [kill.back for kill in kills if kill.back is not None]
    counts = " ".join(f"{left[kind]:8}" for kind in FileState)
    return f"{what:12} {len(kills):5} {counts}   {spread(lost)}   {spread(back)}"


def show(kills: Sequence[Kill]) -> None:
    """Print the table: files as the kills left them, and seconds."""
    heads = " ".join(f"{kind.value:>8}" for kind in FileState)
    print(f"{'':12} {'':5} {'open files, as the kill left them':>44}   ", end="")
    print(f"{'last frame to kill':>15}   {'all continue after':>15}")
    print(f"{'killed while':12} {'kills':>5} {heads}   {'median':>7} {'worst':>7}", end="")
    print(f"   {'median':>7} {'worst':>7}")
    for moment in Moment:
        print(row(moment.value, [kill for kill in kills if kill.moment is moment]))
    print(row("all", kills))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--daemons", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave no daemon behind
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.mp4"
        known, runs = make_clip(clip), []
        for number in range(min(options.daemons, options.kills)):
            folder, thresholds = roomy_folder(Path(name) / f"daemon{number}")
            rng = random.Random(options.seed * 1000 + number)
            runs.append(RepeatedKills(Daemon(folder, thresholds), known, rng, options.cameras))
        try:
            trio.run(run_all, runs, clip, options.kills)
        finally:
            left = [pid for each in runs for pid in each.daemon.clean_up()]
    kills = [kill for each in runs for kill in each.kills]
    wrong = [finding for each in runs for finding in each.wrong]
    wrong += [f"{name} was never hashed" for each in runs for name in each.unhashed]
    wrong += [f"processes were left at the end: {left}"] if left else []
    show(kills)
    for finding in wrong:
        print(f"WRONG: {finding}")
    print(
        f"{len(kills)} kills, {len(runs)} daemons with {options.cameras} cameras each, seed"
        f" {options.seed}: {sum(o.frames for o in runs)} frames in"
        f" {sum(o.files for o in runs)} files, {len(wrong)} violations,"
        f" {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
