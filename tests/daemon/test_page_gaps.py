"""The timeline with thousands of gaps, which hide no footage and are counted; and its ruler, from
which one sees which day it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, inside, link, shown_roles
from running_daemon import Daemon, NewDaemon, recovery_over, small_camera
from stored_footage import FootageFolder
from support.recordings import gap

from camd.model import GapCause
from camd.storage.rules.journal_records import GapNoted, encode_records

Clip = tuple[Path, list[str]]
MIDDLE = datetime(2021, 6, 15, 12, tzinfo=UTC)
BEGIN = MIDDLE - timedelta(minutes=28)
EACH = timedelta(seconds=1.4)  # footage and a gap, half of it each
GAPS, FILES = 2400, 100
CAUSES = (GapCause.SOURCE_UNREACHABLE, GapCause.CAMERA_LOST, GapCause.STORAGE_SLOW)
FOUR_HOURS = timedelta(hours=4)


@pytest.fixture
async def with_gaps(new_daemon: NewDaemon, short_clip: Clip) -> Daemon:
    """Run a daemon whose ledger has 2400 gaps of one hour, and 600 of another, every other one with
    another cause; between the first of them there are files of half a second."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate")])
    footage = FootageFolder(daemon.recordings)
    for number in range(FILES):
        footage.put(BEGIN + number * EACH, short_clip[0], 0.5)
    dense = [(BEGIN + (number + 0.5) * EACH, CAUSES[0]) for number in range(GAPS)]
    first = BEGIN - FOUR_HOURS
    others = [(first + number * 4 * EACH, CAUSES[1 + number % 2]) for number in range(GAPS // 4)]
    entries = [
        gap(0, "s1", start=start, end=start + EACH / 2, cause=cause)
        for start, cause in dense + others
    ]
    journal = daemon.recordings / ".camd" / "journal-000001.jsonl"
    journal.parent.mkdir()
    journal.write_bytes(encode_records(map(GapNoted, entries)))
    await daemon.start()
    async with daemon.client() as client:
        await recovery_over(client)
    return daemon


async def test_thousands_of_gaps_hide_nothing_and_are_counted(
    chromium: ChromiumThread, with_gaps: Daemon
) -> None:
    """In a window of an hour: neighbours are one box with their pattern, above it the footage
    between them is seen; the words count all, and say that the service has joined some. A click
    between two gaps plays what was recorded there."""
    seen = """(place) => document.elementsFromPoint(...place)
        .find((each) => each.matches(".gap, .span")).className"""

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile")
        browser.go(f"timeline/camera0/{MIDDLE:%Y-%m-%dT%H:%M:%SZ}")
        lane = browser.see(".lane:has(.gap)")
        words = str(lane.get_attribute("aria-label"))
        assert re.fullmatch(r"Gate: 50 s recorded, 2,400 gaps \(at most 4\d min \d+ s\)", words)
        assert page.locator(".lane .gap").count() == 1
        title = str(page.locator(".lane .gap").get_attribute("title"))
        assert title.startswith("2,400 gaps, the first: the camera could not be reached, at most ")
        assert len(shown_roles(browser)) < 5000
        x = inside(browser.see(".lane .span"))[0]
        track = browser.see(".lane .track").bounding_box()
        above, below = track["y"] + track["height"] * 0.3, track["y"] + track["height"] * 0.8
        assert "span" in page.evaluate(seen, [x, above])
        assert "p-network" in page.evaluate(seen, [x, below])
        page.mouse.click(x, below)
        browser.until("document.querySelector('.player video')?.readyState >= 2")
        browser.see(".player .number:has-text('11:3')")

        browser.go(f"timeline/camera0/{MIDDLE - FOUR_HOURS:%Y-%m-%dT%H:%M:%SZ}")
        browser.see(".lane[aria-label='Gate: 0 s recorded, 600 gaps (7 min)']")
        assert page.locator(".lane .gap").count() == 600

    utc = {"locale": "en-US", "timezone_id": "UTC"}
    await browse(chromium, use, await link(with_gaps), **utc)


async def test_the_ruler_says_which_day_it_is(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """At each length, far from today and at midnight, also where a day begins at one o'clock; for a
    screen reader, too. Nothing is recorded: the window would follow its playback."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate")])
    await daemon.start()

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile")
        days = page.locator(".ruler.days b")

        def shown(instant: str) -> list[str]:
            browser.address(f"timeline/camera0/{instant}")
            year = instant[:4]
            browser.see(f".rows[aria-label*='{year}']")
            return [str(each) for each in days.all_inner_texts()]

        assert shown("2021-06-15T12:00:00Z") == ["Jun 15, 2021"]
        assert "It begins Jun 15, 2021, 13:30." in str(
            browser.see(".rows").get_attribute("aria-label")
        )
        for _ in range(8):
            page.click("button[aria-label='Zoom in']:not(:disabled), h2")
        assert days.all_inner_texts() == ["Jun 15, 2021"]
        page.select_option("label:has-text('Window') select", label="1 hour")
        assert shown("2022-01-31T23:00:00Z") == ["Jan 31, 2022", "Feb 1, 2022"]
        midnight = page.locator(".ruler.days b >> nth=1").bounding_box()["x"]
        mark = page.locator(".ruler span:has-text('00:00')").bounding_box()["x"]
        assert midnight == pytest.approx(mark, abs=1)
        page.select_option("label:has-text('Window') select", label="1 month")
        browser.gone(".ruler.days")
        browser.see(".ruler span:has-text(', 2022')")

    where = {"locale": "en-US", "timezone_id": "Europe/Berlin"}
    await browse(chromium, use, await link(daemon), **where)
    script = """async () => {
      const { days } = await import("/web/timeline/timeline_scale.js");
      const from = new Date(2022, 3, 21, 22).getTime();
      return days({ from, to: from + 4 * 3600000 }).map((day) => new Date(day.from).toString());
    }"""

    def beirut(browser: PageBrowser) -> list[str]:
        browser.see(".tile")
        return [str(each) for each in browser.page.evaluate(script)]

    cairo = {"locale": "en-US", "timezone_id": "Africa/Cairo"}
    assert len(await browse(chromium, beirut, await link(daemon), **cairo)) == 2
