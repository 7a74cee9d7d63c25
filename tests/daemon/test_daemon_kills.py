"""Sessions and footage while the daemon is killed again and again, at the worst moments."""

from __future__ import annotations

import random
from pathlib import Path

import trio
from conftest import NewDaemon
from kill_account import Moment
from kill_stage import Ordeal, suffer


async def test_nothing_is_forgotten_however_often_the_daemon_is_killed(
    new_daemon: NewDaemon, clip: tuple[Path, list[str]]
) -> None:
    """Four sessions go through seven kills, two of them before recovery is over: the same ids go
    on, one gap stands for each outage, every file is sealed and plays, what was written is there,
    and no child is left. `bench/kills.py` does the same for hours."""
    source, known = clip
    ordeal = Ordeal(new_daemon(), known, random.Random(7))
    ordeal.configure(source)
    with trio.fail_after(110):
        await suffer(
            ordeal,
            [
                *(Moment.STARTING, Moment.SEALING, Moment.RESUMING, Moment.CREATING),
                *(Moment.STOPPING, Moment.RECORDING),
            ],
        )
    assert ordeal.wrong == []
    assert ordeal.unhashed == []
    assert len(ordeal.kills) == 7
    assert sum(len(kill.lost) for kill in ordeal.kills) >= 16  # sessions that a kill interrupted
    assert ordeal.frames > 300
