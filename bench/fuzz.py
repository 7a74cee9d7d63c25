"""A daemon under hostile clients for minutes: what it still answers, and what is left of them.

    python bench/fuzz.py [--minutes 5] [--seed N]

A dozen hostile clients (`tests/daemon/server_fuzz.py`) send random bytes, half heads, broken
frames, deep JSON, endless fragments, and do not read; a good client pings every 50 ms, another one
connects, authenticates and leaves every second. A camera records meanwhile. Afterwards descriptors
and tasks must be those of before. The exit status is 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import trio

sys.path.append(str(Path(__file__).parents[1] / "tests" / "daemon"))

from running_daemon import Daemon, check_receipt, roomy_folder, small_camera
from server_fuzz import FuzzedDaemon, Usage


def shown(usage: Usage) -> str:
    memory = f"{usage.memory_kib / 1024:.1f} MiB"
    return f"{usage.descriptors} descriptors, {usage.tasks} tasks, {memory}"


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    points = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    p50, p99 = (f"{point * 1000:.0f}" for point in points)
    return f"{len(ordered)}; p50 {p50} ms, p99 {p99} ms, worst {ordered[-1] * 1000:.0f} ms"


async def run(fuzzed: FuzzedDaemon, seconds: float) -> list[str]:
    """Fuzz; print what was measured; return what is wrong."""
    daemon = fuzzed.daemon
    daemon.configure(cameras=[small_camera()])
    await fuzzed.start()
    async with daemon.client() as client:
        await client.call("start_recording", device="camera0")
        before = await fuzzed.usage()
        await fuzzed.fuzz(10)
        warm = await fuzzed.all_queried(before)
        fuzzed.pings.clear()
        await fuzzed.fuzz(seconds)
        after = await fuzzed.all_queried(before)
        receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
    await check_receipt(daemon, receipt)
    await daemon.stop()
    print(f"hostile clients   {fuzzed.kinds.total()}: {dict(fuzzed.kinds.most_common())}")
    print(f"pings             {spread(fuzzed.pings)}")
    print(f"logins            {spread(fuzzed.logins)}")
    for what, usage in (("before", before), ("after ten seconds", warm), ("at the end", after)):
        print(f"{what:17} {shown(usage)}")
    print(f"recording         {receipt['frames_written']} frames, gaps: {receipt['gaps']}")
    checks = {
        "descriptors were not returned": after.descriptors > before.descriptors,
        "tasks were not returned": after.tasks > before.tasks,
        "the recording has gaps": bool(receipt["gaps"]),
        "a bug was logged": "Traceback" in daemon.log or "crashed" in daemon.log,
        "a key was logged": daemon.key in daemon.log,
    }
    return [wrong for wrong, found in checks.items() if found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed              {options.seed}")
    with tempfile.TemporaryDirectory() as name:
        folder, thresholds = roomy_folder(Path(name) / "daemon")
        fuzzed = FuzzedDaemon(Daemon(folder, thresholds), options.seed)
        try:
            wrong = trio.run(run, fuzzed, options.minutes * 60)
        finally:
            fuzzed.daemon.clean_up()
    print("\n".join(wrong) or "nothing is wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
