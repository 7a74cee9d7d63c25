"""Whether there is an FFmpeg: looked for at the start, before a camera needs it.

Without it nothing can be recorded, and whoever has just installed camd should hear that before the
first recording fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
import trio

from camd.camera.cameras import Cameras
from camd.capture.planner import ProgramFinder
from camd.ffmpeg.binary import FfmpegMissingError
from camd.model import Problem

log = structlog.get_logger("camd.cameras")

_PAUSE_SECONDS = 30.0  # between searches while it is missing


@asynccontextmanager
async def open_program_watch(cameras: Cameras) -> AsyncIterator[None]:
    """Look for FFmpeg while the block runs, until it is found; cameras show that it is missing."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_program, cameras.find_program, cameras.show_program)
        yield
        nursery.cancel_scope.cancel()


async def watch_program(find: ProgramFinder, show: Callable[[Problem | None], None]) -> None:
    """Search until FFmpeg is found; `show` gets the problem at the first failure, None at the end.

    One search takes at most the time that `find` takes.
    """
    missing = False
    while True:
        try:
            await find()
        except FfmpegMissingError as error:
            if not missing:
                missing = True
                advice = error.problem.suggestion
                log.error("ffmpeg_missing", why=error.problem.message, suggestion=advice)
                show(error.problem)
            await trio.sleep(_PAUSE_SECONDS)
        else:
            show(None)
            return
