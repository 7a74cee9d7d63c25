"""Child processes that cannot outlive the daemon and cannot block it.

The kernel's parent-death signal (prctl(2), PR_SET_PDEATHSIG) comes when the *thread* that forked
ends, and trio's worker threads end at any time. So one thread that lives as long as the program
does all forking, and setpriv(1), where it is installed, sets the signal in the child. Without
setpriv, a child that writes to the daemon ends at its next write to the closed pipe.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from typing import IO

import attrs
import trio

from camd.runtime import fd_limits

PIPE_BYTES = 1024 * 1024  # F_SETPIPE_SZ: what an unprivileged process may ask for
TERMINATE_TIMEOUT_SECONDS = 3.0
KILL_TIMEOUT_SECONDS = 2.0
NOT_EXECUTED = (126, 127)  # exit status of setpriv(1), as of a shell: the program cannot be run

_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fork")


@cache
def death_signal_prefix() -> tuple[str, ...]:
    """Return what to put before a command so that the kernel ends it with the daemon.

    Empty where setpriv(1) is missing or does not work. Blocks the first time.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    works = subprocess.run(
        [setpriv, "--pdeathsig", "KILL", "true"], capture_output=True, check=False, timeout=10
    )
    return (setpriv, "--pdeathsig", "KILL") if works.returncode == 0 else ()


def _popen(
    arguments: Sequence[str], prefix: Callable[[], Sequence[str]], takes_input: bool
) -> subprocess.Popen[bytes]:
    if shutil.which(arguments[0]) is None:  # setpriv would start and fail later
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])
    process = subprocess.Popen(
        [*prefix(), *arguments],
        stdin=subprocess.PIPE if takes_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        close_fds=True,
    )
    fd_limits.lower_for_child(process.pid)
    for pipe in (process.stdout, process.stdin):
        with suppress(OSError):  # above the user's limit of pipe memory; the default size works too
            if pipe is not None:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return process


async def _fork(
    arguments: Sequence[str], prefix: Callable[[], Sequence[str]], takes_input: bool
) -> subprocess.Popen[bytes]:
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()
    future = _forker.submit(_popen, tuple(arguments), prefix, takes_input)

    def wake(_: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    with trio.CancelScope(shield=True):  # a fork cannot be undone; it takes milliseconds
        await done.wait()
    return future.result()


@attrs.define(eq=False)
class ChildProcess:
    """A child process in a process group of its own: its pipes, its end.

    It is reaped only when the block of `open_child_process` ends. Until then no other process gets
    its id, so that signals to the group reach only the child and its descendants.
    """

    _process: subprocess.Popen[bytes]
    _pidfd: int
    terminate_seconds: float = TERMINATE_TIMEOUT_SECONDS  # between SIGTERM and SIGKILL
    kill_seconds: float = KILL_TIMEOUT_SECONDS  # after SIGKILL
    _status: int | None = attrs.field(default=None, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> int:
        """The descriptor of the child's stdout, which never blocks."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    async def read_output(self, size: int = PIPE_BYTES) -> bytes:
        """Wait for some of the child's stdout; empty at its end."""
        assert self._process.stdout is not None
        return await _read(self._process.stdout, size)

    async def read_errors(self, size: int = 65536) -> bytes:
        """Wait for some of the child's stderr; empty at its end."""
        assert self._process.stderr is not None
        return await _read(self._process.stderr, size)

    async def write_input(self, data: bytes | memoryview) -> None:
        """Write to the child's stdin, as fast as it reads. Raises BrokenPipeError at its end."""
        assert self._process.stdin is not None
        await _write(self._process.stdin, memoryview(data))

    def close_input(self) -> None:
        """Close the child's stdin: it reads the end of its input."""
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            trio.lowlevel.notify_closing(pipe)
            pipe.close()

    async def wait(self) -> int:
        """Wait until the child has ended; return its exit status, or minus the signal's number."""
        await self._ended.wait()
        assert self._status is not None
        return self._status

    async def _notice_end(self) -> None:
        """Wait for the child's end; no other task waits on the pidfd (pidfd_open(2))."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while (found := os.waitid(os.P_PID, self.pid, how)) is None:  # noqa: ASYNC222 - WNOHANG
            await trio.lowlevel.wait_readable(self._pidfd)
        exited = found.si_code == os.CLD_EXITED
        self._status = found.si_status if exited else -found.si_status
        self._ended.set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child's process group: the child and its descendants."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def end(self) -> int | None:
        """Send SIGTERM, then SIGKILL; return the status, or None when neither ended it in time.

        Another task must read its output meanwhile, or the child cannot finish writing.
        """
        for number, timeout_seconds in (
            (signal.SIGTERM, self.terminate_seconds),
            (signal.SIGKILL, self.kill_seconds),
        ):
            self.signal(number)
            with trio.move_on_after(timeout_seconds):
                return await self.wait()
        return None

    def _close(self) -> None:
        self.signal(signal.SIGKILL)
        if self._status is not None:
            self._process.wait()  # it has ended: this does not block
        self.close_input()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                trio.lowlevel.notify_closing(pipe)
                pipe.close()
        trio.lowlevel.notify_closing(self._pidfd)
        os.close(self._pidfd)


async def write_whole_input(process: ChildProcess, data: bytes) -> None:
    """Write all that a child reads, and close its stdin; one that reads no more is no error."""
    with suppress(BrokenPipeError):
        await process.write_input(data)
    process.close_input()


async def keep_last(read: Callable[[], Awaitable[bytes]], kept: bytearray, most_bytes: int) -> None:
    """Read a child's stdout or stderr to its end; `kept` gets no more than the last bytes of it."""
    while chunk := await read():
        kept += chunk
        del kept[:-most_bytes]


async def _read(pipe: IO[bytes], size: int) -> bytes:
    await trio.lowlevel.checkpoint()  # a child that never stops writing must not starve other tasks
    while True:
        try:
            return os.read(pipe.fileno(), size)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(pipe)


async def _write(pipe: IO[bytes], data: memoryview) -> None:
    await trio.lowlevel.checkpoint()
    while data:
        try:
            data = data[os.write(pipe.fileno(), data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(pipe)


@asynccontextmanager
async def open_child_process(
    arguments: Sequence[str],
    *,
    takes_input: bool = False,
    terminate_seconds: float = TERMINATE_TIMEOUT_SECONDS,
    prefix: Callable[[], Sequence[str]] = death_signal_prefix,
) -> AsyncIterator[ChildProcess]:
    """Run a child process while the block runs; then end it and close its pipes.

    With `takes_input` its stdin is a pipe, else empty. Raises OSError when the program cannot be
    executed. A child that hangs in the kernel (state D) is left behind after both timeouts, with
    SIGKILL pending.
    """
    process = await _fork(arguments, prefix, takes_input)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
    child = ChildProcess(process, os.pidfd_open(process.pid), terminate_seconds)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child._notice_end)
            yield child
            nursery.cancel_scope.cancel()
    finally:
        child.signal(signal.SIGTERM)
        with trio.CancelScope(shield=True), trio.move_on_after(10):
            await _drain_and_end(child)
        child._close()


async def _drain_and_end(child: ChildProcess) -> None:
    """End the child, and read its pipes meanwhile so that a full pipe does not block it."""

    async def drain() -> None:
        while await child.read_output():
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child._notice_end)
        nursery.start_soon(drain)
        nursery.start_soon(partial(_discard_errors, child))
        await child.end()
        nursery.cancel_scope.cancel()


async def _discard_errors(child: ChildProcess) -> None:
    while await child.read_errors():
        pass
