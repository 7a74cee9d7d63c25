"""The guard over a volume that fills, hangs, vanishes and comes back; real threads, stated use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from support.fake_disk import GaugedDisk

from camd.errors import Refusal
from camd.model import Event, SessionId, StorageLevel
from camd.runtime.broadcast import Fanout
from camd.storage import space as guard_module
from camd.storage import space as probe_module
from camd.storage.rules.levels import SEAL_RESERVE_BYTES, SpaceNeed, Thresholds, Usage
from camd.storage.space import SpaceMonitor

OK, LOW, BLOCKED, CRITICAL, MISSING, READ_ONLY, UNRESPONSIVE, NO_INODES, FAILING = StorageLevel
GIGA = 1_000_000_000
SESSION, OTHER = SessionId("s0"), SessionId("s1")


@attrs.frozen
class CameraRig:
    """A guard at work, the volume under it, and the levels that were announced."""

    guard: SpaceMonitor
    disk: GaugedDisk
    folder: Path
    announced: list[StorageLevel]

    async def sample(self, percent: float, total: int = GIGA) -> StorageLevel:
        """Let the volume be so full, and return the level of the next sample."""
        self.disk.fill(percent, total)
        return await self.resample()

    async def resample(self) -> StorageLevel:
        """Return the level of the next sample."""
        await self.guard.refresh()
        return self.guard.status.level

    async def wait(self, level: StorageLevel) -> None:
        """Wait until the level is published."""
        await self.guard.published.wait_until(lambda status: status.level is level)

    async def refused(self, seconds: float = 1.0, rate: float = 1000.0) -> Refusal:
        """Ask for room and return the refusal."""
        with pytest.raises(Refusal) as refused:
            await self.guard.admit(SESSION, SpaceNeed(rate, seconds))
        assert self.guard.status.promised_bytes == 0
        return refused.value


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[CameraRig]:
    """Run a guard over an empty gigabyte while the block runs."""
    (folder / ".camd").mkdir(parents=True)
    disk = GaugedDisk(Usage(GIGA, GIGA))
    events: Fanout[Event] = Fanout()
    rig = CameraRig(SpaceMonitor(folder, disk, Thresholds(), events), disk, folder, [])
    with trio.fail_after(20), events.subscribed(lambda e: rig.announced.append(e.status.level)):
        async with trio.open_nursery() as nursery:
            await nursery.start(rig.guard.serve)
            try:
                yield rig
            finally:
                disk.release()
                disk.loosen()
            nursery.cancel_scope.cancel()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[CameraRig]:
    """Return a guard at work."""
    async with staged(tmp_path / "recordings") as running:
        yield running


# --- levels ---


async def test_every_line_is_announced_once_up_and_down(rig: CameraRig) -> None:
    """Each level is reached at its line and left one percent below, and only a change is news."""
    way = [(0, OK), (79.9, OK), (80, LOW), (85, LOW), (90, BLOCKED), (94.9, BLOCKED)]
    way += [(95, CRITICAL), (100, CRITICAL), (94.5, CRITICAL), (94, BLOCKED), (89.5, BLOCKED)]
    way += [(89, LOW), (79.5, LOW), (79, OK), (0, OK), (100, CRITICAL), (0, OK)]
    assert [await rig.sample(percent) for percent, _ in way] == [level for _, level in way]
    assert rig.announced == [LOW, BLOCKED, CRITICAL, BLOCKED, LOW, OK, CRITICAL, OK]


async def test_a_status_tells_the_bytes_behind_its_level(rig: CameraRig) -> None:
    """Published status and status hold the same numbers, of the same sample."""
    await rig.sample(85)
    status = rig.guard.published.value
    assert (status.total_bytes, status.used_bytes, status.available_bytes) == (
        *(GIGA, 850_000_000, 150_000_000),
    )
    assert status.used_percent == pytest.approx(85)
    assert (status.warn_percent, status.block_percent, status.critical_percent) == (80, 90, 95)
    assert rig.guard.status == status


async def test_a_volume_that_cannot_be_written_is_read_only(rig: CameraRig) -> None:
    """A read-only mount is a level, whatever its use, and starts are refused as -1015."""
    rig.disk.volume = Usage(GIGA, GIGA, read_only=True)
    assert await rig.resample() is READ_ONLY
    assert (await rig.refused()).kind.code == -1015
    assert await rig.sample(10) is OK


async def test_a_folder_that_vanishes_is_missing(rig: CameraRig) -> None:
    """A missing folder and one that is a file are a level; starts are refused as -1014; the
    folder's return is noticed."""
    await rig.resample()
    lost = rig.folder.rename(rig.folder.with_name("elsewhere"))
    assert await rig.resample() is MISSING
    assert (await rig.refused()).kind.code == -1014
    rig.folder.touch()
    assert await rig.resample() is MISSING
    rig.folder.unlink()
    lost.rename(rig.folder)
    assert await rig.resample() is OK
    assert rig.announced == [MISSING, OK]


async def test_a_volume_with_an_error_is_missing(rig: CameraRig) -> None:
    """When the volume cannot be asked, the guard says so and goes on asking."""
    rig.disk.error = OSError(5, "Input/output error")
    assert await rig.resample() is MISSING
    rig.disk.error = None
    assert await rig.resample() is OK


async def test_problem_besides_the_volume_is_no_level(rig: CameraRig) -> None:
    """An index or a reserve that cannot be had costs no footage: the level stays what it is."""

    def prepare() -> None:
        raise PermissionError(13, "Permission denied")

    rig.guard.prepare = prepare
    assert await rig.sample(85) is LOW


# --- a volume that hangs ---


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a probe count as hung after a tenth of a second."""
    monkeypatch.setattr(guard_module, "PROBE_PATIENCE_SECONDS", 0.1)


async def test_a_hung_volume_is_a_level_until_it_answers(rig: CameraRig, impatient: None) -> None:
    """While a probe hangs, status answers, starts are refused as -1016 at once, and no second
    probe is begun; when it returns, the level is that of its sample."""
    await rig.sample(85)
    rig.disk.hang()
    rig.guard.suspect()
    await rig.wait(UNRESPONSIVE)
    probes = rig.disk.samples
    assert rig.guard.status.level is UNRESPONSIVE
    assert rig.guard.status.total_bytes == GIGA
    assert (await rig.refused()).kind.code == -1016
    await rig.guard.refresh()
    assert rig.disk.samples == probes
    rig.disk.release()
    await rig.wait(LOW)
    assert rig.announced[:3] == [LOW, UNRESPONSIVE, LOW]


async def test_nothing_is_admitted_on_what_a_hung_volume_once_said(
    rig: CameraRig, impatient: None
) -> None:
    """A start that is the first to notice the hang is refused too, not judged by the last
    sample."""
    assert await rig.sample(10) is OK
    rig.disk.hang()
    assert (await rig.refused()).kind.code == -1016


async def test_a_volume_that_hangs_from_the_start_is_unresponsive(
    tmp_path: Path, impatient: None
) -> None:
    """The first refresh ends with a true word on the volume, even when it never answered."""
    async with staged(tmp_path / "recordings") as rig:
        rig.disk.hang()
        assert await rig.resample() is UNRESPONSIVE


async def test_a_guard_ends_while_its_probe_hangs(tmp_path: Path, impatient: None) -> None:
    """A hung probe does not hold up the end of the daemon."""
    async with staged(tmp_path / "recordings") as rig:
        rig.disk.hang()
        rig.guard.suspect()
        await rig.wait(UNRESPONSIVE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.guard.serve)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_a_refresh_waits_for_a_sample_that_is_later(rig: CameraRig) -> None:
    """A sample under way when somebody asks is not the answer: it may have looked before."""
    await rig.resample()
    rig.disk.hang()
    rig.guard.suspect()
    before = rig.disk.samples
    levels: list[StorageLevel] = []

    async def ask() -> None:
        levels.append(await rig.resample())

    async with trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        rig.disk.release()
    assert levels == [OK]
    assert rig.disk.samples == before + 2


# --- inodes ---


async def test_few_inodes_refuse_starts_and_say_so(rig: CameraRig) -> None:
    """Below the line the level is no_inodes and starts are refused as -1017; files that are
    removed end it."""
    rig.disk.volume = Usage(GIGA, GIGA, free_inodes=99, total_inodes=10_000)
    assert await rig.resample() is NO_INODES
    assert rig.guard.status.free_inodes == 99
    assert (await rig.refused()).kind.code == -1017
    rig.guard.reconfigure(Thresholds(40, 60))
    assert rig.guard.status.level is NO_INODES
    rig.disk.volume = Usage(GIGA, GIGA, free_inodes=110, total_inodes=10_000)
    assert await rig.resample() is OK
    assert rig.announced == [NO_INODES, OK]


# --- writes that fail ---

IO_ERROR = OSError(5, "Input/output error")


@pytest.fixture
def tries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trial writes follow each other without a pause."""
    monkeypatch.setattr(guard_module, "TRIAL_SECONDS", 0.0)


async def test_an_error_is_a_level_until_a_trial_works(rig: CameraRig, tries_at_once: None) -> None:
    """A reported error refuses starts as -1018 with its reason for as long as the guard's own
    small write fails, and no longer; the trial leaves nothing behind."""
    await rig.resample()
    rig.disk.write_error = IO_ERROR
    rig.guard.suspect(IO_ERROR)
    assert rig.guard.status.level is FAILING
    for _ in range(3):
        refusal = await rig.refused()
        assert refusal.kind.code == -1018
        assert "Input/output error" in refusal.message
    rig.disk.write_error = None
    assert await rig.resample() is OK
    assert rig.announced == [FAILING, OK]
    assert {path.name for path in (rig.folder / ".camd").iterdir()} == {"reserve"}


async def test_a_trial_waits_its_time(rig: CameraRig) -> None:
    """Right after an error no trial is made: the level holds, so that a disk that fails now and
    then does not flicker."""
    await rig.resample()
    rig.guard.suspect(IO_ERROR)
    assert await rig.resample() is FAILING
    assert rig.disk.created == []


async def test_a_full_disk_is_not_a_failing_one(rig: CameraRig, tries_at_once: None) -> None:
    """ENOSPC reported is no level of its own, and in a trial it counts as working."""
    full = OSError(28, "No space left on device")
    rig.guard.suspect(full)
    assert await rig.resample() is OK
    rig.guard.suspect(IO_ERROR)
    rig.disk.write_error = full
    assert await rig.resample() is OK


async def test_a_flip_to_read_only_shows_within_one_sample(rig: CameraRig) -> None:
    """The error that tells of it brings the sample forward; writable again, one trial decides."""
    await rig.resample()
    rig.disk.volume = Usage(GIGA, GIGA, read_only=True)
    rig.guard.suspect(OSError(30, "Read-only file system"))
    await rig.wait(READ_ONLY)
    assert rig.announced == [FAILING, READ_ONLY]


async def test_a_trial_that_hangs_is_a_hung_probe(
    rig: CameraRig, impatient: None, tries_at_once: None
) -> None:
    """A disk that fails and then hangs is unresponsive; nobody waits for the trial."""
    rig.disk.stick("trial")
    rig.guard.suspect(IO_ERROR)
    await rig.wait(UNRESPONSIVE)
    assert (await rig.refused()).kind.code == -1016
    rig.disk.loosen()
    await rig.wait(OK)


# --- admission ---


async def test_room_is_promised_once(rig: CameraRig) -> None:
    """What one session was promised another is not; released, it may be promised again."""
    await rig.sample(50)
    room = 400_000_000 - SEAL_RESERVE_BYTES
    assert (await rig.guard.admit(OTHER, SpaceNeed(1000.0, room / 1000 - 5))).warnings == ()
    assert rig.guard.status.promised_bytes == room - 5000
    with pytest.raises(Refusal) as refused:
        await rig.guard.admit(SESSION, SpaceNeed(1000.0, 6))
    assert refused.value.kind.code == -1008
    assert refused.value.details["fits_seconds"] == 5
    rig.guard.release(OTHER)
    rig.guard.release(OTHER)
    assert (await rig.guard.admit(SESSION, SpaceNeed(1000.0, 6))).warnings == ()


async def test_a_full_volume_refuses_and_a_low_one_warns(rig: CameraRig) -> None:
    """Starts are judged on a fresh sample: -1010 from blocked on, a warning at low."""
    for percent in (90, 95, 100):
        rig.disk.fill(percent)
        refusal = await rig.refused()
        assert refusal.kind.code == -1010
        assert refusal.details["usage_percent"] == percent
    rig.disk.fill(85)
    (warning,) = (await rig.guard.admit(SESSION, SpaceNeed(1000.0, 1.0))).warnings
    assert "85.0" in warning


async def test_what_is_written_comes_off_the_promise(rig: CameraRig) -> None:
    """Bytes written shrink the promise, never below nothing, and feed sum, rate and forecast;
    the next segment renews it."""
    await rig.sample(50)
    await rig.guard.admit(SESSION, SpaceNeed(1000.0, 10))
    rig.guard.wrote(SESSION, 4000)
    rig.guard.wrote(OTHER, 500)
    status = rig.guard.status
    assert (status.promised_bytes, status.recordings_bytes) == (6000, 4500)
    assert 0 < status.write_rate <= 450
    assert status.seconds_until_blocked == pytest.approx(4e8 / status.write_rate, rel=1e-3)
    rig.guard.wrote(SESSION, 7000)
    assert rig.guard.status.promised_bytes == 0
    rig.guard.renew(SESSION, 8000)
    assert rig.guard.status.promised_bytes == 8000
    rig.guard.renew(SESSION, 3000)  # as it is measured now
    assert rig.guard.status.promised_bytes == 3000


# --- thresholds ---


async def test_new_thresholds_hold_at_once(rig: CameraRig) -> None:
    """The level is judged anew without waiting for a sample, and a change is announced."""
    await rig.sample(50)
    rig.guard.reconfigure(Thresholds(40, 60))
    assert rig.guard.status.level is LOW
    assert rig.guard.published.value.block_percent == 60
    rig.guard.reconfigure(Thresholds(40, 45))
    assert (await rig.refused()).kind.code == -1010
    rig.guard.reconfigure(Thresholds())
    assert rig.announced == [LOW, BLOCKED, OK]


async def test_new_thresholds_do_not_bring_a_volume_back(rig: CameraRig, impatient: None) -> None:
    """A volume that is missing, read-only or hung stays so until a sample says otherwise."""
    await rig.sample(50)
    rig.disk.volume = Usage(GIGA, GIGA, read_only=True)
    await rig.resample()
    rig.guard.reconfigure(Thresholds(40, 60))
    assert rig.guard.status.level is READ_ONLY
    rig.disk.error = OSError(5, "Input/output error")
    await rig.resample()
    rig.guard.reconfigure(Thresholds())
    assert rig.guard.status.level is MISSING
    rig.disk.error = None
    rig.disk.fill(50)
    rig.disk.hang()
    assert await rig.resample() is UNRESPONSIVE
    rig.guard.reconfigure(Thresholds(40, 60))
    assert rig.guard.status.level is UNRESPONSIVE
    assert rig.announced == [READ_ONLY, MISSING, UNRESPONSIVE]


# --- the reserve ---


async def test_a_reserve_is_held_given_and_taken_again(rig: CameraRig) -> None:
    """Real blocks are set aside while there is room, freed for a seal, and set aside again by
    the next sample with room to spare, but not by one without."""
    reserve = rig.folder / ".camd" / "reserve"
    assert await rig.sample(50) is OK
    assert reserve.stat().st_size == min(SEAL_RESERVE_BYTES, GIGA // 100)
    assert reserve.stat().st_blocks * 512 >= SEAL_RESERVE_BYTES
    rig.guard.give_reserve()
    assert not reserve.exists()
    rig.guard.give_reserve()
    await rig.sample(99)
    assert not reserve.exists()
    rig.disk.volume = Usage(100 * GIGA, 3 * SEAL_RESERVE_BYTES)
    rig.guard.reconfigure(Thresholds(80, 99.999, 99.9999))
    await rig.resample()
    assert not reserve.exists()
    await rig.sample(50)
    assert reserve.exists()


async def test_a_small_volume_gives_one_percent(rig: CameraRig) -> None:
    """The reserve never takes more than a hundredth of the volume."""
    await rig.sample(99)
    rig.guard.give_reserve()  # that of the gigabyte which was there before
    await rig.sample(10, total=1_000_000)
    assert (rig.folder / ".camd" / "reserve").stat().st_size == 10_000


async def test_a_reserve_that_found_no_room_is_not_half_there(
    rig: CameraRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the blocks cannot be had, no empty file passes for the reserve afterwards."""

    def no_room(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    reserve = rig.folder / ".camd" / "reserve"
    await rig.resample()
    with monkeypatch.context() as patched:
        patched.setattr(probe_module.os, "posix_fallocate", no_room)
        rig.guard.give_reserve()
        assert await rig.sample(50) is OK
        assert not reserve.exists()
    await rig.resample()
    assert reserve.stat().st_size == SEAL_RESERVE_BYTES
