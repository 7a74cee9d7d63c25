"""One Chromium for all tests of a worker: kept in a thread beside Trio, and killed when it hangs.

Playwright belongs to the thread that started it, so that thread lives as long as the browser. Each
test works in a context of its own, which shares no cookies, permissions or sizes with another.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import attrs
import trio

T = TypeVar("T")
Work = Callable[[Any], T]  # of a browser of Playwright, which need not be installed

NAMES = ("chromium", "chromium-browser", "google-chrome")
LONGEST_SECONDS = 300  # for the work of one test: then the browser is killed


def find_chromium() -> str | None:
    """Return the browser of this machine; a script that only says how to get one is none."""
    found = filter(None, map(shutil.which, NAMES))
    return next((each for each in found if _says_its_version(each)), None)


def _says_its_version(program: str) -> bool:
    done = subprocess.run([program, "--version"], capture_output=True, timeout=300, check=False)
    return done.returncode == 0


@attrs.define(eq=False)
class ChromiumThread:
    """A browser and the thread that it lives in."""

    _program: str
    _thread: ThreadPoolExecutor
    _playwright: Any
    _browser: Any

    async def run(self, work: Work[T]) -> T:
        """Work with the browser in its thread; kills the browser when that takes too long."""
        return await trio.to_thread.run_sync(self._thread.submit(self._work, work).result)

    def _work(self, work: Work[T]) -> T:
        if not self._browser.is_connected():  # it was killed
            self._browser = _launched(self._playwright, self._program)
        timer = threading.Timer(LONGEST_SECONDS, _kill, [_process_ids(self._browser)])
        timer.start()
        try:
            return work(self._browser)
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the browser; in its thread."""
        self._browser.close()
        self._playwright.stop()


@contextmanager
def open_chromium(program: str) -> Iterator[ChromiumThread]:
    """Run a browser while the block runs. Needs Playwright."""
    with ThreadPoolExecutor(1, "chromium") as thread:
        browser = thread.submit(_opened, program, thread).result()
        try:
            yield browser
        finally:
            thread.submit(browser.close).result()


def _opened(program: str, thread: ThreadPoolExecutor) -> ChromiumThread:
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    return ChromiumThread(program, thread, playwright, _launched(playwright, program))


def _launched(playwright: Any, program: str) -> Any:
    return playwright.chromium.launch(
        executable_path=program, args=["--no-sandbox"], timeout=LONGEST_SECONDS * 1000
    )


def _process_ids(browser: Any) -> list[int]:
    """Return the processes of a browser: the first is the one that starts the others."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return [each["id"] for each in found]


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
