"""A real daemon in its own folder, for tests: start it, call it, kill it, and clean up.

Tests wait for notifications and do not poll: READY=1 with the address comes on a notification
socket, events over a connection, the end of a process over its pidfd. An environment variable marks
all processes of a daemon, so that `processes` finds them.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import imageio_ffmpeg
import trio
from support.ffmpeg_media import DECODED

from camd.client import Client, ConnectionLostError, connect

MARK = "DAEMON_TEST_MARK"
SECRET = "a-secret-for-tests-" + "0123456789abcdef" * 2
START_SECONDS = 300
STOP_SECONDS = 300
SIGNED_FROM = 48  # a receipt's hash covers everything from this byte on
FRAME_RATE = 30
FRAGMENT_FRAMES = 15  # half a second

# The suite runs with any FFmpeg that this variable names; without it daemons find their own, and
# files are read with the one that starts faster.
CHOSEN_FFMPEG = os.environ.get("TEST_FFMPEG", "")
FFMPEG = CHOSEN_FFMPEG or imageio_ffmpeg.get_ffmpeg_exe()

Settings = Mapping[str, Mapping[str, object]]


def small_camera(**keys: object) -> dict[str, object]:
    """Return the configuration of a synthetic camera that needs little CPU time."""
    return {"source": "test:?size=160x120&rate=30", **keys}


def fast_camera(clip: Path) -> dict[str, object]:
    """Return the configuration of a camera that copies a clip in a loop, eight times as fast."""
    return {"source": f"file:{clip}?speed=8", "codec": "copy"}


def configuration(
    settings: Settings,
    cameras: Sequence[Mapping[str, object]],
    thresholds: Settings,
    schedules: Sequence[Mapping[str, object]] = (),
) -> str:
    """Write TOML: the tests' defaults, then what one test wants."""
    sections: dict[str, dict[str, object]] = {
        "server": {
            "listen": "127.0.0.1:0",
            "health_listen": "",
            "progress_interval": "250ms",
            "requests_per_minute": 100_000,
        },
        "auth": {"jwt_secret": SECRET},
        "storage": dict(thresholds.get("storage", {})),
        "recording": {"rotation": "1s", "resume_sessions": False},
        # A named encoder saves each daemon the trial of all encoders.
        "ffmpeg": {"path": CHOSEN_FFMPEG, "encoder": "libx264"},
        "discovery": {"v4l2": False},
    }
    for name, keys in settings.items():
        sections.setdefault(name, {}).update(keys)
    lines = []
    for name, keys in sections.items():
        lines += [f"[{name}]", *_keys(keys)]
    for camera in cameras:
        lines += ["[[camera]]", *_keys(camera)]
    for schedule in schedules:
        lines += ["[[schedule]]", *_keys(schedule)]
    return "\n".join(lines) + "\n"


def _keys(keys: Mapping[str, object]) -> list[str]:
    # JSON's strings, numbers, booleans and arrays of them are TOML's, too.
    dumped = partial(json.dumps, ensure_ascii=False)  # TOML has no surrogates
    return [f"{key} = {dumped(value)}" for key, value in keys.items()]


def roomy_folder(preferred: Path) -> tuple[Path, Settings]:
    """Return a folder with enough free space for the daemon, or `preferred` and other thresholds.

    `preferred` need not exist yet.
    """
    own = Path("/dev/shm") / f"camd-test-{uuid.uuid4().hex[:8]}"
    for folder, volume in ((preferred, preferred.parent), (own, own.parent)):
        if volume.is_dir() and _used_percent(volume) < 80:
            return folder, {}
    return preferred, {"storage": {"warn_percent": 94.0, "block_percent": 95.0}}


def _used_percent(folder: Path) -> float:
    facts = os.statvfs(folder)
    return (1 - facts.f_bavail / facts.f_blocks) * 100 if facts.f_blocks else 100.0


@attrs.define(eq=False)
class Daemon:
    """One configuration, and the process that runs with it; may be started again and again."""

    folder: Path
    thresholds: Settings = attrs.field(factory=dict)
    environ: dict[str, str] = attrs.field(factory=dict)
    process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)
    url: str = attrs.field(default="", init=False)
    _mark: str = attrs.field(factory=lambda: uuid.uuid4().hex, init=False)
    _notices: socket.socket | None = attrs.field(default=None, init=False)
    _kept_port: socket.socket | None = attrs.field(default=None, init=False)

    # --- before the start

    def configure(
        self,
        settings: Settings | None = None,
        cameras: Sequence[Mapping[str, object]] = (),
        schedules: Sequence[Mapping[str, object]] = (),
    ) -> None:
        """Write the configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = configuration(settings or {}, cameras, self.thresholds, schedules)
        self.config_file.write_text(text, encoding="utf-8")

    @property
    def config_file(self) -> Path:
        """The configuration."""
        return self.folder / "camd.toml"

    @property
    def recordings(self) -> Path:
        """Where the recordings go."""
        return self.folder / "recordings"

    @property
    def log_file(self) -> Path:
        """The log of all its runs."""
        return self.folder / "camd.log"

    @property
    def log(self) -> str:
        """The log of all its runs."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    async def wait_log(self, words: str) -> None:
        """Wait until the log has these words; for what no notification reports."""
        while words not in self.log:  # noqa: ASYNC110 - another process writes it
            await trio.sleep(0.05)

    def command(self, *arguments: str) -> list[str]:
        """Return a command line of `camd`."""
        return [sys.executable, "-m", "camd", *arguments]

    @property
    def run_command(self) -> list[str]:
        """The command line of the daemon itself."""
        return self.command("run", "--config", str(self.config_file))

    def environment(self) -> dict[str, str]:
        """Return the environment for the daemon: this one's without what would configure it."""
        ours = ("CAMD_", "RECORDING_ROTATION", "STORAGE_", "CAMERA_SERVICE_", "LISTEN_", "NOTIFY_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return clean | self.marks() | self.environ

    def marks(self) -> dict[str, str]:
        """Return the variable that marks every process of this daemon."""
        return {MARK: self._mark}

    # --- start and stop

    def launch(self, command: Sequence[str] | None = None, **popen: Any) -> None:
        """Start the process in its own process group; do not wait."""
        assert self.process is None
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"camd-test-{uuid.uuid4().hex}"
        self._notices.bind(f"\0{name}")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command or self.run_command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment() | {"NOTIFY_SOCKET": f"@{name}"},
                start_new_session=True,
                **popen,
            )

    async def start(self, command: Sequence[str] | None = None, **popen: Any) -> None:
        """Start the daemon and wait until it serves."""
        self.launch(command, **popen)
        notice = await self.wait_notice("READY=1", START_SECONDS)
        self._give_port_back()
        address = notice.partition("Serving on ")[2].split(",")[0].strip()
        self.url = address if address.startswith("unix:") else f"ws://{address}/ws"

    async def wait_notice(self, wanted: str, seconds: float = STOP_SECONDS) -> str:
        """Wait until the daemon sends its service manager `wanted`; fail when it ends instead."""
        while True:
            notice = await self.next_notice(seconds)
            assert notice is not None, f"ended or silent before {wanted}:\n{self.log}"
            if wanted in notice.split("\n"):
                return notice

    async def next_notice(self, seconds: float) -> str | None:
        """Wait for a message to the service manager; None if none comes in time, or at the end."""
        process, notices = self.process, self._notices
        assert process is not None
        assert notices is not None

        def wait() -> str | None:
            with _pidfd(process.pid) as pidfd:
                poll = select.poll()
                poll.register(notices, select.POLLIN)
                poll.register(pidfd, select.POLLIN)
                ready = dict(poll.poll(seconds * 1000))
            return notices.recv(4096).decode() if notices.fileno() in ready else None

        return await trio.to_thread.run_sync(wait)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        os.kill(self.pid, number)

    async def wait_end(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the process to end by itself, and return its status (minus a signal)."""
        process = self.process
        assert process is not None
        status = await trio.to_thread.run_sync(lambda: process.wait(seconds))
        self.process = None
        if self._notices is not None:
            self._notices.close()
        self._keep_port()
        return status

    def _keep_port(self) -> None:
        """Let no other connection of this machine get the port until the next start."""
        if self._kept_port is None and self.url.startswith("ws:"):
            port = int(self.url.removesuffix("/ws").rpartition(":")[2])
            self._kept_port = socket.socket()
            self._kept_port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):  # another daemon serves there already
                self._kept_port.bind(("127.0.0.1", port))

    def _give_port_back(self) -> None:
        if self._kept_port is not None:
            self._kept_port.close()
            self._kept_port = None

    async def stop(self) -> None:
        """Stop it with SIGTERM; check that it ended in order."""
        self.signal(signal.SIGTERM)
        assert await self.wait_end() == 0, self.log

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def clean_up(self) -> list[int]:
        """Kill everything; return the processes that had outlived the daemon."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            if self._notices is not None:
                self._notices.close()
        self._give_port_back()
        left = self.wait_no_processes()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    # --- processes

    def processes(self) -> list[int]:
        """Return every process that the daemon left or has, itself not included."""
        wanted = f"{MARK}={self._mark}".encode()
        own = self.process.pid if self.process is not None else 0
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in (own, os.getpid()):
                continue
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def newest_process(self) -> int:
        """Return the process that was started last; process ids begin anew at a limit."""

        def started(pid: int) -> int:  # proc(5), stat: starttime
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            return int(stat.rpartition(")")[2].split()[19])

        return max(self.processes(), key=started)

    def wait_no_processes(self, seconds: float = STOP_SECONDS) -> list[int]:
        """Wait until no process is left, and return those that still are."""
        deadline = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < deadline:
            with suppress(ProcessLookupError), _pidfd(found[0]) as pidfd:
                select.select([pidfd], [], [], max(0.0, deadline - time.monotonic()))
        return found

    # --- calls

    @property
    def key(self) -> str:
        """The admin key that the first start left."""
        return (self.folder / "state" / "admin.key").read_text(encoding="ascii").strip()

    def client(self, token: str | None = None) -> AbstractAsyncContextManager[Client]:
        """Connect as the administrator, or with `token`."""
        return connect(self.url, self.key if token is None else token, reconnect=False)

    async def call(self, method: str, **params: object) -> Any:
        """Make one call over a connection of its own."""
        async with self.client() as client:
            return await client.call(method, **params)

    async def get(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        *,
        anonymous: bool = False,
    ) -> Response:
        """Make an HTTP request; the path is sent unchanged."""
        sent = dict(headers or {})
        if not anonymous:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        host = self.url.removeprefix("ws://").removesuffix("/ws")
        return await trio.to_thread.run_sync(_request, host, path, method, sent)

    async def camd(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a `camd` command against this daemon, and wait for its end."""
        return await trio.to_thread.run_sync(
            lambda: subprocess.run(
                self.command(*arguments),
                env=self.user_environment() | environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        )

    def user_environment(self) -> dict[str, str]:
        """Return the environment of a user of this daemon: where it is, and its configuration."""
        where = {"CAMD_CONFIG": str(self.config_file), "CAMD_URL": self.url}
        return self.environment() | where


NewDaemon = Callable[[], Daemon]


@attrs.frozen
class Response:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def _request(host: str, path: str, method: str, headers: Mapping[str, str]) -> Response:
    connection = http.client.HTTPConnection(host, timeout=300)
    try:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, names, answer.read())
    finally:
        connection.close()


class _pidfd:  # noqa: N801 - used like a function
    """Hold a pidfd while the block runs."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


# --- notifications ---------------------------------------------------------------------------

Item = tuple[str, dict[str, Any]]


@attrs.define(eq=False)
class Notifications:
    """The notifications of a connection, in order; `wait` includes past ones."""

    items: list[Item] = attrs.field(factory=list)
    _more: trio.Event = attrs.field(factory=trio.Event)

    def add(self, item: Item) -> None:
        """Add a notification."""
        self.items.append(item)
        self._more.set()
        self._more = trio.Event()

    async def wait(
        self, wanted: Callable[[str, dict[str, Any]], bool], times: int = 1
    ) -> dict[str, Any]:
        """Wait for so many notifications that `wanted` accepts; return the last of them."""
        while True:
            found = [params for method, params in self.items if wanted(method, params)]
            if len(found) >= times:
                return found[times - 1]
            await self._more.wait()

    async def recording(self, status: str, times: int = 1, **fields: object) -> dict[str, Any]:
        """Wait for a notification about a recording."""
        return await self.wait(
            lambda method, params: (
                method == "recording_status_update"
                and params["status"] == status
                and all(params[name] == value for name, value in fields.items())
            ),
            times,
        )

    def statuses(self, camera: str) -> list[str]:
        """Return the statuses of a camera's recordings in order, without PROGRESS."""
        return [
            params["status"]
            for method, params in self.items
            if method == "recording_status_update"
            and params["camera_id"] == camera
            and params["status"] != "PROGRESS"
        ]


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[Notifications]:
    """Collect the notifications of a connection while the block runs."""
    notified = Notifications()

    async def collect() -> None:
        with suppress(ConnectionLostError):
            async for item in client.notifications():
                notified.add(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        yield notified
        nursery.cancel_scope.cancel()


# --- files ----------------------------------------------------------------------------------


def receipt_hash(path: Path) -> str:
    """Return the hash that a receipt gives for a file."""
    with path.open("rb") as file:
        file.seek(SIGNED_FROM)
        return hashlib.file_digest(file, "sha256").hexdigest()


def packets(path: Path) -> list[str]:
    """Decode a file, and return the hashes of its packets; fail if FFmpeg prints an error."""
    done = subprocess.run(
        [
            *(FFMPEG, "-hide_banner", "-nostdin", "-v", "error", "-i", f"file:{path}"),
            *("-map", "0:v:0", *DECODED),
            *("-map", "0:v:0", "-c", "copy", "-f", "framehash", "-hash", "md5", "pipe:1"),
        ],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (path, done.stderr)
    assert done.stderr == b"", (path, done.stderr)
    lines = done.stdout.decode().splitlines()
    return [line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")]


async def frames_in(path: Path) -> int:
    """Count the frames of a file; fail if FFmpeg prints an error."""
    return len(await trio.to_thread.run_sync(packets, path))


async def check_receipt(daemon: Daemon, receipt: Mapping[str, Any]) -> None:
    """Check a receipt: names, sizes, hashes and frames are those of the files on disk."""
    assert receipt["files"]
    for file in receipt["files"]:
        path = daemon.recordings / file["filename"]
        assert path.stat().st_size == file["size"]
        assert receipt_hash(path) == file["sha256"]
        assert await frames_in(path) == file["frames"]
    assert receipt["frames_written"] == sum(file["frames"] for file in receipt["files"])
    exact = sum(gap["frames"] for gap in receipt["gaps"] if gap["exact"])
    assert receipt["frames_captured"] == receipt["frames_written"] + exact
    assert receipt["durable"]


def make_clip(path: Path, seconds: int = 60) -> list[str]:
    """Make a clip with known packets, a key frame each half second; return their hashes."""
    picture = f"testsrc2=size=160x120:rate={FRAME_RATE}"
    subprocess.run(
        [
            *(FFMPEG, "-hide_banner", "-nostdin", "-v", "error", "-f", "lavfi", "-i", picture),
            *("-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-g", "15"),
            *("-pix_fmt", "yuv420p", str(path)),
        ],
        check=True,
        timeout=300,
    )
    return packets(path)


async def recovery_over(client: Client) -> dict[str, Any]:
    """Wait until the recordings folder has been searched; return what the status says of it."""
    while True:
        found: dict[str, Any] = (await client.call("get_status"))["recovery"] or {}
        if found.get("ended"):
            return found
        await trio.sleep(0.05)


async def hash_of(client: Client, name: str) -> str:
    """Wait for a recovered file's hash, which comes when the whole file has been read."""
    while True:
        info = await client.call("get_recording_info", filename=name)
        if info["sha256"] is not None:
            return str(info["sha256"])
        await trio.sleep(0.05)


async def record_with_frozen_ffmpeg(daemon: Daemon) -> None:
    """Record until a file has ended; then freeze FFmpeg, which does not react to SIGTERM then."""
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED")
    (pid,) = daemon.processes()
    os.kill(pid, signal.SIGSTOP)
