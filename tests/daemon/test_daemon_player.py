"""The player of recordings in a real browser, on recordings of a real daemon: the frame that is
shown is the one of the instant, by the number in its picture."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from chromium_thread import ChromiumThread
from numbered_footage import RATE, Footage, record, start
from player_page import PLAYER, opened
from running_daemon import NewDaemon, listening
from served_folder import served_folder


async def test_the_frame_of_any_instant_is_shown(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """Over rotations, in a gap (the first frame behind it, and why), frame by frame, and from the
    file that is being recorded."""
    daemon = await start(new_daemon, tmp_path)
    first = await record(daemon, 1)
    await trio.sleep(1.5)  # more than a group of pictures: what begins then is behind a gap
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED", 1)
        recorded = await trio.to_thread.run_sync(Footage.of, daemon, first["receipt"]["files"])
        shares = [0.0, 0.97, 0.1, 0.5, 0.48, 0.52, 0.9, 0.31, 1.0, 0.73]
        instants = [recorded.middle(share) for share in shares]
        gap = recorded.times[-1] + 2 * 1000 / RATE

        def drive(browser: Any) -> dict[str, Any]:
            with opened(browser, daemon) as page:
                seen = [page.evaluate(f"at({instant})") for instant in instants]
                steps = [page.evaluate(f"at({instants[3]})")["number"]]
                for count in (1, 1, -1, -1, -1, 1):
                    steps.append(page.evaluate(f"step({count})"))
                behind = page.evaluate(f"at({gap})")
                growing = page.evaluate(
                    """async () => {
                      const found = [];
                      for (let n = 0; n < 4; n++) {
                        const [from, to] = [Date.now() - 10000, Date.now() + 1000];
                        const path = "/play/camera0/index.json?from="
                          + new Date(from).toISOString() + "&to=" + new Date(to).toISOString();
                        const file = (await fetchJson(path)).files.at(-1);
                        // Of the last frames, those that are shown first may still be to come.
                        const frames = Math.max(0, file.duration * 30 - 3);
                        const frame = Math.floor(frames * (n + 0.3) / 4);
                        const wall = file.start_us / 1000 + (frame + 0.5) * 1000 / 30;
                        const { pieces, ...known } = file;
                        found.push({ ...known, ...(await at(wall)) });
                      }
                      return found;
                    }"""
                )
                states = page.evaluate("states")
            return {
                "seen": seen,
                "steps": steps,
                "behind": behind,
                "growing": growing,
                "states": states,
            }

        found = await chromium.run(drive)
        second = await client.call("stop_recording", device="camera0")
    files = [*first["receipt"]["files"], *second["receipt"]["files"]]
    footage = await trio.to_thread.run_sync(Footage.of, daemon, files)
    assert [each["number"] for each in found["seen"]] == [
        footage.number_at(instant) for instant in instants
    ], found
    steps = found["steps"]
    assert [number - steps[0] for number in steps] == [0, 1, 2, 1, 0, -1, 0]
    begin = datetime.fromisoformat(second["receipt"]["files"][0]["start_time"]).timestamp() * 1000
    assert found["behind"]["number"] == footage.number_at(begin + 1)
    assert found["behind"]["now"] == pytest.approx(begin, abs=5)
    (told,) = [state for state in found["states"] if state["state"] == "gap"]
    assert (told["from"], told["to"]) == (pytest.approx(gap), pytest.approx(begin, abs=1))
    assert any(each["growing"] for each in found["growing"])
    shown = [each["number"] for each in found["growing"]]
    asked = [footage.number_at(each["asked"]) for each in found["growing"]]
    assert shown == asked, found["growing"]
    assert "error" not in {state["state"] for state in found["states"]}, found["states"]


async def test_between_two_files_none_grows_and_more_is_expected(chromium: ChromiumThread) -> None:
    """A session ends a file before it begins another: an index that was read between them is read
    again, and the newest frames are shown meanwhile, however long; not when the session is over."""
    script = """async (complete) => {
      const { RecordedIndex } = await import("/player/recorded_index.js");
      const end = Date.now() - 600_000;
      const file = (filename, startMs, growing) => ({
        filename, growing, start_us: startMs * 1000, pieces: [{ time: 0, duration: 2 }] });
      const first = file("first", end - 2000, false);
      const answers = [[first], [first], [first, file("next", end, true)]];
      const next = () => (answers.length > 1 ? answers.shift() : answers[0]);
      const index = new RecordedIndex("/play/camera0", async () => (
        { files: next(), gaps: [], after: null, complete }), () => true);
      const found = async () => (await index.find(end + 500))?.file.filename;
      return [await found(), await found()];
    }"""

    def drive(browser: Any) -> list[list[str | None]]:
        folder = served_folder(PLAYER.parent, b"<!doctype html>")
        with folder as address, closing(browser.new_context()) as context:
            page = context.new_page()
            page.goto(address)
            return [page.evaluate(script, complete) for complete in (False, True)]

    assert await chromium.run(drive) == [["first", "next"], [None, None]]


async def test_it_plays_over_files_and_gaps(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """At normal speed and at 8 times, to the end; backwards by key frames; and what cannot be
    played is said."""
    daemon = await start(new_daemon, tmp_path)
    first = await record(daemon, 1)
    await trio.sleep(1)  # a gap that is told, and not passed over
    second = await record(daemon, 1)
    files = [*first["receipt"]["files"], *second["receipt"]["files"]]
    behind = len(first["receipt"]["files"])  # the gap; a busy machine may have made one file more
    starts = [datetime.fromisoformat(each["start_time"]).timestamp() * 1000 for each in files]
    end = datetime.fromisoformat(files[-1]["end_time"]).timestamp() * 1000

    def drive(browser: Any) -> list[dict[str, Any]]:
        with opened(browser, daemon) as page:
            page.evaluate(f"player.seek({starts[1] - 300})")
            page.evaluate("player.play()")
            page.wait_for_function(f"player.now() > {starts[1] + 200}")
            page.evaluate("player.setRate(8)")
            page.wait_for_function("states.some((each) => each.state === 'end')")
            page.evaluate("states.push({ state: 'backwards' })")
            page.evaluate(f"player.seek({end - 500})")
            page.evaluate("player.setRate(-2)")
            page.evaluate("player.play()")
            page.wait_for_function(f"player.now() < {starts[behind]}")
            page.evaluate("player.pause()")
            page.wait_for_function("states.at(-1).state === 'paused'")
            page.evaluate("painted()")
            stopped = page.evaluate("({ now: player.now(), number: frameNumber() })")
            page.evaluate("player.close()")
            states: list[dict[str, Any]] = page.evaluate("states")
            return [*states, stopped]

    *states, stopped = await chromium.run(drive)
    kinds = [state["state"] for state in states]
    assert "error" not in kinds, states
    (gap,) = [state for state in states[: kinds.index("end")] if state["state"] == "gap"]
    over = datetime.fromisoformat(files[behind - 1]["end_time"]).timestamp() * 1000
    assert gap["from"] == pytest.approx(over, abs=100)  # the last frames may be shown later
    assert gap["to"] == pytest.approx(starts[behind], abs=1)
    backwards = [
        state["wall"] for state in states[kinds.index("backwards") :] if state["state"] == "playing"
    ]
    assert min(backwards) < starts[behind] < max(backwards)
    footage = await trio.to_thread.run_sync(Footage.of, daemon, files)
    assert stopped["number"] == footage.number_at(stopped["now"])


# As a browser whose memory for media is small: Firefox on a telephone, or a stream of 40 Mbit/s.
LITTLE_ROOM = """() => {
  const append = SourceBuffer.prototype.appendBuffer;
  window.refused = 0;
  SourceBuffer.prototype.appendBuffer = function (data) {
    const { buffered } = this;
    let held = 0;
    for (let n = 0; n < buffered.length; n++) held += buffered.end(n) - buffered.start(n);
    if (held > 3) {
      window.refused++;
      throw new DOMException("full", "QuotaExceededError");
    }
    return append.call(this, data);
  };
}"""


async def test_a_browser_with_little_room_plays_to_the_end(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """Over files, and after a seek back; what has no room is loaded later, not again and again."""
    daemon = await start(new_daemon, tmp_path)
    files = (await record(daemon, 2))["receipt"]["files"]
    begin = datetime.fromisoformat(files[0]["start_time"]).timestamp() * 1000
    end = datetime.fromisoformat(files[-1]["end_time"]).timestamp() * 1000

    def drive(browser: Any) -> tuple[list[dict[str, Any]], list[str], int]:
        loaded: list[str] = []
        with opened(browser, daemon) as page:
            page.evaluate(LITTLE_ROOM)
            page.on("request", lambda request: loaded.append(request.url))
            page.evaluate(f"player.seek({begin + 50})")
            page.evaluate("player.play()")
            page.wait_for_function("states.some((each) => ['end', 'error'].includes(each.state))")
            page.evaluate(f"player.seek({begin + 50})")
            page.wait_for_function(f"Math.abs(player.now() - {begin + 50}) < 20")
            page.wait_for_function("states.at(-1).state === 'paused'")
            return page.evaluate("states"), loaded, page.evaluate("refused")

    states, loaded, refused = await chromium.run(drive)
    assert "error" not in {state["state"] for state in states}, states
    assert refused > 0
    assert max(state["wall"] for state in states) == pytest.approx(end, abs=300)
    pieces = [url for url in loaded if url.endswith(".m4s")]
    assert len(pieces) <= 4 * len(set(pieces)), pieces
