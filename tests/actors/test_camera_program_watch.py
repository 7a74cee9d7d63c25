"""A missing FFmpeg is noticed before a camera needs it, and so is one that is installed later."""

from __future__ import annotations

import attrs
import trio
from structlog.testing import capture_logs

from camd.camera.program_watch import watch_program
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.model import Problem, ProblemKind


@attrs.define(eq=False)
class LateProgram:
    """FFmpeg that is installed at a time, and what was shown of it."""

    there_at: float
    shown: list[tuple[float, ProblemKind | None]] = attrs.field(factory=list)

    async def find(self) -> FFmpegBinary:
        """Search."""
        if trio.current_time() < self.there_at:
            raise FfmpegMissingError("There is no FFmpeg")
        return attrs.NOTHING  # type: ignore[return-value] - nobody looks at it

    def show(self, problem: Problem | None) -> None:
        """Note what cameras would show."""
        self.shown.append((trio.current_time(), problem.kind if problem else None))


async def test_a_missing_program_is_shown_until_it_is_installed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One line of the log, one change of the cameras, and another one when it is there."""
    program = LateProgram(there_at=100.0)
    with capture_logs() as logs:
        await watch_program(program.find, program.show)
    assert program.shown == [(0.0, ProblemKind.FFMPEG_MISSING), (120.0, None)]
    assert [each["event"] for each in logs] == ["ffmpeg_missing"]
    assert "apt install ffmpeg" in logs[0]["suggestion"]


async def test_a_program_that_is_there_is_not_looked_for_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The search ends at once."""
    program = LateProgram(there_at=0.0)
    await watch_program(program.find, program.show)
    assert (program.shown, trio.current_time()) == ([(0.0, None)], 0.0)
