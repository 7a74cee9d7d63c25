"""Sessions and footage when the daemon is killed again and again, at the worst moments."""

from __future__ import annotations

import random
from pathlib import Path

import trio
from kill_rules import Moment
from repeated_kills import RepeatedKills, run_kills
from running_daemon import NewDaemon


async def test_sessions_and_footage_survive_repeated_kills(
    new_daemon: NewDaemon, clip: tuple[Path, list[str]]
) -> None:
    """Four sessions, seven kills, two of them before recovery is over: the same sessions continue,
    the ledger has one gap for each outage, every file is sealed and plays, all written frames are
    there, and no process is left. `bench/kills.py` does the same for hours."""
    source, known = clip
    kills_run = RepeatedKills(new_daemon(), known, random.Random(7))
    kills_run.configure(source)
    with trio.fail_after(220):
        await run_kills(
            kills_run,
            [
                *(Moment.STARTING, Moment.SEALING, Moment.RESUMING, Moment.CREATING),
                *(Moment.STOPPING, Moment.RECORDING),
            ],
        )
    assert kills_run.wrong == []
    assert kills_run.unhashed == []
    assert len(kills_run.kills) == 7
    assert sum(len(kill.lost) for kill in kills_run.kills) >= 16  # sessions that a kill interrupted
    assert kills_run.frames > 300
