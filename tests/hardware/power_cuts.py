"""Cuts the power of a machine that records, many times, and checks what was durable.

    python tests/hardware/power_cuts.py --lab COMMAND [--cuts 20] [--cameras 4] [--volatile]
                                        [--when random|rotation|seal|recovery]
                                        [--durability 1s|5s|30s|segment]
                                        [--seed N] [--json FILE]

docs/power-cuts.md explains the checks and the table. Exit status: 0, 1 when anything that camd
guarantees was not kept, 2 when the lab failed.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from lab_machine import LabError, Live, lab_options, parse  # noqa: E402
from power_cut_checks import After, Footage, Limits, check_cut, read_after, seams  # noqa: E402
from power_cut_console import Before, understand  # noqa: E402
from power_cuts_files import inspect_all  # noqa: E402
from power_cuts_machine import AGENT, LIVE, CutMachine  # noqa: E402

SESSION_CUTS = 4  # after so many cuts, sessions are stopped for their receipts
ROTATION_SECONDS = {"random": 8, "rotation": 8, "seal": 2, "recovery": 8}
LEAST_ROTATION_SECONDS = {"1s": 0, "5s": 12, "30s": 60, "segment": 24}  # to see what it costs
UNSYNCED_SECONDS = {"1s": 1.0, "5s": 5.0, "30s": 30.0}  # and with "segment" a whole segment
HEADER = (
    f"{'cut':>4} {'moment':<30} {'rec':>3} {'loss max':>8} {'median':>7} {'bound':>6} {'sync':>5}"
    f" {'files':>5} {'recov':>5} {'torn':>7} {'hollow':>6} {'unplay':>6} {'resumed':>7} {'bad':>3}"
)


@attrs.define
class Row:
    """One line of the table."""

    cut: int
    moment: str
    recording: int
    loss_max: float
    loss_median: float
    bound: float
    longest_sync: float
    files: int
    recovered: int
    torn_bytes: int
    hollow: int
    unplayable: int
    resumed: str
    losses: dict[str, float]
    unsynced: dict[str, float]
    findings: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.cut:>4} {self.moment:<30} {self.recording:>3} {self.loss_max:>8.2f}"
            f" {self.loss_median:>7.2f} {self.bound:>6.2f} {self.longest_sync:>5.2f}"
            f" {self.files:>5} {self.recovered:>5} {self.torn_bytes:>7} {self.hollow:>6}"
            f" {self.unplayable:>6} {self.resumed:>7} {len(self.findings):>3}"
        )


@attrs.define(eq=False)
class Run:
    """One machine whose power is cut many times, and all observations of it."""

    machine: CutMachine
    when: str
    rotation: int  # seconds
    rng: random.Random
    folder: Path  # for copies of recordings
    limits: Limits = attrs.field(factory=Limits)
    files: dict[str, Footage] = attrs.field(factory=dict)
    earlier: Before = attrs.field(factory=Before)
    remarked: set[str] = attrs.field(factory=set)
    unplayable: int = 0

    def cut(self, number: int) -> Row:
        """Wait for the time, cut the power, boot, and check."""
        planned = self._wait_for_the_moment()
        records = [self._known(self.machine.cut())]
        self.machine.start()
        if self.when == "recovery":
            planned += self._wait_for_recovery()
            records.append(self._known(self.machine.cut()))
            self.machine.start()
        after = self._look(records[-1])
        return self._row(number, planned, records, after)

    def _known(self, console: list[str]) -> Before:
        """Read what was reported in one boot, merged with what earlier boots have reported."""
        before = understand(console)
        before.follow(self.earlier)
        self.earlier = attrs.evolve(before, durable={})
        return before

    def _wait_for_the_moment(self) -> str:
        """Return what was waited for."""
        if self.when in ("random", "recovery"):
            seconds = self.rng.uniform(1.0, max(12.0, self.rotation))
            time.sleep(seconds)
            return f"after {seconds:.1f} s"
        live = Live(self.machine, LIVE)
        try:
            kinds = ["created"]
            if self.when == "seal":
                kinds = ["stopping"] if self.rng.random() < 0.6 else ["created"]
                churn = f"{AGENT} churn {self.rng.randrange(1000)} {' '.join(self.machine.cameras)}"
                self.machine.ssh(f"systemd-run -q --unit=churn {churn}")
            time.sleep(self.rng.uniform(2.0, 10.0))
            live.wait(*kinds, seconds=60)
            time.sleep(self.rng.choice((0.0, self.rng.uniform(0.0, 0.3))))
        finally:
            live.close()
        return ""

    def _wait_for_recovery(self) -> str:
        """Wait for some time soon after the boot, or for the first file after it."""
        if self.rng.random() < 0.5:
            seconds = self.rng.uniform(0.0, 15.0)
            time.sleep(seconds)
            return f", {seconds:.1f} s"
        live = Live(self.machine, LIVE)
        try:
            live.wait("created", seconds=300)
        finally:
            live.close()
        seconds = self.rng.uniform(0.0, 0.5)
        time.sleep(seconds)
        return f", created +{seconds:.1f} s"

    def _look(self, before: Before) -> After:
        """Collect everything after the boot, and inspect the new files."""
        answer = self.machine.look(before.running)
        listed = {f["filename"]: f["status"] for f in answer["files"]}
        strays = {name for name in answer["old"] if name.endswith(".mp4") and name not in listed}
        whole = strays | {name for name, status in listed.items() if status != "recording"}
        names = sorted(n for n in whole if n not in self.files or self.files[n].hollow)
        self.machine.pull(names, self.folder)
        new = inspect_all(self.folder / name for name in names)
        self.unplayable = sum(bool(f.finding) and not f.hollow for f in new.values())
        self.files |= new
        for name in names:
            (self.folder / name).unlink()
        return read_after(answer, dict(self.files), torn_bytes(answer["log"]))

    def _row(self, number: int, planned: str, records: list[Before], after: After) -> Row:
        boots = [record.boot for record in records]
        verdicts = [
            check_cut(before, after, self.limits, frozenset(boots[number:]))
            for number, before in enumerate(records, 1)
        ]
        before, going = records[-1], {c: status.session for c, status in after.status.items()}
        losses = by_process(verdict.losses for verdict in verdicts)
        kind, moment = before.last_trigger
        resumed = sum(going.get(c) == session for c, session in before.running.items())
        notes = [
            *before.notification,
            *(seam for seam in seams(after) if seam not in self.remarked),
        ]
        self.remarked.update(notes)
        findings = [c for verdict in verdicts for c in verdict.findings]
        return Row(
            cut=number,
            moment=planned or f"{(before.cut_at - moment) * 1000:.0f} ms after {kind}",
            recording=len(before.running),
            loss_max=max(losses.values(), default=0.0),
            loss_median=statistics.median(losses.values()) if losses else 0.0,
            bound=max(verdict.bound for verdict in verdicts),
            longest_sync=max(record.longest_sync for record in records),
            files=len(after.files),
            recovered=len(after.torn),
            torn_bytes=sum(after.torn.values()),
            hollow=sum(file.hollow for file in after.files.values()),
            unplayable=self.unplayable,
            resumed=f"{resumed}/{len(before.running)}",
            losses=losses,
            unsynced=by_process(verdict.unsynced for verdict in verdicts),
            findings=tuple(dict.fromkeys(findings)),
            notes=tuple(notes),
        )

    def renew_sessions(self) -> None:
        """Stop all sessions, so that their receipts can be checked, and start others."""
        self.machine.agent("stop", *self.machine.cameras)
        self.machine.agent("start", *self.machine.cameras)

    def finish(self) -> Row:
        """Stop everything and check every file again, byte for byte."""
        self.machine.agent("stop", *self.machine.cameras)
        before = self._known(self.machine.console())
        before.durable.clear()  # of what this boot has written no cut took anything
        self.files.clear()
        return self._row(0, "the end", [before], self._look(before))


def by_process(records: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Bring together what was measured of each camera in each boot, as `0:camera0`."""
    numbered = enumerate(records)
    return {f"{record}:{camera}": s for record, found in numbered for camera, s in found.items()}


def torn_bytes(log: list[str]) -> dict[str, int]:
    """Read from camd's log which interrupted files it sealed, and how many bytes it cut off."""
    torn = {}
    for line in log:
        fields = dict(part.partition("=")[::2] for part in shlex.split(line) if "=" in part)
        if fields.get("event") == "file_found" and fields.get("outcome") == "sealed":
            torn[fields["filename"]] = int(fields["torn_bytes"])
    return torn


def report(rows: list[Row], run: Run) -> None:
    """Print the summary."""
    cuts = [row for row in rows if row.cut]
    losses = sorted(loss for row in cuts for loss in row.losses.values())
    ideal = run.limits.durability + run.limits.fragment
    print(f"\n{len(cuts)} cuts, {len(losses)} recordings interrupted, {len(run.files)} files")
    if losses:
        worst, median = losses[-1], statistics.median(losses)
        over = sum(loss > ideal for loss in losses)
        print(f"raw loss: median {median:.2f} s, worst {worst:.2f} s; over {ideal} s: {over}")
        unsynced = max(seconds for row in cuts for seconds in row.unsynced.values())
        print(f"of what was called written, at most the last {unsynced:.2f} s are lost")
    print(f"recovered: {sum(row.recovered for row in cuts)} files,", end=" ")
    print(f"{sum(row.torn_bytes for row in cuts)} torn bytes;", end=" ")
    print(f"without footage: {sum(file.hollow for file in run.files.values())}")
    print(f"violations: {sum(len(row.findings) for row in rows)}")


def arguments() -> argparse.Namespace:
    parser = lab_options(__doc__)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--volatile", action="store_true", help="the disk's cache is lost, too")
    parser.add_argument("--when", choices=tuple(ROTATION_SECONDS), default="random")
    parser.add_argument("--durability", choices=tuple(LEAST_ROTATION_SECONDS), default="1s")
    parser.add_argument("--seed", type=int, default=1)
    return parse(parser)


def run_all(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Make all cuts, and print each row when it is known."""
    cameras = [f"camera{number}" for number in range(options.cameras)]
    volatile = ["--volatile"] * options.volatile
    machine = CutMachine(shlex.split(options.lab), volatile, cameras=cameras)
    rotation = max(ROTATION_SECONDS[options.when], LEAST_ROTATION_SECONDS[options.durability])
    run = Run(machine, options.when, rotation, random.Random(options.seed), folder)
    run.limits = Limits(durability=UNSYNCED_SECONDS.get(options.durability, float(rotation)))
    rows: list[Row] = []
    try:
        machine.start(fresh=True)
        machine.set_up(rotation, options.durability)
        machine.look({})
        machine.agent("start", *cameras)
        print(HEADER, flush=True)
        for number in range(1, options.cuts + 1):
            rows.append(tell(run.cut(number)))
            if number % SESSION_CUTS == 0:
                run.renew_sessions()
        rows.append(tell(run.finish()))
    except LabError as error:
        print(f"The lab failed: {error}")
        raise SystemExit(2) from error
    finally:
        with suppress(LabError):  # it may be off
            machine.run("powercut")
        report(rows, run)
    return rows


def tell(row: Row) -> Row:
    """Print a row with its violations and notes."""
    print(row)
    for finding in row.findings:
        print(f"       VIOLATION {finding}")
    for note in row.notes:
        print(f"       note: {note}")
    sys.stdout.flush()
    return row


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        rows = run_all(options, Path(name))
    if options.json:
        values: list[dict[str, Any]] = [attrs.asdict(row) for row in rows]
        options.json.write_text(json.dumps(values, indent=1))
    return int(any(row.findings for row in rows))


if __name__ == "__main__":
    sys.exit(main())
