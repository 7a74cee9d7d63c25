"""Hostile clients for some seconds: a good client is answered, and nothing is left of them."""

from __future__ import annotations

import trio
from running_daemon import NewDaemon, check_receipt, small_camera
from server_fuzz import KINDS, FuzzedDaemon

SECONDS = 8.0
GROWTH_KIB = 64 * 1024  # what the allocator may keep of eight seconds


async def test_a_fuzzed_daemon_answers_and_forgets(new_daemon: NewDaemon) -> None:
    """Descriptors and tasks are those of before, a recording has no gap, and no bug was logged.

    `bench/fuzz.py` does the same for minutes.
    """
    fuzzed = FuzzedDaemon(new_daemon(), seed=11)
    daemon = fuzzed.daemon
    daemon.configure(cameras=[small_camera()])
    with trio.fail_after(220):
        await fuzzed.start()
        async with daemon.client() as client:
            await client.call("start_recording", device="camera0")
            before = await fuzzed.usage()
            await fuzzed.fuzz(0.5)  # imports, pools and caches are warm
            warm = await fuzzed.settled(before)
            fuzzed.pings.clear()
            await fuzzed.fuzz(SECONDS)
            after = await fuzzed.settled(before)
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
        assert len(fuzzed.kinds) == len(KINDS)
        assert len(fuzzed.pings) > SECONDS
        assert max(fuzzed.pings) < 5
        assert fuzzed.logins
        assert after.tasks <= before.tasks
        assert after.descriptors <= before.descriptors
        assert after.memory_kib < warm.memory_kib + GROWTH_KIB
        await check_receipt(daemon, receipt)
        assert receipt["gaps"] == []
        await daemon.stop()
    assert "Traceback" not in daemon.log, daemon.log[daemon.log.index("Traceback") - 500 :][:4000]
    assert "crashed" not in daemon.log
    assert daemon.key not in daemon.log
