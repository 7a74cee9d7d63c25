"""Checks what the installed service did in each step of service_lab.py. Pure.

Facts are what service_lab_agent.py reported of a step, by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Facts = Mapping[str, Any]

MAX_EXPOSURE = 2.0  # of 10


def check_step(step: str, facts: Facts) -> list[str]:
    """Report everything that is not as it should be after a step."""
    check = CHECKS.get(step)
    return [f"{step}: {finding}" for finding in check(facts)] if check else []


def check_init(facts: Facts) -> Iterator[str]:
    """A first configuration is made on demand only, is right, and both of its cameras record."""
    if not facts["kept"] or not facts["unchanged"]:
        yield "the present configuration was replaced without being asked"
    if facts["made"][0]:
        yield f"camd init: {facts['made']}"
    if facts["sources"] != [f"v4l2:{_by_id(serial)}" for serial in ("A1", "B2")]:
        yield f"the entries are for {facts['sources']}"
    if facts["check"][0]:
        yield f"camd check: {facts['check']}"
    if facts["reload"]:
        yield f"systemctl reload-or-restart: {facts['reload']}"
    for receipt in facts["receipts"]:
        if not receipt["frames_written"] or len(set(receipt.values())) > 1:
            yield f"a camera has recorded {receipt}"
    if facts["verify"][0]:
        yield f"camd verify: {facts['verify']}"
    yield from check_others(facts["others"])


def check_others(others: Mapping[str, Facts]) -> Iterator[str]:
    """Each device gets an entry that selects it alone; a user without rights is told of them."""
    for name, written in others.items():
        wanted = 2 if name in ("no rights", "busy") else 3
        sources = written["sources"]
        told = sum(source.startswith("v4l2:") for source in set(sources))
        told += written["text"].count("has no entry")
        if written["status"] or told != wanted or len(set(sources)) < len(sources):
            said = written["text"][-600:] + written["messages"]
            yield f"{name}: status {written['status']}, {sources}: {said}"
        if name == "same serial number" and f"v4l2:{_by_id('A1')}" in sources:
            yield f"{name}: a link that two cameras have is a source"


def _by_id(serial: str) -> str:
    return f"/dev/v4l/by-id/usb-Camlab_Lab_Camera_{serial}-video-index0"


def check_set_up(facts: Facts) -> Iterator[str]:
    """systemd understands each line of the units, and rates the exposure 2.0 of 10 at most."""
    if facts["verify"]:
        yield f"systemd-analyze verify: {facts['verify']}"
    rating = re.search(r"level for camd.service: ([0-9.]+)", facts["security"])
    if rating is None or float(rating[1]) > MAX_EXPOSURE:
        yield f"systemd-analyze security: {facts['security']}"


def check_socket(facts: Facts) -> Iterator[str]:
    """The service starts for the first client, and records."""
    if facts["idle"] != "inactive":
        yield f"before the first client the service was {facts['idle']}"
    if not facts["started"]:
        yield "the client did not start the service"
    if not facts["session"]:
        yield "nothing was recorded"
    yield from check_visitors(facts)


def check_visitors(facts: Facts) -> Iterator[str]:
    """No client is refused, and each gets an answer."""
    if facts["refused"]:
        yield f"{len(facts['refused'])} clients were refused: {facts['refused'][0]}"
    if not facts["answered"]:
        yield "no client was answered"


def compare_session(facts: Facts) -> Iterator[str]:
    """The session goes on under its id."""
    if not facts["before"] or facts["after"] != facts["before"]:
        yield f"session {facts['before']} became {facts['after']}"


def check_interruption(facts: Facts) -> Iterator[str]:
    """The session goes on, and the ledger has what is missing."""
    yield from compare_session(facts)
    if not facts["gaps"]:
        yield "the ledger has no gap"
    if facts["back"] < 0:
        yield "the service did not come back"


def check_restart(facts: Facts) -> Iterator[str]:
    """As after any interruption, and nobody is refused."""
    yield from check_interruption(facts)
    yield from check_visitors(facts)


def check_kill(facts: Facts) -> Iterator[str]:
    """systemd has restarted the service once."""
    yield from check_interruption(facts)
    if facts["restarts"] != 1:
        yield f"{facts['restarts']} restarts"


def check_stop_signal(facts: Facts) -> Iterator[str]:
    """The watchdog has restarted the service."""
    yield from check_kill(facts)
    if facts["noticed"] < 0:
        yield "the watchdog did not notice"


def check_disk(facts: Facts) -> Iterator[str]:
    """A disk that hangs is no reason for a restart."""
    if not facts["same_process"]:
        yield "the service was restarted"
    yield from compare_session(facts)


def check_late_disk(facts: Facts) -> Iterator[str]:
    """A disk that is not there yet is waited for, and nothing is recorded beneath it."""
    level, reason, suggestion = facts["absent"]
    if level != "missing" or not reason or not suggestion:
        yield f"without its disk the storage was {level}: {reason} {suggestion}"
    if facts["found"] < 0:
        yield "the disk was not noticed"
    if facts["resumed"] < 0:
        yield "the session did not go on"
    if facts["left"]:
        yield f"beneath the mount point is {', '.join(facts['left'])}"


def check_clock(facts: Facts) -> Iterator[str]:
    """A clock that jumps over decades costs no frame, and no session."""
    yield from compare_session(facts)
    captured, written = facts["frames"]
    if not captured or captured != written:
        yield f"{captured} frames were captured, and {written} written"
    if facts["verify"]:
        yield f"camd verify: {facts['verified']}"
    if not facts["next"]:
        yield "afterwards nothing was recorded"


def check_reload(facts: Facts) -> Iterator[str]:
    """A good configuration is in force; a bad one failed, changed nothing, and is in the log."""
    if not facts["at_once"]:
        yield (
            "the new camera was not there when systemctl returned"
            if facts["soon"] >= 0
            else "the new camera never came"
        )
    if not facts["same_process"]:
        yield "the service was restarted"
    if "failed" not in facts["bad"]:
        yield "the reload of a configuration with a mistake did not fail"
    if "recordings" not in facts["log"]:
        yield "the log does not name the mistake"
    yield from compare_session(facts)


def check_watch(facts: Facts) -> Iterator[str]:
    """The status line counts, and the journal finds a camera's events by field."""
    if "1 recording" not in facts["status"]:
        yield f"the status line is {facts['status']!r}"
    if not facts["events"]:
        yield "the journal has no events of the camera"


def check_usb(facts: Facts) -> Iterator[str]:
    """A USB camera is found, and records."""
    if not facts["found"]:
        yield "the camera was not found"
    elif not facts["session"]:
        yield "it does not record"


def check_hard(facts: Facts) -> Iterator[str]:
    """With each further line of sandboxing the session goes on."""
    for line, seen in facts.items():
        if line != "step":
            yield from (f"{line}: {finding}" for finding in check_interruption(seen))


def validate_upgrade(facts: Facts) -> Iterator[str]:
    """The new version runs, and the session goes on."""
    yield from check_interruption(facts)
    if facts["version"] == facts["old_version"]:
        yield f"version {facts['version']} is still installed"


def check_format(facts: Facts) -> Iterator[str]:
    """A newer format is refused for good, and stays as it is."""
    if facts["status"] != "78":
        yield f"the status was {facts['status']}"
    if facts["state"] != "failed":
        yield f"the service was {facts['state']}"
    if not facts["unchanged"]:
        yield "the marker was changed"
    if not facts["started"]:
        yield "the service did not start on its own format again"


def check_remove(facts: Facts) -> Iterator[str]:
    """The program and its configuration are gone; the recordings and the state stay."""
    if facts["state"] == "active":
        yield "the service still runs"
    if lost := sorted(set(facts["before"]) - set(facts["after"])):
        yield f"recordings are gone: {', '.join(lost)}"
    if not facts["home"]:
        yield "the state is gone"
    if facts["config"] or facts["program"]:
        yield "files of the package were left"


CHECKS: dict[str, Callable[[Facts], Iterator[str]]] = {
    "init": check_init,
    "set_up": check_set_up,
    "socket": check_socket,
    "watch": check_watch,
    "reload": check_reload,
    "restart": check_restart,
    "kill": check_kill,
    "stop_signal": check_stop_signal,
    "disk": check_disk,
    "late_disk": check_late_disk,
    "clock": check_clock,
    "usb": check_usb,
    "hard": check_hard,
    "upgrade": validate_upgrade,
    "format": check_format,
    "remove": check_remove,
}
