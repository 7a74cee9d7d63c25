"""The time and memory for sealing a segment, by its length and its content.

    python bench/seal.py [--hours 0.5,2,12] [--rounds 3]

The segments are not recorded: ten seconds of real FFmpeg output are added repeatedly, on a
continuing timeline, until the index holds as many samples as a segment of that length
(12 hours at 30 frames a second: 1,296,000). "jitter" has another duration for every frame, as
cameras with a clock of their own have. The file is sealed as the daemon does it; in the place of
its media is a sparse range.

The baseline writes as many bytes, and syncs as often, without making them. "others wait" is the
longest time for which another thread did not run while the index was made: status, viewers and
other cameras wait as long. Every row is a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from pathlib import Path

import attrs
from running import find_ffmpeg

from camd.mp4.fragments import Fragment, FragmentReader, Init, TrackRun
from camd.mp4.inspect import HEAD_SIZE, summarise_segment
from camd.mp4.segment import FTYP_SIZE, SegmentLayout
from camd.mp4.segment_metadata import SegmentMetadata
from camd.storage.disk import PosixDisk

HEAD = (
    f"{'':43} {'index':>8} {'moov':>8} {'making':>8} {'others':>8} {'memory':>8} {'seal':>8}"
    f" {'bare':>8}",
    f"{'length':7}  {'content':24} {'frames':>9} {'MiB':>8} {'MiB':>8} {'CPU ms':>8} {'wait ms':>8}"
    f" {'MiB more':>8} {'ms':>8} {'ms':>8} {'ratio':>7}",
)
TEMPLATE_SECONDS = 10
FPS = 30
CONTENTS = {
    "video": ("-bf", "0"),
    "video, jitter": ("-bf", "0"),
    "video, B-frames": ("-bf", "2"),
    "video, audio": ("-bf", "0", "-c:a", "aac"),
    "B-frames, audio, jitter": ("-bf", "2", "-c:a", "aac"),
}
WHO = SegmentMetadata(
    *("camera0", "usb-1", "5f0c", 0, 1_768_487_400_000_000, 7.25, "boot"),
    synchronised=True,
    software="camd",
)


@attrs.frozen
class Sealed:
    """Seconds and bytes of one seal."""

    samples: int
    index_bytes: int
    making: float
    waited: float
    peak_bytes: int
    moov_bytes: int
    whole: float
    baseline: float


def template(content: str) -> tuple[Init, list[Fragment]]:
    """Let FFmpeg encode ten seconds, and read them as camd does."""
    sources = f"-f lavfi -i testsrc2=size=640x360:rate={FPS}"
    if "audio" in content:
        sources += " -f lavfi -i sine=frequency=440:sample_rate=48000"
    command = f"""{find_ffmpeg()} -v error -nostdin {sources} -t {TEMPLATE_SECONDS} -c:v libx264
        -preset ultrafast -g {FPS} -pix_fmt yuv420p {" ".join(CONTENTS[content])} -frag_duration
        500000 -movflags frag_keyframe+empty_moov+default_base_moof -f mp4 pipe:1"""
    stream = subprocess.run(command.split(), capture_output=True, check=True).stdout
    reader = FragmentReader()
    init, *fragments = reader.feed(stream) + reader.close()
    return init, fragments


def later(run: TrackRun, starts: dict[int, int], rng: random.Random | None) -> TrackRun:
    """Move a run to the end of its track; with `rng`, change every duration a little."""
    durations = run.durations
    if rng is not None:
        most = max(1, min(durations) // 20)
        durations = array("I", (value + rng.randint(-most, most) for value in durations))
    start = starts.setdefault(run.track_id, run.decode_time)
    starts[run.track_id] = start + sum(durations)
    return attrs.evolve(run, decode_time=start, durations=durations, duration=sum(durations))


def filled(content: str, hours: float) -> SegmentLayout:
    """Make the index of a segment of that length."""
    init, fragments = template(content)
    index = SegmentLayout(init, fragments[0], WHO)
    rng = random.Random(1) if "jitter" in content else None
    starts: dict[int, int] = {}
    while index.frames < hours * 3600 * FPS:
        for fragment in fragments:
            runs = [later(run, starts, rng) for run in fragment.runs]
            index.validate(runs)
            index.record(runs, fragment.size_bytes)
    return index


class Ticker:
    """A thread that runs every millisecond; `longest` is the longest time for which it did not."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick)

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        before = time.perf_counter()
        while not self._over.wait(0.001):
            now = time.perf_counter()
            self.longest = max(self.longest, now - before - 0.001)
            before = now


def memory(field: str) -> int:
    """Read VmRSS, or VmHWM, which is the most that it has been (proc(5), status)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(field)


def seal(index: SegmentLayout, path: Path) -> tuple[float, bytes]:
    """Seal a file of the index's size, as the daemon does; return seconds and the final moov."""
    file = PosixDisk().create(path)
    file.append([index.header])
    file.truncate(index.size_bytes)
    file.sync()
    began = time.perf_counter()
    moov = index.final_moov()
    file.append([moov])
    file.sync()
    file.overwrite(FTYP_SIZE, index.seal_header(index.size_bytes))
    file.sync()
    seconds = time.perf_counter() - began
    found = summarise_segment(file.read(0, HEAD_SIZE), file.read(index.size_bytes, len(moov)))
    assert found.frames == index.frames
    file.close()
    path.unlink()
    return seconds, moov


def bare(size: int, moov: bytes, path: Path) -> float:
    """The same writes and syncs."""
    file = PosixDisk().create(path)
    file.truncate(size)
    file.sync()
    began = time.perf_counter()
    file.append([moov])
    file.sync()
    file.overwrite(FTYP_SIZE, bytes(16))
    file.sync()
    seconds = time.perf_counter() - began
    file.close()
    path.unlink()
    return seconds


def measure(content: str, hours: float, rounds: int, folder: Path) -> Sealed:
    """Seal a few times; medians."""
    filled(content, 0.01)  # whatever is imported or kept once
    before = memory("VmRSS")
    index = filled(content, hours)
    held = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    with Ticker() as ticker:
        began = time.thread_time()
        moov = index.final_moov()
        making = time.thread_time() - began
    peak = memory("VmHWM") - held
    whole = [seal(index, folder / "sealed")[0] for _ in range(rounds)]
    baseline = [bare(index.size_bytes, moov, folder / "bare") for _ in range(rounds)]
    return Sealed(
        samples=index.frames,
        index_bytes=max(0, held - before),
        making=making,
        waited=ticker.longest,
        peak_bytes=peak,
        moov_bytes=len(moov),
        whole=statistics.median(whole),
        baseline=statistics.median(baseline),
    )


def show(content: str, hours: float, sealed: Sealed) -> None:
    """Print a row."""
    mib = 1 << 20
    print(
        f"{hours:5g} h  {content:24} {sealed.samples:9,} {sealed.index_bytes / mib:8.1f}"
        f" {sealed.moov_bytes / mib:8.1f} {sealed.making * 1000:8.0f} {sealed.waited * 1000:8.0f}"
        f" {sealed.peak_bytes / mib:8.1f} {sealed.whole * 1000:8.0f}"
        f" {sealed.baseline * 1000:8.0f} {sealed.whole / sealed.baseline:7.1f}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", default="0.5,2,12")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for line in HEAD:
        print(line)
    with tempfile.TemporaryDirectory() as name:
        for hours in map(float, options.hours.split(",")):
            for content in CONTENTS:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    work = (content, hours, options.rounds, Path(name))
                    show(content, hours, pool.apply(measure, work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
