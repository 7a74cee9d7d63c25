"""The space monitor while a volume fills, hangs, vanishes and comes back; real threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from support.fake_disk import GaugedDisk

from camd.clock import SYSTEM_CLOCK
from camd.errors import Refusal
from camd.model import Event, SessionId, StorageLevel
from camd.runtime.broadcast import Fanout
from camd.storage import volume_sample as probe_module
from camd.storage.rules.admission import SEAL_RESERVE_BYTES, SpaceNeed
from camd.storage.rules.levels import Thresholds, Usage
from camd.storage.rules.timings import STORAGE_LIMITS, StorageLimits
from camd.storage.space import SpaceMonitor

OK, LOW, BLOCKED, CRITICAL, MISSING, READ_ONLY, UNRESPONSIVE, NO_INODES, FAILING = StorageLevel
GIGA = 1_000_000_000
SESSION, OTHER = SessionId("s0"), SessionId("s1")


@attrs.frozen
class MonitoredFolder:
    """A running space monitor, its volume, and the levels that were announced."""

    space: SpaceMonitor
    disk: GaugedDisk
    folder: Path
    announced: list[StorageLevel]

    async def sample(self, percent: float, total: int = GIGA) -> StorageLevel:
        """Let the volume be so full, and return the level of the next sample."""
        self.disk.fill(percent, total)
        return await self.resample()

    async def resample(self) -> StorageLevel:
        """Return the level of the next sample."""
        await self.space.refresh()
        return self.space.status.level

    async def wait(self, level: StorageLevel) -> None:
        """Wait until the level is published."""
        await self.space.published.wait_until(lambda status: status.level is level)

    def hang(self) -> None:
        """Let the volume hang; only now a probe counts as hung soon: machines are busy."""
        self.hurry()
        self.disk.hang()

    def hurry(self) -> None:
        """Make a probe count as hung after a tenth of a second."""
        self.space.limits = attrs.evolve(self.space.limits, sample_timeout_seconds=0.1)

    def answer(self) -> None:
        """Let the volume answer again, in its usual time."""
        usual = STORAGE_LIMITS.sample_timeout_seconds
        self.space.limits = attrs.evolve(self.space.limits, sample_timeout_seconds=usual)
        self.disk.release()
        self.disk.loosen()

    async def refused(self, seconds: float = 1.0, rate: float = 1000.0) -> Refusal:
        """Ask for room and return the refusal."""
        with pytest.raises(Refusal) as refused:
            await self.space.admit(SESSION, SpaceNeed(rate, seconds))
        assert self.space.status.promised_bytes == 0
        return refused.value


@asynccontextmanager
async def set_up(
    folder: Path, limits: StorageLimits = STORAGE_LIMITS
) -> AsyncIterator[MonitoredFolder]:
    """Run a space monitor of an empty gigabyte while the block runs."""
    (folder / ".camd").mkdir(parents=True)
    disk = GaugedDisk(Usage(GIGA, GIGA))
    events: Fanout[Event] = Fanout()
    space = SpaceMonitor(folder, disk, Thresholds(), events, clock=SYSTEM_CLOCK, limits=limits)
    setup = MonitoredFolder(space, disk, folder, [])
    with trio.fail_after(300), events.subscribed(lambda e: setup.announced.append(e.status.level)):
        async with trio.open_nursery() as nursery:
            await nursery.start(setup.space.serve)
            try:
                yield setup
            finally:
                disk.release()
                disk.loosen()
            nursery.cancel_scope.cancel()


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[MonitoredFolder]:
    """Return a running space monitor."""
    async with set_up(tmp_path / "recordings") as running:
        yield running


# --- levels ---


async def test_every_line_is_announced_once_up_and_down(setup: MonitoredFolder) -> None:
    """Each level is reached at its line and left one percent below; only a change is an event."""
    way = [(0, OK), (79.9, OK), (80, LOW), (85, LOW), (90, BLOCKED), (94.9, BLOCKED)]
    way += [(95, CRITICAL), (100, CRITICAL), (94.5, CRITICAL), (94, BLOCKED), (89.5, BLOCKED)]
    way += [(89, LOW), (79.5, LOW), (79, OK), (0, OK), (100, CRITICAL), (0, OK)]
    assert [await setup.sample(percent) for percent, _ in way] == [level for _, level in way]
    assert setup.announced == [LOW, BLOCKED, CRITICAL, BLOCKED, LOW, OK, CRITICAL, OK]


async def test_a_status_tells_the_bytes_behind_its_level(setup: MonitoredFolder) -> None:
    """Published status and status hold the same numbers, of the same sample."""
    await setup.sample(85)
    status = setup.space.published.value
    assert (status.total_bytes, status.used_bytes, status.available_bytes) == (
        *(GIGA, 850_000_000, 150_000_000),
    )
    assert status.used_percent == pytest.approx(85)
    assert (status.warn_percent, status.block_percent, status.critical_percent) == (80, 90, 95)
    assert setup.space.status == status


async def test_a_volume_that_cannot_be_written_is_read_only(setup: MonitoredFolder) -> None:
    """A read-only mount is a level, whatever its use, and starts are refused as -1015."""
    setup.disk.volume = Usage(GIGA, GIGA, read_only=True)
    assert await setup.resample() is READ_ONLY
    assert (await setup.refused()).kind.code == -1015
    assert await setup.sample(10) is OK


async def test_a_folder_that_vanishes_is_missing(setup: MonitoredFolder) -> None:
    """A missing folder and one that is a file are a level; starts are refused as -1014; the
    folder's return is noticed."""
    await setup.resample()
    lost = setup.folder.rename(setup.folder.with_name("elsewhere"))
    assert await setup.resample() is MISSING
    assert (await setup.refused()).kind.code == -1014
    setup.folder.touch()
    assert await setup.resample() is MISSING
    setup.folder.unlink()
    lost.rename(setup.folder)
    assert await setup.resample() is OK
    assert setup.announced == [MISSING, OK]


async def test_a_volume_with_an_error_is_missing(setup: MonitoredFolder) -> None:
    """When the volume cannot be asked, the level says so, and sampling goes on."""
    setup.disk.error = OSError(5, "Input/output error")
    assert await setup.resample() is MISSING
    setup.disk.error = None
    assert await setup.resample() is OK


async def test_problem_besides_the_volume_is_no_level(setup: MonitoredFolder) -> None:
    """An index or a reserve that cannot be had costs no footage: the level stays what it is."""

    def prepare() -> None:
        raise PermissionError(13, "Permission denied")

    setup.space.prepare = prepare
    assert await setup.sample(85) is LOW


# --- a volume that hangs ---


SHORT_PROBE = StorageLimits(sample_timeout_seconds=0.1)


async def test_a_hung_volume_is_a_level_until_it_answers(
    setup: MonitoredFolder,
) -> None:
    """While a probe hangs, status answers, starts are refused as -1016 at once, and no second
    probe is begun; when it returns, the level is that of its sample."""
    await setup.sample(85)
    setup.hang()
    setup.space.suspect()
    await setup.wait(UNRESPONSIVE)
    probes = setup.disk.samples
    assert setup.space.status.level is UNRESPONSIVE
    assert setup.space.status.total_bytes == GIGA
    assert (await setup.refused()).kind.code == -1016
    await setup.space.refresh()
    assert setup.disk.samples == probes
    setup.answer()
    await setup.wait(LOW)
    assert setup.announced[:3] == [LOW, UNRESPONSIVE, LOW]


async def test_nothing_is_admitted_on_what_a_hung_volume_once_said(
    setup: MonitoredFolder,
) -> None:
    """A start that is the first to notice the hang is refused too, not judged by the last
    sample."""
    assert await setup.sample(10) is OK
    setup.hang()
    assert (await setup.refused()).kind.code == -1016


async def test_a_volume_that_hangs_from_the_start_is_unresponsive(tmp_path: Path) -> None:
    """The first refresh ends with a true word on the volume, even when it never answered."""
    async with set_up(tmp_path / "recordings", SHORT_PROBE) as setup:
        setup.disk.hang()
        assert await setup.resample() is UNRESPONSIVE


async def test_a_guard_ends_while_its_probe_hangs(tmp_path: Path) -> None:
    """A hung probe does not hold up the end of the daemon."""
    async with set_up(tmp_path / "recordings", SHORT_PROBE) as setup:
        setup.disk.hang()
        setup.space.suspect()
        await setup.wait(UNRESPONSIVE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(setup.space.serve)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_a_refresh_waits_for_a_sample_that_is_later(setup: MonitoredFolder) -> None:
    """A sample under way when somebody asks is not the answer: it may have looked before."""
    await setup.resample()
    setup.disk.hang()
    setup.space.suspect()
    before = setup.disk.samples
    levels: list[StorageLevel] = []

    async def ask() -> None:
        levels.append(await setup.resample())

    async with trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        setup.disk.release()
    assert levels == [OK]
    assert setup.disk.samples == before + 2


# --- inodes ---


async def test_few_inodes_refuse_starts_and_say_so(setup: MonitoredFolder) -> None:
    """Below the line the level is no_inodes and starts are refused as -1017; files that are
    removed end it."""
    setup.disk.volume = Usage(GIGA, GIGA, free_inodes=99, total_inodes=10_000)
    assert await setup.resample() is NO_INODES
    assert setup.space.status.free_inodes == 99
    assert (await setup.refused()).kind.code == -1017
    setup.space.reconfigure(Thresholds(40, 60))
    assert setup.space.status.level is NO_INODES
    setup.disk.volume = Usage(GIGA, GIGA, free_inodes=110, total_inodes=10_000)
    assert await setup.resample() is OK
    assert setup.announced == [NO_INODES, OK]


# --- writes that fail ---

IO_ERROR = OSError(5, "Input/output error")


@pytest.fixture
def tries_at_once(setup: MonitoredFolder) -> None:
    """Let trial writes follow each other without a pause."""
    setup.space.limits = attrs.evolve(setup.space.limits, trial_seconds=0.0)


async def test_an_error_is_a_level_until_a_trial_works(
    setup: MonitoredFolder, tries_at_once: None
) -> None:
    """A reported error refuses starts as -1018 with its reason for as long as the monitor's
    trial write fails, and no longer; the trial leaves nothing behind."""
    await setup.resample()
    setup.disk.write_error = IO_ERROR
    setup.space.suspect(IO_ERROR)
    assert setup.space.status.level is FAILING
    for _ in range(3):
        refusal = await setup.refused()
        assert refusal.kind.code == -1018
        assert "Input/output error" in refusal.message
    setup.disk.write_error = None
    assert await setup.resample() is OK
    assert setup.announced == [FAILING, OK]
    assert {path.name for path in (setup.folder / ".camd").iterdir()} == {"reserve"}


async def test_a_trial_waits_its_time(setup: MonitoredFolder) -> None:
    """Right after an error no trial is made: the level holds, so that a disk that fails now and
    then does not flicker."""
    await setup.resample()
    setup.space.suspect(IO_ERROR)
    assert await setup.resample() is FAILING
    assert setup.disk.created == []


async def test_a_full_disk_is_not_a_failing_one(
    setup: MonitoredFolder, tries_at_once: None
) -> None:
    """ENOSPC reported is no level of its own, and in a trial it counts as working."""
    full = OSError(28, "No space left on device")
    setup.space.suspect(full)
    assert await setup.resample() is OK
    setup.space.suspect(IO_ERROR)
    setup.disk.write_error = full
    assert await setup.resample() is OK


async def test_a_flip_to_read_only_shows_within_one_sample(setup: MonitoredFolder) -> None:
    """The error that tells of it brings the sample forward; writable again, one trial decides."""
    await setup.resample()
    setup.disk.volume = Usage(GIGA, GIGA, read_only=True)
    setup.space.suspect(OSError(30, "Read-only file system"))
    await setup.wait(READ_ONLY)
    assert setup.announced == [FAILING, READ_ONLY]


async def test_a_trial_that_hangs_is_a_hung_probe(
    setup: MonitoredFolder, tries_at_once: None
) -> None:
    """A disk that fails and then hangs is unresponsive; nobody waits for the trial."""
    setup.hurry()
    setup.disk.stick("trial")
    setup.space.suspect(IO_ERROR)
    await setup.wait(UNRESPONSIVE)
    assert (await setup.refused()).kind.code == -1016
    setup.answer()
    await setup.wait(OK)


# --- admission ---


async def test_room_is_promised_once(setup: MonitoredFolder) -> None:
    """What one session has reserved another cannot; released, it can be reserved again."""
    await setup.sample(50)
    room = 400_000_000 - SEAL_RESERVE_BYTES
    assert (await setup.space.admit(OTHER, SpaceNeed(1000.0, room / 1000 - 5))).warnings == ()
    assert setup.space.status.promised_bytes == room - 5000
    with pytest.raises(Refusal) as refused:
        await setup.space.admit(SESSION, SpaceNeed(1000.0, 6))
    assert refused.value.kind.code == -1008
    assert refused.value.details["fits_seconds"] == 5
    setup.space.release(OTHER)
    setup.space.release(OTHER)
    assert (await setup.space.admit(SESSION, SpaceNeed(1000.0, 6))).warnings == ()


async def test_a_full_volume_refuses_and_a_low_one_warns(setup: MonitoredFolder) -> None:
    """Starts are judged on a fresh sample: -1010 from blocked on, a warning at low."""
    for percent in (90, 95, 100):
        setup.disk.fill(percent)
        refusal = await setup.refused()
        assert refusal.kind.code == -1010
        assert refusal.details["usage_percent"] == percent
    setup.disk.fill(85)
    (warning,) = (await setup.space.admit(SESSION, SpaceNeed(1000.0, 1.0))).warnings
    assert "85.0" in warning


async def test_what_is_written_comes_off_the_promise(setup: MonitoredFolder) -> None:
    """Bytes written shrink the reservation, never below zero, and feed sum, rate and forecast;
    the next segment renews it."""
    await setup.sample(50)
    await setup.space.admit(SESSION, SpaceNeed(1000.0, 10))
    setup.space.wrote(SESSION, 4000)
    setup.space.wrote(OTHER, 500)
    status = setup.space.status
    assert (status.promised_bytes, status.recordings_bytes) == (6000, 4500)
    assert 0 < status.write_rate <= 450
    assert status.seconds_until_blocked == pytest.approx(4e8 / status.write_rate, rel=1e-3)
    setup.space.wrote(SESSION, 7000)
    assert setup.space.status.promised_bytes == 0
    setup.space.reserve(SESSION, 8000)
    assert setup.space.status.promised_bytes == 8000
    setup.space.reserve(SESSION, 3000)  # as it is measured now
    assert setup.space.status.promised_bytes == 3000


# --- thresholds ---


async def test_new_thresholds_hold_at_once(setup: MonitoredFolder) -> None:
    """The level is judged anew without waiting for a sample, and a change is announced."""
    await setup.sample(50)
    setup.space.reconfigure(Thresholds(40, 60))
    assert setup.space.status.level is LOW
    assert setup.space.published.value.block_percent == 60
    setup.space.reconfigure(Thresholds(40, 45))
    assert (await setup.refused()).kind.code == -1010
    setup.space.reconfigure(Thresholds())
    assert setup.announced == [LOW, BLOCKED, OK]


async def test_new_thresholds_do_not_bring_a_volume_back(
    setup: MonitoredFolder,
) -> None:
    """A volume that is missing, read-only or hung stays so until a sample says otherwise."""
    await setup.sample(50)
    setup.disk.volume = Usage(GIGA, GIGA, read_only=True)
    await setup.resample()
    setup.space.reconfigure(Thresholds(40, 60))
    assert setup.space.status.level is READ_ONLY
    setup.disk.error = OSError(5, "Input/output error")
    await setup.resample()
    setup.space.reconfigure(Thresholds())
    assert setup.space.status.level is MISSING
    setup.disk.error = None
    setup.disk.fill(50)
    setup.hang()
    assert await setup.resample() is UNRESPONSIVE
    setup.space.reconfigure(Thresholds(40, 60))
    assert setup.space.status.level is UNRESPONSIVE
    assert setup.announced == [READ_ONLY, MISSING, UNRESPONSIVE]


# --- the reserve ---


async def test_a_reserve_is_held_given_and_taken_again(setup: MonitoredFolder) -> None:
    """Real blocks are set aside while there is room, freed for a seal, and set aside again by
    the next sample with room to spare, but not by one without."""
    reserve = setup.folder / ".camd" / "reserve"
    assert await setup.sample(50) is OK
    assert reserve.stat().st_size == min(SEAL_RESERVE_BYTES, GIGA // 100)
    assert reserve.stat().st_blocks * 512 >= SEAL_RESERVE_BYTES
    setup.space.free_reserve()
    assert not reserve.exists()
    setup.space.free_reserve()
    await setup.sample(99)
    assert not reserve.exists()
    setup.disk.volume = Usage(100 * GIGA, 3 * SEAL_RESERVE_BYTES)
    setup.space.reconfigure(Thresholds(80, 99.999, 99.9999))
    await setup.resample()
    assert not reserve.exists()
    await setup.sample(50)
    assert reserve.exists()


async def test_a_small_volume_gives_one_percent(setup: MonitoredFolder) -> None:
    """The reserve never takes more than a hundredth of the volume."""
    await setup.sample(99)
    setup.space.free_reserve()  # that of the gigabyte which was there before
    await setup.sample(10, total=1_000_000)
    assert (setup.folder / ".camd" / "reserve").stat().st_size == 10_000


async def test_a_reserve_that_found_no_room_is_not_half_there(
    setup: MonitoredFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the blocks cannot be had, no empty file passes for the reserve afterwards."""

    def no_room(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    reserve = setup.folder / ".camd" / "reserve"
    await setup.resample()
    with monkeypatch.context() as patched:
        patched.setattr(probe_module.os, "posix_fallocate", no_room)
        setup.space.free_reserve()
        assert await setup.sample(50) is OK
        assert not reserve.exists()
    await setup.resample()
    assert reserve.stat().st_size == SEAL_RESERVE_BYTES
