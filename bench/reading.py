"""The CPU time of reading the pipes of many captures, in rounds and each pipe by itself.

    python bench/reading.py [--seconds 20] [--cameras 1,4,16]

As many FFmpegs as cameras copy a 1080p H.264 clip of 8 Mbit/s in real time, as camd starts them;
their output is parsed into fragments and counted, nothing else. CPU seconds of this process for
each camera and minute, and how often it woke up in a second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import attrs
import trio
from running import find_ffmpeg, make_clip

from camd.capture.process import CaptureProcess, CaptureTimeouts
from camd.clock import SYSTEM_CLOCK
from camd.ffmpeg.text.args import CaptureOptions, capture_arguments
from camd.ffmpeg.text.encoder_table import SOFTWARE
from camd.ffmpeg.text.output import ProbeResult
from camd.logs import set_up_logging
from camd.runtime.pipe_poller import PipePoller, open_pipe_poller
from camd.sources import FileSource


@attrs.define(eq=False)
class Counter:
    """Counts fragments and drops them."""

    frames: int = 0

    def begin(self, init: object) -> None:
        """Do nothing."""

    def caught_up(self, seconds: float) -> float:
        """Do nothing."""
        return seconds

    def deliver(self, fragment: object, arrived: float) -> None:
        """Count."""
        self.frames += fragment.frames  # type: ignore[attr-defined]


@attrs.define(eq=False)
class Wakes(trio.abc.Instrument):
    """Counts how often the event loop had slept."""

    count: int = 0

    def after_io_wait(self, timeout: float) -> None:
        """Count."""
        self.count += timeout > 0


async def nothing(*_: object) -> None:
    """Ignore a notification."""
    await trio.lowlevel.checkpoint()


async def read(
    command: tuple[str, ...], count: int, seconds: float, *, rounds: bool
) -> tuple[float, float]:
    """Read `count` captures; return CPU seconds and wakes, each per second."""
    counters, wakes = [Counter() for _ in range(count)], Wakes()
    async with open_pipe_poller() as pipes, trio.open_nursery() as nursery:
        shared: PipePoller | None = pipes if rounds else None
        for counter in counters:
            run = CaptureProcess(
                counter, CaptureTimeouts(30, 30), nothing, pipes=shared, clock=SYSTEM_CLOCK
            )
            nursery.start_soon(run.run, command)
        await trio.sleep(5)
        trio.lowlevel.add_instrument(wakes)
        cpu, begun = time.process_time(), time.monotonic()
        await trio.sleep(seconds)
        cpu, took = time.process_time() - cpu, time.monotonic() - begun
        trio.lowlevel.remove_instrument(wakes)
        assert all(counter.frames > 30 * seconds * 0.8 for counter in counters)
        nursery.cancel_scope.cancel()
    return cpu / took, wakes.count / took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cameras", default="1,4,16")
    options = parser.parse_args()
    set_up_logging("error")
    print("cameras  each by itself:  wakes   in rounds:       wakes   ratio")
    print("         CPU s/min each   a sec.  CPU s/min each   a sec.  of CPU")
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, size="1920x1080", rate=30, bitrate="8M", seconds=20)
        order = CaptureOptions(
            program=find_ffmpeg(),
            source=FileSource(clip),
            version=(5, 1),
            fragment=timedelta(seconds=0.5),
            copy=True,
            encoder=SOFTWARE["h264"],
            probe=ProbeResult(),
        )
        command = capture_arguments(order)
        for count in map(int, options.cameras.split(",")):
            ask = partial(read, command, count, options.seconds)
            (alone, often), (shared, rarely) = (
                trio.run(partial(ask, rounds=rounds)) for rounds in (False, True)
            )
            print(
                f"{count:7}  {alone * 60 / count:14.3f}  {often:6.0f}"
                f"  {shared * 60 / count:15.3f}  {rarely:6.0f}  {shared / max(alone, 1e-9):6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
