"""Dates on the page that clocks make: recordings of a clock that nobody has set, and of one that is
far ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, link
from running_daemon import NewDaemon, small_camera
from stored_footage import FootageFolder

UNSET = datetime(1970, 1, 1, 0, 3, tzinfo=UTC)
AHEAD = datetime(2099, 5, 1, 12, tzinfo=UTC)


async def test_what_a_wrong_clock_has_recorded_is_shown_and_exported(
    chromium: ChromiumThread, new_daemon: NewDaemon, short_clip: tuple[Path, list[str]]
) -> None:
    """From the list of recordings to the timeline, whose window begins at the present all the same;
    by typing, too; and a range of it can be taken out."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate")])
    folder = FootageFolder(daemon.recordings)
    for start in (UNSET, AHEAD):
        folder.put(start, short_clip[0], 3)
    await daemon.start()

    def shows(browser: PageBrowser, day: str) -> None:
        browser.see(f".player .note.number:has-text('{day}')")
        browser.until("document.querySelector('.player video')?.readyState >= 2")
        browser.see(".lane[aria-label='Gate: 3 s recorded, no gaps']")

    def takes_out(browser: PageBrowser, start: datetime) -> None:
        for name, seconds in (("From", 1), ("To", 2)):
            field = browser.page.get_by_role("textbox", name=name, exact=True)
            field.fill(f"{start + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}")
        browser.see("section:has(#range) [role=status]:has-text('30 frames')")
        browser.see("a:has-text('Export as one file')")
        browser.page.click("button:has-text('Clear')")

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile")
        browser.go("timeline")
        browser.see(".player >> text=Live: Gate")
        browser.see(".lane[aria-label='Gate: nothing recorded here']")
        for row, start, day in ((0, AHEAD, "1 May 2099"), (1, UNSET, "1 Jan 1970")):
            browser.go("recordings")
            page.locator("tbody tr").nth(row).locator("a:has-text('Show')").click()
            shows(browser, day)
            takes_out(browser, start)
        browser.page.click(".player button:has-text('Live')")
        browser.see(".player >> text=Live: Gate")
        for start, day in ((AHEAD, "1 May 2099"), (UNSET, "1 Jan 1970")):
            at = start + timedelta(seconds=1)
            page.get_by_role("textbox", name="Go to").fill(f"{at:%Y-%m-%dT%H:%M:%S}")
            shows(browser, day)

    await browse(chromium, use, await link(daemon), locale="en-GB", timezone_id="UTC")
