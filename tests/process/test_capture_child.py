"""The contract of FakeFfmpeg: the same tests run over it and over a real process."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from support.fake_ffmpeg import FakeFfmpeg, FakeLauncher

from camd.runtime.child_process import open_child_process


def _shell(script: str) -> Any:
    return open_child_process(["sh", "-c", script])


async def _speak(child: FakeFfmpeg) -> int:
    await trio.lowlevel.checkpoint()
    child.write_error("word")
    child.write(b"picture")
    return 3


async def _wait(child: FakeFfmpeg) -> int:
    child.write(b"ready")
    await child.told_to_end.wait()
    return -signal.SIGTERM


async def _be_deaf(child: FakeFfmpeg) -> int:
    child.write(b"ready")
    await trio.sleep_forever()
    raise AssertionError


PARTS: dict[str, tuple[str, Any]] = {
    "speaks": ("echo word >&2; printf picture; exit 3", _speak),
    "waits": ("printf ready; exec sleep 1000", _wait),
    "deaf": ("trap '' TERM; printf ready; while :; do sleep 0.05; done", _be_deaf),
}


@asynccontextmanager
async def launched(which: str, part: str) -> AsyncIterator[Any]:
    """Run a process, real or fake."""
    script, played = PARTS[part]
    launcher = FakeLauncher()
    launcher.then(played)
    with trio.fail_after(300):
        async with _shell(script) if which == "real" else launcher.launch([]) as child:
            yield child


pytestmark = pytest.mark.parametrize("which", ["real", "played"])


async def test_output_ends_and_stays_ended(which: str) -> None:
    """Both pipes return what was written, then their end, at every read."""
    async with launched(which, "speaks") as child:
        assert await child.read_output() == b"picture"
        assert [await child.read_output(), await child.read_output()] == [b"", b""]
        assert [await child.read_errors(), await child.read_errors()] == [b"word\n", b""]
        assert [await child.wait(), await child.wait(), await child.end()] == [3, 3, 3]
        child.signal(signal.SIGKILL)
        assert await child.wait() == 3


async def test_a_process_ends_when_it_is_told_to(which: str) -> None:
    """SIGTERM ends it, and its pipe closes."""
    async with launched(which, "waits") as child:
        assert await child.read_output() == b"ready"
        assert await child.end() == -signal.SIGTERM
        assert await child.read_output() == b""


async def test_a_process_that_ignores_sigterm_is_killed(which: str) -> None:
    """It is killed after the time for SIGTERM."""
    async with launched(which, "deaf") as child:
        child.terminate_seconds = 0.5
        assert await child.read_output() == b"ready"
        before = trio.current_time()
        assert await child.end() == -signal.SIGKILL
        assert trio.current_time() - before > 0.4
