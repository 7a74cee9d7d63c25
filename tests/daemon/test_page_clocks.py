"""Dates on the page that clocks make: recordings of a clock that nobody has set, and of one that is
far ahead; days of 23 and of 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, inside, link
from running_daemon import NewDaemon, small_camera
from stored_footage import FootageFolder

UNSET = datetime(1970, 1, 1, 0, 3, tzinfo=UTC)
AHEAD = datetime(2099, 5, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)
MARKS = """[...document.querySelectorAll('.ruler span')]
  .map((each) => [each.textContent, parseFloat(each.style.left)])"""


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


async def test_marks_stand_at_hours_of_the_local_clock(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """On a day of 23 and of 25 hours, too: each mark is where its hour is, and a click there goes
    to it."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    await daemon.start()
    days = {(2026, 3, 29): 23, (2026, 10, 25): 25, (2026, 7, 5): 24}

    def use(browser: PageBrowser) -> dict[tuple[int, int, int], dict[str, float]]:
        page, found = browser.page, {}
        browser.see(".tile")
        for day in days:
            browser.go(f"timeline/camera0/{noon(*day).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
            browser.see(f".player .note.number >> text=/{day[2]} .*, 12:00/")
            page.select_option("label:has-text('Window') select", label="1 day")
            browser.see(".rows[aria-label^='Timeline, 1 d.']")
            found[day] = marks = dict(page.evaluate(MARKS))
            page.mouse.click(*inside(browser.see(".ruler"), marks["03:00"] / 100))
            browser.see(f".player .note.number >> text=/{day[2]} .*, (02:5|03:0)/")
        return found

    shown = await browse(
        chromium, use, await link(daemon), locale="en-GB", timezone_id="Europe/Berlin"
    )
    for day, hours in days.items():
        begin, end = ((noon(*day) + DAY * half).astimezone(UTC) for half in (-0.5, 0.5))
        assert (end - begin) == timedelta(hours=hours)
        window = noon(*day).astimezone(UTC) - DAY / 2
        for hour in range(3, 24, 3):
            at = datetime(*day, tzinfo=BERLIN) + timedelta(hours=hour)  # of the wall clock
            share = 100 * (at.astimezone(UTC) - window) / DAY
            assert shown[day][f"{hour:02}:00"] == pytest.approx(share, abs=0.01)


def noon(year: int, month: int, day: int) -> datetime:
    """Return noon of a day in Berlin."""
    return datetime(year, month, day, 12, tzinfo=BERLIN)
