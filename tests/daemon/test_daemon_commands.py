"""The commands, as a user types them, against a running daemon."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from running_daemon import Daemon, check_receipt, listening, receipt_hash

from camd.client import NotAuthenticatedError


async def parsed(daemon: Daemon, *arguments: str) -> Any:
    """Run a command with --json, and parse its output."""
    done = await daemon.camd(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@attrs.define(eq=False)
class Running:
    """A running command."""

    process: subprocess.Popen[str]

    async def line(self, words: str, *, errors: bool = False) -> str:
        """Wait for a line with these words."""
        pipe = self.process.stderr if errors else self.process.stdout
        assert pipe is not None
        while True:
            line: str = await trio.to_thread.run_sync(pipe.readline, abandon_on_cancel=True)
            assert line, "it ended"
            if words in line:
                return line

    async def interrupt(self) -> tuple[int, str, str]:
        """Send SIGINT; return the exit code and the rest of the output."""
        self.process.send_signal(signal.SIGINT)
        said = await trio.to_thread.run_sync(lambda: self.process.communicate(timeout=300))
        return self.process.returncode, *said


@asynccontextmanager
async def running(daemon: Daemon, *arguments: str) -> AsyncIterator[Running]:
    """Run a command while the block runs."""
    with subprocess.Popen(  # noqa: ASYNC220 - milliseconds
        daemon.command(*arguments),
        env=daemon.user_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


async def test_status_ls_info_and_storage_tell_what_there_is(daemon: Daemon) -> None:
    """For people in tables and for programs as JSON, before, while and after it records."""
    with trio.fail_after(300):
        status = await parsed(daemon, "status")
        assert status["service"]["status"] in ("healthy", "degraded")
        assert [camera["camera_id"] for camera in status["cameras"]] == ["camera0", "camera1"]
        nothing = await daemon.camd("ls")
        assert nothing.returncode == 0
        assert "0 of 0 recordings" in nothing.stdout

        await daemon.call("start_recording", device="camera0")
        shown = await daemon.camd("status")
        assert shown.returncode == 0
        assert "recording" in shown.stdout.lower()
        stopped = await daemon.call("stop_recording", device="camera0")

        files = stopped["receipt"]["files"]
        listed = await parsed(daemon, "ls", "--camera", "camera0")
        assert [file["filename"] for file in listed["files"]] == [
            file["filename"] for file in reversed(files)
        ]
        shown = await daemon.camd("ls")
        info = await parsed(daemon, "info", files[0]["filename"])
        assert info["sha256"] == files[0]["sha256"]
        for command in (shown, await daemon.camd("info", files[0]["filename"])):
            assert command.returncode == 0
            assert files[0]["filename"] in command.stdout
        space = await parsed(daemon, "storage")
        assert space["recordings_size"] == sum(file["size"] for file in files)
        assert "available" in (await daemon.camd("storage")).stdout


async def test_record_for_a_time_prints_a_receipt_that_is_true(shared_daemon: Daemon) -> None:
    """The command ends by itself with 0; the hashes are those of the files."""
    with trio.fail_after(300):
        receipt = await parsed(shared_daemon, "record", "camera0", "--for", "2s")
    assert receipt["files"]
    for file in receipt["files"]:
        assert receipt_hash(shared_daemon.recordings / file["filename"]) == file["sha256"]


async def test_ctrl_c_stops_a_recording_and_prints_its_receipt(shared_daemon: Daemon) -> None:
    """The recording is stopped, not left behind, and the command succeeds."""
    with trio.fail_after(300):
        async with running(shared_daemon, "record", "camera0", "--json") as record:
            await record.line("Recording camera0 into", errors=True)
            code, out, _ = await record.interrupt()
        assert code == 0
        await check_receipt(shared_daemon, json.loads(out))
        assert await shared_daemon.call("get_recording_status", device="camera0") is None


async def test_ctrl_c_while_the_camera_starts_leaves_nothing_recording(
    daemon: Daemon,
) -> None:
    """Ctrl-C before the first frame stops the recording, too."""
    with trio.fail_after(300):
        async with daemon.client() as client, listening(client) as notified:
            async with running(daemon, "record", "camera0", "--json") as record:
                await notified.wait(lambda _, params: params.get("state") == "STARTING")
                code, out, _ = await record.interrupt()
            assert code == 0
            assert await client.call("get_recording_status", device="camera0") is None
        await check_receipt(daemon, json.loads(out))


async def test_stop_ends_what_somebody_else_records(shared_daemon: Daemon) -> None:
    """Whoever started it, `stop` prints the receipt; `record` ends and prints it as well."""
    with trio.fail_after(300):
        async with running(shared_daemon, "record", "camera1") as record:
            await record.line("Recording camera1 into", errors=True)
            done = await shared_daemon.camd("stop", "camera1")
            assert done.returncode == 0
            assert "captured frames are in files, durable." in done.stdout
            assert await trio.to_thread.run_sync(lambda: record.process.wait(300)) == 0
        again = await shared_daemon.camd("stop", "camera1")
        assert again.returncode == 4
        assert "not recording" in again.stderr


async def test_watch_shows_events_until_ctrl_c(shared_daemon: Daemon) -> None:
    """One JSON object a line for each event; Ctrl-C ends the command with 130."""
    with trio.fail_after(300):
        async with running(shared_daemon, "watch", "--json") as watch:
            await watch.line("Waiting for events", errors=True)
            await shared_daemon.call("start_recording", device="camera0")
            event = json.loads(await watch.line('"STARTED"'))
            assert event["method"] == "recording_status_update"
            assert event["params"]["camera_id"] == "camera0"
            await shared_daemon.call("stop_recording", device="camera0")
            code, _, errors = await watch.interrupt()
        assert code == 130
        assert "Traceback" not in errors


async def test_watch_shows_chosen_events_of_the_past(daemon: Daemon) -> None:
    """Behind a number, of one camera and one topic; and new ones when the service is back."""
    port = daemon.url.rpartition(":")[2].partition("/")[0]
    with trio.fail_after(300):
        for camera in ("camera0", "camera1"):
            await daemon.call("start_recording", device=camera)
            await daemon.call("stop_recording", device=camera)
        options = ("--since", "0", "--camera", "camera1", "--topic", "recording.stopped")
        async with running(daemon, "watch", "--json", "--reconnect", *options) as watch:
            event = json.loads(await watch.line('"STOPPED"'))
            assert event["params"]["camera_id"] == "camera1"
            await daemon.stop()
            cameras = [{"source": "test:?size=160x120&rate=30"}] * 2
            daemon.configure({"server": {"listen": f"127.0.0.1:{port}"}}, cameras)
            await daemon.start()
            for camera in ("camera0", "camera1"):
                await daemon.call("start_recording", device=camera)
                await daemon.call("stop_recording", device=camera)
            later = json.loads(await watch.line('"STOPPED"'))
            assert later["params"]["camera_id"] == "camera1"
            assert later["params"]["seq"] > event["params"]["seq"]
            code, _, _ = await watch.interrupt()
        assert code == 130
        future = await daemon.camd("watch", "--since", "99999")
        assert future.returncode != 0
        assert "the newest event is" in future.stderr


async def test_keys_are_made_listed_and_taken_away(daemon: Daemon) -> None:
    """A new key is accepted within seconds; a revoked one is refused, also on open connections."""
    with trio.fail_after(300):
        made = await daemon.camd("keys", "add", "hall-screen", "--role", "operator")
        assert made.returncode == 0
        key = made.stdout.strip()
        assert len(key) >= 32
        await until_known(daemon, key)
        names = {item["name"]: item["role"] for item in await parsed(daemon, "keys", "list")}
        assert names["hall-screen"] == "operator"
        assert key not in (await daemon.camd("keys", "list")).stdout
        assert (await daemon.camd("stop", "camera0", CAMD_TOKEN=key)).returncode == 4

        async with daemon.client(key) as client:
            assert (await daemon.camd("keys", "revoke", "hall-screen")).returncode == 0
            assert await until_refused(client) == "revoked"
        refused = await daemon.camd("status", CAMD_TOKEN=key)
        assert refused.returncode == 5
        assert key not in refused.stderr
        again = await daemon.camd("keys", "revoke", "hall-screen")
        assert again.returncode == 1
        assert "no key called hall-screen" in again.stderr


async def until_known(daemon: Daemon, key: str) -> None:
    """Wait until the daemon has read its file of keys again."""
    while True:
        try:
            async with daemon.client(key):
                return
        except NotAuthenticatedError:
            await trio.sleep(0.1)


async def until_refused(client: Any) -> str:
    """Call until the key is refused; return the reason."""
    while True:
        try:
            await client.call("ping")
        except NotAuthenticatedError as refused:
            return str(refused.data["reason"])
        await trio.sleep(0.1)


async def test_exit_codes_tell_failures_apart(shared_daemon: Daemon) -> None:
    """1, 2, 3, 4, 5 and 78, each with a sentence on stderr and nothing on stdout."""
    nobody = {"CAMD_URL": "ws://127.0.0.1:1/ws"}
    secret = {"CAMERA_SERVICE_JWT_SECRET": "short"}
    cases: list[tuple[int, tuple[str, ...], dict[str, str], str]] = [
        (2, ("record", "camera0", "--for", "soon"), {}, "not a duration"),
        (3, ("status",), nobody, "127.0.0.1:1"),
        (4, ("record", "camera9"), {}, "Camera not found"),
        (4, ("info", "none.mp4"), {}, "File not found"),
        (5, ("ls",), {"CAMD_TOKEN": "nobody"}, "Authentication failed"),
        (78, ("token", "eve"), secret, "auth.jwt_secret"),
        (78, ("check", "--config", "/nowhere/camd.toml"), {}, "/nowhere/camd.toml"),
    ]

    async def check(
        code: int, arguments: tuple[str, ...], environ: dict[str, str], words: str
    ) -> None:
        done = await shared_daemon.camd(*arguments, **environ)
        assert done.returncode == code, (arguments, done.stderr)
        assert done.stdout == ""
        assert words in done.stderr
        assert "Traceback" not in done.stderr

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for case in cases:
                nursery.start_soon(check, *case)


async def test_check_finds_what_the_daemon_would_meet(shared_daemon: Daemon) -> None:
    """All is well with a configuration that records, and a missing FFmpeg is a problem."""
    with trio.fail_after(300):
        findings = await parsed(shared_daemon, "check")
        assert {item["grade"] for item in findings} <= {"ok", "warning"}
        assert {"configuration", "ffmpeg", "camera camera0"} <= {f["subject"] for f in findings}
        broken = await shared_daemon.camd("check", CAMD_FFMPEG__PATH="/nowhere/ffmpeg")
        assert broken.returncode == 1
        assert "/nowhere/ffmpeg" in broken.stdout


async def test_a_daemon_that_goes_away_ends_the_commands(daemon: Daemon) -> None:
    """Commands that follow the daemon end with 3 when it stops, and say so."""
    with trio.fail_after(300):
        async with running(daemon, "watch") as watch:
            await watch.line("Waiting for events", errors=True)
            await daemon.stop()
            assert await trio.to_thread.run_sync(lambda: watch.process.wait(300)) == 3
            assert watch.process.stderr is not None
            assert "the connection was lost" in watch.process.stderr.read()


async def test_devices_are_shown_with_and_without_the_service(shared_daemon: Daemon) -> None:
    """Without discovery the list is empty; commands about other cameras are refused."""
    with trio.fail_after(300):
        for options in ((), ("--offline",)):
            found = await parsed(shared_daemon, "devices", *options)
            assert (found["devices"], found["absent"]) == ([], [])
        shown = await shared_daemon.camd("devices")
        assert "No camera is plugged in" in shown.stdout
        for command in (
            ("adopt", "camera0", "/dev/video9"),
            ("adopt", "x y"),
            ("forget", "camera0"),
        ):
            refused = await shared_daemon.camd(*command)
            assert refused.returncode not in (0, 1), command
            assert "Traceback" not in refused.stderr
        assert (await parsed(shared_daemon, "status"))["total"] == 2
