"""The player of recordings in a real browser, on recordings of a real daemon: the frame that is
shown is the one of the instant, by the number in its picture."""

from __future__ import annotations

import re
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from running_daemon import FFMPEG, Daemon, NewDaemon, listening

PLAYER = Path(__file__).resolve().parents[2] / "camd" / "web" / "player"
CHROMIUM = next((found for name in ("chromium", "chrome") if (found := shutil.which(name))), "")
RATE, SECONDS, BITS, BAR = 30, 30, 10, 32
SECONDS_OF_BROWSER = 30

PAGE = f"""<!doctype html><title>player</title><video muted width=320 height=180></video>
<script type=module>
import {{ open }} from "/player/playback.js";
const video = document.querySelector("video");
const fetchJson = async (path) => {{
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(path + ": " + answer.status);
  return answer.json();
}};
window.states = [];
window.problems = [];
window.fetchJson = fetchJson;
const onState = (state) => window.states.push(state);
window.player = open(video, {{ camera: "camera0", fetchJson, onState }});
window.frameNumber = () => {{
  const canvas = document.createElement("canvas");
  Object.assign(canvas, {{ width: 320, height: 180 }});
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 320, 180);
  const row = context.getImageData(0, {BAR // 2}, 320, 1).data;
  let number = 0;
  for (let bit = 0; bit < {BITS}; bit++)
    if (row[4 * (bit * {BAR} + {BAR // 2})] > 128) number |= 1 << bit;
  return number;
}};
let shown = NaN;
const watch = () => video.requestVideoFrameCallback((_, frame) => {{
  shown = frame.mediaTime;
  watch();
}});
watch();
window.painted = async () => {{ // the event `seeked` may come some ms before the picture
  const late = performance.now() + 1000;
  const age = () => video.currentTime - shown;
  while (!(age() > -0.002 && age() < 0.04) && performance.now() < late)
    await new Promise((resolve) => setTimeout(resolve, 5));
}};
window.step = async (count) => {{
  await soon(window.player.step(count));
  await window.painted();
  return window.frameNumber();
}};
const soon = (work) => Promise.race([
  work,
  new Promise((_, reject) => setTimeout(() => reject(new Error("too late")), 20000)),
]);
window.at = async (wall) => {{
  await soon(window.player.seek(wall));
  await window.painted();
  return {{ asked: wall, now: window.player.now(), number: window.frameNumber() }};
}};
</script>"""


def make_numbered_clip(path: Path) -> None:
    """Encode a clip whose upper edge holds each frame's number, from 1 on, in bars."""
    bars = f"geq=lum='16+219*mod(trunc((N+1)/pow(2,trunc(X/{BAR}))),2)':cb=128:cr=128"
    graph = (
        f"testsrc2=size=320x180:rate={RATE}[a];"
        f"color=size={BITS * BAR}x{BAR}:rate={RATE},format=yuv420p,{bars}[b];"
        "[a][b]overlay=0:0:shortest=1"
    )
    command = [FFMPEG, "-v", "error", "-filter_complex", graph, "-t", str(SECONDS)]
    command += [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        "2",
        "-g",
        "15",
        "-pix_fmt",
        "yuv420p",
    ]
    subprocess.run([*command, "-y", str(path)], check=True, timeout=100)


def frames_of(path: Path) -> list[tuple[float, int]]:
    """Decode a file: when each frame is shown, in seconds, and the number in it."""
    bars, times = path.with_suffix(".bars"), path.with_suffix(".times")
    command = [FFMPEG, "-y", "-v", "error", "-copyts", "-i", f"file:{path}"]
    crop = ["-vf", f"crop={BITS * BAR}:2:0:{BAR // 2}", "-pix_fmt", "gray"]
    exact = ["-fps_mode", "passthrough", "-enc_time_base", "1/90000"]
    command += [*crop, *exact, "-f", "rawvideo", str(bars)]
    command += [*crop, *exact, "-f", "framecrc", str(times)]
    subprocess.run(command, check=True, timeout=100)
    data, width = bars.read_bytes(), BITS * BAR
    numbers = [
        sum((data[at + bit * BAR + BAR // 2] > 128) << bit for bit in range(BITS))
        for at in range(0, len(data), 2 * width)
    ]
    lines = [line for line in times.read_text().splitlines() if not line.startswith("#")]
    bars.unlink()
    times.unlink()
    shown = [int(line.split(",")[2]) / 90_000 for line in lines]
    return list(zip(shown, numbers, strict=True))


@attrs.frozen
class Footage:
    """All frames of some files: when each was taken, in ms, and its number."""

    times: list[float]
    numbers: list[int]

    @classmethod
    def of(cls, daemon: Daemon, files: list[dict[str, Any]]) -> Footage:
        """Decode the files of receipts; where two overlap, the later one counts."""
        frames: list[tuple[float, int]] = []
        for file in files:
            start = datetime.fromisoformat(file["start_time"]).timestamp() * 1000
            some = frames_of(daemon.recordings / file["filename"])
            frames = [frame for frame in frames if frame[0] < start]
            frames += [(start + shown * 1000, number) for shown, number in some]
        return cls([time for time, _ in frames], [number for _, number in frames])

    def number_at(self, wall: float) -> int:
        """Return the number of the frame that was taken last at an instant."""
        return self.numbers[bisect_right(self.times, wall) - 1]

    def middle(self, share: float) -> float:
        """Return an instant in the middle of a frame, at a share of all frames."""
        return self.times[int(share * (len(self.times) - 1))] + 500 / RATE


@contextmanager
def opened(daemon: Daemon) -> Iterator[Any]:
    """Open the page with the player in a browser, at the daemon's address."""
    from playwright.sync_api import sync_playwright

    origin = daemon.url.replace("ws://", "http://").removesuffix("/ws")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        try:
            page = browser.new_page(extra_http_headers={"Authorization": f"Bearer {daemon.key}"})
            page.set_default_timeout(SECONDS_OF_BROWSER * 1000)
            problems: list[str] = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.route(
                f"{origin}/page.html",
                lambda route: route.fulfill(body=PAGE, content_type="text/html"),
            )
            page.route(
                re.compile(f"{re.escape(origin)}/player/.*"),
                lambda route: route.fulfill(
                    body=(PLAYER / route.request.url.rpartition("/")[2]).read_text(),
                    content_type="text/javascript",
                ),
            )
            page.goto(f"{origin}/page.html")
            page.wait_for_function("window.player")
            yield page
            assert problems == []
        finally:
            browser.close()


async def start(new_daemon: NewDaemon, folder: Path) -> Daemon:
    """Run a daemon whose camera shows numbered frames, in files of two seconds."""
    clip = folder / "numbered.mp4"
    await trio.to_thread.run_sync(make_numbered_clip, clip)
    daemon = new_daemon()
    camera = {"source": f"file:{clip}", "codec": "copy"}
    daemon.configure({"recording": {"rotation": "2s"}}, cameras=[camera])
    await daemon.start()
    return daemon


async def record(daemon: Daemon, rotations: int) -> Any:
    """Record over so many rotations; return the answer to the stop."""
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED", rotations)
        return await client.call("stop_recording", device="camera0")


needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


@needs_chromium
async def test_the_frame_of_any_instant_is_shown(new_daemon: NewDaemon, tmp_path: Path) -> None:
    """Over rotations, in a gap (the first frame behind it, and why), frame by frame, and from the
    file that is being recorded."""
    pytest.importorskip("playwright", reason="Playwright is not installed")
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

        def drive() -> dict[str, Any]:
            with opened(daemon) as page:
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
                        const frame = Math.floor(file.duration * 30 * (n + 0.3) / 4);
                        const wall = file.start_us / 1000 + (frame + 0.5) * 1000 / 30;
                        found.push({ growing: file.growing, ...(await at(wall)) });
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

        found = await trio.to_thread.run_sync(drive)
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
    for each in found["growing"]:
        assert each["number"] == footage.number_at(each["asked"]), each
    assert "error" not in {state["state"] for state in found["states"]}, found["states"]


@needs_chromium
async def test_it_plays_over_files_and_gaps(new_daemon: NewDaemon, tmp_path: Path) -> None:
    """At normal speed and at 8 times, to the end; backwards by key frames; and what cannot be
    played is said."""
    pytest.importorskip("playwright", reason="Playwright is not installed")
    daemon = await start(new_daemon, tmp_path)
    first = await record(daemon, 1)
    await trio.sleep(1)  # a gap that is told, and not passed over
    second = await record(daemon, 1)
    files = [*first["receipt"]["files"], *second["receipt"]["files"]]
    starts = [datetime.fromisoformat(each["start_time"]).timestamp() * 1000 for each in files]
    end = datetime.fromisoformat(files[-1]["end_time"]).timestamp() * 1000

    def drive() -> list[dict[str, Any]]:
        with opened(daemon) as page:
            page.evaluate(f"player.seek({starts[1] - 300})")
            page.evaluate("player.play()")
            page.wait_for_function(f"player.now() > {starts[1] + 200}")
            page.evaluate("player.setRate(8)")
            page.wait_for_function("states.some((each) => each.state === 'end')")
            page.evaluate("states.push({ state: 'backwards' })")
            page.evaluate(f"player.seek({end - 500})")
            page.evaluate("player.setRate(-2)")
            page.evaluate("player.play()")
            page.wait_for_function(f"player.now() < {starts[2]}")
            page.evaluate("player.pause()")
            page.wait_for_function("states.at(-1).state === 'paused'")
            stopped = page.evaluate("({ now: player.now(), number: frameNumber() })")
            page.evaluate("player.close()")
            states: list[dict[str, Any]] = page.evaluate("states")
            return [*states, stopped]

    *states, stopped = await trio.to_thread.run_sync(drive)
    kinds = [state["state"] for state in states]
    assert "error" not in kinds, states
    (gap,) = [state for state in states[: kinds.index("end")] if state["state"] == "gap"]
    over = datetime.fromisoformat(files[1]["end_time"]).timestamp() * 1000
    assert gap["from"] == pytest.approx(over, abs=100)  # the last frames may be shown later
    assert gap["to"] == pytest.approx(starts[2], abs=1)
    backwards = [
        state["wall"] for state in states[kinds.index("backwards") :] if state["state"] == "playing"
    ]
    assert min(backwards) < starts[2] < max(backwards)
    footage = await trio.to_thread.run_sync(Footage.of, daemon, files)
    assert stopped["number"] == footage.number_at(stopped["now"])
