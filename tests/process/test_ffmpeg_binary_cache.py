"""A search for FFmpeg on a disk that does not answer can be cancelled at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from support.camera_rig import memory_storage

from camd.camera import cameras as module
from camd.camera.cameras import Cameras
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import Config
from camd.ffmpeg.binary import FFmpegBinary, KnownBinary
from camd.model import Event
from camd.runtime.broadcast import Fanout

PROGRAM = FFmpegBinary(Path("/usr/bin/ffmpeg"), (5, 1))


@pytest.fixture
def disk() -> Iterator[threading.Event]:
    """A disk that answers when this is set, at the end of the test at the latest."""
    answers = threading.Event()
    yield answers
    answers.set()


@pytest.mark.parametrize("look", ["is_still_the_one", "look_at_program"])
async def test_a_disk_that_hangs_delays_no_cancelled_search(
    disk: threading.Event, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """A stop during the search is not delayed by it."""
    looking = threading.Event()

    def hang(*_: object) -> None:
        looking.set()
        disk.wait(60)

    async def find(_: Path | None) -> FFmpegBinary:
        await trio.lowlevel.checkpoint()
        return PROGRAM

    monkeypatch.setattr(module, look, hang)
    monkeypatch.setattr(module, "find_ffmpeg", find)
    async with trio.open_nursery() as nursery:
        cameras = Cameras(
            config=Config(),
            storage=memory_storage(),
            events=Fanout[Event](),
            nursery=nursery,
            clock=SYSTEM_CLOCK,
        )
        if look == "is_still_the_one":
            cameras._memory.program = KnownBinary(PROGRAM, 1, 1)
        nursery.start_soon(cameras.find_program)
        assert await trio.to_thread.run_sync(looking.wait, 60)
        watchdog = threading.Timer(20, disk.set)
        watchdog.start()
        nursery.cancel_scope.cancel()
    watchdog.cancel()
    assert not disk.is_set()
