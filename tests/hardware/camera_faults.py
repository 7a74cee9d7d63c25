"""Causes every fault that a camera can have while it records, and checks what camd reports.

    python tests/hardware/camera_faults.py --lab COMMAND [--timeout-factor FACTOR] [--json FILE]
                                           [SCENARIO..]

camera_scenarios.py lists the faults, docs/real-cameras.md explains the checks. Exit status: 0, 1
when anything was not as expected, 2 when the lab failed.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from camera_fault_checks import Seen, Shown, check_fault, read_shown, read_unhealthy  # noqa: E402
from camera_lab import MAKER, CameraLab, RefusedError  # noqa: E402
from camera_round_checks import Moment, read_account  # noqa: E402
from camera_scenarios import RELOAD, SCENARIOS, SERIAL, USB, VIVID_NODE, Scenario  # noqa: E402
from lab_machine import LabError, Machine, keep_trying, lab_options, parse  # noqa: E402

ENTRIES = f"""\
[[camera]]
id = "vivid"
source = "v4l2:{VIVID_NODE}"
resolution = "320x180"
fps = 10
codec = "mjpeg"
[[camera]]
id = "usb"
source = "v4l2:/dev/v4l/by-id/usb-{MAKER}_{SERIAL}-video-index0"
resolution = "320x180"
fps = 10
codec = "copy"
"""
USB_OPTIONS = f"--serial {SERIAL} --modes mjpeg:320x180@10"
BEFORE_SECONDS = 6.0  # of recording before the fault
RECOVERY_SECONDS = 90.0
START_SECONDS = 150.0  # until a start is answered: one time limit of FFmpeg, and the rest


@attrs.define(eq=False)
class Trial:
    """One fault, from its cause to the check."""

    lab: CameraLab
    scenario: Scenario
    first: int = 0  # of the lab's lines
    fault: Moment = attrs.field(factory=lambda: Moment(0.0, 0.0))
    refusals: list[Shown] = attrs.field(factory=list)

    @property
    def camera(self) -> str:
        """The name of the failing camera."""
        return self.scenario.camera

    def run(self) -> Seen:
        """Cause the fault and collect the observations. Raises LabError."""
        self._fresh_cameras()
        self.first = len(self.lab.lines)
        session = refused = ""
        if self.scenario.when == "recording":
            session = self._start()
            self.lab.listen_for(BEFORE_SECONDS)
            self._provoke()
        else:
            refused = self._start_with_fault()
        over = self.lab.act(self.scenario.end)
        if not session:
            session = refused or self._start()
        back = self._recovered(over)
        seen = self._end(session)
        return attrs.evolve(
            seen,
            recovered_after=back and back - over.until,
            refused=bool(self.refusals) and not refused,
        )

    def _fresh_cameras(self) -> None:
        """Remove all cameras, and plug in the one that is to fail."""
        if self.camera == "vivid":
            self.lab.plug_all({})
            self.lab.machine.ssh(f"{RELOAD}; udevadm settle")
        else:
            self.lab.machine.ssh("modprobe -r vivid")
            self.lab.plug_all({USB: USB_OPTIONS})
        self.lab.listen_for(2.0)  # what is told of the one that was taken away
        with suppress(LabError):
            self.lab.until("the camera", self._present, 10)

    def _present(self) -> bool:
        return self.lab.latest.get(self.camera, {}).get("status") == "CONNECTED"

    def _start(self) -> str:
        """Start a recording, again as long as it is refused; return the session."""
        found: list[str] = []

        def start() -> bool:
            try:
                started = self.lab.answer(self._ask(), START_SECONDS)
            except RefusedError as error:
                self._note(error)
                return False
            found.append(started["session_id"])
            return True

        if not keep_trying(start, RECOVERY_SECONDS * self.lab.timeout_factor, 2.0):
            raise LabError(f"{self.camera} does not start: {self.refusals[-1]}")
        return found[0]

    def _ask(self) -> int:
        return self.lab.ask("start_recording", device=self.camera)

    def _note(self, error: RefusedError) -> None:
        """Store the refusal's data while the fault lasts."""
        facts = error.facts
        cause = facts["data"].get("cause") or str(facts["code"])
        words = (facts["message"], facts["data"].get("suggestion") or "")
        shown = Shown(cause, *words, 0.0)
        if shown not in self.refusals:
            self.refusals.append(shown)

    def _provoke(self) -> None:
        self.fault = self.lab.act(self.scenario.begin)
        self.lab.listen_for(self.scenario.lasts)

    def _start_with_fault(self) -> str:
        """Start a recording before the fault or after; return its session, "" when refused."""
        if self.scenario.before:
            self.lab.act(self.scenario.before)
        if self.scenario.when == "before":
            self.fault = self.lab.act(self.scenario.begin)
            number = self._ask()
        else:
            number = self._ask()
            self.fault = self.lab.act(self.scenario.begin)
        try:
            session: str = self.lab.answer(number, START_SECONDS)["session_id"]
        except RefusedError as error:
            self._note(error)
            return ""
        return session

    def _recovered(self, over: Moment) -> float | None:
        """Wait until it records again after the fault; None when it does not."""

        def well() -> bool:
            now = self.lab.latest.get(self.camera, {})
            return now.get("state") == "STREAMING" and bool(now.get("recording_healthy"))

        try:
            self.lab.until("a recording", well, RECOVERY_SECONDS)
        except LabError:
            return None
        return max(over.until, float(self.lab.latest[self.camera]["t"]))

    def _end(self, session: str) -> Seen:
        """Collect everything, and stop the recording."""
        self.lab.listen_for(3.0)
        processes = self.lab.call("tally")["processes"]
        stopped: dict[str, Any] = self.lab.call("stop_recording", device=self.camera)
        account = read_account(session, stopped)
        self.lab.listen_for(3.0)
        lines = self.lab.lines[self.first :]
        shown = (*self.refusals[:1], *read_shown(lines, self.camera, self.fault))
        return Seen(
            shown=shown,
            unhealthy=read_unhealthy(lines, self.camera),
            gaps=account.gaps,
            session_before=account.started_as,
            session_after=account.stopped_as,
            processes=processes,
            processes_left=self.lab.call("tally")["processes"],
            unaccounted=account.captured - account.written - account.lost,
        )

    def clean_up(self) -> None:
        """End what the fault has started."""
        with suppress(LabError):
            self.lab.machine.ssh(f"{self.scenario.end}; true")
        with suppress(LabError, RefusedError):
            self.lab.call("stop_recording", device=self.camera)


def describe(name: str, seen: Seen, findings: list[str]) -> str:
    """Format the observations of a fault as lines."""
    lines = [f"== {name}: {'WRONG' if findings else 'as expected'}"]
    lines += [f"   {s.after:6.1f} s  {s.cause}: {s.message} | {s.suggestion}" for s in seen.shown]
    lines += [
        f"   ledger: {h.cause}, {h.seconds:.2f} s in {h.end - h.start:.2f} s" for h in seen.gaps
    ]
    recovered = "never" if seen.recovered_after is None else f"{seen.recovered_after:.1f} s"
    lines.append(f"   records again after {recovered}; processes left: {seen.processes_left}")
    return "\n".join(lines + [f"   WRONG {finding}" for finding in findings])


def try_all(lab: CameraLab, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Try faults one after another, and print and return the results by name."""
    facts = {}
    for name in names:
        trial = Trial(lab, SCENARIOS[name])
        try:
            seen = trial.run()
            findings = check_fault(trial.scenario.expected, seen, lab.timeout_factor)
        except LabError as error:
            seen, findings = Seen(tuple(trial.refusals)), [str(error)]
        finally:
            trial.clean_up()
        facts[name] = attrs.asdict(seen) | {"findings": findings}
        print(describe(name, seen, findings), flush=True)
    return facts


def main() -> int:
    parser = lab_options(__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO")
    options = parse(parser)
    lab = CameraLab(Machine(shlex.split(options.lab)), options.timeout_factor)
    try:
        lab.set_up(ENTRIES)
        facts = try_all(lab, options.scenarios or list(SCENARIOS))
        if options.json:
            everything = {"faults": facts, "lines": lab.lines, "log": lab.log()}
            options.json.write_text(json.dumps(everything, indent=1))
    except LabError as error:
        print(f"The lab failed: {error}")
        return 2
    finally:
        lab.close()
    wrong = sum(bool(fact["findings"]) for fact in facts.values())
    print(f"\n{len(facts)} faults, {wrong} not as expected")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
