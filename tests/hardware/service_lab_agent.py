"""Runs inside the machine: does one step with the installed service, and reports what happened.

    service_lab_agent.py STEP [--watchdog SECONDS]

The last line of the output is JSON: facts for service_lab_checks.py. Needs root, systemd and the
Debian package of camd. All steps are in one file, because it is copied into the machine by itself.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/lib/camd")

import attrs
import trio

from camd.client import RemoteError, connect

ADDRESS = "unix:/run/camd/camd.sock"
CONFIG = Path("/etc/camd/camd.toml")
DROP_IN = Path("/etc/systemd/system/camd.service.d")
STATE = Path("/var/lib/camd/state")
DISK = Path("/srv/data")
RECORDINGS = DISK / "recordings"
LATE = Path("/srv/late")
LATE_RECORDINGS = LATE / "disk" / "recordings"
MARKER = STATE / "format.json"
STEADY_SECONDS = 10.0  # of footage before something happens to it
START_SECONDS = 600.0  # until a slow machine has started the service, and records
CAMERA = """
[[camera]]
id = "{camera}"
source = "test:?size=160x120&rate=6"
codec = "mjpeg"
"""
SETTINGS = f"""\
[server]
listen = ["127.0.0.1:8002", "unix:/run/camd/camd.sock"]
requests_per_minute = 100000
[storage]
recordings_dir = "{RECORDINGS}"
[recording]
rotation = "10m"
fragment = "500ms"
[ffmpeg]
start_timeout = "300s"
stall_timeout = "60s"
"""
LIMITS = """\
[Service]
TimeoutStartSec=600
WatchdogSec={watchdog:g}
ReadWritePaths=/srv/data/recordings
"""

Facts = dict[str, Any]


def sh(*command: str) -> str:
    """Run a program; return its output, whatever its status."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def unit(name: str) -> str:
    """Read a property of the service's unit."""
    return sh("systemctl", "show", "--value", "-p", name, "camd.service")


def call(method: str, **params: object) -> Facts:
    """Call a method of the service, on a connection of its own."""

    async def ask() -> Facts:
        async with connect(ADDRESS, timeout=START_SECONDS) as client:
            answer: Facts = await client.call(method, **params)
            return answer

    return trio.run(ask)


def start_recording(camera: str = "camera0") -> str:
    """Start a session, also on a disk that is too slow at first; return its id."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return str(call("start_recording", device=camera)["session_id"])
        except RemoteError as error:
            if not error.retryable or time.monotonic() > deadline:
                raise
            time.sleep(2)


def package_version() -> str:
    """Return the version of the installed package."""
    return sh("dpkg-query", "-W", "-f", "${Version}", "camd")


def session(camera: str = "camera0") -> str:
    """Return the id of the camera's session; "" when it does not record."""
    try:
        status = call("get_recording_status", device=camera) or {}
    except RemoteError as error:
        return f"({error.message})"
    return str(status.get("session_id") or "")


def until(condition: Callable[[], bool], seconds: float = START_SECONDS) -> float:
    """Wait for a condition; return after how many seconds it held, -1 when it did not."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            return -1.0
        time.sleep(0.2)
    return round(time.monotonic() - start, 2)


def active() -> bool:
    """Tell whether the service has started."""
    return unit("ActiveState") == "active"


def files() -> list[str]:
    """List the recordings on the disk."""
    return sorted(path.name for path in RECORDINGS.glob("*.mp4"))


def interrupted(work: Callable[[], object]) -> Facts:
    """Do something to a service that records; report its session, the gaps, and the restarts."""
    before, restarts, pid = session(), int(unit("NRestarts")), unit("MainPID")
    time.sleep(STEADY_SECONDS)
    began = time.time()
    work()
    back = until(lambda: active() and unit("MainPID") not in ("0", pid))
    facts = after_return(before, began)
    now = int(unit("NRestarts"))  # a start by hand sets it to zero
    return facts | {"back": back, "restarts": now - restarts if now >= restarts else now}


def after_return(before: str, began: float) -> Facts:
    """Wait until the session's gap is in the ledger; report both."""
    gaps: list[Facts] = []

    def told() -> bool:
        gaps[:] = [gap for gap in call("get_gaps", session_id=before)["gaps"] if ends(gap) > began]
        return bool(gaps)

    waited = until(told, 120)
    return {
        "before": before,
        "after": session(),
        "gaps": [(gap["cause"], gap["duration"]) for gap in gaps],
        "waited": waited,
        "files": len(files()),
    }


def ends(gap: Facts) -> float:
    """Return the instant of a gap's end."""

    return datetime.fromisoformat(gap["to"]).timestamp()


@attrs.define(eq=False)
class Visitors:
    """Clients that connect over and over, each on a connection of its own, until `close`."""

    answered: int = 0
    refused: list[str] = attrs.field(factory=list)
    longest: float = 0.0  # seconds to an answer
    _over: threading.Event = attrs.field(factory=threading.Event)
    _threads: list[threading.Thread] = attrs.field(factory=list)

    def start(self) -> None:
        """Let a client come twice a second."""
        threading.Thread(target=self._come, daemon=True).start()

    def _come(self) -> None:
        while not self._over.wait(0.5):
            one = threading.Thread(target=self._visit, daemon=True)
            self._threads.append(one)
            one.start()

    def _visit(self) -> None:
        start = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", 8002), START_SECONDS) as client:
                client.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = client.recv(100)
        except OSError as error:
            self.refused.append(str(error))
            return
        if not answer.startswith(b"HTTP/1.1"):
            self.refused.append(f"no answer: {answer!r}")
        self.answered += 1
        self.longest = max(self.longest, round(time.monotonic() - start, 2))

    def close(self) -> Facts:
        """Wait for the answers to all clients; report them."""
        self._over.set()
        for one in self._threads:
            one.join(60)
        return {"answered": self.answered, "refused": self.refused, "longest": self.longest}


def camd(*arguments: str, user: str = "root") -> tuple[int, str, str]:
    """Run a command of the installed package; return its status, its output and its messages."""
    command = ("runuser", "-u", user, "--", "camd", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/tmp")
    return done.returncode, done.stdout, done.stderr


def usb_camera(name: str, *options: str) -> str:
    """Plug a USB camera in; return its nodes."""
    return sh("uvc-camera", "start", name, "--modes", "mjpeg:160x120@10", *options)


def written_sources(user: str = "root") -> Facts:
    """Write a configuration to the output; return the sources of its entries, and all."""
    status, text, messages = camd("init", "-", user=user)
    sources = [each["source"] for each in tomllib.loads(text).get("camera", [])]
    return {"status": status, "sources": sources, "text": text, "messages": messages}


def init_step(_: float) -> Facts:
    """The first configuration, for two USB cameras, on a service that knows none; then others."""
    text, aside, ran = CONFIG.read_text(), STATE.with_name("state-aside"), active()
    before = session() if ran else ""
    sh("systemctl", "stop", "camd")
    if STATE.exists():
        STATE.rename(aside)
    try:
        nodes = [usb_camera(f"init-{serial}", "--serial", serial) for serial in ("A1", "B2")]
        facts: Facts = {"nodes": nodes, "kept": camd("init", str(CONFIG))[0]}
        facts["unchanged"] = CONFIG.read_text() == text
        facts["made"] = camd("init", str(CONFIG), "--force")
        entries = tomllib.loads(CONFIG.read_text())["camera"]
        cameras, facts["sources"] = zip(*((x["id"], x["source"]) for x in entries), strict=True)
        facts["check"] = camd("check")
        facts["reload"] = sh("systemctl", "reload-or-restart", "camd")
        sessions = [start_recording(camera) for camera in cameras]
        time.sleep(STEADY_SECONDS)
        facts["receipts"] = [stopped_recording(camera) for camera in cameras]
        facts["verify"] = camd("verify", user="camd")
        return facts | {"sessions": sessions, "others": other_devices(nodes[1].split()[0])}
    finally:
        for serial in ("A1", "B2"):
            sh("uvc-camera", "do", f"init-{serial}", "quit")
        sh("systemctl", "stop", "camd")
        CONFIG.write_text(text)
        sh("rm", "-rf", str(STATE))
        if aside.exists():
            aside.rename(STATE)
        if ran:
            sh("systemctl", "start", "camd")
            until(lambda: session() == before)


def stopped_recording(camera: str) -> Facts:
    """Stop a camera's recording; return how many frames it delivered, and how many are in files."""
    receipt = call("stop_recording", device=camera)["receipt"]
    return {name: receipt[name] for name in ("frames_captured", "frames_written")}


def other_devices(node: str) -> Facts:
    """Return what is written for a busy camera, a user without rights, and further devices."""
    seen: Facts = {"no rights": written_sources(user="nobody")}
    reader = subprocess.Popen(
        ["v4l2-ctl", "-d", node, "--stream-mmap", "--stream-count=1000000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(STEADY_SECONDS)
    seen["busy"] = written_sources()
    reader.kill()
    reader.wait()
    for name, options in (("no serial number", ()), ("same serial number", ("--serial", "A1"))):
        usb_camera("init-other", *options)
        seen[name] = written_sources()
        sh("uvc-camera", "do", "init-other", "quit")
    return seen | loopback_node()


def loopback_node() -> Facts:
    """Return what is written for a node that a program writes to; nothing without such a driver."""
    said = sh("modprobe", "v4l2loopback", "video_nr=20", "exclusive_caps=1", "card_label=Loopback")
    if said:
        return {}
    source = ["-f", "lavfi", "-re", "-i", "testsrc=size=160x120:rate=10", "-pix_fmt", "yuyv422"]
    writer = subprocess.Popen(
        ["ffmpeg", "-nostdin", "-v", "error", *source, "-f", "v4l2", "/dev/video20"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(STEADY_SECONDS)
    seen = {"loopback node": written_sources()}
    writer.kill()
    writer.wait()
    sh("modprobe", "-r", "v4l2loopback")
    return seen


def set_up(watchdog: float) -> Facts:
    """Write configuration and drop-in; only the sockets are open afterwards."""
    DROP_IN.mkdir(exist_ok=True)
    (DROP_IN / "lab.conf").write_text(LIMITS.format(watchdog=watchdog))
    CONFIG.write_text(SETTINGS + CAMERA.format(camera="camera0"))
    sh("mount", "/srv/data")
    RECORDINGS.mkdir(exist_ok=True)
    sh("chown", "camd:camd", str(RECORDINGS))
    sh("systemctl", "daemon-reload")
    said = sh("systemctl", "stop", "camd.service")
    said += sh("systemctl", "enable", "--now", "camd.socket")
    rated = sh("systemd-analyze", "security", "--no-pager", "camd").splitlines()[-1]
    units = [f"/usr/lib/systemd/system/camd.{kind}" for kind in ("service", "socket")]
    return {"said": said, "security": rated, "verify": sh("systemd-analyze", "verify", *units)}


def socket_step(_: float) -> Facts:
    """The first client starts the service; then a camera records."""
    idle = unit("ActiveState")
    visitors = Visitors()
    start = time.monotonic()
    visitors._visit()
    seconds = round(time.monotonic() - start, 1)
    started = start_recording()
    return {
        "idle": idle,
        "started": active(),
        "seconds": seconds,
        "session": started,
        **visitors.close(),
    }


def reload_step(_: float) -> Facts:
    """A good configuration adds a camera at once; a bad one fails, and changes nothing."""
    before, pid, text = session(), unit("MainPID"), CONFIG.read_text()
    added = f"added{text.count('[[camera]]')}"
    CONFIG.write_text(text + CAMERA.format(camera=added))
    good = sh("systemctl", "reload", "camd")
    at_once = added in json.dumps(call("get_camera_list"))
    soon = until(lambda: added in json.dumps(call("get_camera_list")), 30)
    whole = CONFIG.read_text()
    CONFIG.write_text(whole + "\n[recordings]\nrotation = 3\n")
    bad = sh("systemctl", "reload", "camd")
    time.sleep(3)
    CONFIG.write_text(whole)
    log = sh("journalctl", "-u", "camd", "-n", "12", "-o", "cat", "--no-pager")
    return {
        "good": good,
        "at_once": at_once,
        "soon": soon,
        "bad": bad,
        "log": log,
        "same_process": pid == unit("MainPID"),
        "before": before,
        "after": session(),
    }


def restart_step(_: float) -> Facts:
    """A restart while a camera records and clients connect."""
    visitors = Visitors()
    visitors.start()
    facts = interrupted(lambda: sh("systemctl", "restart", "camd"))
    return facts | visitors.close()


def kill_step(_: float) -> Facts:
    """The process is killed."""
    return interrupted(lambda: sh("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "camd"))


def stop_signal_step(watchdog: float) -> Facts:
    """The process is stopped by a signal: only the watchdog can notice."""
    stopped: list[float] = []

    def work() -> None:
        restarts = unit("NRestarts")
        sh("systemctl", "kill", "--kill-whom=main", "-s", "STOP", "camd")
        stopped.append(until(lambda: unit("NRestarts") != restarts, watchdog + 120))

    facts = interrupted(work)
    log = sh("journalctl", "-u", "camd", "-n", "400", "-o", "cat", "--no-pager")
    return facts | {"noticed": stopped[0], "traceback": "most recent call first" in log}


def disk_step(watchdog: float) -> Facts:
    """The disk of the recordings hangs for longer than the watchdog waits."""
    before, restarts, pid, began = session(), unit("NRestarts"), unit("MainPID"), time.time()
    sh("fsfreeze", "-f", str(DISK))
    try:
        time.sleep(watchdog * 3)
        status = unit("StatusText")
    finally:
        sh("fsfreeze", "-u", str(DISK))
    same = pid == unit("MainPID") and restarts == unit("NRestarts")
    time.sleep(STEADY_SECONDS)
    gaps = [g for g in call("get_gaps", session_id=before)["gaps"] if ends(g) > began]
    return {
        "same_process": same,
        "status": status,
        "before": before,
        "after": session(),
        "gaps": [(gap["cause"], gap["duration"]) for gap in gaps],
    }


def late_disk_step(_: float) -> Facts:
    """The disk of the recordings is mounted after the service has started."""
    text, disk = CONFIG.read_text(), LATE / "disk.img"
    LATE.mkdir(exist_ok=True)
    sh("truncate", "-s", "300M", str(disk))
    sh("mkfs.ext4", "-q", "-F", str(disk))
    (DROP_IN / "late.conf").write_text(f"[Service]\nReadWritePaths=-{LATE_RECORDINGS}\n")
    CONFIG.write_text(text.replace(str(RECORDINGS), str(LATE_RECORDINGS)))
    mount = ("mount", "-o", "loop", str(disk), str(LATE_RECORDINGS.parent))
    LATE_RECORDINGS.parent.mkdir(exist_ok=True)
    said = sh(*mount)
    sh("install", "-d", "-o", "camd", str(LATE_RECORDINGS))
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", "camd")
    try:
        before = start_recording()
        time.sleep(STEADY_SECONDS)
        sh("systemctl", "stop", "camd")
        said += sh("umount", str(LATE_RECORDINGS.parent))
        sh("systemctl", "start", "camd")
        absent = call("get_storage_info")
        said += sh(*mount)
        found = until(lambda: "code" not in call("get_storage_info"), 120)
        resumed = until(lambda: session() == before, 120)
        time.sleep(STEADY_SECONDS)
        call("stop_recording", device="camera0")
    finally:
        sh("systemctl", "stop", "camd")
        sh("umount", str(LATE_RECORDINGS.parent))
        CONFIG.write_text(text)
        (DROP_IN / "late.conf").unlink()
        sh("systemctl", "daemon-reload")
    left = [path.name for path in LATE_RECORDINGS.parent.iterdir()]  # beneath the disk
    sh("systemctl", "start", "camd")
    return {
        "said": said,
        "absent": [absent["threshold_status"], absent.get("message"), absent.get("suggestion")],
        "found": found,
        "resumed": resumed,
        "left": left,
    }


def clock_step(_: float) -> Facts:
    """A board without a clock of its own starts in 1970, and gets the time while it records."""
    right, mark = time.time(), time.monotonic()
    sh("systemctl", "stop", "camd")
    time.clock_settime(time.CLOCK_REALTIME, mark + 60.0)  # Linux sets no time before the boot
    try:
        sh("systemctl", "start", "camd")
        before = session() or start_recording()
        time.sleep(STEADY_SECONDS)
        early = call("get_status")
    finally:
        time.clock_settime(time.CLOCK_REALTIME, right + time.monotonic() - mark)
    time.sleep(STEADY_SECONDS)
    after = session()
    receipt = call("stop_recording", device="camera0")["receipt"]
    names = [file["filename"] for file in receipt["files"]]
    checked = subprocess.run(
        ["runuser", "-u", "camd", "--", "camd", "verify", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "before": before,
        "after": after,
        "early": early.get("status"),
        "frames": [receipt["frames_captured"], receipt["frames_written"]],
        "gaps": [(gap["cause"], gap["duration"]) for gap in receipt["gaps"]],
        "files": names,
        "verify": checked.returncode,
        "verified": (checked.stdout + checked.stderr)[-800:],
        "next": start_recording(),
    }


def watch_step(_: float) -> Facts:
    """What an operator sees: the status line, and the journal's fields."""
    found = sh("journalctl", "CAMD_CAMERA=camera0", "-o", "json", "--no-pager").splitlines()
    events = sorted({json.loads(line)["CAMD_EVENT"] for line in found if line.startswith("{")})
    return {"status": unit("StatusText"), "events": events, "lines": len(found)}


def hard_step(_: float) -> Facts:
    """Two more lines of sandboxing, to see what they break."""
    extra = DROP_IN / "more.conf"
    seen: Facts = {}
    for line in ("MemoryDenyWriteExecute=yes", "ProcSubset=pid"):
        extra.write_text(f"[Service]\n{line}\n")
        sh("systemctl", "daemon-reload")
        facts = interrupted(lambda: sh("systemctl", "restart", "camd"))
        log = sh("journalctl", "-u", "camd", "-p", "warning", "-n", "4", "-o", "cat", "--no-pager")
        security = sh("systemd-analyze", "security", "--no-pager", "camd")[-60:]
        seen[line] = facts | {"security": security, "log": log}
    extra.unlink()
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", "camd")
    return seen


def usb_step(_: float) -> Facts:
    """A USB camera is plugged in, found, and records."""
    said = usb_camera("front", "--serial", "UNITA")
    found: list[str] = []

    def listed() -> bool:
        cameras = call("get_camera_list")["cameras"]
        found[:] = [c["camera_id"] for c in cameras if "/dev/" in str(c.get("device"))]
        return bool(found)

    until(listed, 60)
    if not found:
        return {"said": said, "found": "", "session": ""}
    started = start_recording(found[0])
    time.sleep(STEADY_SECONDS)
    return {"said": said, "found": found[0], "session": started, "files": len(files())}


def upgrade_step(_: float) -> Facts:
    """A package of a higher version is installed while a camera records."""
    said: list[str] = []
    old = package_version()
    facts = interrupted(lambda: said.append(sh("dpkg", "-i", "/root/camd-next.deb")))
    return facts | {"old_version": old, "version": package_version(), "said": said[0][-600:]}


def format_step(_: float) -> Facts:
    """State of a newer format is refused, and not changed; then everything goes on."""
    text = MARKER.read_text()
    sh("systemctl", "stop", "camd")
    newer = json.dumps(json.loads(text) | {"version": 99, "written_by": "9.0.0"})
    MARKER.write_text(newer)
    said = sh("systemctl", "start", "camd")
    time.sleep(3)
    facts = {
        "said": said,
        "status": unit("ExecMainStatus"),
        "state": unit("ActiveState"),
        "unchanged": MARKER.read_text() == newer,
        "log": sh("journalctl", "-u", "camd", "-n", "6", "-o", "cat", "--no-pager"),
    }
    MARKER.write_text(text)
    sh("systemctl", "reset-failed", "camd")
    sh("systemctl", "start", "camd")
    return facts | {"started": active(), "after": session()}


def remove_step(_: float) -> Facts:
    """The package is removed and purged; the recordings stay."""
    before = files()
    removed = sh("dpkg", "--remove", "camd")
    left = unit("ActiveState")
    purged = sh("dpkg", "--purge", "camd")
    return {
        "before": before,
        "after": files(),
        "removed": removed[-400:],
        "purged": purged[-400:],
        "state": left,
        "config": CONFIG.exists(),
        "home": Path("/var/lib/camd").exists(),
        "program": Path("/usr/lib/camd").exists(),
    }


STEPS: dict[str, Callable[[float], Facts]] = {
    "init": init_step,
    "set_up": set_up,
    "socket": socket_step,
    "watch": watch_step,
    "reload": reload_step,
    "restart": restart_step,
    "kill": kill_step,
    "stop_signal": stop_signal_step,
    "disk": disk_step,
    "late_disk": late_disk_step,
    "clock": clock_step,
    "usb": usb_step,
    "hard": hard_step,
    "upgrade": upgrade_step,
    "format": format_step,
    "remove": remove_step,
}


def main() -> None:
    """Do the steps of the command line, and print a line for each."""
    parser = argparse.ArgumentParser(description="One step with the installed service.")
    parser.add_argument("steps", choices=STEPS, nargs="+")
    parser.add_argument("--watchdog", type=float, default=6.0, help="seconds")
    options = parser.parse_args()
    for name in options.steps:
        facts = STEPS[name](options.watchdog)
        print(json.dumps({"step": name, **facts}), flush=True)


if __name__ == "__main__":
    main()
