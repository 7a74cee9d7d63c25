"""Exchanges cameras, replaces one, cuts the power, and checks that each id keeps its camera.

    python tests/hardware/camera_swap.py --lab COMMAND [--by discovery|serial|link]
                                         [--time-factor FACTOR] [--json FILE]

Two USB cameras record. They exchange their ports; then one is replaced by another one of its model,
which is adopted in the end; then the power is cut, and they are plugged in in another order. With
`--by link` and `--by serial` cameras are configured, and none is replaced.
docs/real-cameras.md explains the checks. Exit status: 0, 1 when a check failed,
2 when the lab failed.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from camera_lab import MAKER, CameraLab, RefusedError  # noqa: E402
from camera_swap_checks import Chapter, judge_chapter, read_alarms, read_recorded, records_again  # noqa: E402
from lab_machine import LabError, Machine, lab_options, parse  # noqa: E402

SIZES = {"SWAPA": "320x180", "SWAPB": "160x120", "SWAPC": "176x144"}  # by serial number
REPLACEMENT = "SWAPC"
RETURN_SECONDS = 60.0
ALARM_SECONDS = 10.0
ENTRY = """\
[[camera]]
id = "camera{number}"
source = "v4l2:{source}"
resolution = "{size}"
fps = 10
codec = "copy"
"""
SOURCES = {
    "link": f"/dev/v4l/by-id/usb-{MAKER}_{{serial}}-video-index0",
    "serial": "serial={serial}",
}


def entries(by: str) -> str:
    """Return `[[camera]]` entries for the first two cameras, or none."""
    if by == "discovery":
        return ""
    return "".join(
        ENTRY.format(number=n, source=SOURCES[by].format(serial=serial), size=SIZES[serial])
        for n, serial in enumerate(("SWAPA", "SWAPB"))
    )


@attrs.define(eq=False)
class Swap:
    """The two cameras, by serial number, and what was observed."""

    lab: CameraLab
    named: bool  # in the configuration
    ids: dict[str, str] = attrs.field(factory=dict)  # by serial number
    sessions: dict[str, str] = attrs.field(factory=dict)  # by id
    findings: list[str] = attrs.field(factory=list)

    def plug(self, serial: str, port: int) -> None:
        """Make a camera and plug it in."""
        options = f"--serial {serial} --port {port} --modes mjpeg:{SIZES[serial]}@10"
        self.lab.machine.ssh(f"uvc-camera start {serial} {options}")

    def begin(self, by: str) -> None:
        """Plug in the two cameras, and let both record."""
        self.lab.plug_all({})
        self.plug("SWAPA", 0)
        self.plug("SWAPB", 1)
        self.lab.set_up(entries(by))
        self.lab.until("both cameras", lambda: self._know("SWAPA") and self._know("SWAPB"), 30)
        asks = {c: self.lab.ask("start_recording", device=c) for c in self.ids.values()}
        self.sessions = {c: self.lab.answer(n, 120)["session_id"] for c, n in asks.items()}
        since = self.lab.clock() - 120
        self.judge("start", since, {c: SIZES[s] for s, c in self.ids.items()})

    def _know(self, serial: str) -> bool:
        """Tell whether a camera is listed; store its id."""
        if self.named:
            self.ids[serial] = "camera0" if serial == "SWAPA" else "camera1"
            return True
        for camera, line in self.lab.latest.items():
            if serial in f"{line['identity']} {line['name']}":
                self.ids[serial] = camera
                return True
        return False

    def exchange(self) -> None:
        """Both cameras are plugged in at each other's port."""
        since = self.lab.camera("SWAPA", "unplug").since
        self.lab.camera("SWAPB", "unplug")
        self.lab.listen_for(3.0)
        self.lab.camera("SWAPA", "plug", "1")
        self.lab.camera("SWAPB", "plug", "0")
        notes = self._await_return(since, *self.ids.values())
        self.judge("exchange", since, {c: SIZES[s] for s, c in self.ids.items()}, notes=notes)

    def replace(self) -> None:
        """Another camera is plugged in at the first camera's port; then it is adopted."""
        mine = self.ids["SWAPA"]
        since = self.lab.camera("SWAPA", "unplug").since
        self.lab.machine.ssh("uvc-camera do SWAPA quit")
        self.plug(REPLACEMENT, 1)
        notes = self._await("an alarm", lambda: mine in read_alarms(self.lab.latest))
        notes += self._await("the replacement's own id", lambda: self._know(REPLACEMENT))
        self.lab.listen_for(ALARM_SECONDS)
        if (own := self.ids.get(REPLACEMENT)) == mine:
            notes.append(f"the replacement is called {own}")
        self.judge("replacement", since, {}, alarmed=frozenset((mine,)), notes=notes)
        node = self.lab.machine.ssh(
            f"readlink -f /dev/v4l/by-id/usb-{MAKER}_{REPLACEMENT}-video-index0"
        ).strip()
        since = self.lab.clock()
        try:
            self.lab.call("adopt_camera", device=mine, node=node)
        except RefusedError as error:
            self.findings.append(f"adoption: refused: {error.facts}")
            return
        del self.ids["SWAPA"]
        self.ids[REPLACEMENT] = mine
        notes = self._await_return(since, mine)
        self.judge("adoption", since, {mine: SIZES[REPLACEMENT]}, notes=notes)

    def cut(self) -> None:
        """Cut the power; plug the cameras in in reverse order, so that their nodes change."""
        self.lab.listen_for(3.0)
        self.lab.close()
        self.lab.machine.cut()
        self.lab.machine.start()
        since = self.lab.clock()
        for port, serial in enumerate(sorted(self.ids, reverse=True)):
            self.plug(serial, port + 2)
        self.lab.listen()
        notes = self._await_return(since, *self.ids.values())
        for serial, camera in self.ids.items():
            if not self.named and serial not in str(self.lab.latest.get(camera)):
                notes.append(f"{camera} is not {serial} any more")
        self.judge("power cut", since, {c: SIZES[s] for s, c in self.ids.items()}, notes=notes)

    def _await(self, what: str, condition: Callable[[], bool], seconds: float = 10.0) -> list[str]:
        try:
            self.lab.until(what, condition, seconds)
        except LabError as error:
            return [str(error)]
        return []

    def _await_return(self, since: float, *cameras: str) -> list[str]:
        """Wait until cameras record to another file; return those that do not."""

        def back(camera: str) -> bool:
            return records_again(self.lab.lines, camera, since)

        return [
            note
            for camera in cameras
            for note in self._await(f"{camera}'s return", lambda c=camera: back(c), RETURN_SECONDS)
        ]

    def judge(
        self,
        name: str,
        since: float,
        sizes: dict[str, str],
        *,
        alarmed: frozenset[str] = frozenset(),
        notes: list[str] | None = None,
    ) -> None:
        """Check what was recorded and reported since a time, and print it."""
        listed = self.lab.call("list_recordings", limit=1000)["files"]
        starts = {
            f["filename"]: datetime.fromisoformat(f["start_time"]).timestamp() for f in listed
        }
        new = [name for name, start in starts.items() if start >= since]
        files = [self.lab.call("get_recording_info", filename=name) for name in new]
        statuses = {c: self.lab.call("get_recording_status", device=c) for c in self.sessions}
        alarms = read_alarms(self.lab.latest)
        chapter = Chapter(
            name,
            sizes,
            read_recorded(files, starts, since),
            alarms,
            alarmed,
            self.sessions,
            {c: status["session_id"] for c, status in statuses.items() if status},
            tuple(notes or ()),
        )
        findings = judge_chapter(chapter)
        self.findings += findings
        print(f"{name}: recorded {chapter.recorded}, alarms {sorted(alarms)}", flush=True)
        for finding in findings:
            print(f"   WRONG {finding}", flush=True)


def run(lab: CameraLab, by: str) -> Swap:
    """Run all parts."""
    swap = Swap(lab, by != "discovery")
    swap.begin(by)
    swap.exchange()
    if by == "discovery":
        swap.replace()
    swap.cut()
    return swap


def main() -> int:
    parser = lab_options(__doc__)
    parser.add_argument("--by", choices=("discovery", *SOURCES), default="discovery")
    options = parse(parser)
    lab = CameraLab(Machine(shlex.split(options.lab)), options.time_factor)
    try:
        swap = run(lab, options.by)
    except (LabError, RefusedError) as error:
        print(f"The lab failed: {error}")
        return 2
    finally:
        lab.close()
    facts: dict[str, Any] = {"ids": swap.ids, "complaints": swap.findings, "lines": lab.lines}
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1))
    return int(bool(swap.findings))


if __name__ == "__main__":
    sys.exit(main())
