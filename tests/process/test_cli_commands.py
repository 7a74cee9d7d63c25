"""The commands against a fake service, made with another WebSocket library."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from camd.cli import main

KEY = "camd_" + "k" * 43
Answer = dict[str, Any] | list[Any] | str | None
CAMERA = {"camera_id": "camera0", "name": "Gate", "status": "CONNECTED", "state": "IDLE"}
FILE = {
    "filename": "camera0_2026-01-15_14-30-00.mp4",
    "duration": 2.0,
    "frames": 60,
    "size": 1234,
    "sha256": "ab" * 32,
}
RECEIPT = {
    "files": [FILE],
    "gaps": [],
    "frames_captured": 60,
    "frames_written": 60,
    "durable": True,
}
STARTED = {"session_id": "s1", "filename": FILE["filename"], "warnings": []}
RUNNING = {"session_id": "s1", "elapsed_time": 1.0, "frames_written": 30, "current_file": "a.mp4"}


class RefusedError(Exception):
    """An error answer of the fake service."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


@attrs.define
class FakeService:
    """Answers calls with prepared answers, and remembers the calls."""

    answers: dict[str, Any] = attrs.field(factory=dict)  # method → answer, exception, or function
    calls: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    notifications: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    url: str = ""

    def handle(self, connection: ServerConnection) -> None:
        """Serve one connection; send the notifications, if there are any, and close it."""
        try:
            for text in connection:
                request = json.loads(text)
                reply = {"jsonrpc": "2.0", "id": request["id"]}
                try:
                    reply["result"] = self._answer(request["method"], request["params"])
                except RefusedError as refusal:
                    reply["error"] = refusal.error
                connection.send(json.dumps(reply))
                if request["method"] == "authenticate" and self.notifications:
                    for method, params in self.notifications:
                        message = {"jsonrpc": "2.0", "method": method, "params": params}
                        connection.send(json.dumps(message))
                    connection.close(1001, "going away")
        except ConnectionClosed:
            pass

    def _answer(self, method: str, params: dict[str, Any]) -> Any:
        if method == "authenticate":
            if params["auth_token"] != KEY:
                raise RefusedError(-32001, "Authentication required", reason="unknown_key")
            return {"authenticated": True}
        self.calls.append((method, params))
        answer = self.answers[method]
        if isinstance(answer, list):  # one after the other; the last one stays
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer(params)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def service() -> Iterator[FakeService]:
    """Run a fake service in a thread of its own."""
    fake = FakeService()
    with serve(fake.handle, "127.0.0.1", 0) as server:
        fake.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield fake
        server.shutdown()
        thread.join(10)


def camd(service: FakeService | None, *arguments: str, token: str = KEY) -> Result:
    """Run a command against the fake service."""
    environ = {"CAMD_TOKEN": token, "CAMD_URL": service.url} if service else {}
    return CliRunner().invoke(main, arguments, env=environ, catch_exceptions=False)


def test_status_shows_the_service_and_its_cameras(service: FakeService) -> None:
    """The state of the service and of each camera is shown, with sentences that say why."""
    service.answers = {
        "get_system_status": {
            "status": "degraded",
            "version": "1.2.3",
            "uptime": 61,
            "components": {"camera_monitor": "degraded"},
            "reasons": ["Camera Gate: it is unplugged. Plug it in. [x]"],
        },
        "get_camera_list": {"cameras": [CAMERA], "total": 1, "connected": 1},
    }
    result = camd(service, "status")
    assert result.exit_code == 0
    assert "! Camera Gate: it is unplugged. Plug it in. [x]" in result.stdout
    assert "camera_monitor" not in result.stdout
    for part in ("degraded", "1.2.3", "1:01", "camera0", "CONNECTED idle"):
        assert part in result.stdout


def test_openrpc_prints_the_document(service: FakeService) -> None:
    """The document of the service is printed as it is, for programs."""
    document = {"openrpc": "1.3.2", "methods": [{"name": "ping"}]}
    service.answers = {"rpc.discover": document}
    result = camd(service, "openrpc")
    assert (result.exit_code, json.loads(result.stdout)) == (0, document)


def test_status_without_cameras_says_how_to_get_one(service: FakeService) -> None:
    """The message has the name of the section with both brackets."""
    service.answers = {"get_system_status": {}, "get_camera_list": {"cameras": []}}
    assert "add a [[camera]] to the configuration" in camd(service, "status").stdout


def test_json_is_the_answer_of_the_service(service: FakeService) -> None:
    """Programs get all fields, also those that the tables omit."""
    page = {"files": [{**FILE, "new_field": [1]}], "total": 1, "limit": 20, "offset": 0}
    service.answers = {"list_recordings": page}
    assert json.loads(camd(service, "ls", "--json").stdout) == page


def test_ls_asks_for_what_the_options_say(service: FakeService) -> None:
    """Options that are not given are not sent."""
    service.answers = {"list_recordings": {"files": [FILE], "total": 3}}
    result = camd(service, "ls", "--camera", "camera0", "--limit", "1", "--from", "2026-01-01")
    wanted = {"limit": 1, "offset": 0, "camera": "camera0", "from": "2026-01-01T00:00:00Z"}
    assert service.calls == [("list_recordings", wanted)]
    assert str(FILE["filename"]) in result.stdout
    assert "1 of 3 recordings" in result.stdout


def test_info_and_storage_show_names_and_values(service: FakeService) -> None:
    """Objects are shown as lists of names and values."""
    service.answers = {
        "get_recording_info": {**FILE, "gaps": [{"cause": "camera_lost", "frames": 5}]},
        "get_storage_info": {"threshold_status": "normal", "available_space": 10**9},
    }
    shown = camd(service, "info", "a.mp4").stdout
    assert "ab" * 32 in shown
    assert "camera_lost" in shown
    assert "1.0 GB" in camd(service, "storage").stdout
    assert service.calls[0] == ("get_recording_info", {"filename": "a.mp4"})


def test_a_pin_is_shown_without_what_it_lacks(service: FakeService) -> None:
    """Instants are in the local zone, as everywhere; values that are not there leave nothing."""
    pin = {"reason": "", "by": "admin", "since": "2026-01-15T15:30:00.5Z", "until": None}
    service.answers = {"get_recording_info": {**FILE, "pin": pin}}
    (line,) = [
        x for x in camd(service, "info", "--utc", "a.mp4").stdout.splitlines() if "by admin" in x
    ]
    assert line.split(maxsplit=1)[1].rstrip() == "by admin, since 2026-01-15 15:30:00 UTC"


def test_a_refusal_has_its_exit_code_and_says_what_to_do(service: FakeService) -> None:
    """4, with message, code and suggestion on stderr and nothing on stdout."""
    service.answers = {
        "stop_recording": RefusedError(-1020, "Not recording", suggestion="Start first.")
    }
    result = camd(service, "stop", "camera0")
    assert result.exit_code == 4
    assert result.stderr == "Error: Not recording (-1020)\n  Start first.\n"
    assert result.stdout == ""


def test_a_refusal_says_who_records(service: FakeService) -> None:
    """A camera that is recorded already: the message names who has started that."""
    service.answers = {
        "start_recording": RefusedError(-1006, "Camera is currently recording", owner="night")
    }
    result = camd(service, "record", "camera0")
    assert "Camera is currently recording (-1006)\n  started by: night\n" in result.stderr


def test_a_wrong_token_has_its_exit_code_and_does_not_show(service: FakeService) -> None:
    """5, and the token is not repeated."""
    result = camd(service, "status", token="hunter2")
    assert result.exit_code == 5
    assert "reason: unknown_key" in result.stderr
    assert "hunter2" not in result.output


def test_a_service_that_is_not_there_has_its_exit_code() -> None:
    """3, with the address and what to do."""
    nobody = FakeService(url="ws://127.0.0.1:1/ws")
    result = camd(nobody, "status")
    assert result.exit_code == 3
    assert "ws://127.0.0.1:1/ws" in result.stderr
    assert "camd run" in result.stderr


def test_the_key_of_this_machines_service_is_found(service: FakeService, tmp_path: Path) -> None:
    """Address and key come from the configuration; without the key, a hint says where it is."""
    config = tmp_path / "camd.toml"
    address = service.url.removeprefix("ws://").removesuffix("/ws")
    config.write_text(f"[server]\nlisten = '{address}'\n", encoding="utf-8")
    service.answers = {
        "get_storage_info": RefusedError(-32001, "Authentication required"),
    }
    result = camd(None, "storage", "--config", str(config))
    assert result.exit_code == 5
    told = f"Authentication required (-32001): there is no key in {tmp_path}/state/admin.key; use "
    assert result.stderr.startswith(f"Error: {told}")
    assert len(result.stderr.splitlines()) == 1
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.key").write_text(KEY + "\n", encoding="ascii")
    service.answers = {"get_storage_info": {"threshold_status": "normal"}}
    assert camd(None, "storage", "--config", str(config)).exit_code == 0


def test_a_wrong_configuration_has_its_exit_code(tmp_path: Path) -> None:
    """78, with every mistake, from every command that reads it."""
    config = tmp_path / "camd.toml"
    config.write_text("[server]\npath = 'ws'\nmax_connections = 0\n", encoding="utf-8")
    for command in (["check"], ["status"], ["keys", "list"], ["token", "eve"]):
        result = camd(None, *command, "--config", str(config))
        assert result.exit_code == 78
        assert "2 mistakes" in result.stderr
        assert "server.max_connections: must be" in result.stderr


# --- recording ----------------------------------------------------------------------------


def test_a_recording_for_a_time_is_followed_to_its_end(service: FakeService) -> None:
    """The receipt is built from the files of the session, oldest first."""
    other = {**FILE, "filename": "camera0_2026-01-15_14-30-02.mp4"}
    service.answers = {
        "start_recording": {**STARTED, "warnings": ["Storage space is low"]},
        "get_recording_status": [RUNNING, None],
        "list_recordings": {"files": [other, FILE], "total": 2},
        "get_recording_info": lambda params: {**FILE, "filename": params["filename"], "gaps": []},
    }
    result = camd(service, "record", "camera0", "--for", "1m30s", "--json")
    assert result.exit_code == 0
    assert service.calls[0] == ("start_recording", {"device": "camera0", "duration": 90})
    receipt = json.loads(result.stdout)
    assert receipt["frames_written"] == 120
    names = [file["filename"] for file in receipt["files"]]
    assert names == [FILE["filename"], other["filename"]]
    assert "Storage space is low" in result.stderr


def test_a_recording_that_somebody_else_replaced_has_ended(service: FakeService) -> None:
    """Another session of the same camera is not followed."""
    service.answers = {
        "start_recording": STARTED,
        "get_recording_status": {**RUNNING, "session_id": "s2"},
        "list_recordings": {"files": [FILE], "total": 1},
        "get_recording_info": FILE,
    }
    assert camd(service, "record", "camera0").exit_code == 0


@pytest.mark.parametrize(
    ("files", "words"), [([], "nothing was recorded"), ([{**FILE, "sha256": None}], "not complete")]
)
def test_a_recording_that_failed_is_no_success(
    service: FakeService, files: list[dict[str, Any]], words: str
) -> None:
    """Exit code 1 when there is no file, or one that was not sealed."""
    service.answers = {"stop_recording": {"receipt": {**RECEIPT, "files": files}}}
    service.answers |= {
        "start_recording": STARTED,
        "get_recording_status": None,
        "list_recordings": {"files": files, "total": len(files)},
        "get_recording_info": lambda _: files[0],
    }
    result = camd(service, "record", "camera0")
    assert result.exit_code == 1
    assert words in result.stderr


@pytest.mark.parametrize(
    ("durable", "cause", "words"),
    [
        (True, "camera_lost", "in files, durable"),
        (False, "camera_lost", "not yet durable"),
        (True, "file_removed", "not yet durable"),
    ],
)
def test_a_recording_that_ended_by_itself_is_durable_if_the_service_says_so(
    service: FakeService, durable: bool, cause: str, words: str
) -> None:
    """A hash is not enough: a sync may have failed, or a file may have been removed."""
    gap = {"from": "2026-01-15T14:30:00Z", "to": "2026-01-15T14:30:01Z", "cause": cause}
    service.answers = {
        "start_recording": STARTED,
        "get_recording_status": None,
        "list_recordings": {"files": [FILE], "total": 1},
        "get_recording_info": {**FILE, "durable": durable, "gaps": [gap]},
    }
    assert words in camd(service, "record", "camera0").output


@pytest.mark.parametrize("duration", ["0s", "1.5s", "25h", "soon"])
def test_a_duration_that_the_service_would_refuse_is_a_usage_error(duration: str) -> None:
    """2, before anything is connected."""
    result = camd(FakeService(url="ws://127.0.0.1:1/ws"), "record", "camera0", "--for", duration)
    assert result.exit_code == 2
    assert "--for" in result.stderr


def test_ctrl_c_stops_the_recording_and_prints_the_receipt(service: FakeService) -> None:
    """The recording is stopped by the first Ctrl-C, and that is a success."""
    polled = threading.Event()

    def running(params: dict[str, Any]) -> dict[str, Any]:
        polled.set()
        return RUNNING

    service.answers = {
        "start_recording": STARTED,
        "get_recording_status": running,
        "stop_recording": {"receipt": RECEIPT},
    }
    with started(service, "record", "camera0") as process:
        assert polled.wait(300)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "ab" * 32 in output
    assert "60 of 60 captured frames are in files, durable." in output
    assert service.calls[-1] == ("stop_recording", {"device": "camera0"})


@contextmanager
def started(service: FakeService, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command as a process of its own, for signals."""
    process = subprocess.Popen(
        [sys.executable, "-m", "camd", *arguments],
        env={**os.environ, "CAMD_TOKEN": KEY, "CAMD_URL": service.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_watch_does_not_wait_where_a_token_is_needed(service: FakeService, tmp_path: Path) -> None:
    """It would until the service closes the connection, and without a word about the token."""
    config = tmp_path / "camd.toml"
    address = service.url.removeprefix("ws://").removesuffix("/ws")
    config.write_text(f"[server]\nlisten = '{address}'\n", encoding="utf-8")
    service.answers = {"ping": RefusedError(-32001, "Authentication required")}
    result = camd(None, "watch", "--config", str(config))
    assert (result.exit_code, result.stdout) == (5, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: Authentication required (-32001): there is no key in ")


def test_watch_shows_events_until_the_service_goes(service: FakeService) -> None:
    """Each event is a line; the end of the connection has the code of an unreachable service."""
    time = "2026-01-15T14:30:00Z"
    service.notifications = [
        ("camera_status_update", {**CAMERA, "time": time}),
        ("storage_status_update", {"threshold_status": "blocked", "time": time}),
    ]
    result = camd(service, "watch")
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [
        "14:30:00 UTC  camera0  CONNECTED  idle",
        "14:30:00 UTC  storage  blocked",
    ]
    lines = camd(service, "watch", "--json").stdout.splitlines()
    assert [json.loads(line)["method"] for line in lines] == [
        method for method, _ in service.notifications
    ]


# --- keys ---------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Return a configuration file in a folder of its own."""
    file = tmp_path / "camd.toml"
    file.write_text(f"[auth]\njwt_secret = '{'s' * 32}'\n", encoding="utf-8")
    return str(file)


def test_keys_are_made_shown_and_revoked(config: str) -> None:
    """The key is printed once, alone on stdout, and only its hash is kept."""
    made = camd(None, "keys", "add", "eve", "--role", "operator", "--for", "30d", "-c", config)
    key = made.stdout.strip()
    assert made.exit_code == 0
    assert len(key) >= 32
    file = Path(config).parent / "state" / "keys.toml"
    assert key not in file.read_text(encoding="utf-8")
    (listed,) = json.loads(camd(None, "keys", "list", "--json", "-c", config).stdout)
    assert (listed["name"], listed["role"]) == ("eve", "operator")
    assert "eve" in camd(None, "keys", "list", "-c", config).stdout
    assert camd(None, "keys", "add", "eve", "-c", config).exit_code == 1
    assert camd(None, "keys", "revoke", "eve", "-c", config).exit_code == 0
    assert camd(None, "keys", "revoke", "eve", "-c", config).exit_code == 1
    assert json.loads(camd(None, "keys", "list", "--json", "-c", config).stdout) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_that_root_makes_can_be_read_by_the_service(config: str) -> None:
    """The file of keys belongs to the owner of its folder."""
    state = Path(config).parent / "state"
    state.mkdir()
    os.chown(state, 12345, 12346)
    assert camd(None, "keys", "add", "eve", "-c", config).exit_code == 0
    status = (state / "keys.toml").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 12346, 0o600)


def test_a_token_is_minted_with_the_configured_secret(config: str) -> None:
    """Three parts, alone on stdout; without a secret, the message says what to set."""
    result = camd(None, "token", "eve", "--role", "admin", "--for", "5m", "-c", config)
    assert result.exit_code == 0
    assert result.stdout.count(".") == 2
    Path(config).write_text("", encoding="utf-8")
    result = camd(None, "token", "eve", "-c", config)
    assert result.exit_code == 78
    assert "auth.jwt_secret" in result.stderr


def test_help_names_every_command_and_exit_code() -> None:
    """All commands and exit codes are in the help."""
    text = camd(None, "--help").stdout
    commands = "demo run check status record stop ls info storage watch keys token openrpc"
    for name in commands.split():
        assert f"\n  {name} " in text
        assert "Usage:" in camd(None, name, "--help").stdout
    for code in (0, 1, 2, 3, 4, 5, 78, 130):
        assert f"\n    {code} " in text


def test_sessions_and_gaps_are_listed(service: FakeService) -> None:
    """Sessions show their coverage and gaps their cause; filters are
    passed on, and a cut list says so."""
    session = {"session_id": "s1", "camera_id": "camera0", "coverage_percent": 99.5, "files": 3}
    gap = {"from": "2026-01-15T14:30:00Z", "duration": 2.5, "frames": 75, "cause": "daemon_down"}
    service.answers = {
        "get_sessions": {"sessions": [session], "total": 1, "limit": 20, "offset": 0},
        "get_gaps": {"gaps": [gap], "total": 30, "limit": 1, "offset": 0},
    }
    shown = camd(service, "sessions", "--camera", "camera0")
    assert (shown.exit_code, "99.5 %" in shown.stdout, " of " in shown.stdout) == (0, True, False)
    shown = camd(service, "gaps", "--session", "s1", "--limit", "1")
    assert "daemon_down" in shown.stdout
    assert "1 of 30 gaps" in shown.stdout
    assert service.calls == [
        ("get_sessions", {"camera": "camera0", "limit": 20, "offset": 0}),
        ("get_gaps", {"session_id": "s1", "limit": 1, "offset": 0}),
    ]
    assert json.loads(camd(service, "gaps", "--json").stdout)["gaps"] == [gap]


def test_schedule_shows_when_what_is_recorded(service: FakeService) -> None:
    """What keeps a schedule from recording is a sentence; none is a hint how to write one."""
    row = {
        "name": "nights [red]",
        "enabled": True,
        "cameras": ["*"],
        "days": ["mon", "sun"],
        "from": "20:00",
        "to": "06:00",
        "timezone": "UTC",
        "active": True,
        "next_change": "2026-01-16T06:00:00Z",
        "overridden_by": {"gate": "manual_stop"},
        "unknown_cameras": ["yard"],
    }
    off = {**row, "enabled": False, "active": False, "overridden_by": {}, "unknown_cameras": []}
    service.answers = {"get_schedules": {"schedules": [row, off], "total": 2}}
    result = camd(service, "schedule")
    assert result.exit_code == 0
    for part in ("nights [red]", "open", "off", "all", "20:00", "mon, sun", "2026-01-16 06:00:00"):
        assert part in result.stdout
    assert "gate: somebody stopped it, until this window closes" in result.stdout
    assert "there is no camera yard" in result.stdout
    service.answers = {"get_schedules": {"schedules": [], "total": 0}}
    assert "Add a [[schedule]]" in camd(service, "schedule").stdout


def test_a_timeline_is_drawn_with_its_gaps(service: FakeService) -> None:
    """Recorded, missing and neither, in the right places; the gaps with their causes; as JSON."""
    span = {"start": "2026-01-15T12:00:00Z", "end": "2026-01-15T18:00:00Z", "filename": "a.mp4"}
    gap = {"from": "2026-01-15T18:00:00Z", "to": "2026-01-15T18:00:01Z", "cause": "camera_lost"}
    answer = {
        "camera_id": "camera0",
        "from": "2026-01-15T00:00:00Z",
        "to": "2026-01-16T00:00:00Z",
        "spans": [{**span, "merged": 3}],
        "gaps": [{**gap, "exact": False, "merged": 2}],
    }
    service.answers = {"get_timeline": answer}
    times = ("--from", "2026-01-15T00:00:00Z", "--to", "2026-01-16T00:00:00Z")
    shown = camd(service, "timeline", "camera0", *times, "--utc")
    assert shown.exit_code == 0, shown.output
    head, bar, *rest = shown.stdout.splitlines()
    assert head == "2026-01-15 00:00:00 UTC to 2026-01-16 00:00:00 UTC"
    half, quarter = len(bar) // 2, len(bar) // 4
    assert (set(bar[: half - 1]), set(bar[half : half + quarter - 1])) == ({"."}, {"#"})
    assert (bar.count("!"), bar[half + quarter], set(bar[half + quarter + 1 :])) == (1, "!", {"."})
    assert rest[0] == "recorded 6:00:00 of 24:00:00, in 3 files"
    assert "camera_lost and 1 more" in rest[-1]
    assert "about 0:01.0" in rest[-1]
    assert service.calls[-1] == (
        "get_timeline",
        {"camera": "camera0", "from": answer["from"], "to": answer["to"]},
    )
    assert json.loads(camd(service, "timeline", "camera0", "--json").stdout) == answer
