"""Chromium on the page of a daemon: driven from a thread beside Trio, and always ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import attrs
import pytest
import trio
from running_daemon import Daemon

T = TypeVar("T")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_SECONDS = 120  # for one step; machines are busy
LONGEST_SECONDS = 300  # for one browser: then it is killed
_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@attrs.define(eq=False)
class PageBrowser:
    """A tab, and everything that went wrong in it."""

    page: Any
    wrong: list[str] = attrs.field(factory=list)

    def see(self, selector: str) -> Any:
        """Wait until something is shown; return it."""
        found = self.page.locator(selector).first
        found.wait_for()
        return found

    def until(self, expression: str) -> None:
        """Wait until JavaScript says so; the page's policy forbids what Playwright has for this."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, expression
            self.page.wait_for_timeout(50)

    def go(self, view: str) -> None:
        """Go to a view of the page."""
        self.page.evaluate("view => { location.hash = view }", view)

    def check(self) -> None:
        """Fail when a script failed, an error was logged, or the policy was violated."""
        assert self.wrong == [], self.wrong
        assert self.page.evaluate("window.violations") == []


async def browse(
    work: Callable[[PageBrowser], T], url: str, *, check: bool = True, **context: object
) -> T:
    """Open a URL in a browser of its own, and work in it in a thread. Skips without one."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    pytest.importorskip("playwright", reason="Playwright is not installed")

    def run() -> T:
        with _opened(url, context) as browser:
            result = work(browser)
            if check:
                browser.check()
            return result

    return await trio.to_thread.run_sync(run)


@contextmanager
def _opened(url: str, options: dict[str, object]) -> Iterator[PageBrowser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=300_000
        )
        with _killed_at_the_end(chromium):
            context = chromium.new_context(**options)
            context.set_default_timeout(WAIT_SECONDS * 1000)
            context.add_init_script(_VIOLATIONS)
            browser = PageBrowser(context.new_page())
            browser.page.on("pageerror", lambda error: browser.wrong.append(str(error)))
            browser.page.on("dialog", lambda dialog: browser.wrong.append(dialog.message))
            browser.page.on("console", lambda line: _note(browser, line))
            browser.page.goto(url)
            yield browser


def _note(browser: PageBrowser, line: Any) -> None:
    if line.type == "error":
        browser.wrong.append(line.text)


@contextmanager
def _killed_at_the_end(chromium: Any) -> Iterator[None]:
    """End the browser, in order or, when a step hangs for too long, at once."""
    session = chromium.new_browser_cdp_session()
    pids = [each["id"] for each in session.send("SystemInfo.getProcessInfo")["processInfo"]]
    timer = threading.Timer(LONGEST_SECONDS, _kill, [pids])
    timer.start()
    try:
        yield
    finally:
        chromium.close()
        timer.cancel()


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def link(daemon: Daemon, role: str = "admin") -> str:
    """Return a link that signs a browser in."""
    made = await daemon.call("create_sign_in_code", role=role)
    return f"{daemon.url.replace('ws://', 'http://').removesuffix('/ws')}{made['path']}"


def shown_roles(browser: PageBrowser, selector: str = "body") -> str:
    """Return what a screen reader gets, as Playwright writes it."""
    return str(browser.page.locator(selector).aria_snapshot())


def widths(browser: PageBrowser) -> tuple[int, int]:
    """Return how wide the page is, and how wide its window."""
    wide, window = browser.page.evaluate(
        "[document.documentElement.scrollWidth, window.innerWidth]"
    )
    return wide, window


def small_targets(browser: PageBrowser) -> list[str]:
    """Name the buttons, links and fields that are lower than a finger needs."""
    found = browser.page.evaluate(
        """[...document.querySelectorAll("button, nav a, .button, select, input")]
            .filter((each) => each.offsetParent && each.getBoundingClientRect().height < 43.5)
            .map((each) => each.outerHTML.slice(0, 80))"""
    )
    return json.loads(json.dumps(found))
