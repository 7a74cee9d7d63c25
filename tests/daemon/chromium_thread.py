"""One Chromium for all tests of a worker: kept in a thread beside Trio, and killed when it hangs.

Playwright belongs to the thread that started it, so that thread lives as long as the browser. Each
test works in a context of its own, which shares no cookies, permissions or sizes with another.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import attrs
import trio

T = TypeVar("T")
Work = Callable[[Any], T]  # of a browser of Playwright, which need not be installed

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), ""
)
LONGEST_SECONDS = 300  # for the work of one test: then the browser is killed


@attrs.define(eq=False)
class ChromiumThread:
    """A browser and the thread that it lives in."""

    _thread: ThreadPoolExecutor
    _playwright: Any
    _browser: Any

    async def run(self, work: Work[T]) -> T:
        """Work with the browser in its thread; kills the browser when that takes too long."""
        return await trio.to_thread.run_sync(self._thread.submit(self._work, work).result)

    def _work(self, work: Work[T]) -> T:
        if not self._browser.is_connected():  # it was killed
            self._browser = _launched(self._playwright)
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
def open_chromium() -> Iterator[ChromiumThread]:
    """Run a browser while the block runs. Needs Chromium and Playwright."""
    with ThreadPoolExecutor(1, "chromium") as thread:
        browser = thread.submit(_opened, thread).result()
        try:
            yield browser
        finally:
            thread.submit(browser.close).result()


def _opened(thread: ThreadPoolExecutor) -> ChromiumThread:
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    return ChromiumThread(thread, playwright, _launched(playwright))


def _launched(playwright: Any) -> Any:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


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
