"""A disk that hangs in one sync while everything else on it answers."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from support.fake_disk import GaugedDisk, roomy_disk

from camd.api.system_methods import StorageApi
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.errors import Refusal
from camd.model import Event, SessionId, StorageChanged, StorageLevel
from camd.rpc.registry import NoParams
from camd.runtime.broadcast import Fanout
from camd.storage.rules.admission import SpaceNeed
from camd.storage.rules.timings import STORAGE_LIMITS, StorageLimits
from camd.storage.storage import Storage, open_storage

SESSION = SessionId("s0")


@attrs.define(eq=False)
class SetTime:
    """Monotonic seconds that the test sets; each reading is a little later than the one before."""

    seconds: float = 1000.0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def pass_by(self, seconds: float) -> None:
        """Let so much time pass."""
        with self._lock:
            self.seconds += seconds

    def read(self) -> float:
        """Read the clock, in any thread."""
        self.pass_by(1e-5)
        return self.seconds


@attrs.frozen
class HangingDisk:
    """Storage on a disk of which single files may hang, and the levels that were announced."""

    storage: Storage
    disk: GaugedDisk
    announced: list[StorageLevel]
    time: SetTime

    async def wait(self, level: StorageLevel) -> None:
        """Wait until the level is published."""
        await self.storage.published.wait_until(lambda status: status.level is level)

    async def hang(self, name: str, seconds: float) -> None:
        """Wait until the sync of a file hangs, and let it do so for some seconds."""
        while name not in self.disk.hung:  # noqa: ASYNC110 - in a thread
            await trio.sleep(0.005)
        self.time.pass_by(seconds)

    async def idle(self) -> None:
        """Wait until no operation is under way: a sample of the volume may be."""
        with trio.fail_after(300):
            while self.storage.status.pending_seconds:  # noqa: ASYNC110 - nothing tells its end
                await trio.sleep(0.01)

    async def write(self, name: str, times: int = 1) -> None:
        """Make a file and sync it so many times, as a recorder does."""
        file = await self.storage.on_disk(
            lambda: self.storage.disk.create(self.storage.folder / name)
        )
        for _ in range(times):

            def once() -> None:
                file.append([b"footage"])
                file.sync()

            await self.storage.on_disk(once)
        await self.storage.on_disk(file.close)


@asynccontextmanager
async def set_up(
    tmp_path: Path, limits: StorageLimits = STORAGE_LIMITS
) -> AsyncIterator[HangingDisk]:
    """Run storage while the block runs; nothing hangs any more when it ends."""
    config = StorageConfig(tmp_path / "recordings", state_dir=tmp_path / "state")
    disk, events, time = roomy_disk(), Fanout[Event](), SetTime()
    clock = attrs.evolve(SYSTEM_CLOCK, monotonic=time.read)
    announced: list[StorageLevel] = []

    def note(event: Event) -> None:
        if isinstance(event, StorageChanged):
            announced.append(event.status.level)

    with trio.fail_after(300), events.subscribed(note):
        async with open_storage(config, events, disk, clock=clock, limits=limits) as storage:
            try:
                yield HangingDisk(storage, disk, announced, time)
            finally:
                disk.loosen()


# Samples are frequent.
SHORT = StorageLimits(hang_seconds=0.2, sample_seconds=0.02, idle_sample_seconds=0.02)


async def test_a_sync_that_hangs_delays_nobody_and_shows(tmp_path: Path) -> None:
    """While one file's fdatasync does not return and statvfs answers, other files are written and
    synced, the status is told with the age of the hung call, starts are refused as -1016; when it
    returns, all is well again."""
    async with set_up(tmp_path, SHORT) as setup:
        await setup.storage.space.admit(SESSION, SpaceNeed(1.0, 1.0))
        setup.disk.stick("bad.mp4")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(setup.write, "bad.mp4")
            await setup.hang("bad.mp4", 0.2)
            await setup.wait(StorageLevel.UNRESPONSIVE)
            with trio.fail_after(300):
                await setup.write("good.mp4", times=50)
                info = await StorageApi(setup.storage).get_storage_info(
                    SimpleNamespace(), NoParams()
                )
                with pytest.raises(Refusal) as refused:
                    await setup.storage.space.admit(SessionId("s1"), SpaceNeed(1.0, 1.0))
            assert refused.value.kind.code == -1016
            assert (info["threshold_status"], info["code"]) == ("unresponsive", -1016)
            assert info["pending_seconds"] >= 0.2
            assert info["sync_latency"]["count"] >= 50
            assert info["sync_latency"]["median"] > 0
            assert setup.announced == [StorageLevel.UNRESPONSIVE]
            setup.disk.loosen()
            await setup.wait(StorageLevel.OK)
        assert setup.storage.status.pending_seconds == 0
        assert setup.storage.status.sync_latency.worst >= 0.2
        assert setup.announced == [StorageLevel.UNRESPONSIVE, StorageLevel.OK]


async def test_the_return_of_a_hung_call_is_noticed_at_once(tmp_path: Path) -> None:
    """The level is judged afresh when the call returns, not when the next sample is due."""
    async with set_up(tmp_path, SHORT) as setup:
        setup.disk.stick("bad.mp4")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(setup.write, "bad.mp4")
            await setup.hang("bad.mp4", 0.2)
            await setup.wait(StorageLevel.UNRESPONSIVE)
            setup.storage.space.limits = attrs.evolve(SHORT, sample_seconds=3600.0)
            before = setup.storage.published.value
            # behind this sample comes the long pause
            await setup.storage.published.wait_until(lambda status: status is not before)
            setup.disk.loosen()
            with trio.fail_after(300):
                await setup.wait(StorageLevel.OK)


async def test_an_operation_of_many_calls_is_as_old_as_its_latest_call(tmp_path: Path) -> None:
    """What reads a long file piece by piece may take longer than any call is given."""
    seldom = StorageLimits(sample_seconds=3600.0, idle_sample_seconds=3600.0)
    async with set_up(tmp_path, seldom) as setup:
        await setup.storage.unfinished_sessions()  # the search of the folder is over
        await setup.write("long.mp4")
        await setup.idle()
        ages: list[float] = []

        def read() -> None:
            file = setup.storage.disk.open(setup.storage.folder / "long.mp4")
            for seconds in (1.0, 2.0, 4.0):
                file.read(0, 7)
                setup.time.pass_by(seconds)
                ages.append(trio.from_thread.run_sync(lambda: setup.storage.status.pending_seconds))
            file.close()

        await setup.storage.on_disk(read)
        assert ages == pytest.approx([1.0, 2.0, 4.0], abs=0.01)


async def test_a_failed_operation_is_over(tmp_path: Path) -> None:
    """An error ends the account of an operation as a result does."""
    async with set_up(tmp_path) as setup:
        await setup.storage.unfinished_sessions()  # the search of the folder is over
        setup.disk.write_error = OSError(5, "Input/output error")
        with pytest.raises(OSError, match="Input/output"):
            await setup.write("a.mp4")
        await setup.idle()


async def test_a_slow_disk_is_logged_once(tmp_path: Path) -> None:
    """However many calls are slow, the log says so once, and once that it is over."""
    limits = attrs.evolve(SHORT, hang_seconds=10.0, slow_seconds=1.0, slow_memory_seconds=30.0)
    with capture_logs() as logs:
        async with set_up(tmp_path, limits) as setup:
            published = setup.storage.published
            for number in range(3):
                setup.disk.stick(f"{number}.mp4")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(setup.write, f"{number}.mp4")
                    await setup.hang(f"{number}.mp4", 1.0)
                    await published.wait_until(lambda status: status.slow)
                    setup.disk.loosen()
                assert setup.storage.status.slow
            setup.time.pass_by(30.0)
            await published.wait_until(lambda status: not status.slow)
    told = [entry["event"] for entry in logs if entry["event"].startswith("storage_slow")]
    assert told == ["storage_slow", "storage_slow_over"]
