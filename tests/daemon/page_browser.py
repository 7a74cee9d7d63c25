"""A tab on the page of a daemon, as tests use it, and everything that goes wrong in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs
from chromium_thread import ChromiumThread
from running_daemon import Daemon

T = TypeVar("T")

WAIT_SECONDS = 120  # for one step; machines are busy
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

    def gone(self, selector: str) -> None:
        """Wait until nothing like it is on the page."""
        self.page.locator(selector).first.wait_for(state="detached")

    def address(self, view: str) -> None:
        """Put a view into the address; what is shown changes after that."""
        self.page.evaluate("view => { location.hash = view }", view)

    def go(self, view: str) -> None:
        """Go to a view of the page, and wait until it is shown in place of another one.

        What a view asks the service for comes later.
        """
        self.address(view)
        name, _, table = view.partition("/")
        self.see(f"nav[aria-label='Views'] [aria-current=page][href='#{name}']")
        if name == "recordings":
            chosen = f"[aria-current=page][href='#{name}/{table or name}']"
            self.see(f"nav[aria-label='Tables'] {chosen}")

    def told(self) -> str:
        """Return what the tab shows and what went wrong in it, for whom a test fails."""
        try:
            shown = self.page.locator("body").aria_snapshot(timeout=10_000)
        except Exception as error:  # the tab hangs, or is gone
            shown = str(error)
        return f"The page shows:\n{shown}\nWrong: {self.wrong}"

    def check(self) -> None:
        """Fail when a script failed, an error was logged, or the policy was violated."""
        assert self.wrong == [], self.wrong
        assert self.page.evaluate("window.violations") == []


async def browse(
    chromium: ChromiumThread,
    work: Callable[[PageBrowser], T],
    url: str,
    *,
    check: bool = True,
    **context: object,
) -> T:
    """Open a URL in a tab of its own, and work in it; what is wrong in the tab fails the test."""

    def run(browser: Any) -> T:
        with _opened(browser, url, context) as tab:
            try:
                result = work(tab)
            except Exception as error:
                error.add_note(tab.told())
                raise
            if check:
                tab.check()
            return result

    return await chromium.run(run)


@contextmanager
def _opened(browser: Any, url: str, options: dict[str, object]) -> Iterator[PageBrowser]:
    context = browser.new_context(**options)
    try:
        context.set_default_timeout(WAIT_SECONDS * 1000)
        context.add_init_script(_VIOLATIONS)
        tab = PageBrowser(context.new_page())
        tab.page.on("pageerror", lambda error: tab.wrong.append(str(error)))
        tab.page.on("dialog", lambda dialog: tab.wrong.append(dialog.message))
        tab.page.on("console", lambda line: _note(tab, line))
        tab.page.goto(url)
        yield tab
    finally:
        context.close()


def _note(tab: PageBrowser, line: Any) -> None:
    if line.type == "error":
        tab.wrong.append(f"{line.text} ({line.location.get('url')})")


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


def inside(element: Any, share: float = 0.5) -> tuple[float, float]:
    """Return a point of an element, at a share of its width and half its height.

    It is measured when the element keeps its place over two drawings of the page.
    """
    box = element.evaluate(
        """(element) => new Promise((resolve) => {
          let before = "";
          const look = () => {
            const { x, y, width, height } = element.getBoundingClientRect();
            const now = [x, y, width, height];
            if (String(now) === before) resolve(now);
            else requestAnimationFrame(look);
            before = String(now);
          };
          look();
        })"""
    )
    left, top, width, height = box
    return left + width * share, top + height / 2


def small_targets(browser: PageBrowser) -> list[str]:
    """Name the buttons, links and fields that are lower than a finger needs."""
    found = browser.page.evaluate(
        """[...document.querySelectorAll("button, nav a, .button, select, input")]
            .filter((each) => each.offsetParent && each.getBoundingClientRect().height < 43.5)
            .map((each) => each.outerHTML.slice(0, 80))"""
    )
    return json.loads(json.dumps(found))
