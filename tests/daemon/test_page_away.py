"""A page that stood still for long, as in a hidden tab or on a machine that slept: it shows the
present again, and calls nothing lost that is there."""

from __future__ import annotations

import pytest
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, link
from running_daemon import Daemon, NewDaemon, small_camera

WATCHED = """
window.sockets = [];
const Native = WebSocket;
window.WebSocket = class extends Native {
  constructor(...given) {
    super(...given);
    if (!given[1]) window.sockets.push(this); // the one of the page's state
  }
};
window.said = [];
new MutationObserver(() => {
  const lost = document.querySelector(".lost")?.innerText;
  if (lost && window.said.at(-1) !== lost) window.said.push(lost);
}).observe(document, { subtree: true, childList: true });
"""
OPEN = "window.sockets.at(-1).readyState === 1 && !document.querySelector('main[aria-busy=true]')"
PRESENT = ".tile .chip:has-text('Recording')"


@pytest.fixture
async def one_camera(new_daemon: NewDaemon) -> Daemon:
    """Run a daemon with one camera."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate")])
    await daemon.start()
    return daemon


def follow_connection(browser: PageBrowser) -> None:
    """Load the page again, so that it keeps its connections and what it says of them."""
    browser.page.add_init_script(WATCHED)
    browser.page.reload()
    browser.see(".tile video")
    browser.until(OPEN)


def begin_anew(browser: PageBrowser) -> None:
    """Wait for the second connection; a recording that begins is shown over it."""
    browser.until(f"window.sockets.length === 2 && {OPEN}")
    browser.page.keyboard.press("1")
    browser.page.keyboard.press("r")
    browser.see(PRESENT)


async def test_a_connection_that_is_made_anew_at_once_is_not_called_lost(
    chromium: ChromiumThread, one_camera: Daemon
) -> None:
    """The service, or what lies before it, closed it: what happens meanwhile is shown."""

    def use(browser: PageBrowser) -> None:
        page = browser.page
        follow_connection(browser)
        page.evaluate(
            "(now => { performance.now = () => now })(performance.now())"
        )  # no time passes
        page.evaluate("window.sockets.at(-1).close()")
        begin_anew(browser)
        assert page.evaluate("window.said") == []

    await browse(chromium, use, await link(one_camera))


async def test_a_connection_that_ended_while_the_machine_slept_is_made_anew(
    chromium: ChromiumThread, one_camera: Daemon
) -> None:
    """Nothing comes over it any more, and nobody has closed it: the first ping that is not answered
    is enough."""

    def use(browser: PageBrowser) -> None:
        page = browser.page
        follow_connection(browser)
        page.evaluate("window.sockets.at(-1).onmessage = null")
        page.evaluate(
            "(now => { performance.now = () => now() + 60000 })(performance.now.bind(performance))"
        )
        begin_anew(browser)
        assert [each for each in page.evaluate("window.said") if "does not answer" in each] == []

    await browse(chromium, use, await link(one_camera))


async def test_single_pictures_that_do_not_come_are_not_passed_off_as_new(
    chromium: ChromiumThread, one_camera: Daemon
) -> None:
    """A connection that ended without a word leaves the last one, under a sentence that says so; it
    is tried again."""

    def use(browser: PageBrowser) -> None:
        page = browser.page
        page.route("**/player/live.js", lambda route: route.abort())  # so pictures are shown
        page.reload()
        browser.see(".tile img[src]")
        page.route("**/still/**", lambda _route: None)
        browser.see(".tile .words:has-text('No picture has come for some time.')")
        page.unroute("**/still/**")
        browser.gone(".tile .words")

    await browse(chromium, use, await link(one_camera), check=False)
