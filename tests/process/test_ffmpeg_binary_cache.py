"""A search for FFmpeg on a disk that does not answer can be cancelled at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from camd.camera.ffmpeg_finder import FFmpegFinder
from camd.capture.source_cache import SourceCache
from camd.ffmpeg.binary import FFmpegBinary, KnownBinary

PROGRAM = FFmpegBinary(Path("/usr/bin/ffmpeg"), (5, 1))


@pytest.fixture
def disk() -> Iterator[threading.Event]:
    """A disk that answers when this is set, at the end of the test at the latest."""
    answers = threading.Event()
    yield answers
    answers.set()


@pytest.mark.parametrize("known", [True, False])
async def test_a_disk_that_hangs_delays_no_cancelled_search(
    disk: threading.Event, tmp_path: Path, known: bool
) -> None:
    """A stop while FFmpeg is searched, or compared with the known one, is not delayed."""
    looking = threading.Event()

    def hang(*_: object) -> None:
        looking.set()
        disk.wait(200)

    async def find(_: Path | None) -> FFmpegBinary:
        await trio.lowlevel.checkpoint()
        return PROGRAM

    memory = SourceCache(tmp_path / "sources.json")
    memory.program = KnownBinary(PROGRAM, 1, 1) if known else None
    finder = FFmpegFinder(path=None, memory=memory, search=find, look_at=hang, is_still=hang)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finder.find)
        assert await trio.to_thread.run_sync(looking.wait, 60)
        watchdog = threading.Timer(20, disk.set)
        watchdog.start()
        nursery.cancel_scope.cancel()
    watchdog.cancel()
    assert not disk.is_set()
