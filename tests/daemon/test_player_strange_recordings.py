"""The player in a real browser on recordings that are no single clean stretch: joints, gaps, other
sizes and codecs, files that vanish, a recording that goes on, and everything at other speeds."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from chromium_thread import ChromiumThread
from numbered_footage import make_numbered_clip, start
from player_page import opened
from running_daemon import FFMPEG, Daemon, NewDaemon, listening, small_camera
from stored_footage import FootageFolder

START = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FRAME = timedelta(seconds=1 / 30)
# The page of the player asks the browser after 0.4 s whether it waits for frames that never come.
AT_ONCE = """() => {
  const later = window.setTimeout;
  window.setTimeout = (work, ms, ...more) => later(work, ms === 400 ? 0 : ms, ...more);
}"""


def millis(moment: datetime) -> float:
    """Return a time as JavaScript counts it."""
    return moment.timestamp() * 1000


def encode(source: Path, path: Path, *arguments: str) -> Path:
    """Encode four seconds of a clip in another way."""
    command = [FFMPEG, "-v", "error", "-i", str(source), *arguments, "-t", "4", str(path)]
    subprocess.run(command, check=True, timeout=300)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a clip with B-frames, whose pictures have their numbers in them, from 1 on."""
    path = tmp_path_factory.mktemp("numbered") / "numbered.mp4"
    make_numbered_clip(path, 2)
    return path


async def serve(new_daemon: NewDaemon) -> tuple[Daemon, FootageFolder]:
    """Configure a daemon whose recordings are still to be made."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    return daemon, FootageFolder(daemon.recordings)


async def serve_clips(
    new_daemon: NewDaemon, clips: Sequence[Path]
) -> tuple[Daemon, list[datetime]]:
    """Run a daemon that has recorded two seconds of each clip, one after the other; return where
    the first one begins, and where each ends."""
    daemon, folder = await serve(new_daemon)
    ends = [START]
    for each in clips:
        ends.append(folder.put(ends[-1], each, 2))
    await daemon.start()
    return daemon, ends


def kinds(states: Sequence[dict[str, Any]]) -> list[str]:
    """Name the states without those that follow one of their kind."""
    names = [state["state"] for state in states]
    return [name for name, before in zip(names, ["", *names], strict=False) if name != before]


async def test_frames_are_stepped_over_joints_and_gaps(
    chromium: ChromiumThread, new_daemon: NewDaemon, clip: Path
) -> None:
    """Back to the last frame of the file before, whether it touches or not, and on again."""
    daemon, folder = await serve(new_daemon)
    second = folder.put(START, clip, 2)
    over = folder.put(second, clip, 2)
    third = over + SECOND
    end = folder.put(third, clip, 2)
    await daemon.start()

    def drive(browser: Any) -> list[list[int]]:
        with opened(browser, daemon) as page:
            found = []
            for begin in (second, third):
                page.evaluate(f"at({millis(begin + FRAME / 2)})")
                found.append([page.evaluate(f"step({by})") for by in (1, -1, -1, -1, 1, 1, 1)])
            page.evaluate(f"at({millis(end - FRAME / 2)})")
            page.evaluate("step(-1)")
            found.append([page.evaluate("frameNumber()")])
            return found

    joint, gap, last = await chromium.run(drive)
    assert joint == [2, 1, 60, 59, 60, 1, 2]
    assert gap == joint
    assert last == [59]


async def test_other_sizes_codecs_and_sound_are_played_and_the_rest_is_said(
    chromium: ChromiumThread, new_daemon: NewDaemon, clip: Path, tmp_path: Path
) -> None:
    """A larger picture, files with sound, also with sound that begins late, and MJPEG, which
    browsers do not play: it is passed over like a gap, and an error only where it is asked for."""
    larger = partial(encode, clip, tmp_path / "larger.mp4")
    scaled = ("-vf", "scale=640:360", "-c:v", "libx264", "-profile:v", "high", "-g", "15")
    tone = ("-itsoffset", "1.3", "-f", "lavfi", "-i", "sine", "-c:v", "copy", "-c:a", "aac")
    clips = [
        clip,
        await trio.to_thread.run_sync(larger, *scaled),
        clip,
        encode(clip, tmp_path / "mjpeg.mp4", "-c:v", "mjpeg"),
        encode(clip, tmp_path / "late.mp4", *tone),
        clip,
    ]
    daemon, ends = await serve_clips(new_daemon, clips)

    def drive(browser: Any) -> tuple[list[dict[str, Any]], Any]:
        with opened(browser, daemon) as page:
            page.evaluate(f"at({millis(START)})")
            page.evaluate("player.setRate(2)")
            page.evaluate("player.play()")
            page.wait_for_function("states.some(({ state }) => ['end', 'error'].includes(state))")
            states = page.evaluate("states.splice(0)")
            page.evaluate(f"player.seek({millis(ends[3] + SECOND)})")
            return states, page.evaluate("states.at(-1)")

    states, asked = await chromium.run(drive)
    assert states[-1]["state"] == "end", states[-3:]
    assert states[-1]["wall"] == pytest.approx(millis(ends[-1]), abs=400)
    (said,) = [state for state in states if state["state"] == "gap"]
    assert (said["from"], said["to"]) == (
        pytest.approx(millis(ends[3]), abs=50),
        pytest.approx(millis(ends[4]), abs=1),
    )
    assert "image/jpeg" in said["message"]
    assert (asked["state"], asked["message"]) == ("error", "This browser does not play image/jpeg.")


async def test_pictures_are_played_whose_sound_the_browser_does_not_play(
    chromium: ChromiumThread, new_daemon: NewDaemon, clip: Path, tmp_path: Path
) -> None:
    """Without the sound, in their place to the frame, between files with sound; and it is said."""
    begin, tone = ("-itsoffset", "0.3", "-f", "lavfi", "-i", "sine"), ("-c:v", "copy", "-c:a")
    clips = [
        encode(clip, tmp_path / "aac.mp4", *begin, *tone, "aac"),
        encode(clip, tmp_path / "alac.mp4", *begin, *tone, "alac"),
        clip,
    ]
    daemon, ends = await serve_clips(new_daemon, clips)

    def drive(browser: Any) -> tuple[list[int], list[str], list[dict[str, Any]]]:
        with opened(browser, daemon) as page:
            asked = [begin + frame * FRAME for begin in ends[:3] for frame in (0.5, 31.5, 58.5)]
            seen, said = [], []
            for each in asked:
                seen.append(page.evaluate(f"at({millis(each)})")["number"])
                said.append(page.evaluate("states.at(-1).unheard"))
            page.evaluate(f"at({millis(START)})")
            page.evaluate("player.setRate(2)")
            page.evaluate("states.splice(0) && player.play()")
            page.wait_for_function("states.some(({ state }) => ['end', 'error'].includes(state))")
            return seen, said, page.evaluate("states")

    seen, said, states = await chromium.run(drive)
    assert seen == [1, 32, 59] * 3
    assert said == ["", "", "", "alac", "alac", "alac", "", "", ""]
    assert states[-1]["state"] == "end", states[-3:]
    assert {"error", "gap"}.isdisjoint(kinds(states))


@pytest.mark.parametrize("rate", [1, 8])
async def test_the_end_is_told_when_the_browser_was_told_of_it_before(
    chromium: ChromiumThread, new_daemon: NewDaemon, clip: Path, rate: int
) -> None:
    """A seek that takes long makes the browser end by itself where the media ends: the player says
    so, and goes on when it is asked for an earlier instant. When it is told to play at the end, it
    stays there, although a browser would begin anew."""
    daemon, folder = await serve(new_daemon)
    end = folder.put(START, clip, 1)
    await daemon.start()

    def drive(browser: Any) -> list[dict[str, Any]]:
        with opened(browser, daemon) as page:
            page.evaluate(AT_ONCE)
            page.evaluate(f"player.setRate({rate})")
            for _ in range(2):
                page.evaluate(f"at({millis(START + SECOND / 10)})")
                page.evaluate("player.play()")
                page.wait_for_function("states.some(({ state }) => state === 'end')")
                states: list[dict[str, Any]] = page.evaluate("states.splice(0)")
            page.evaluate("player.play()")
            page.wait_for_function("states.some(({ state }) => state === 'end')")
            return [*states, *page.evaluate("states")]

    states = await chromium.run(drive)
    assert kinds(states)[-1] == "end"
    assert "error" not in kinds(states)
    assert states[-1]["wall"] == pytest.approx(millis(end), abs=200)


async def test_key_frames_run_over_gaps_of_a_day_to_either_end(
    chromium: ChromiumThread, new_daemon: NewDaemon, clip: Path
) -> None:
    """Gaps take no time, at 16 and backwards at 8; then it says that nothing lies further."""
    daemon, folder = await serve(new_daemon)
    for begin in (START, START + timedelta(days=1)):
        end = folder.put(begin, clip, 8)
    await daemon.start()

    def drive(browser: Any) -> list[list[dict[str, Any]]]:
        with opened(browser, daemon) as page:
            page.evaluate(f"at({millis(START)})")
            found = []
            for rate in (16, -8):
                page.evaluate(f"player.setRate({rate})")
                page.evaluate("player.play()")
                page.wait_for_function("states.some(({ state }) => state === 'end')")
                found.append(page.evaluate("states.splice(0)"))
            return found

    forwards, back = await chromium.run(drive)
    assert forwards[-1]["message"] == "Nothing was recorded later."
    assert forwards[-1]["wall"] == pytest.approx(millis(end), abs=50)
    assert back[-1]["message"] == "Nothing was recorded earlier."
    assert back[-1]["wall"] == pytest.approx(millis(START), abs=50)
    for states in (forwards, back):
        shown = [state["wall"] for state in states if state["state"] == "playing"]
        assert min(shown) < millis(START + 8 * SECOND) < max(shown)
        assert "error" not in kinds(states)


async def test_a_file_that_vanishes_is_passed_over(
    chromium: ChromiumThread, new_daemon: NewDaemon, clip: Path
) -> None:
    """Removed while the file before it is played: the rest is played, and the gap is said."""
    daemon, folder = await serve(new_daemon)
    ends = [START]
    for seconds in (28, 2, 2):  # more than is loaded ahead
        ends.append(folder.put(ends[-1], clip, seconds))
    await daemon.start()

    def drive(browser: Any) -> list[dict[str, Any]]:
        with opened(browser, daemon) as page:
            page.evaluate(f"at({millis(START)})")
            folder.files[1].unlink()
            page.evaluate("player.setRate(8)")
            page.evaluate("player.play()")
            page.wait_for_function("states.some(({ state }) => ['end', 'error'].includes(state))")
            states: list[dict[str, Any]] = page.evaluate("states")
            return states

    states = await chromium.run(drive)
    assert states[-1]["state"] == "end", states
    assert states[-1]["wall"] > millis(ends[-2] + SECOND / 2)
    (said,) = [state for state in states if state["state"] == "gap"]
    assert said["cause"] == "file_removed"


async def test_a_recording_that_goes_on_is_caught_up_with(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """At 4 it reaches the present, goes on at 1 as frames come, over files, and ends with it."""
    daemon = await start(new_daemon, tmp_path)
    async with daemon.client() as client, listening(client) as notified:
        started = await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED", 2)
        begin = millis(datetime.fromisoformat(started["start_time"]))
        waited, ended = trio.Event(), trio.Event()
        token = trio.lowlevel.current_trio_token()

        def drive(browser: Any) -> list[dict[str, Any]]:
            with opened(browser, daemon) as page:
                page.evaluate(f"player.seek({begin + 50})")
                page.evaluate("player.setRate(4)")
                page.evaluate("player.play()")
                page.wait_for_function("states.some(({ state }) => state === 'waiting')")
                reached = page.evaluate("player.now()")
                page.wait_for_function(f"player.now() > {reached + 2500}")
                token.run_sync_soon(waited.set)
                trio.from_thread.run(ended.wait, trio_token=token)
                page.wait_for_function("states.some(({ state }) => state === 'end')")
                states: list[dict[str, Any]] = page.evaluate("states")
                return states

        found: list[list[dict[str, Any]]] = []

        async def play() -> None:
            found.append(await chromium.run(drive))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            await waited.wait()
            stopped = await client.call("stop_recording", device="camera0")
            ended.set()
    (states,) = found
    assert "error" not in kinds(states), states
    waiting = kinds(states).index("waiting")
    assert kinds(states)[waiting + 1] == "playing"
    later = [state for state in states if state["state"] in ("waiting", "end")]
    assert {state["rate"] for state in later} == {1}
    over = millis(datetime.fromisoformat(stopped["receipt"]["files"][-1]["end_time"]))
    assert states[-1]["wall"] == pytest.approx(over, abs=300)


async def test_pictures_without_sound_at_the_end_of_a_file_do_not_stop_it(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """As where a service with cameras that are heard was killed: browsers show no picture beyond
    the end of its sound. It goes on behind the gap, and at a joint, too."""
    path = tmp_path / "short_sound.mp4"
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10"]
    command += ["-f", "lavfi", "-i", "sine=duration=1.6", "-t", "2", "-g", "10", "-bf", "0"]
    await trio.run_process([*command, "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)])
    daemon, folder = await serve(new_daemon)
    joint = folder.put(START, path, 2)
    over = folder.put(joint, path, 2)
    behind = over + 3 * SECOND
    folder.put(behind, path, 2)
    await daemon.start()

    def drive(browser: Any) -> list[dict[str, Any]]:
        with opened(browser, daemon) as page:
            page.evaluate(f"player.seek({millis(START)})")
            page.evaluate("player.play()")
            page.wait_for_function(f"player.now() > {millis(joint) + 300}")
            page.wait_for_function(f"player.now() > {millis(behind) + 300}")
            states: list[dict[str, Any]] = page.evaluate("states")
            return states

    states = await chromium.run(drive)
    (gap,) = [state for state in states if state["state"] == "gap"]
    assert gap["from"] == pytest.approx(millis(over), abs=1)
    assert gap["to"] == pytest.approx(millis(behind), abs=1)
    assert "error" not in kinds(states)
