"""Unplugs recording USB cameras and plugs them in again, many times, and checks the ledger.

    python tests/hardware/camera_rounds.py --lab COMMAND [--rounds 50] [--cameras 4] [--seed 1]
                                           [--by link|serial] [--timeout-factor FACTOR]
                                           [--json FILE]

docs/real-cameras.md explains the checks. Exit status: 0, 1 when a check failed,
2 when the lab failed.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from camera_lab import MAKER, CameraLab  # noqa: E402
from camera_round_checks import (  # noqa: E402
    Account,
    Limits,
    Pull,
    Tally,
    check_rounds,
    read_account,
    read_pull,
    summary,
)
from lab_machine import LabError, Machine, keep_trying, lab_options, parse  # noqa: E402

RATE = 10
AWAY_SECONDS = (2.0, 8.0)
BACK_SECONDS = 60.0  # the longest that a camera may take to record again
SPARE_PORT = 7
OTHER_PORT_SHARE = 0.3  # of the rounds
CAMERA = """\
[[camera]]
id = "camera{number}"
source = "v4l2:{source}"
resolution = "320x180"
fps = {rate}
codec = "copy"
"""
SOURCES = {
    "link": f"/dev/v4l/by-id/usb-{MAKER}_ROUND{{number}}-video-index0",
    "serial": "serial=ROUND{number}",
}


@attrs.define(eq=False)
class Rounds:
    """The cameras, their ports, and what was recorded of them."""

    lab: CameraLab
    cameras: int
    rng: random.Random
    ports: dict[str, int] = attrs.field(factory=dict)
    free: int = SPARE_PORT
    sessions: dict[str, str] = attrs.field(factory=dict)
    pulls: list[Pull] = attrs.field(factory=list)

    @property
    def names(self) -> list[str]:
        """The cameras' ids."""
        return [f"camera{number}" for number in range(self.cameras)]

    def begin(self, by: str) -> Tally:
        """Plug all cameras in, start all sessions, and count resources."""
        options = f"--modes mjpeg:320x180@{RATE}"
        self.ports = {name: number for number, name in enumerate(self.names)}
        self.lab.plug_all(
            {c: f"--serial ROUND{n} --port {n} {options}" for c, n in self.ports.items()}
        )
        entries = [
            CAMERA.format(number=n, rate=RATE, source=SOURCES[by].format(number=n))
            for n in range(self.cameras)
        ]
        self.lab.set_up("".join(entries))
        asks = {name: self.lab.ask("start_recording", device=name) for name in self.names}
        self.sessions = {c: self.lab.answer(n, 120)["session_id"] for c, n in asks.items()}
        return self.tally()

    def tally(self) -> Tally:
        """Count the service's resources, once it has one FFmpeg process for each camera."""
        found: list[Tally] = []

        def counted() -> bool:
            self.lab.listen_for(5.0)
            found.append(Tally(**self.lab.call("tally")))
            return found[-1].processes == self.cameras

        keep_trying(counted, 30.0 * self.lab.timeout_factor)
        return found[-1]

    def round(self, number: int) -> Pull:
        """Unplug one camera, wait, plug it in, and wait until it records."""
        camera = self.rng.choice(self.names)
        other = self.rng.random() < OTHER_PORT_SHARE
        since = len(self.lab.lines)
        pulled = self.lab.camera(camera, "unplug")
        self.lab.listen_for(self.rng.uniform(*AWAY_SECONDS))
        if other:
            self.ports[camera], self.free = self.free, self.ports[camera]
        plugged = self.lab.camera(camera, "plug", str(self.ports[camera]))
        port = f"-> {self.ports[camera]}" if other else "same"
        pull = Pull(number, camera, pulled, plugged, port)

        def back() -> bool:
            return read_pull(pull, self.lab.lines[since:]).back is not None

        with suppress(LabError):
            self.lab.until("the camera's return", back, BACK_SECONDS)
        pull = read_pull(pull, self.lab.lines[since:])
        self.pulls.append(pull)
        return pull

    def end(self) -> dict[str, Account]:
        """Stop all sessions."""
        asks = {name: self.lab.ask("stop_recording", device=name) for name in self.names}
        return {c: read_account(self.sessions[c], self.lab.answer(n)) for c, n in asks.items()}


HEADER = f"{'round':>5} {'camera':<8} {'port':<5} {'away':>6} {'gone':>6} {'listed':>6} {'back':>6}"


def show(pull: Pull) -> str:
    """Format a round as a line; seconds after unplugging, and after plugging in."""

    def after(moment: float | None, since: float) -> str:
        return "never" if moment is None else f"{moment - since:.2f}"

    return (
        f"{pull.number:>5} {pull.camera:<8} {pull.port:<5}"
        f" {pull.plugged.until - pull.pulled.until:>6.2f}"
        f" {after(pull.gone, pull.pulled.until):>6} {after(pull.listed, pull.plugged.until):>6}"
        f" {after(pull.back, pull.plugged.until):>6}"
    )


def run(options: argparse.Namespace, lab: CameraLab) -> tuple[list[str], Mapping[str, Any]]:
    """Make all rounds; return the findings and the observations."""
    rounds = Rounds(lab, options.cameras, random.Random(options.seed))
    before = rounds.begin(options.by)
    print(HEADER, flush=True)
    for number in range(1, options.rounds + 1):
        print(show(rounds.round(number)), flush=True)
        lab.listen_for(rounds.rng.uniform(0.0, 3.0))
    after = rounds.tally()
    accounts = rounds.end()
    gone, listed = Limits().gone * options.timeout_factor, Limits().listed * options.timeout_factor
    findings = check_rounds(rounds.pulls, accounts, before, after, Limits(gone=gone, listed=listed))
    print(f"\n{summary(rounds.pulls)}\nbefore {before}\nafter  {after}")
    facts = {
        "pulls": [attrs.asdict(pull) for pull in rounds.pulls],
        "accounts": {camera: attrs.asdict(account) for camera, account in accounts.items()},
        "tallies": [attrs.asdict(before), attrs.asdict(after)],
        "findings": findings,
        "lines": lab.lines,
    }
    return findings, facts


def main() -> int:
    parser = lab_options(__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by", choices=tuple(SOURCES), default="link", help="what names a camera")
    options = parse(parser)
    lab = CameraLab(Machine(shlex.split(options.lab)), options.timeout_factor)
    try:
        findings, facts = run(options, lab)
    except LabError as error:
        print(f"The lab failed: {error}")
        return 2
    finally:
        lab.close()
    for finding in findings:
        print(f"WRONG {finding}")
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1))
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
