"""Programs that are only asked something: bounded in time and bytes, ended with their children."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from camd.runtime.child_process import open_child

MOST_BYTES = 1024 * 1024  # of each stream
REST_SECONDS = 1.0  # for what is in the pipes when the program has ended
_CHUNK_BYTES = 65536


@attrs.frozen
class ProgramOutput:
    """What a program said. `status` is None when it was ended: too slow, or saying too much."""

    status: int | None
    output: bytes = attrs.field(repr=False)
    errors: bytes = attrs.field(repr=False)
    flooded: bool = False  # it said more than what is kept, which is the beginning


@attrs.define(eq=False)
class _OutputReader:
    """Hears both streams of one program, up to a limit."""

    most_bytes: int
    flooded: trio.Event = attrs.field(factory=trio.Event)
    _open: int = attrs.field(default=2, init=False)
    closed: trio.Event = attrs.field(factory=trio.Event)

    async def hear(self, read: Callable[[int], Awaitable[bytes]], heard: bytearray) -> None:
        while chunk := await read(_CHUNK_BYTES):
            heard += chunk[: self.most_bytes - len(heard)]
            if len(heard) >= self.most_bytes:
                self.flooded.set()
                self.closed.set()
                return
        self._open -= 1
        if not self._open:
            self.closed.set()


async def run_program(
    arguments: Sequence[str], seconds: float, most_bytes: int = MOST_BYTES
) -> ProgramOutput:
    """Run a program and return its output, after `seconds` and the time that its end may take.

    Its process group ends with it. Raises OSError when it cannot be executed.
    """
    output, errors, ear = bytearray(), bytearray(), _OutputReader(most_bytes)
    status: int | None = None
    with trio.move_on_after(seconds):
        async with open_child(arguments) as child, trio.open_nursery() as nursery:
            nursery.start_soon(ear.hear, child.read_output, output)
            nursery.start_soon(ear.hear, child.read_errors, errors)
            nursery.start_soon(_cancel_when, ear.flooded, nursery.cancel_scope)
            status = await child.wait()
            with trio.move_on_after(REST_SECONDS):  # a process that it left may hold the pipes
                await ear.closed.wait()
            nursery.cancel_scope.cancel()
    flooded = ear.flooded.is_set()
    return ProgramOutput(None if flooded else status, bytes(output), bytes(errors), flooded)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
