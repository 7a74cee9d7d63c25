"""Fakes of FFmpeg: a process in memory with a given behaviour, and a program that misbehaves."""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from support.media_streams import FPS, FakeStream

from camd.runtime import child_process

Behaviour = Callable[["FakeFfmpeg"], Awaitable[int]]


@attrs.define(eq=False)
class FakeFfmpeg:
    """A process as `open_child_process` returns it; it runs a behaviour and receives signals."""

    pid: int
    stream: FakeStream = attrs.field(factory=FakeStream)
    signals: list[signal.Signals] = attrs.field(factory=list)
    told_to_end: trio.Event = attrs.field(factory=trio.Event)
    terminate_seconds: float = child_process.TERMINATE_TIMEOUT_SECONDS
    unkillable: bool = False  # stuck in the kernel: SIGKILL does nothing
    _pipes: tuple[_Pipe, _Pipe] = attrs.field(factory=lambda: (_Pipe(), _Pipe()))
    _killed: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _ended: trio.Event = attrs.field(factory=trio.Event)
    _status: int = 0

    def write(self, data: bytes) -> None:
        """Write bytes to stdout."""
        self._pipes[0].put(data)

    def write_error(self, words: str) -> None:
        """Write a line to stderr."""
        self._pipes[1].put(f"{words}\n".encode())

    async def play(self, behaviour: Behaviour) -> None:
        """Run a behaviour to its end; its result is the exit status."""
        self._status = -signal.SIGKILL
        with self._killed:
            self._status = await behaviour(self)
        for pipe in self._pipes:
            pipe.put(b"")
        self._ended.set()

    async def read_output(self, size: int = 0) -> bytes:
        """Wait for some of stdout; empty at its end."""
        return await self._pipes[0].get()

    async def read_errors(self, size: int = 0) -> bytes:
        """Wait for some of stderr; empty at its end."""
        return await self._pipes[1].get()

    async def wait(self) -> int:
        """Wait until the behaviour is over."""
        await self._ended.wait()
        return self._status

    def signal(self, number: signal.Signals) -> None:
        """Receive a signal."""
        if self._ended.is_set():
            return
        self.signals.append(number)
        self.told_to_end.set()
        if number is signal.SIGKILL and not self.unkillable:
            self._killed.cancel()

    async def end(self) -> int | None:
        """Ask the process to end, then kill it."""
        for number, timeout in (
            (signal.SIGTERM, self.terminate_seconds),
            (signal.SIGKILL, child_process.KILL_TIMEOUT_SECONDS),
        ):
            self.signal(number)
            with trio.move_on_after(timeout):
                return await self.wait()
        return None


@attrs.define(eq=False)
class _Pipe:
    """A pipe in memory; empty bytes mark its end."""

    _chunks: deque[bytes] = attrs.field(factory=deque)
    _filled: trio.Event = attrs.field(factory=trio.Event)

    def put(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._filled.set()

    async def get(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._chunks:
            self._filled = trio.Event()
            await self._filled.wait()
        return self._chunks.popleft() if self._chunks[0] else b""


def streams(seconds: float = float("inf"), *, status: int = -9, flush: bool = False) -> Behaviour:
    """Deliver a fragment every half second, and end when told to.

    After `seconds` it ends by itself; `flush` says whether the frames in flight come out then.
    """

    async def behaviour(process: FakeFfmpeg) -> int:
        process.write(process.stream.head)
        end = trio.current_time() + seconds
        while True:
            begun = trio.current_time()
            with trio.move_on_at(min(begun + 0.5, end)):
                await process.told_to_end.wait()
            told, over = process.told_to_end.is_set(), trio.current_time() >= end
            frames = round((trio.current_time() - begun) * FPS)
            if frames and (flush or not over or frames == 5):
                process.write(process.stream.next(frames))
            if told or over:
                return 255 if told else status

    return behaviour


def skips(*moments: float, frames: int = 7) -> Behaviour:
    """Drop so many frames at each of these moments, in seconds, and continue."""

    async def behaviour(process: FakeFfmpeg) -> int:
        process.write(process.stream.head)
        coming, begun = deque(moments), trio.current_time()
        while not process.told_to_end.is_set():
            if coming and trio.current_time() >= begun + coming[0]:
                coming.popleft()
                process.stream.skip(frames)
                await trio.sleep(frames / FPS)
            with trio.move_on_after(0.5):
                await process.told_to_end.wait()
            process.write(process.stream.next(5))
        return 255

    return behaviour


def plays_once(seconds: float) -> Behaviour:
    """Deliver for so many seconds, then exit with 0, as at the end of a file."""
    return streams(seconds, status=0, flush=True)


def refuses(words: str, after: float = 0.1, status: int = 1) -> Behaviour:
    """Write an error to stderr, and exit."""

    async def behaviour(process: FakeFfmpeg) -> int:
        with trio.move_on_after(after):
            await process.told_to_end.wait()
        process.write_error(words)
        return status

    return behaviour


def hangs(after: float = 0.0, *, deaf: bool = False) -> Behaviour:
    """Deliver for `after` seconds, then nothing; with `deaf`, ignore SIGTERM."""

    async def behaviour(process: FakeFfmpeg) -> int:
        process.write(process.stream.head)
        end = trio.current_time() + after
        while trio.current_time() < end and not process.told_to_end.is_set():
            with trio.move_on_after(0.5):
                await process.told_to_end.wait()
            process.write(process.stream.next(5))
        await process.told_to_end.wait()
        if deaf:
            await trio.sleep_forever()
        return 255

    return behaviour


def says(data: bytes) -> Behaviour:
    """Write these bytes, and wait for a signal."""

    async def behaviour(process: FakeFfmpeg) -> int:
        process.write(data)
        await process.told_to_end.wait()
        return 255

    return behaviour


@attrs.define(eq=False)
class FakeLauncher:
    """Starts fake FFmpegs with the given behaviours in order; later ones stream without end."""

    behaviours: deque[Behaviour] = attrs.field(factory=deque)
    processes: list[FakeFfmpeg] = attrs.field(factory=list)
    terminate_seconds: float = child_process.TERMINATE_TIMEOUT_SECONDS
    unkillable: bool = False
    alive: int = 0
    most_alive: int = 0

    def then(self, *behaviours: Behaviour) -> None:
        """Append the behaviours of further processes."""
        self.behaviours.extend(behaviours)

    @asynccontextmanager
    async def launch(self, arguments: Sequence[str]) -> AsyncIterator[Any]:
        """Start a process while the block runs, as `open_child_process` does."""
        process = FakeFfmpeg(1000 + len(self.processes), unkillable=self.unkillable)
        self.processes.append(process)
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    process.play, self.behaviours.popleft() if self.behaviours else streams()
                )
                yield process
                nursery.cancel_scope.cancel()
        finally:
            self.alive -= 1


# --- a program in FFmpeg's place ------------------------------------------------------


_PROGRAM = """#!{python} -SE
import os, signal, subprocess, sys, time

REAL, NOTES, WAY = {real!r}, {notes!r}, {way!r}
if "-re" not in sys.argv:  # asked for its version, or an encoder is tried out
    os.execv(REAL, [REAL, *sys.argv[1:]])
earlier = open(NOTES).read().split() if os.path.exists(NOTES) else []
alive = bool(earlier) and os.path.exists("/proc/" + earlier[-1].split(":")[0])
with open(NOTES, "a") as notes:
    notes.write(str(os.getpid()) + (":overlaps" if alive else ":alone") + "\\n")
if earlier:
    os.execv(REAL, [REAL, *sys.argv[1:]])
real = subprocess.Popen([REAL, *sys.argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
end = time.monotonic() + 2.0
while time.monotonic() < end:
    os.write(1, os.read(real.stdout.fileno(), 65536))
    if WAY == "floods":
        os.write(2, b"[error] x" * 50000 + b"\\n" * 1000)
real.kill()
real.wait()
if WAY == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif WAY == "stopped":
    os.kill(os.getpid(), signal.SIGSTOP)
elif WAY == "mute":
    os.close(1)
elif WAY == "garbage":
    while True:
        os.write(1, os.urandom(65536))
elif WAY == "floods":
    sys.exit(3)
while True:
    time.sleep(1)
"""


def make_bad_ffmpeg(folder: Path, real: str, way: str) -> tuple[Path, Path]:
    """Write the program; return its path and that of its notes ("PID:alone" a line)."""
    program, notes = folder / "ffmpeg", folder / "lives"
    text = _PROGRAM.format(python=sys.executable, real=real, notes=str(notes), way=way)
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return program, notes
