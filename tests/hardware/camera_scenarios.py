"""Every fault that a camera of the lab can have: how it is caused and ended, what must be observed.

`vivid` is the kernel's test driver: its controls inject errors. `usb` is a camera of the tool
`uvc-camera`, whose `do` understands `freeze`/`thaw`, `hang`/`unhang`, `corrupt|error|truncate
PERCENT`, `rate FPS` and `nospace`/`space` besides plugging. The machine has v4l-utils.
"""

from __future__ import annotations

import attrs
from camera_fault_checks import Expected

VIVID_NODE = "/dev/video20"
VIVID = f"modprobe vivid n_devs=1 node_types=0x1 vid_cap_nr={VIVID_NODE[10:]}"
RELOAD = f"for try in 1 2 3 4 5; do modprobe -r vivid && break; sleep 1; done; {VIVID}"
DRIVER = "/sys/bus/platform/drivers/vivid"
USB = "usb"
SERIAL = "FAULTS"
HOLDER = "camera-holder"


@attrs.frozen
class Scenario:
    """One fault. `begin` and `end` are shell commands in the machine."""

    camera: str  # "vivid" or "usb"
    begin: str
    end: str
    expected: Expected
    when: str = "recording"  # or "before" a start, or while "starting"
    lasts: float = 12.0  # seconds until `end`
    before: str = ""  # what makes it possible, before a start


def _set(of: str) -> frozenset[str]:
    return frozenset(of.split())


def _expected(causes: str = "", ledger: str = "", also: str = "", **more: object) -> Expected:
    expected = Expected(_set(causes), _set(ledger), also=_set(also))
    return attrs.evolve(expected, **more)


def _vivid(control: str, expected: Expected, end: str = "true", **more: object) -> Scenario:
    begin = f"v4l2-ctl -d {VIVID_NODE} -c {control}"
    return attrs.evolve(Scenario("vivid", begin, end, expected), **more)


def _usb(words: str, expected: Expected, end: str = "true", **more: object) -> Scenario:
    scenario = Scenario("usb", _do(words), _do(end) if end != "true" else end, expected)
    return attrs.evolve(scenario, **more)


def _do(words: str) -> str:
    return " && ".join(f"uvc-camera do {USB} {part}" for part in words.split(";"))


LOST = _expected("lost absent vanished not_found", "camera_lost")
ERROR = _expected("io_error driver_error", "camera_error", also="lost")
STALLED = _expected("stalled", "camera_stalled")
FINE = _expected()


def _refused(causes: str, *says: str) -> Expected:
    return _expected(causes, refuses=True, says=says)


def _held(who: str, *says: str) -> Scenario:
    """Another program streams from the camera; `who` is its user."""
    node = f"$(readlink -f /dev/v4l/by-id/*{SERIAL}-video-index0)"
    hold = f"sh -c 'exec v4l2-ctl -d {node} --stream-mmap'"
    begin = f"systemd-run -q --unit={HOLDER} {who} {hold} && sleep 4"
    expected = _refused("busy", *says)
    return Scenario("usb", begin, f"systemctl stop {HOLDER}", expected, when="before")


SCENARIOS = {
    "disconnect": _vivid("disconnect=1", LOST, end=RELOAD),
    "unbound": Scenario(
        *("vivid", f"timeout 15 sh -c 'echo vivid.0 >{DRIVER}/unbind'"),
        *(f"echo vivid.0 >{DRIVER}/bind", LOST),
    ),
    "flagged": _vivid("inject_v4l2_buf_flag_error=1", FINE),
    "qbuf": _vivid("inject_vidioc_qbuf_error=1", FINE),
    "fatal": _vivid("inject_fatal_streaming_error=1", ERROR),
    "reqbufs": _vivid(
        *("inject_vidioc_reqbufs_error=1", _refused("io_error driver_error no_buffers")),
        when="before",
    ),
    "streamon": _vivid(
        *("inject_vidioc_streamon_error=1", _refused("io_error driver_error no_buffers")),
        when="before",
    ),
    "frozen": _vivid(
        *("percentage_of_dropped_buffers=100", STALLED),
        end=f"v4l2-ctl -d {VIVID_NODE} -c percentage_of_dropped_buffers=0",
        lasts=25.0,
    ),
    "dropped": _vivid(
        *("percentage_of_dropped_buffers=50", FINE),
        end=f"v4l2-ctl -d {VIVID_NODE} -c percentage_of_dropped_buffers=0",
    ),
    "unplug": _usb("unplug", LOST, "plug"),
    "freeze": _usb("freeze", STALLED, "thaw", lasts=25.0),
    "hang": _usb(
        "hang",
        _expected("stalled hung", "camera_stalled camera_hung", also="io_error absent"),
        end="unplug;unhang;plug",
        lasts=45.0,
    ),
    "corrupt": _usb("corrupt 50", FINE, "corrupt 0"),
    "error": _usb("error 50", FINE, "error 0"),
    "truncate": _usb("truncate 50", FINE, "truncate 0"),
    "slow": _usb("rate 3", FINE, "rate 0"),
    "nospace": _usb("nospace", _refused("no_bandwidth"), "space", when="before"),
    "nospace_return": _usb(
        *(
            "nospace;unplug;plug",
            _expected("no_bandwidth", "camera_lost", also="lost absent vanished"),
        ),
        *("space",),
        lasts=20.0,
    ),
    "vanish": Scenario(
        *("usb", _do("unplug"), _do("plug;thaw")),
        _refused("lost not_found absent vanished io_error"),
        when="starting",
        before=_do("freeze"),  # it must not be quicker than the fault
    ),
    "hang_start": _usb(
        "hang",
        attrs.evolve(_refused("stalled hung io_error"), also=_set("absent")),
        "unplug;unhang;plug",
        when="before",
    ),
    "busy": _held("--uid=camd-lab -p SupplementaryGroups=video", "v4l2-ctl"),
    "busy_foreign": _held("", "user", "fuser"),
    "not_permitted": Scenario(
        "usb",
        f"chgrp disk $(readlink -f /dev/v4l/by-id/*{SERIAL}-video-index0)",
        f"chgrp video $(readlink -f /dev/v4l/by-id/*{SERIAL}-video-index0)",
        _refused("no_permission", "disk"),
        when="before",
    ),
    "dead_on_arrival": _usb(
        *("unplug;hang;plug", _refused("not_found absent lost"), "unplug;unhang;plug"),
        when="before",
        lasts=30.0,
    ),
}
