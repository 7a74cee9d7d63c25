"""Read what a running FFmpeg says, however fast it says it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from camd.ffmpeg.text.output import FFmpegLine, FFmpegLog

CHUNK_BYTES = 65536
PAUSE_SECONDS = 0.02


async def read_log(
    read_errors: Callable[[int], Awaitable[bytes]],
    log: FFmpegLog,
    hear: Callable[[FFmpegLine], None],
) -> None:
    """Read stderr to its end, so that FFmpeg never waits; `log` and `hear` get the newest lines.

    `read_errors` takes the most bytes to read, and returns b"" at the end.
    """
    while True:
        chunk = await read_errors(CHUNK_BYTES)
        for line in log.take(chunk):
            hear(line)
        if not chunk:
            return
        if len(chunk) == CHUNK_BYTES:  # it writes faster than lines can be used
            await trio.sleep(PAUSE_SECONDS)
