"""Plugs idle cameras in and out, and measures how soon they are listed, announced and absent.

    python tests/hardware/camera_arrivals.py --lab COMMAND [--rounds 10] [--seed 1]
                                             [--timeout-factor FACTOR] [--json FILE]

Nothing is configured: five USB cameras are discovered when the service starts, and one by one; then
the same while another camera does not answer, as when its firmware hangs.
docs/real-cameras.md explains the checks. Exit status: 0, 1 when a check failed,
2 when the lab failed.
"""

from __future__ import annotations

import json
import random
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from camera_lab import CameraLab  # noqa: E402
from camera_round_checks import Limits, Pull, check_arrivals, read_pull, summary  # noqa: E402
from lab_machine import LabError, Machine, lab_options, parse  # noqa: E402

CAMERAS = 5
WAIT_SECONDS = 20.0  # for what should take two
SERIAL = "COMES{number}"


@attrs.define(eq=False)
class Arrivals:
    """The cameras, and what was reported of them."""

    lab: CameraLab
    rng: random.Random
    ids: dict[str, str] = attrs.field(factory=dict)  # by the tool's name
    pulls: list[Pull] = attrs.field(factory=list)
    findings: list[str] = attrs.field(factory=list)

    def begin(self) -> None:
        """Plug all in, start the service, and check the time until all are listed."""
        options = {
            f"come{n}": f"--serial {SERIAL.format(number=n)} --port {n}" for n in range(CAMERAS)
        }
        self.lab.plug_all(options)
        self.lab.set_up("")
        with suppress(LabError):
            self.lab.until("all cameras", self._all_known, WAIT_SECONDS)
        ready = next(line["t"] for line in self.lab.lines if line["k"] == "connected")
        times = [line["t"] for line in self.lab.latest.values()]
        print(f"{len(self.ids)} of {CAMERAS} cameras listed {max(times) - ready:.2f} s after the")
        print("service had answered for the first time")
        if not self._all_known():
            raise LabError(f"only {self.ids} are known")
        if max(times) - ready > self.lab.timeout_factor:
            self.findings.append(f"the list took {max(times) - ready:.2f} s")

    def _all_known(self) -> bool:
        for camera, line in self.lab.latest.items():
            for number in range(CAMERAS):
                if SERIAL.format(number=number) in line["identity"]:
                    self.ids[f"come{number}"] = camera
        return len(self.ids) == CAMERAS

    def round(self, number: int, names: list[str]) -> Pull:
        """Unplug one camera, and plug it in again."""
        name = self.rng.choice(names)
        since = len(self.lab.lines)
        pulled = self.lab.camera(name, "unplug")
        self.lab.listen_for(self.rng.uniform(2.0, 4.0))
        plugged = self.lab.camera(name, "plug")
        pull = Pull(number, self.ids[name], pulled, plugged, "same")

        def read() -> Pull:
            return read_pull(pull, self.lab.lines[since:])

        with suppress(LabError):
            self.lab.until("the camera", lambda: read().listed is not None, WAIT_SECONDS)
        self.pulls.append(read())
        return self.pulls[-1]

    def hang(self, name: str) -> None:
        """Let a camera stop answering, and query it."""
        self.lab.camera(name, "unplug")
        self.lab.listen_for(2.0)
        self.lab.camera(name, "plug")
        self.lab.camera(name, "hang")


def show(pull: Pull) -> str:
    """Format a round as a line."""
    gone = "never" if pull.gone is None else f"{pull.gone - pull.pulled.until:.2f} s"
    listed = "never" if pull.listed is None else f"{pull.listed - pull.plugged.until:.2f} s"
    return f"{pull.number:>5} {pull.camera:<8} called gone {gone}, present {listed}"


def run(lab: CameraLab, rounds: int, seed: int) -> Arrivals:
    """Make all rounds, half of them while one camera hangs."""
    arrivals = Arrivals(lab, random.Random(seed))
    arrivals.begin()
    names = sorted(arrivals.ids)
    for number in range(1, rounds + 1):
        print(show(arrivals.round(number, names)), flush=True)
    hanging = names.pop()
    arrivals.hang(hanging)
    print(f"{arrivals.ids[hanging]} hangs", flush=True)
    for number in range(rounds + 1, 2 * rounds + 1):
        print(show(arrivals.round(number, names)), flush=True)
    return arrivals


def main() -> int:
    parser = lab_options(__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parse(parser)
    lab = CameraLab(Machine(shlex.split(options.lab)), options.timeout_factor)
    try:
        arrivals = run(lab, options.rounds, options.seed)
        facts: dict[str, Any] = {"lines": lab.lines, "log": lab.log()}
    except LabError as error:
        print(f"The lab failed: {error}")
        return 2
    finally:
        lab.close()
    limits = Limits()
    limits = attrs.evolve(
        limits, gone=limits.gone * lab.timeout_factor, listed=limits.listed * lab.timeout_factor
    )
    findings = [*arrivals.findings, *check_arrivals(arrivals.pulls, limits)]
    print(f"\n{summary(arrivals.pulls)}")
    for finding in findings:
        print(f"WRONG {finding}")
    if options.json:
        facts |= {"pulls": [attrs.asdict(p) for p in arrivals.pulls], "findings": findings}
        options.json.write_text(json.dumps(facts, indent=1))
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
