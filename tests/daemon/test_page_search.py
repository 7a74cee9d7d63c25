"""What clients are told while the service looks for recordings in its folder, as after each start:
the page says so, and shows by itself what is found."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import paused_search
import trio
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, link
from running_daemon import Daemon, NewDaemon, listening, small_camera
from stored_footage import FootageFolder

Clip = tuple[Path, list[str]]
STILL = "[role=status] >> text=The service still looks for recordings in its folder"


@attrs.define(eq=False)
class PausedSearch:
    """A daemon whose search pauses before one of two files, and what it is going to find."""

    daemon: Daemon
    wanted: Path
    first: datetime
    second: datetime

    async def launch(self, number: int) -> None:
        """Start the daemon, which pauses before the file `number`."""
        program = [sys.executable, paused_search.__file__, str(self.wanted), str(number)]
        await self.daemon.start([*program, *self.daemon.run_command[3:]])

    def go_on(self) -> None:
        """Let the search end."""
        self.wanted.touch()

    @property
    def range(self) -> dict[str, str]:
        """The range of both files."""
        return {"from": f"{self.first:%Y-%m-%dT%H:%M:%SZ}", "to": f"{self.end:%Y-%m-%dT%H:%M:%SZ}"}

    @property
    def end(self) -> datetime:
        """An instant behind both files."""
        return self.second + timedelta(seconds=30)


def paused(new_daemon: NewDaemon, clip: Clip) -> PausedSearch:
    """Put two files of five seconds into the folder of a daemon that has not run yet."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate")])
    footage = FootageFolder(daemon.recordings)
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=20)
    second = first + timedelta(minutes=10)
    for start in (first, second):
        footage.put(start, clip[0], 5)
    return PausedSearch(daemon, daemon.folder / "go_on", first, second)


async def test_what_is_found_later_appears_by_itself(
    chromium: ChromiumThread, new_daemon: NewDaemon, short_clip: Clip
) -> None:
    """On the timeline, in the player, in the list and in the description of an export: none of them
    says that nothing was recorded while that is not known, and each shows what was found then."""
    search = paused(new_daemon, short_clip)
    await search.launch(0)
    instant = f"timeline/camera0/{search.second + timedelta(seconds=2):%Y-%m-%dT%H:%M:%SZ}"

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile")
        browser.go("recordings")
        browser.see(STILL)
        browser.see("text=Nothing is recorded, as far as is known yet.")
        browser.go("storage")
        browser.see("text=not finished yet; 0 files looked at")
        browser.go(instant)
        browser.see(STILL)
        browser.see(".lane[aria-label='Gate: nothing found here yet']")
        browser.see(".player .words:has-text('The service still looks for recordings.')")
        for label, when in (("From", search.first), ("To", search.end)):
            page.fill(f"section:has(#range) label:has-text('{label}') input", f"{when:%FT%T}")
        browser.see("section:has(#range) [role=status]:has-text('ask again in a moment')")
        search.go_on()
        browser.see(".lane[aria-label='Gate: 10 s recorded, no gaps']")
        browser.gone(STILL)
        browser.see("section:has(#range) [role=status]:has-text('300 frames, 10 s')")
        browser.until("document.querySelector('.player video')?.readyState >= 2")
        browser.gone(".player .words")
        browser.go("recordings")
        browser.see("caption:has-text('2 files')")
        browser.go("storage")
        browser.see("text=2 files looked at; 2 findings")
        browser.go("events")
        browser.see("text=The service has looked at 2 files: 2 found.")

    utc = {"locale": "en-US", "timezone_id": "UTC"}
    await browse(chromium, use, await link(search.daemon), **utc)


async def test_programs_are_told_that_more_may_be_found(
    new_daemon: NewDaemon, short_clip: Clip
) -> None:
    """In the middle of a search: by the time line, an export, and an index for a player, which is
    not complete; its progress and its end are notifications, and then nothing more may be found."""
    search = paused(new_daemon, short_clip)
    await search.launch(1)
    begin, end = search.range["from"], search.range["to"]
    index = f"/play/camera0/index.json?from={begin}&to={end}"

    async def told(call: Any) -> tuple[list[bool], int]:
        timeline = await call("get_timeline", camera="camera0", **search.range)
        export = await call("get_export", device="camera0", **search.range)
        played = await search.daemon.get(index)
        searching = [timeline["searching"], export["searching"], b'"complete":false' in played.body]
        return searching, len(timeline["spans"])

    async with search.daemon.client() as client, listening(client) as notified:
        with trio.fail_after(300):
            while not (await client.call("list_recordings"))["total"]:  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert await told(client.call) == ([True] * 3, 1)
        search.go_on()
        over = await notified.wait(
            lambda method, params: method == "recovery_update" and params["status"] == "ENDED"
        )
        assert (over["files"], over["total"], over["counts"]) == (2, 2, {"adopted": 2})
        assert await told(client.call) == ([False] * 3, 2)
