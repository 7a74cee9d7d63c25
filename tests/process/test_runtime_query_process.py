"""The output and the time of a program are bounded, and its descendants end with it."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from camd.capture.process import CaptureProcess, CaptureReport, CaptureTimeouts
from camd.clock import SYSTEM_CLOCK
from camd.ffmpeg.binary import FfmpegMissingError, find_ffmpeg
from camd.mp4.fragments import Fragment, Init
from camd.runtime.child_process import open_child_process
from camd.runtime.query_process import run_program

KEPT = 4096


def sh(script: str) -> list[str]:
    """Return the arguments that run a shell script."""
    return ["/bin/sh", "-c", script]


def runs(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def wait_gone(pid: int) -> None:
    """Wait until a process that somebody else reaps has ended."""
    while runs(pid):  # noqa: ASYNC110 - no child of ours
        await trio.sleep(0.01)


@pytest.mark.parametrize("stream", [1, 2])
async def test_a_program_that_never_stops_talking_is_ended(stream: int) -> None:
    """Only the beginning of its output is kept, on either stream."""
    with trio.fail_after(300):
        answer = await run_program(sh(f"while :; do echo word; done >&{stream}"), 60, KEPT)
    assert answer.flooded
    assert answer.status is None
    said = (answer.output, answer.errors)
    assert [len(each) for each in said] == ([KEPT, 0] if stream == 1 else [0, KEPT])


async def test_a_program_that_takes_too_long_is_ended() -> None:
    """The output until then is returned, without a status."""
    seconds, command = 0.5, sh("echo $$; exec sleep 1000")
    with trio.fail_after(300):
        while not (answer := await run_program(command, seconds)).output:
            seconds *= 2  # a busy machine had not started it in that time
    assert answer.status is None
    assert not answer.flooded
    assert not runs(int(answer.output))


async def test_a_descendant_is_not_waited_for() -> None:
    """A descendant that holds the pipes ends with it, even if it ignores SIGTERM."""
    script = "(trap '' TERM; exec sleep 1000) & echo $!; echo done >&2; exit 3"
    with trio.fail_after(300):
        answer = await run_program(sh(script), 3600)
        assert (answer.status, answer.errors) == (3, b"done\n")
        await wait_gone(int(answer.output))


@pytest.mark.parametrize("stream", [1, 2])
async def test_a_program_with_endless_version_output_is_no_ffmpeg(
    tmp_path: Path, stream: int
) -> None:
    """It is refused with words."""
    path = tmp_path / "ffmpeg"
    path.write_text(f"#!/bin/sh\nwhile :; do echo word; done >&{stream}\n", encoding="utf-8")
    path.chmod(0o755)
    with (
        trio.fail_after(300),
        pytest.raises(FfmpegMissingError, match="answers -version without end"),
    ):
        await find_ffmpeg(path)


class Unused:
    """Ignores what it receives."""

    def begin(self, init: Init) -> None:
        """Take it."""

    def caught_up(self, seconds: float) -> float:
        """Take note of nothing."""
        return seconds

    def deliver(self, fragment: Fragment, arrived: float) -> None:
        """Take it."""


async def ignore(report: CaptureReport) -> None:
    """Take no note of what the process says."""


@pytest.mark.parametrize(
    "holder",
    ["(trap '' TERM; exec sleep 1000)", "setsid sh -c \"trap '' TERM; exec sleep 1000\""],
    ids=["group", "session"],
)
async def test_a_capture_ends_although_its_pipe_is_held(holder: str, tmp_path: Path) -> None:
    """A process that the child left, in its group or outside of it, costs a stop seconds only."""
    launch = partial(open_child_process, terminate_seconds=0.2)
    note = tmp_path / "pid"
    script = f"{holder} & echo $! > {note}.new; mv {note}.new {note}; exec sleep 1000"
    run = CaptureProcess(
        Unused(), CaptureTimeouts(60, 60), ignore, launch=launch, clock=SYSTEM_CLOCK
    )
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.run, sh(script))
            while not note.exists():  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.01)
            run.stop()
        left = int(note.read_text(encoding="ascii"))
        if "setsid" in holder:
            os.kill(left, signal.SIGKILL)  # nothing tells whose it is
        await wait_gone(left)


async def test_endless_errors_do_not_block_the_event_loop() -> None:
    """A child that fills its stderr costs the others no more than moments."""
    run = CaptureProcess(Unused(), CaptureTimeouts(60, 60), ignore, clock=SYSTEM_CLOCK)
    longest = 0.0
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.run, sh("while :; do echo x; done >&2"))
            for _ in range(20):
                before = time.thread_time()  # other programs need time, too
                await trio.sleep(0.02)
                longest = max(longest, time.thread_time() - before)
            run.stop()
    assert longest < 1.0
    assert len(run._log.lines) <= 100
