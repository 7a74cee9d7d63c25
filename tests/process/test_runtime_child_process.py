"""Real child processes: read, ended, reaped, and never left behind."""

from __future__ import annotations

import gc
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from camd.runtime.child_process import ChildProcess, death_signal_prefix, open_child_process

READY = b"ready\n"


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Bound a test by the real clock."""
    with trio.fail_after(300):
        await trio.lowlevel.checkpoint()
        yield


# SIGKILL comes soon after SIGTERM, or too late for any test.
open_impatiently = partial(open_child_process, terminate_seconds=0.1)
open_patiently = partial(open_child_process, terminate_seconds=3600.0)


def sh(script: str) -> list[str]:
    """Return the arguments that run a shell script."""
    return ["/bin/sh", "-c", script]


async def everything(read: Callable[[], Awaitable[bytes]]) -> bytes:
    """Read to the end."""
    data = bytearray()
    while chunk := await read():
        data += chunk
    return bytes(data)


async def first(child: ChildProcess, size: int = len(READY)) -> bytes:
    """Read the first bytes of the output."""
    data = b""
    while len(data) < size:
        chunk = await child.read_output(size - len(data))
        assert chunk, "the child's output ended"
        data += chunk
    return data


async def test_output_errors_and_status_arrive() -> None:
    """Both pipes are read to their ends, apart from each other, and the status is the child's."""
    async with bounded(), open_child_process(sh("printf out; printf err >&2; exit 3")) as child:
        assert await everything(child.read_output) == b"out"
        assert await everything(child.read_errors) == b"err"
        assert await child.wait() == 3
        assert await child.wait() == 3
        assert await child.end() == 3


async def test_a_child_reads_nothing_of_ours() -> None:
    """A child's stdin is empty."""
    async with bounded(), open_child_process(["cat"]) as child:
        assert await everything(child.read_output) == b""
        assert await child.wait() == 0


async def test_a_child_gets_the_usual_limit_of_open_files() -> None:
    """Child processes have the usual limit, which select(2) needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= 1024:
        pytest.skip("the system's own limit is not higher than the usual one")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        async with (
            bounded(),
            open_child_process(sh("until [ $(ulimit -Sn) = 1024 ]; do :; done")) as child,
        ):
            assert await child.wait() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_status_after_a_signal_is_negative() -> None:
    """A signal reaches the child, and its number comes back as the status."""
    async with bounded(), open_child_process(["sleep", "1000"]) as child:
        child.signal(signal.SIGUSR1)
        assert await child.wait() == -signal.SIGUSR1
        child.signal(signal.SIGUSR1)


@pytest.mark.parametrize("prefix", [death_signal_prefix, tuple])
@pytest.mark.parametrize("program", ["camd-has-no-such-program", "/nowhere/ffmpeg", "/etc/passwd"])
async def test_a_program_that_cannot_be_run_is_an_error(program, prefix) -> None:
    """A missing program or one that is none raises OSError, with and without a death signal."""
    async with bounded():
        with pytest.raises(OSError, match=program):
            async with open_child_process([program, "-version"], prefix=prefix):
                pass


async def test_a_mebibyte_fits_while_nobody_reads() -> None:
    """A child can write what a second of video takes without waiting for the reader."""
    size = 1024 * 1024
    script = f"head -c {size} /dev/zero; echo done >&2"
    async with bounded(), open_child_process(sh(script)) as child:
        assert await child.read_errors() == b"done\n"
        assert len(await everything(child.read_output)) == size


async def test_reading_lets_others_run() -> None:
    """Every read is a checkpoint, also when there is something to read at once."""
    async with bounded(), open_child_process(sh("echo ready; echo ready >&2")) as child:
        await child.wait()
        for read in (child.read_output, child.read_errors):
            with trio.testing.assert_checkpoints():
                assert await read() == READY


# --- the end ---


async def test_a_child_may_finish_writing_after_sigterm() -> None:
    """After SIGTERM a child finishes writing, and ends with its own status."""
    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do :; done"
    async with bounded(), open_child_process(sh(script)) as child:
        assert await first(child) == READY
        assert await child.end() == 7
        assert await everything(child.read_output) == b"bye\n"


async def test_a_child_that_ignores_the_request_is_killed() -> None:
    """SIGKILL follows when the time for SIGTERM is over."""
    async with (
        bounded(),
        open_impatiently(sh("trap '' TERM; echo ready; exec sleep 1000")) as child,
    ):
        assert await first(child) == READY
        assert await child.end() == -signal.SIGKILL


async def test_a_child_that_survives_sigkill_is_reported(monkeypatch) -> None:
    """When SIGKILL does not help in time either, `end` returns None."""
    async with bounded(), open_impatiently(["sleep", "1000"]) as child:
        with monkeypatch.context() as patched:
            child.kill_seconds = 0.1
            # The kernel has no process that SIGKILL does not end while it can be tested.
            patched.setattr(ChildProcess, "signal", lambda self, number: None)
            assert await child.end() is None


async def test_the_whole_group_is_asked_to_end() -> None:
    """A signal reaches what the child has started, too, so that nothing holds the pipes."""
    async with bounded(), open_child_process(sh("sleep 1000 & echo ready; wait")) as child:
        assert await first(child) == READY
        await child.end()
        assert await everything(child.read_output) == b""


async def test_leaving_the_block_ends_the_child() -> None:
    """A child that still runs at the end of the block gets SIGTERM, and its end is known."""
    async with bounded():
        async with open_patiently(["sleep", "1000"]) as child:
            pass
        assert await child.wait() == -signal.SIGTERM


async def test_cancelling_is_quick() -> None:
    """A cancelled block ends its child by SIGTERM at once, while somebody reads or not."""
    async with bounded():
        with trio.CancelScope() as scope:
            async with open_patiently(sh("echo ready; exec sleep 1000")) as child:
                assert await first(child) == READY
                scope.cancel()
                await child.read_output()
        assert scope.cancelled_caught
        assert await child.wait() == -signal.SIGTERM


async def test_an_error_in_the_block_ends_the_child() -> None:
    """The child is gone before the error travels on."""
    async with bounded():
        crashed = False
        try:
            async with open_patiently(["sleep", "1000"]) as child:
                raise ZeroDivisionError
        except* ZeroDivisionError:
            crashed = True
        assert crashed
        assert await child.wait() == -signal.SIGTERM


# --- floods ---


async def test_a_flood_of_errors_is_read_beside_the_output() -> None:
    """Megabytes on stderr pass, and the output behind them arrives."""
    size = 3_000_000
    script = f"head -c {size} /dev/zero >&2; echo ready"
    received: list[int] = []
    async with bounded(), open_child_process(sh(script)) as child, trio.open_nursery() as nursery:

        async def listen() -> None:
            received.append(len(await everything(child.read_errors)))

        nursery.start_soon(listen)
        assert await everything(child.read_output) == READY
    assert received == [size]


async def test_full_pipes_do_not_hold_up_the_end() -> None:
    """A child that has more to write than its pipes hold can finish after the block."""
    flood = "head -c 3000000 /dev/zero"
    async with bounded():
        async with open_patiently(sh(f"trap '' TERM; echo ready; {flood} >&2; {flood}")) as child:
            assert await first(child) == READY
        assert await child.wait() == 0


async def test_a_child_that_never_stops_writing_can_be_cancelled() -> None:
    """Endless output does not keep others from running, nor the reader from being cancelled."""
    async with bounded():
        with trio.move_on_after(0.05) as scope:
            async with open_child_process(["yes"]) as child:
                while await child.read_output(4096):
                    pass
        assert scope.cancelled_caught


async def test_a_child_that_never_stops_writing_is_killed() -> None:
    """Endless output of a child that ignores SIGTERM does not keep SIGKILL away."""
    async with bounded():
        async with open_impatiently(sh("trap '' TERM; echo ready; exec yes")) as child:
            assert await first(child) == READY
        assert await child.wait() == -signal.SIGKILL


# --- nothing stays ---


async def test_no_child_leaves_anything_behind() -> None:
    """After thirty children, ended, killed, cancelled and impossible ones, there is no zombie
    and no descriptor that was not there before."""
    pids: list[int] = []

    async def one(script: str) -> None:
        async with open_child_process(sh(script)) as child:
            pids.append(child.pid)
            await child.read_output()

    async with bounded():
        await one("echo")  # what is set up once is set up now
        gc.collect()  # what other tests have left closes its files now
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for script in ("echo", "exit 1", "echo; sleep 1000"):
                    for _ in range(3):
                        nursery.start_soon(one, script)
            with trio.move_on_after(0.01):
                await one("sleep 1000")
            with pytest.raises(OSError, match="nowhere"):
                async with open_child_process(["/nowhere"]):
                    pass
    assert len(pids) == 31
    assert {str(pid) for pid in pids}.isdisjoint(os.listdir("/proc"))
    assert len(os.listdir("/proc/self/fd")) == before


PARENT = """
import trio
from camd.runtime.child_process import open_child_process

async def main():
    async with open_child_process(["/bin/sh", "-c", "echo ready; exec sleep 1000"]) as child:
        await child.read_output()
        print(child.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv(1) is not installed")
def test_a_child_dies_with_its_parent() -> None:
    """When the parent is killed, a child that never writes ends, too."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        descriptor = os.pidfd_open(int(parent.stdout.readline()))
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            assert poll.poll(0) == [], "the child ended by itself"
            parent.kill()
            assert poll.poll(300_000) != []
        finally:
            os.close(descriptor)
            parent.kill()
