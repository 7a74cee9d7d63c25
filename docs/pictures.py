"""Makes the pictures of the page in docs/pictures/: starts a service, records, and takes them.

Run `python docs/pictures.py` after a change of the page. Needs Playwright for Python and Chromium.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trio

from camd.auth.key_file import ADMIN_KEY_FILE
from camd.cli.setup.private_service import clean_environment, held_port
from camd.client import CannotConnectError, Client, connect

FOLDER = Path(__file__).parent / "pictures"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUALITY = 70  # of a JPEG: each picture has to stay below 150 kB
CONFIGURATION = """\
[server]
listen = "127.0.0.1:{port}"
health_listen = ""
[storage]
warn_percent = 94
block_percent = 95
[discovery]
v4l2 = false
[[camera]]
id = "camera0"
name = "Gate"
source = "test:?size=640x360&rate=15"
[[camera]]
id = "camera1"
name = "Yard"
source = "test:?size=640x360&rate=15"
[[camera]]
id = "camera2"
name = "Loading bay"
source = "rtsp://127.0.0.1:9/stream"
"""


def main() -> None:
    """Start the service, record a gap, take the pictures, stop the service."""
    if CHROMIUM is None:
        sys.exit("Chromium is not installed")
    with tempfile.TemporaryDirectory(prefix="camd-pictures-") as folder, held_port() as port:
        config = Path(folder) / "camd.toml"
        config.write_text(CONFIGURATION.format(port=port), encoding="utf-8")
        command = [sys.executable, "-m", "camd", "run", "--config", str(config)]
        with (Path(folder) / "camd.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=clean_environment(os.environ)
            )
        try:
            key = Path(folder) / "state" / ADMIN_KEY_FILE
            link = trio.run(prepare, f"ws://127.0.0.1:{port}/ws", key, process.pid)
            take(f"http://127.0.0.1:{port}{link}")
        finally:
            process.terminate()
            process.wait(30)


async def prepare(address: str, key: Path, pid: int) -> str:
    """Record both cameras, with a gap of the first one; return the path of a link to the page."""
    with trio.fail_after(60):
        while True:
            try:
                token = (await trio.Path(key).read_text()).strip()
                async with connect(address, token, reconnect=False) as client:
                    await record(client, pid)
                    made: dict[str, str] = await client.call("create_sign_in_code")
                    return made["path"]
            except (FileNotFoundError, CannotConnectError):
                await trio.sleep(0.1)


async def record(client: Client, pid: int) -> None:
    """Record for some seconds; end the first camera's FFmpeg process in between."""
    await client.call("start_recording", device="camera0")
    await trio.sleep(8)
    query = ["pgrep", "--parent", str(pid), "--newest"]
    found = await trio.run_process(query, capture_stdout=True)
    os.kill(int(found.stdout), signal.SIGKILL)
    await client.call("start_recording", device="camera1")
    await trio.sleep(10)


def take(link: str) -> None:
    """Take the pictures."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a dependency of few

    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        size = {"width": 1100, "height": 720}
        page = browser.new_context(viewport=size, color_scheme="light").new_page()
        page.goto(link)
        page.locator(".tile").nth(2).wait_for()
        time.sleep(4)
        shoot(page, "cameras")
        page.emulate_media(color_scheme="dark")
        page.evaluate("location.hash = 'timeline/camera0'")
        page.locator(".track .gap").first.wait_for(state="attached")
        for _ in range(6):
            page.keyboard.press("+")
        page.wait_for_timeout(1000)
        box = page.locator(".track .span").first.bounding_box()
        page.mouse.click(box["x"] + 10, box["y"] + box["height"] / 2)
        page.wait_for_timeout(3000)
        shoot(page, "timeline")
        page.set_viewport_size({"width": 360, "height": 720})
        page.evaluate("location.hash = 'cameras'")
        page.wait_for_timeout(3000)
        shoot(page, "phone")
        browser.close()


def shoot(page: Any, name: str) -> None:
    """Store one picture."""
    path = FOLDER / f"{name}.jpg"
    page.screenshot(path=path, type="jpeg", quality=QUALITY)
    sys.stdout.write(f"{path.name}: {path.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main()
