"""The checks of the installed service see each thing that can be wrong, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from service_lab_checks import CHECKS, check_step

VISITORS: dict[str, Any] = {"answered": 9, "refused": [], "longest": 1.0}
EXPOSED = "level for camd.service: 2.1"
GOES_ON: dict[str, Any] = {
    "before": "s1",
    "after": "s1",
    "gaps": [["service_restart", 1.5]],
    "back": 2.0,
    "restarts": 1,
}
LINK = "v4l2:/dev/v4l/by-id/usb-Camlab_Lab_Camera_{}-video-index0"
PORT = "v4l2:/dev/v4l/by-path/platform-vhci_hcd.0-usb-0:{}:1.0-video-index0"
GOOD: dict[str, dict[str, Any]] = {
    "init": {
        "kept": 1,
        "unchanged": True,
        "made": [0, "camd.toml: 2 cameras.", ""],
        "sources": [LINK.format("A1"), LINK.format("B2")],
        "check": [0, "No problems.", ""],
        "reload": "",
        "receipts": [{"frames_captured": 90, "frames_written": 90}],
        "verify": [0, "2 files checked", ""],
        "others": {
            name: {"status": 0, "sources": sources, "text": text, "messages": ""}
            for name, sources, text in (
                ("busy", [LINK.format("A1"), LINK.format("B2")], ""),
                ("no rights", [LINK.format("A1")], "# /dev/video2 has no entry: no permission"),
                ("same serial number", [PORT.format(1), LINK.format("B2"), PORT.format(3)], ""),
            )
        },
    },
    "set_up": {
        "verify": "",
        "security": "\u2192 Overall exposure level for camd.service: 1.6 OK :-)",
    },
    "socket": {"idle": "inactive", "started": True, "session": "s1", **VISITORS},
    "watch": {"status": "1 camera, 1 recording; storage ok", "events": ["camera_state"]},
    "reload": {
        "at_once": True,
        "soon": 0.1,
        "same_process": True,
        "bad": "Job for camd.service failed.",
        "log": "the configuration has a mistake:\n  recordings: unknown key",
        "before": "s1",
        "after": "s1",
    },
    "restart": GOES_ON | VISITORS,
    "kill": GOES_ON,
    "stop_signal": GOES_ON | {"noticed": 6.1},
    "disk": {"same_process": True, "before": "s1", "after": "s1"},
    "late_disk": {
        "absent": ["missing", "The disk is not mounted", "Mount the disk"],
        "found": 4.5,
        "resumed": 6.0,
        "left": [],
    },
    "clock": {"before": "s1", "after": "s1", "frames": [9, 9], "verify": 0, "next": "s2"},
    "usb": {"found": "camera2", "session": "s2"},
    "hard": {"step": "hard", "ProcSubset=pid": GOES_ON},
    "upgrade": GOES_ON | {"version": "999.0", "old_version": "1.0"},
    "format": {"status": "78", "state": "failed", "unchanged": True, "started": True},
    "remove": {
        "state": "inactive",
        "before": ["a.mp4"],
        "after": ["a.mp4", "b.mp4"],
        "home": True,
        "config": False,
        "program": False,
    },
}


@pytest.mark.parametrize("step", CHECKS)
def test_a_service_that_does_what_it_should_has_no_finding(step: str) -> None:
    """Each step has a check, and it is content with what should happen."""
    assert check_step(step, GOOD[step]) == []


@pytest.mark.parametrize(
    ("step", "changes", "expected"),
    [
        ("init", {"kept": 0}, "the present configuration was replaced without being asked"),
        (
            "init",
            {"unchanged": False},
            "the present configuration was replaced without being asked",
        ),
        ("init", {"made": [78, "", "a mistake"]}, "camd init: [78, '', 'a mistake']"),
        ("init", {"sources": []}, "the entries are for []"),
        ("init", {"check": [1, "a problem", ""]}, "camd check: [1, 'a problem', '']"),
        ("init", {"reload": "Job failed."}, "systemctl reload-or-restart: Job failed."),
        (
            "init",
            {"receipts": [{"frames_captured": 9, "frames_written": 8}]},
            "a camera has recorded {'frames_captured': 9, 'frames_written': 8}",
        ),
        ("init", {"verify": [1, "", "torn"]}, "camd verify: [1, '', 'torn']"),
        (
            "init",
            {"others": {"busy": {"status": 0, "sources": [], "text": "none", "messages": "why"}}},
            "busy: status 0, []: nonewhy",
        ),
        (
            "init",
            {
                "others": {
                    "same serial number": {
                        "status": 0,
                        "sources": [LINK.format("A1"), LINK.format("B2"), PORT.format(3)],
                        "text": "",
                        "messages": "",
                    }
                }
            },
            "same serial number: a link that two cameras have is a source",
        ),
        (
            "hard",
            {"ProcSubset=pid": GOES_ON | {"gaps": []}},
            "ProcSubset=pid: the ledger has no gap",
        ),
        ("set_up", {"verify": "Unknown key name"}, "systemd-analyze verify: Unknown key name"),
        (
            "set_up",
            {"security": "level for camd.service: 2.1"},
            "systemd-analyze security: level for camd.service: 2.1",
        ),
        ("set_up", {"security": "Failed"}, "systemd-analyze security: Failed"),
        ("socket", {"idle": "active"}, "before the first client the service was active"),
        ("socket", {"started": False}, "the client did not start the service"),
        ("socket", {"session": ""}, "nothing was recorded"),
        ("socket", {"answered": 0}, "no client was answered"),
        (
            "watch",
            {"status": "1 camera, 0 recording"},
            "the status line is '1 camera, 0 recording'",
        ),
        ("watch", {"events": []}, "the journal has no events of the camera"),
        ("reload", {"at_once": False}, "the new camera was not there when systemctl returned"),
        ("reload", {"at_once": False, "soon": -1}, "the new camera never came"),
        ("reload", {"same_process": False}, "the service was restarted"),
        ("reload", {"bad": ""}, "the reload of a configuration with a mistake did not fail"),
        ("reload", {"log": ""}, "the log does not name the mistake"),
        ("reload", {"after": ""}, "session s1 became "),
        (
            "restart",
            {"refused": ["Connection refused"]},
            "1 clients were refused: Connection refused",
        ),
        ("restart", {"after": "s2"}, "session s1 became s2"),
        ("restart", {"before": "", "after": ""}, "session  became "),
        ("restart", {"gaps": []}, "the ledger has no gap"),
        ("kill", {"back": -1}, "the service did not come back"),
        ("kill", {"restarts": 2}, "2 restarts"),
        ("stop_signal", {"noticed": -1}, "the watchdog did not notice"),
        ("disk", {"same_process": False}, "the service was restarted"),
        ("late_disk", {"absent": ["ok", "", "-"]}, "without its disk the storage was ok:  -"),
        ("late_disk", {"found": -1.0}, "the disk was not noticed"),
        ("late_disk", {"resumed": -1.0}, "the session did not go on"),
        ("late_disk", {"left": ["a.mp4"]}, "beneath the mount point is a.mp4"),
        ("clock", {"after": "s2"}, "session s1 became s2"),
        ("clock", {"frames": [9, 8]}, "9 frames were captured, and 8 written"),
        ("clock", {"verify": 1, "verified": "a gap"}, "camd verify: a gap"),
        ("clock", {"next": ""}, "afterwards nothing was recorded"),
        ("usb", {"found": ""}, "the camera was not found"),
        ("usb", {"session": ""}, "it does not record"),
        ("upgrade", {"version": "1.0"}, "version 1.0 is still installed"),
        ("format", {"status": "1"}, "the status was 1"),
        ("format", {"state": "activating"}, "the service was activating"),
        ("format", {"unchanged": False}, "the marker was changed"),
        ("format", {"started": False}, "the service did not start on its own format again"),
        ("remove", {"after": []}, "recordings are gone: a.mp4"),
        ("remove", {"state": "active"}, "the service still runs"),
        ("remove", {"home": False}, "the state is gone"),
        ("remove", {"program": True}, "files of the package were left"),
        ("remove", {"config": True}, "files of the package were left"),
    ],
)
def test_each_fault_is_found_alone(step: str, changes: dict[str, Any], expected: str) -> None:
    """A single wrong fact gives a single finding, which says what is wrong."""
    assert check_step(step, GOOD[step] | changes) == [f"{step}: {expected}"]


def test_a_step_without_a_check_has_no_finding() -> None:
    """Steps that only measure or prepare are not checked."""
    assert check_step("hard", {}) == []
