"""The time until recording continues, after a restart of the daemon and after a camera was away.

    python bench/back.py [--rounds 3] [--cameras 16] [--away 3]

One RTSP camera (H.264, 720p, a key frame every second, the GOP) on the loopback interface is
recorded. In each round the daemon gets SIGTERM and is started again at once, then SIGKILL; then the
camera goes away and comes back. The result is the gap in the recording, from the last frame before
to the first frame after, by the ledger and the files. Then `--cameras` cameras that are files, as
in recording.py, are recorded, and the daemon is restarted; the result is the time until each has
written its first frame.

The baseline of each is FFmpeg alone, connecting to the same source with the same options: the
time from its start to its first fragment, one process for each camera at the same time.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from pathlib import Path

import trio

sys.path.append(str(Path(__file__).parents[1] / "tests" / "daemon"))
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from imageio_ffmpeg import get_ffmpeg_exe
from running import make_clip
from running_daemon import FFMPEG, Daemon
from support.fake_rtsp_server import RtspServer, open_rtsp_server

ROOMY = {"storage": {"warn_percent": 94.0, "block_percent": 95.0}}
AS_USUAL = {"recording": {"rotation": "30m", "resume_sessions": True}}
BARE = "-v error -nostdin {} -map 0:v:0 -c copy -movflags frag_keyframe+empty_moov"
BARE += "+default_base_moof -frag_duration 500000 -flush_packets 1 -f mp4 pipe:1"


async def bare(inputs: list[str]) -> float:
    """Seconds until FFmpeg alone has delivered the first fragment of every input."""
    began = trio.current_time()

    async def one(source: str) -> None:
        command = [FFMPEG, *BARE.format(source).split()]
        process = await trio.lowlevel.open_process(command, stdout=-1)
        assert process.stdout is not None
        data = b""
        while b"moof" not in data:
            chunk = await process.stdout.receive_some(65536)
            assert chunk, f"FFmpeg ended: {command}"
            data = data[-4:] + chunk
        process.kill()
        await process.stdout.aclose()
        await process.wait()

    async with trio.open_nursery() as nursery:
        for source in inputs:
            nursery.start_soon(one, source)
    return trio.current_time() - began


def files(daemon: Daemon) -> set[Path]:
    """List the files of the recordings."""
    return set(daemon.recordings.glob("*.mp4"))


async def wait_files(daemon: Daemon, before: set[Path], count: int) -> None:
    """Wait until so many more files are there: each begins with a recorded frame."""
    with trio.fail_after(60):
        while len(files(daemon) - before) < count:  # noqa: ASYNC110 - a folder sends no events
            await trio.sleep(0.02)


async def restart(daemon: Daemon, number: signal.Signals) -> None:
    """End the daemon by a signal, start it, and wait until it records again."""
    before = files(daemon)
    daemon.signal(number)
    assert await daemon.wait_end() in (0, -signal.SIGKILL)
    await daemon.start()
    await wait_files(daemon, before, 1)


async def away(daemon: Daemon, server: RtspServer, seconds: float) -> float:
    """Remove the camera for a time; return the seconds."""
    before, began = files(daemon), trio.current_time()
    await server.go_away()
    await trio.sleep(seconds)
    await server.come_back()
    absent = trio.current_time() - began
    await wait_files(daemon, before, 1)
    return absent


def line(what: str, found: list[float], base: list[float], aim: str) -> None:
    """Print a row: median, worst, the baseline's median, and the ratio of the medians."""
    middle, bottom = statistics.median(found), statistics.median(base)
    print(
        f"{what:34} {middle:7.2f} {max(found):7.2f} {bottom:9.2f} {middle / bottom:7.2f}   {aim}",
        flush=True,
    )


async def stream_rounds(options: argparse.Namespace, folder: Path, clip: Path) -> None:
    """Measure one RTSP camera."""
    daemon = Daemon(folder / "one", ROOMY)
    async with open_rtsp_server(get_ffmpeg_exe(), clip) as server:
        daemon.configure(AS_USUAL, cameras=[{"source": server.url}])
        await daemon.start()
        try:
            await daemon.call("start_recording", device="camera0")
            absent, base = [], []
            for _ in range(options.rounds):
                await trio.sleep(2)
                base.append(await bare([f"-rtsp_transport tcp -i {server.url}"]))
                for number in (signal.SIGTERM, signal.SIGKILL):
                    await restart(daemon, number)
                    await trio.sleep(2)
                absent.append(await away(daemon, server, options.away))
            stopped = await daemon.call("stop_recording", device="camera0")
            await daemon.stop()
        finally:
            daemon.clean_up()
    gaps = sorted(stopped["receipt"]["gaps"], key=lambda gap: gap["from"])
    missing: list[float] = []
    for before, gap in zip([None, *gaps], gaps, strict=False):
        if before is not None and before["to"] == gap["from"]:  # it waited for a key frame
            missing[-1] += gap["duration"]
        else:
            missing.append(gap["duration"])
    assert len(missing) == 3 * options.rounds, gaps
    late = [gap - seconds for gap, seconds in zip(missing[2::3], absent, strict=True)]
    line("gap after SIGTERM and start", missing[::3], base, "< 1 s + GOP (2)")
    line("gap after SIGKILL and start", missing[1::3], base, "< 1 s + GOP (2)")
    line("camera back: late by", late, base, "< 0.5 s + GOP (1.5)")


async def many_rounds(options: argparse.Namespace, folder: Path, clip: Path) -> None:
    """Measure many cameras at a start."""
    daemon = Daemon(folder / "many", ROOMY)
    count = options.cameras
    daemon.configure(AS_USUAL, cameras=[{"source": f"file:{clip}"} for _ in range(count)])
    await daemon.start()
    try:
        for number in range(count):
            await daemon.call("start_recording", device=f"camera{number}")
        times, base = [], []
        for _ in range(options.rounds):
            await trio.sleep(2)
            await daemon.stop()
            base.append(await bare([f"-re -stream_loop -1 -i {clip}"] * count))
            known, began = files(daemon), trio.current_time()
            await daemon.start()
            await wait_files(daemon, known, count)
            times.append(trio.current_time() - began)
        await daemon.stop()
    finally:
        daemon.clean_up()
    line(f"{count} cameras: all record after", times, base, "< 2 s")


async def run(options: argparse.Namespace, folder: Path, stream: Path, clip: Path) -> None:
    """Run all measurements."""
    print(f"{'seconds':34} {'median':>7} {'worst':>7} {'FFmpeg':>9} {'ratio':>7}   aim")
    await stream_rounds(options, folder, stream)
    await many_rounds(options, folder, clip)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--away", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stream, clip = folder / "stream.mp4", folder / "clip.mp4"
        make_clip(stream, size="1280x720", rate=25, bitrate="2M", seconds=20)
        make_clip(clip, size="1920x1080", rate=30, bitrate="8M", seconds=20)
        trio.run(run, options, folder, stream, clip)
    return 0


if __name__ == "__main__":
    sys.exit(main())
