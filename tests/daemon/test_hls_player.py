"""hls.js, which others play HLS with, on the playlist of a real daemon.

It is no part of camd: `CAMD_TEST_HLSJS` names its file `dist/hls.js` (or `hls.min.js`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
import trio
from chromium_thread import ChromiumThread
from numbered_footage import NUMBER_IN, RATE, Footage, record, start
from running_daemon import Daemon, NewDaemon, listening

HLSJS = os.environ.get("CAMD_TEST_HLSJS", "")
WAIT_MS = 100_000
PAGE = f"""<!doctype html><title>hls.js</title><video muted width=320 height=180></video>
<script src="/hls.js"></script>
<script>
const video = document.querySelector("video"), numberIn = {NUMBER_IN};
window.frames = [];
window.problems = [];
const watch = () => video.requestVideoFrameCallback((_, frame) => {{
  window.frames.push([frame.mediaTime, numberIn(video)]);
  watch();
}});
watch();
video.addEventListener("ended", () => {{ window.ended = true; }});
window.play = (address) => {{
  const hls = new Hls();
  hls.on(Hls.Events.ERROR, (_, {{ type, details, fatal }}) =>
    window.problems.push(`${{type}} ${{details}} ${{fatal ? "fatal" : ""}}`));
  hls.loadSource(address);
  hls.attachMedia(video);
}};
</script>"""

pytestmark = pytest.mark.skipif(not HLSJS, reason="CAMD_TEST_HLSJS does not name hls.js")


@pytest.mark.parametrize("b_frames", [0, 2])
async def test_it_plays_to_the_end_over_a_gap(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path, b_frames: int
) -> None:
    """Two sessions of several files: from the first frame to the last, none goes backwards, and
    there is no pause between two files."""
    daemon = await start(new_daemon, tmp_path, b_frames)
    sessions = [await record(daemon, 1)]
    await trio.sleep(1.5)  # more than a group of pictures: a gap
    sessions.append(await record(daemon, 1))
    files = [file for session in sessions for file in session["receipt"]["files"]]
    footage = await trio.to_thread.run_sync(Footage.of, daemon, files)
    last = footage.numbers[-1]
    seen = await chromium.run(lambda browser: played(browser, daemon, files, last))
    times, numbers = [time for time, _ in seen.frames], [number for _, number in seen.frames]
    assert numbers[0] == footage.numbers[0]
    assert all(one < other for one, other in pairwise(times)), times
    assert pauses(seen.frames, footage.numbers) == []
    recorded = iter(footage.numbers)
    # A callback may come when the next frame is on the screen already: that one is seen twice then.
    different = [number for number, _ in groupby(numbers)]
    assert all(number in recorded for number in different), f"{numbers} of {footage.numbers}"
    assert not [problem for problem in seen.problems if "fatal" in problem], seen.problems


async def test_it_follows_a_recording_whose_first_files_are_removed(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """It shows what is recorded after that, to the last frame, and skips no whole piece."""
    daemon = await start(new_daemon, tmp_path, 0)
    async with daemon.client() as client, listening(client) as notified:
        started = await client.call("start_recording", device="camera0")
        since = datetime.fromisoformat(started["start_time"]) - timedelta(seconds=1)
        await notified.recording("ROTATED", 4)
        opened = ExitStack()
        page = await chromium.run(
            lambda browser: opened.enter_context(
                playing(browser, daemon, since, since + timedelta(hours=1))
            )
        )
        await chromium.run(lambda _: page.wait_for_function("frames.length > 30", timeout=WAIT_MS))
        names = sorted(each.name for each in daemon.recordings.glob("*.mp4"))
        for name in names[:2]:
            await client.call("delete_recording", filename=name)
        await notified.recording("ROTATED", 8)
        stopped = await client.call("stop_recording", device="camera0")
        left = [each for each in stopped["receipt"]["files"] if each["filename"] not in names[:2]]
        footage = await trio.to_thread.run_sync(Footage.of, daemon, left)

        def watch(_: Any) -> tuple[list[int], list[str]]:
            with opened:
                page.wait_for_function("window.ended", timeout=WAIT_MS)
                last = footage.numbers[-1]
                page.wait_for_function(
                    "(last) => numberIn(video) === last", arg=last, timeout=WAIT_MS
                )
                return [number for _, number in page.evaluate("frames")], page.evaluate("problems")

        numbers, problems = await chromium.run(watch)
    assert not [problem for problem in problems if "fatal" in problem], problems
    shown = [footage.numbers.index(number) for number in numbers if number in footage.numbers]
    steps = [after - before for before, after in pairwise(shown)]
    assert all(0 <= step < RATE for step in steps), steps


def pauses(frames: list[tuple[float, int]], recorded: list[int]) -> list[tuple[float, float]]:
    """Return (when, how far from its place) of frames that are shown too late, in seconds.

    A callback may see a picture behind the one that it is about; a pause moves all that follow.
    """
    found, at = [], 0
    for time, number in frames:
        at = recorded.index(number, at)
        if time - at / RATE > 1.5 / RATE:
            found.append((time, time - at / RATE))
    return found


@attrs.frozen
class Seen:
    """What hls.js has shown: each frame's time and number, and errors."""

    frames: list[tuple[float, int]]
    problems: list[str]


def played(browser: Any, daemon: Daemon, files: list[dict[str, Any]], last: int) -> Seen:
    """Play the playlist of all files, from the first frame to the end, where the last is shown."""
    begin, end = (
        datetime.fromisoformat(each) for each in (files[0]["start_time"], files[-1]["end_time"])
    )
    second = timedelta(seconds=1)
    with playing(browser, daemon, begin - second, end + second) as page:
        page.wait_for_function("window.ended", timeout=WAIT_MS)
        # The event may come before the picture.
        page.wait_for_function("(last) => numberIn(video) === last", arg=last, timeout=WAIT_MS)
        return Seen(page.evaluate("frames"), page.evaluate("problems"))


@contextmanager
def playing(browser: Any, daemon: Daemon, since: datetime, until: datetime) -> Iterator[Any]:
    """Play the playlist of a range in a page while the block runs."""
    origin = daemon.url.replace("ws://", "http://").removesuffix("/ws")
    range_ = urlencode({"from": since.isoformat(), "to": until.isoformat()})
    key = {"Authorization": f"Bearer {daemon.key}"}
    with closing(browser.new_context(extra_http_headers=key)) as context:
        page = context.new_page()
        page.route(
            f"{origin}/page.html", lambda route: route.fulfill(body=PAGE, content_type="text/html")
        )
        page.route(
            f"{origin}/hls.js",
            lambda route: route.fulfill(path=HLSJS, content_type="text/javascript"),
        )
        page.goto(f"{origin}/page.html")
        page.evaluate("address => play(address)", f"/play/camera0/index.m3u8?{range_}")
        page.wait_for_function("frames.length", timeout=WAIT_MS)
        page.evaluate("video.play()")
        yield page
