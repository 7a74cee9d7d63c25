"""The output of FFmpeg is parsed in turns: other tasks run meanwhile."""

from __future__ import annotations

import trio
from support import media_streams as build
from support.fake_ffmpeg import FakeFfmpeg, FakeLauncher

from camd.capture.process import TURN_BYTES, CaptureProcess, CaptureReport, CaptureTimeouts
from camd.clock import SYSTEM_CLOCK
from camd.mp4.fragments import Fragment, Init

TURNS = 16


class Counter:
    """Counts fragments."""

    fragments = 0

    def begin(self, init: Init) -> None:
        """Take the header."""

    def caught_up(self, seconds: float) -> float:
        """Take note of nothing."""
        return seconds

    def deliver(self, fragment: Fragment, arrived: float) -> None:
        """Count one."""
        self.fragments += 1


async def ignore(report: CaptureReport) -> None:
    """Take no note of what the process says."""


async def test_others_have_their_turns_while_a_full_pipe_is_parsed(autojump_clock) -> None:
    """One read with thousands of fragments does not delay other tasks."""
    small = build.fragment((1, 0, build.group(1, 1)))
    count = TURNS * TURN_BYTES // len(small)

    async def part(child: FakeFfmpeg) -> int:
        await trio.lowlevel.checkpoint()
        child.write(build.VIDEO_ONLY + small * count)
        return 0

    launcher, counter, seen, parsed = FakeLauncher(), Counter(), set(), set()
    launcher.then(part)
    run = CaptureProcess(
        counter, CaptureTimeouts(60, 60), ignore, launch=launcher.launch, clock=SYSTEM_CLOCK
    )

    async def look() -> None:
        while counter.fragments < count:
            seen.add(counter.fragments)
            if not counter.fragments:
                parsed.add(len(run._waiting))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await run.run([])
    assert counter.fragments == count
    assert len(parsed) >= TURNS // 3, "before anything was handed on"
    assert len(seen) >= TURNS // 3
