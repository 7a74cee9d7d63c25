"""One publication: an FFmpeg process from its header to the end of the stream that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs
import structlog
import trio

from camd.ffmpeg.log_reader import read_log
from camd.ffmpeg.text.output import FFmpegLine, FFmpegLog, problem_of_exit
from camd.ffmpeg.text.publish_args import ACCEPTED
from camd.ffmpeg.text.redact import redact
from camd.model import Problem
from camd.mp4.fragments import Init
from camd.publish.publication_counters import PublicationCounters
from camd.publish.publication_queue import PublicationQueue
from camd.publish.rules import stream_problems as problems
from camd.runtime.child_process import NOT_EXECUTED, ChildProcess

log = structlog.get_logger("camd.publish")

ACCEPT_SECONDS = 10.0  # from the start of the process until the server has taken the stream
STALL_SECONDS = 10.0  # in which nothing of what waits was taken
END_SECONDS = 3.0  # from the end of its input to its own
LAST_WORDS_SECONDS = 1.0


class LaunchWithInput(Protocol):
    """Starts a process whose standard input is a pipe."""

    def __call__(
        self, arguments: Sequence[str], *, takes_input: bool
    ) -> AbstractAsyncContextManager[ChildProcess]:
        """Run the process while the block runs. Raises OSError."""


@attrs.define(eq=False)
class Publication:
    """One FFmpeg process. `run` returns when it is gone; `accepted` is called once, if ever."""

    _queue: PublicationQueue
    _launch: LaunchWithInput
    _accepted: Callable[[], None]
    _counters: PublicationCounters
    was_accepted: bool = attrs.field(default=False, init=False)
    _log: FFmpegLog = attrs.field(factory=FFmpegLog, init=False)
    _problem: Problem | None = attrs.field(default=None, init=False)
    _finished: bool = attrs.field(default=False, init=False)  # the stream ended, not the process
    _gone: bool = attrs.field(default=False, init=False)  # the process ended by itself
    _writing: trio.CancelScope = attrs.field(init=False)
    _heard_all: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._writing = trio.CancelScope(deadline=trio.current_time() + ACCEPT_SECONDS)

    async def run(self, arguments: Sequence[str], init: Init) -> Problem | None:
        """Publish what the queue has while it fits `init`; return why the process ended.

        None: the capture ended, or the stream needs another header.
        """
        try:
            async with (
                self._launch(arguments, takes_input=True) as process,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._hear_errors, process)
                nursery.start_soon(_discard_output, process)
                nursery.start_soon(self._notice_end, process)
                with self._writing:
                    await self._write_stream(process, init)
                if not self._gone and not self._finished:
                    self._problem = self._problem or problems.SILENT
                status = await self._end(process)
                with trio.move_on_after(LAST_WORDS_SECONDS):
                    await self._heard_all.wait()
                nursery.cancel_scope.cancel()
        except OSError:
            return problems.NO_FFMPEG
        if self._problem is not None or self._finished:
            return self._problem
        if status in NOT_EXECUTED:
            return problems.NO_FFMPEG
        return problems.publishing_problem(problem_of_exit(self._log.lines, status))

    async def _write_stream(self, process: ChildProcess, init: Init) -> None:
        """Write header and fragments until the stream ends, or the process."""
        try:
            await self._write(process, init.ftyp + init.moov)
            while self._problem is None:
                fragment = await self._queue.take(init)
                if fragment is None:
                    self._finished = True
                    return
                await self._write(process, fragment.moof)
                await self._write(process, fragment.mdat)
        except BrokenPipeError:
            self._gone = True  # its last messages say why

    async def _write(self, process: ChildProcess, data: bytes) -> None:
        with trio.move_on_after(STALL_SECONDS) as stall:
            await process.write_input(data)
            self._counters.bytes_sent += len(data)
        if stall.cancelled_caught:
            self._problem = problems.STALLED

    async def _notice_end(self, process: ChildProcess) -> None:
        await process.wait()
        self._gone = True
        self._writing.cancel()

    async def _end(self, process: ChildProcess) -> int | None:
        """Close the input, and end the process when that does not end it."""
        process.close_input()
        with trio.move_on_after(END_SECONDS if self._problem is None else 0.0):
            return await process.wait()
        return await process.end()

    async def _hear_errors(self, process: ChildProcess) -> None:
        await read_log(process.read_errors, self._log, self._hear)
        self._heard_all.set()

    def _hear(self, said: FFmpegLine) -> None:
        log.debug("ffmpeg_output", severity=said.level, text=redact(said.text))
        if said.text.startswith(ACCEPTED) and not self.was_accepted:
            self.was_accepted = True
            self._writing.deadline = float("inf")
            self._accepted()


async def _discard_output(process: ChildProcess) -> None:
    while await process.read_output():
        pass
