"""Many short recordings on the page: what is pointed at is what plays, though it is narrower than a
pixel; a note about a gap covers no other one; nobody is told that more
files are pinned than are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, inside, link
from running_daemon import Daemon, NewDaemon, small_camera
from stored_footage import FootageFolder
from support import ffmpeg_media as ffmpeg

BEGIN = datetime(2026, 1, 15, 12, tzinfo=UTC)
APART = timedelta(seconds=36)  # 1 % of the window of an hour
FILES = 401
PLACES = """[...document.querySelectorAll('.lane[data-camera=camera0] .span')]
  .map((each) => each.getBoundingClientRect().x)"""
NOTES = """[...document.querySelectorAll('.player .note:not(:empty)')].map((each) => {
  const { left, right, top, bottom } = each.getBoundingClientRect();
  return { left, right, top, bottom };
})"""


@pytest.fixture
async def short(new_daemon: NewDaemon, short_clip: tuple[Path, list[str]]) -> Daemon:
    """Run a daemon with files of a second, one every 36 s."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate")])
    folder = FootageFolder(daemon.recordings)
    init, fragments = ffmpeg.events(ffmpeg.as_stream(short_clip[0]))
    for number in range(FILES):
        folder.put_fragments(BEGIN + number * APART, init, fragments[:2])
    await daemon.start()
    for _ in range(3000):  # files are entered into the index after the start, which nobody is told
        if (await daemon.call("list_recordings", limit=1))["total"] == FILES:
            return daemon
        await trio.sleep(0.1)
    raise AssertionError("the files are not in the index")


async def test_what_is_narrower_than_a_pixel_can_be_clicked(
    chromium: ChromiumThread, short: Daemon
) -> None:
    """With the mouse two pixels beside it, on either side; a preview shows it, too. Where it is far
    from all of them, the player says what is not recorded, beside the time that it shows."""
    middle = BEGIN + 50 * APART - timedelta(seconds=18)  # the window begins with the first file

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile")
        browser.go(f"timeline/camera0/{middle:%Y-%m-%dT%H:%M:%SZ}")
        browser.until(f"{PLACES}.length > 98")
        _, y = inside(browser.see(".lane[data-camera=camera0] .track"))
        for index, beside in ((50, -2), (60, 3), (70, -3), (80, 2)):
            x = page.evaluate(PLACES)[index] + beside
            page.mouse.move(x, y)
            browser.see(".preview img")
            page.mouse.click(x, y)
            start = BEGIN + index * APART
            browser.see(f".player .note.number:has-text('{start:%H:%M:%S}')")
            browser.until("document.querySelector('.player video').readyState >= 2")
            assert page.locator(".player .gap-note").count() == 0, index

        left, right = page.evaluate(PLACES)[30:32]
        page.mouse.click((left + right) / 2, y)
        browser.see(".player .gap-note:has-text('Nothing recorded')")
        one, other = page.evaluate(NOTES)
        assert one["bottom"] <= other["top"] or other["bottom"] <= one["top"]

    calm = {"locale": "en-GB", "timezone_id": "UTC", "reduced_motion": "reduce"}  # nothing plays
    await browse(chromium, use, await link(short), **calm)


async def test_more_files_than_are_pinned_at_a_time_are_not_called_pinned(
    chromium: ChromiumThread, short: Daemon
) -> None:
    """Nothing is pinned, and the page says so; of one file less, all are."""

    def use(browser: PageBrowser) -> None:
        page = browser.page

        def pin(files: int, said: str) -> None:
            for name, at in (("From", BEGIN), ("To", BEGIN + files * APART - APART / 2)):
                field = page.get_by_role("textbox", name=name, exact=True)
                field.fill(f"{at:%Y-%m-%dT%H:%M:%S}")
            page.click("button:has-text('Pin its files')")
            browser.see(f"section:has(#range) [role=status]:has-text('{said}')")

        browser.see(".tile")
        browser.go(f"timeline/camera0/{BEGIN:%Y-%m-%dT%H:%M:%SZ}")
        pin(FILES, f"{FILES} files have a part in this range, and none was pinned")
        pin(FILES - 1, f"{FILES - 1} files pinned: cleanup keeps them")

    await browse(chromium, use, await link(short), locale="en-GB", timezone_id="UTC")
    files = (await short.call("list_recordings", limit=1000))["files"]
    assert sum(file["pinned"] for file in files) == FILES - 1
