"""The time that the help of each command takes, beside a Python that imports click and nothing.

    python bench/help.py [--rounds 5]

Each command is run with --help, in turns with `python -c "import click"`, the least that a command
line in Python with click takes. The columns are milliseconds: of the processor, the median of the
rounds, with its ratio to that of the baseline; and of the wall clock, the least of the rounds, as
the one that other load disturbed least. The aim is 250 ms; the ratio holds on any machine.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import click

from camd.cli import main as camd

CAMD = [sys.executable, "-m", "camd"]
BASELINE = [sys.executable, "-c", "import click"]
AIM_SECONDS = 0.25


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return the seconds of the processor and of the wall clock that it took."""
    before, began = processor_seconds(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return processor_seconds() - before, time.perf_counter() - began


def processor_seconds() -> float:
    """Return the seconds of the processor that all commands took so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = camd.list_commands(click.Context(camd, **camd.context_settings))
    commands = {f"camd {name}": [*CAMD, name, "--help"] for name in names}
    commands = {"python and click": BASELINE, "camd": [*CAMD, "--help"]} | commands
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in commands.items():
            found[name].append(measure(command))
    times = {
        name: (statistics.median(cpu for cpu, _ in each), min(wall for _, wall in each))
        for name, each in found.items()
    }
    base, _ = times["python and click"]
    print(f"{'milliseconds':24} {'processor':>9} {'ratio':>6} {'wall':>6}")
    for name, (cpu, wall) in sorted(times.items(), key=lambda each: each[1]):
        print(f"{name:24} {cpu * 1000:9.0f} {cpu / base:6.1f} {wall * 1000:6.0f}")
    slowest = max(wall for _, wall in times.values())
    print(f"slowest {slowest * 1000:.0f} ms, aim {AIM_SECONDS * 1000:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
