"""How long a time line, an index of pieces and a seek take.

    python bench/seek.py [--rows 1000000] [--minutes 30] [--seeks 20] [--folder DIR]

First `get_timeline` of one of four cameras with a million recordings and ledger entries, over
ranges from an hour to a century, measured at a client; the baseline is a `ping`. Then the pieces of
one file of half an hour (1080p30, 8 Mbit/s, a key frame a second, with sound), read from its final
`moov` and by a walk. Then seeks in Chromium, where Playwright is installed: from the call to the
frame on the screen, to random instants over several files of a recording. A seek should take less
than 150 ms.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from index import BEGIN, CAMERAS, LENGTH, fill, make_files, wait_times
from running import Camd, find_ffmpeg, running

from camd.model import ReadableRecording
from camd.mp4.boxes import BoxReader
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.inspect import sealed_moov_offset
from camd.mp4.interrupted import read_head
from camd.mp4.movies.fragment_index import walked_fragments
from camd.mp4.segment import FTYP_SIZE, SegmentLayout
from camd.mp4.segment_metadata import SegmentMetadata
from camd.playback.stored_pieces import read_pieces

PLAYER = Path(__file__).resolve().parent.parent / "camd" / "web" / "player"
CHROMIUM = next((found for name in ("chromium", "chrome") if (found := shutil.which(name))), "")
ROUNDS = 30
RANGES = {"an hour": 1 / 24, "a day": 1, "a month": 30, "a year": 365, "a century": 36500}


def show(what: str, seconds: Sequence[float], rest: str = "") -> None:
    """Print a row: median, 95 % and worst, in milliseconds."""
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    values = statistics.median(ordered), late, ordered[-1]
    print(f"{what:48}" + "".join(f"{1000 * value:9.1f}" for value in values) + f"   {rest}")


def timed(call: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Call some times; return the seconds of each."""
    found = []
    for _ in range(rounds):
        before = time.perf_counter()
        call()
        found.append(time.perf_counter() - before)
    return found


# --- time lines


def measure_timelines(rows: int, folder: Path) -> None:
    """Ask for time lines of the first of four cameras that have so many recordings together."""
    index = folder / ".camd" / "index.sqlite"
    if not index.exists():
        index.parent.mkdir(parents=True)
        fill(index, rows)
        make_files(index)
    with running("", storage__recordings_dir=str(folder)) as camd:
        print(f"{rows} recordings, known after {wait_times(camd):.1f} s")
        show("ping", timed(lambda: camd.call("ping")))
        for what, days in RANGES.items():
            measure_range(camd, what, timedelta(days=days), rows // CAMERAS * LENGTH)


def measure_range(camd: Camd, what: str, length: timedelta, span: timedelta) -> None:
    """Print the row of ranges of this length, in the middle of what was recorded."""
    middle = BEGIN + span / 2
    params = {"camera": "camera0", "from": (middle - length / 2).isoformat()}
    params["to"] = (middle + length / 2).isoformat()
    answer = camd.call("get_timeline", **params)
    seconds = timed(lambda: camd.call("get_timeline", **params))
    files, gaps = (sum(each["merged"] for each in answer[name]) for name in ("spans", "gaps"))
    sizes = f"{files} files in {len(answer['spans'])} spans"
    show(
        f"get_timeline of {what}", seconds, f"< 50   {sizes}, {gaps} in {len(answer['gaps'])} gaps"
    )


# --- the pieces of a file


def measure_pieces(folder: Path, minutes: int) -> None:
    """Read the pieces of a long file, as a player that begins would have them read."""
    path = make_file(folder, minutes)
    stored = ReadableRecording(path, path.name, path.stat().st_size, True, datetime.now(UTC))
    found = read_pieces(stored, None)
    assert found is not None
    size = path.stat().st_size / 1e6
    print(f"{minutes} minutes in one file, {size:.0f} MB, {len(found.table)} pieces")
    show("pieces by the final moov", timed(lambda: read_pieces(stored, None), 10))
    show("pieces by walking", timed(lambda: walk(path), 3))


def walk(path: Path) -> None:
    """Read the pieces of a file without its final moov."""
    with path.open("rb") as file:
        descriptor = file.fileno()

        def read(at: int, size: int) -> bytes:
            return os.pread(descriptor, size, at)

        init, _, begin = read_head(read)
        end = sealed_moov_offset(read(0, 64))
        assert end is not None
        for _ in walked_fragments(read, init, begin, end):
            pass


def make_file(folder: Path, minutes: int) -> Path:
    """Record a minute's stream again and again into one sealed file."""
    init, fragments = stream()
    who = SegmentMetadata("camera0", "", "s", 0, 0, 0.0, "", synchronised=True, software="bench")
    layout = SegmentLayout(init, fragments[0], who)
    path = folder / "camera0_2026-01-15_14-30-00.mp4"
    with path.open("wb") as file:
        file.write(layout.header)
        for each in repeated(fragments, minutes):
            file.writelines(layout.append(each))
        end = file.tell()
        file.write(layout.final_moov())
        file.seek(FTYP_SIZE)
        file.write(layout.seal_header(end))
    return path


def stream() -> tuple[Init, list[Fragment]]:
    """Encode a minute with sound, in fragments of half a second."""
    picture = "testsrc2=size=1920x1080:rate=30,noise=alls=4:allf=t"
    command = f"""{find_ffmpeg()} -v error -f lavfi -i {picture} -f lavfi -i sine -t 60
        -c:v libx264 -preset ultrafast -g 30 -pix_fmt yuv420p -b:v 8M -c:a aac
        -movflags frag_keyframe+empty_moov+default_base_moof -use_editlist 0
        -frag_duration 500000 -f mp4 pipe:1"""
    data = subprocess.run(command.split(), capture_output=True, check=True).stdout
    init, *fragments = FragmentReader(BoxReader()).feed(data)
    assert isinstance(init, Init)
    return init, [each for each in fragments if isinstance(each, Fragment)]


def repeated(fragments: Sequence[Fragment], times: int) -> Iterator[Fragment]:
    """Yield a stream so many times, each one behind the other."""
    for number in range(times):
        for each in fragments:
            runs = tuple(
                attrs.evolve(run, decode_time=run.decode_time + number * 60 * run.timescale)
                for run in each.runs
            )
            yield attrs.evolve(
                each, runs=runs, video=next((r for r in runs if r.track_id == 1), None)
            )


# --- seeks


PAGE = """<!doctype html><video muted width=960 height=540></video><script type=module>
import { open } from "/player/playback.js";
const video = document.querySelector("video");
const fetchJson = async (path) => (await fetch(path)).json();
window.player = open(video, { camera: "camera0", fetchJson });
window.at = async (wall) => {
  const begin = performance.now();
  await window.player.seek(wall);
  return performance.now() - begin;
};
</script>"""


def measure_seeks(folder: Path, seeks: int) -> None:
    """Record for half a minute, then seek in it."""
    clip = folder / "clip.mp4"
    picture = "testsrc2=size=1920x1080:rate=30,noise=alls=4:allf=t"
    command = f"""{find_ffmpeg()} -v error -f lavfi -i {picture} -t 40 -c:v libx264 -g 30
        -preset ultrafast -pix_fmt yuv420p -b:v 8M -y"""
    subprocess.run([*command.split(), str(clip)], check=True)
    cameras = f'[[camera]]\nid = "camera0"\nsource = "file:{clip}"\ncodec = "copy"\n'
    with running(cameras, recording__rotation="5s") as camd:
        camd.call("start_recording", device="camera0")
        time.sleep(30)
        stopped = camd.call("stop_recording", device="camera0")
        begin, end = (
            datetime.fromisoformat(stopped[name]).timestamp() * 1000
            for name in ("start_time", "end_time")
        )
        found = seek(camd, [random.uniform(begin, end - 1000) for _ in range(seeks)])
        print(f"1080p30, 8 Mbit/s, {len(stopped['receipt']['files'])} files")
        show("seek, to the frame on the screen", [each / 1000 for each in found], "< 150")


def seek(camd: Camd, instants: Sequence[float]) -> list[float]:
    """Seek in a browser, in a page of its own for each instant."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not needed for the rest

    origin = camd.url.replace("ws://", "http://").removesuffix("/ws")
    key = (camd.folder / "state" / "admin.key").read_text().strip()
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(extra_http_headers={"Authorization": f"Bearer {key}"})
        page.route(
            f"{origin}/page.html", lambda route: route.fulfill(body=PAGE, content_type="text/html")
        )
        page.route(
            f"{origin}/player/*",
            lambda route: route.fulfill(
                body=(PLAYER / route.request.url.rpartition("/")[2]).read_text(),
                content_type="text/javascript",
            ),
        )
        page.goto(f"{origin}/page.html")
        page.wait_for_function("window.player")
        page.evaluate(f"at({instants[0]})")
        for instant in instants:
            found.append(page.evaluate(f"at({instant})"))
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--seeks", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="keeps the recordings")
    options = parser.parse_args()
    print(f"{'milliseconds':48}{'p50':>9}{'p95':>9}{'worst':>9}   aim")
    with tempfile.TemporaryDirectory() as name:
        if options.seeks and CHROMIUM:
            measure_seeks(Path(name), options.seeks)
        if options.minutes:
            measure_pieces(Path(name), options.minutes)
    if options.rows:
        with tempfile.TemporaryDirectory(prefix="camd-bench-") as name:
            measure_timelines(options.rows, options.folder or Path(name) / "recordings")


if __name__ == "__main__":
    main()
