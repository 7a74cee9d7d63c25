"""The FFmpeg that all cameras use: found once, and looked for again after it was removed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.capture.source_cache import SourceCache
from camd.ffmpeg.binary import (
    FFmpegBinary,
    KnownBinary,
    find_ffmpeg,
    is_unchanged_program,
    look_at_program,
)
from camd.runtime.path_lookup import BoundedFileCalls

log = structlog.get_logger("camd.cameras")


@attrs.define(eq=False, kw_only=True)
class FFmpegFinder:
    """Finds FFmpeg at the configured `path`, or where it usually is; None: not configured."""

    path: Path | None
    memory: SourceCache  # has the program that an earlier run of the daemon found
    _search: Callable[[Path | None], Awaitable[FFmpegBinary]] = find_ffmpeg
    _look_at: Callable[[FFmpegBinary], KnownBinary | None] = look_at_program
    _is_still: Callable[[KnownBinary, Path | None], bool] = is_unchanged_program
    _program: FFmpegBinary | None = attrs.field(default=None, init=False)
    _finding: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _looks: BoundedFileCalls = attrs.field(factory=BoundedFileCalls, init=False)

    async def find(self) -> FFmpegBinary:
        """Return FFmpeg; search while it is missing. Raises FfmpegMissingError."""
        async with self._finding:  # callers that come meanwhile wait for the same search
            if self._program is None or not await self._is_there(self._program):
                self._program = await self._recall()
            if self._program is None:
                self._program = await self._search(self.path)
                look = partial(self._look_at, self._program)
                self.memory.learn_program(await self._looks.ask(look, otherwise=None))
                log.info(
                    "ffmpeg_found",
                    version=".".join(map(str, self._program.version)),
                    bundled=self._program.bundled,
                )
            return self._program

    async def _is_there(self, program: FFmpegBinary) -> bool:
        """Whether the program still exists; on a disk that hangs, assume that it does."""
        return await self._looks.ask(partial(os.path.exists, program.path), otherwise=True)

    async def _recall(self) -> FFmpegBinary | None:
        """Return the FFmpeg of the daemon's last run, if it is still the same file."""
        seen, self.memory.program = self.memory.program, None
        if seen is None:
            return None
        look = partial(self._is_still, seen, self.path)
        same = await self._looks.ask(look, otherwise=False)
        self.memory.program = seen if same else None
        return seen.program if same else None
