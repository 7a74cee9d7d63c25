"""Run a program for its output: bounded in time and bytes, ended with its descendants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from camd.runtime.child_process import open_child_process

MAX_BYTES = 1024 * 1024  # of either stream
DRAIN_SECONDS = 1.0  # to read the pipes after the program has ended
_CHUNK_BYTES = 65536


@attrs.frozen
class ProgramOutput:
    """The output of a program. `status` is None when it took too long or wrote too much."""

    status: int | None
    output: bytes = attrs.field(repr=False)
    errors: bytes = attrs.field(repr=False)
    flooded: bool = False  # it wrote too much; only the beginning is kept


@attrs.define(eq=False)
class _OutputReader:
    """Reads both streams of one program, up to a limit."""

    max_bytes: int
    flooded: trio.Event = attrs.field(factory=trio.Event)
    _open: int = attrs.field(default=2, init=False)
    closed: trio.Event = attrs.field(factory=trio.Event)

    async def read(self, source: Callable[[int], Awaitable[bytes]], buffer: bytearray) -> None:
        while chunk := await source(_CHUNK_BYTES):
            buffer += chunk[: self.max_bytes - len(buffer)]
            if len(buffer) >= self.max_bytes:
                self.flooded.set()
                self.closed.set()
                return
        self._open -= 1
        if not self._open:
            self.closed.set()


async def run_program(
    arguments: Sequence[str], seconds: float, max_bytes: int = MAX_BYTES
) -> ProgramOutput:
    """Run a program and return its output; end it, and its process group, after `seconds`.

    Ending it may take some seconds more. Raises OSError when it cannot be executed.
    """
    output, errors, reader = bytearray(), bytearray(), _OutputReader(max_bytes)
    status: int | None = None
    with trio.move_on_after(seconds):
        async with open_child_process(arguments) as child, trio.open_nursery() as nursery:
            nursery.start_soon(reader.read, child.read_output, output)
            nursery.start_soon(reader.read, child.read_errors, errors)
            nursery.start_soon(_cancel_when, reader.flooded, nursery.cancel_scope)
            status = await child.wait()
            with trio.move_on_after(DRAIN_SECONDS):  # a descendant may hold the pipes open
                await reader.closed.wait()
            nursery.cancel_scope.cancel()
    flooded = reader.flooded.is_set()
    return ProgramOutput(None if flooded else status, bytes(output), bytes(errors), flooded)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
