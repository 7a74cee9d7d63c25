"""The examples do what they say, with a real daemon."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from chromium_thread import ChromiumThread
from running_daemon import Daemon, check_receipt
from served_folder import served_folder

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def user(daemon: Daemon, **variables: str) -> dict[str, str]:
    """Return the environment of someone who tries an example."""
    return daemon.user_environment() | {"CAMD_TOKEN": daemon.key, **variables}


async def run(daemon: Daemon, *command: str, cwd: Path | None = None, **variables: str) -> str:
    """Run an example to its end; give its output."""
    done = await trio.run_process(
        command,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=user(daemon, **variables),
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@attrs.define(eq=False)
class Running:
    """An example that runs, and its lines."""

    process: trio.Process
    text: str = ""

    async def wait(self, words: str) -> None:
        """Wait until the words are printed."""
        assert self.process.stdout is not None
        with trio.fail_after(300):
            while words not in self.text:
                data = await self.process.stdout.receive_some()
                assert data, f"ended before {words}: {self.text}"
                self.text += data.decode()


async def start(nursery: trio.Nursery, daemon: Daemon, *command: str, cwd: Path) -> Running:
    """Start an example that runs until it is stopped."""
    return Running(
        await nursery.start(
            functools.partial(
                trio.run_process,
                command,
                stdout=subprocess.PIPE,
                check=False,
                env=user(daemon),
                cwd=cwd,
            )
        )
    )


async def record(daemon: Daemon, camera: str = "camera0") -> Any:
    """Record for a moment; give the answer to the stop."""
    async with daemon.client() as client:
        await client.call("start_recording", device=camera)
        return await client.call("stop_recording", device=camera)


async def test_python_records_with_a_receipt(daemon: Daemon) -> None:
    """The printed frames are those in the files."""
    text = await run(
        daemon, sys.executable, str(EXAMPLES / "start_recording.py"), "camera0", SECONDS="1.5"
    )
    lines = text.splitlines()
    assert lines[0].startswith("session ")
    listed = {f["filename"]: f for f in (await daemon.call("list_recordings"))["files"]}
    printed = {line.split()[0]: int(line.split()[1]) for line in lines if "frames  sha" in line}
    assert printed == {name: file["frames"] for name, file in listed.items()}
    written = sum(printed.values())
    assert lines[-1] == f"written {written} of {written} captured frames"


async def test_python_says_what_is_refused(daemon: Daemon) -> None:
    """An unknown camera is a sentence with what to do, and no traceback."""
    done = await trio.run_process(
        [sys.executable, str(EXAMPLES / "start_recording.py"), "camera7"],
        capture_stderr=True,
        check=False,
        env=user(daemon),
    )
    assert done.returncode == 1
    assert done.stderr.decode().startswith("Camera not found")
    assert done.stderr.decode().count("\n") == 1


async def test_python_follows_events_over_restarts(daemon: Daemon, tmp_path: Path) -> None:
    """Of the daemon and of itself: each number is shown once, and nothing is left out."""
    port = daemon.url.rpartition(":")[2].partition("/")[0]
    command = (sys.executable, str(EXAMPLES / "follow_events.py"), "position.txt")
    shown = ""
    async with trio.open_nursery() as nursery:
        example = await start(nursery, daemon, *command, cwd=tmp_path)
        await example.wait("following events")
        first = await record(daemon)
        await example.wait(f"STOPPED {first['filename']}")
        await daemon.stop()
        daemon.configure({"server": {"listen": f"127.0.0.1:{port}"}}, [CAMERA, CAMERA])
        await daemon.start()
        second = await record(daemon, "camera1")
        await example.wait(f"STOPPED {second['filename']}")
        shown += example.text
        example.process.terminate()
        await example.process.wait()
        third = await record(daemon)
        again = await start(nursery, daemon, *command, cwd=tmp_path)
        await again.wait(f"STOPPED {third['filename']}")
        shown += again.text
        again.process.terminate()
        await again.process.wait()
    assert "MISSED" not in shown
    numbers = [int(line.split()[0]) for line in shown.splitlines() if line[0].isdigit()]
    # The number of the last event may not have been written when the program was ended.
    assert sorted(set(numbers)) == list(range(numbers[0], numbers[-1] + 1))
    assert len(numbers) - len(set(numbers)) <= 1


CAMERA = {"source": "test:?size=160x120&rate=30"}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
async def test_curl_lines(daemon: Daemon, tmp_path: Path) -> None:
    """Health, and a download that goes on where an earlier try has stopped."""
    script = str(EXAMPLES / "calls.sh")
    assert json.loads(await run(daemon, "sh", script, "health"))["status"]
    stopped = await record(daemon)
    name = stopped["filename"]
    whole = (daemon.recordings / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:1000])
    await run(daemon, "sh", script, "download", name, cwd=tmp_path)
    assert (tmp_path / name).read_bytes() == whole
    await check_receipt(daemon, stopped["receipt"])


STAND_IN = """#!{python}
import sys
from websockets.sync.client import connect
with connect(sys.argv[-1]) as socket:
    for line in sys.stdin:
        socket.send(line.strip())
    print(socket.recv(), flush=True)
    while "--one-message" not in sys.argv:
        print(socket.recv(), flush=True)
"""


@pytest.fixture(params=["websocat", "a stand-in for websocat"])
def websocat(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the search path with websocat, or with a program that sends lines as it does."""
    path = os.environ["PATH"]
    if request.param == "websocat":
        if not shutil.which("websocat"):
            pytest.skip("websocat is not installed")
        return path
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "websocat"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    return f"{program.parent}:{path}"


async def test_websocat_lines(daemon: Daemon, websocat: str, tmp_path: Path) -> None:
    """List, record, stop, files and events; the key is in no argument and left in no file."""
    script = str(EXAMPLES / "calls.sh")
    (tmp_path / "tmp").mkdir()

    async def call(*arguments: str) -> Any:
        text = await run(
            daemon, "sh", script, *arguments, PATH=websocat, TMPDIR=str(tmp_path / "tmp")
        )
        (_, answer) = json.loads(text)
        return answer["result"]

    assert (await call("list"))["total"] == 2
    started = await call("record", "camera0")
    assert started["status"] == "STARTED"
    assert (await call("stop", "camera0"))["session_id"] == started["session_id"]
    assert (await call("files"))["total"] >= 1
    assert list((tmp_path / "tmp").iterdir()) == []


def node_command() -> list[str]:
    """Return the command that runs a script with a WebSocket; empty where there is none."""
    if not (program := shutil.which("node")):
        return []
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    major, minor, *_ = map(int, version.stdout.strip().removeprefix("v").split("."))
    if major >= 22:
        return [program]
    return [program, "--experimental-websocket"] if (major, minor) >= (20, 10) else []


@pytest.mark.skipif(not node_command(), reason="Node.js 20.10 or newer is not installed")
async def test_javascript_follows_events_over_a_restart(daemon: Daemon, tmp_path: Path) -> None:
    """Cameras are listed, and each number is shown once."""
    port = daemon.url.rpartition(":")[2].partition("/")[0]
    async with trio.open_nursery() as nursery:
        example = await start(
            nursery, daemon, *node_command(), str(EXAMPLES / "watch.mjs"), cwd=tmp_path
        )
        await example.wait("camera camera1 ")
        await record(daemon)
        await example.wait("recording_status_update camera0 STOPPED")
        await daemon.stop()
        daemon.configure({"server": {"listen": f"127.0.0.1:{port}"}}, [CAMERA, CAMERA])
        await daemon.start()
        await record(daemon, "camera1")
        await example.wait("recording_status_update camera1 STOPPED")
        example.process.terminate()
        await example.process.wait()
    numbers = [int(line.split()[0]) for line in example.text.splitlines() if line[0].isdigit()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert "MISSED" not in example.text


def drive_page(browser: Any, address: str, url: str, key: str) -> dict[str, Any]:
    """Use the page as a person does: a wrong key, the right one, record, stop."""
    with closing(browser.new_context()) as context:
        page = context.new_page()
        page.set_default_timeout(120_000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        page.fill("#url", url)
        page.fill("#key", "camd_wrong")
        page.click("text=Connect")
        page.wait_for_function("document.querySelector('#error').textContent")
        refused = page.text_content("#error")
        page.fill("#key", key)
        page.click("text=Connect")
        page.wait_for_selector("#camera-camera1 >> text=Record")
        rows = page.locator("#cameras tr").count()
        button = page.locator("#camera-camera0 button").element_handle()
        page.click("#camera-camera0 >> text=Record")
        page.click("#camera-camera0 >> text=Stop")
        page.wait_for_selector("#camera-camera0 >> text=Record")
        page.wait_for_selector("#events li:has-text('STOPPED')")
        assert button.is_visible(), "replaced, perhaps while it was pressed"
        seqs = page.eval_on_selector_all("#events li", "all => all.map(e => +e.dataset.seq)")
    return {"refused": refused, "rows": rows, "seqs": seqs[::-1], "problems": problems}


async def test_the_page_in_a_browser(chromium: ChromiumThread, daemon: Daemon) -> None:
    """It says that a key is wrong, lists the cameras, records, stops, and shows the events."""
    with served_folder(EXAMPLES) as address:
        seen = await chromium.run(
            lambda browser: drive_page(browser, address, daemon.url, daemon.key)
        )
    assert "Authentication failed" in seen["refused"]
    assert seen["rows"] == 2
    assert seen["problems"] == []
    assert seen["seqs"] == sorted(set(seen["seqs"]))
    files = (await daemon.call("list_recordings"))["files"]
    assert {file["camera_id"] for file in files} == {"camera0"}
