"""A recordings folder whose disk goes, comes back, or is another one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import imageio_ffmpeg
import pytest
import trio
from real_camera import REQUEST, check_receipt, open_real_camera
from structlog.testing import capture_logs
from support.fake_disk import roomy_disk

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.errors import Refusal
from camd.model import Event, GapCause, SegmentState, Session, SessionId, SessionState, StorageLevel
from camd.runtime.broadcast import Fanout
from camd.sources import SyntheticSource
from camd.storage.disk import PosixDisk
from camd.storage.rules.admission import SpaceNeed
from camd.storage.rules.volume_identity import BARE, NO_MOUNT, FilesystemLocation, KnownVolume
from camd.storage.storage import Storage, open_storage
from camd.storage.volume import Volume, known_volume_file, load_known_volume

OK, MISSING = StorageLevel.OK, StorageLevel.MISSING
BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()
SMALL = SyntheticSource(160, 90, 10)


@attrs.define(eq=False)
class PluggableVolume:
    """A mount point with a disk that a test plugs in and out, and a state folder beside it.

    The fake one moves the disk's content away and says what is mounted where.
    """

    base: Path
    disk: Any = attrs.field(factory=roomy_disk)
    device: int = 2

    def __attrs_post_init__(self) -> None:
        self.mount_point.mkdir()
        self.content("a").mkdir()

    @property
    def mount_point(self) -> Path:
        """Where the disk is mounted."""
        return self.base / "mnt"

    @property
    def folder(self) -> Path:
        """Where recordings go."""
        return self.mount_point / "recordings"

    @property
    def state(self) -> Path:
        """Where camd remembers."""
        return self.base / "state"

    def content(self, name: str) -> Path:
        """Where a disk's files are while it is not plugged in."""
        return self.base / f"disk-{name}"

    def plug(self, name: str = "a") -> None:
        """Mount a disk; each time it gets another device number, as disks do."""
        self.mount_point.rmdir()
        self.content(name).rename(self.mount_point)
        self.device += 1
        self.disk.mounts = {Path("/"): 1, self.mount_point: self.device}

    def unplug(self, name: str = "a") -> None:
        """Take the disk away; its bare mount point shows."""
        self.mount_point.rename(self.content(name))
        self.mount_point.mkdir()
        self.disk.mounts = {Path("/"): 1}

    def left_in_the_mount_point(self) -> list[str]:
        """List what is in the bare mount point."""
        return os.listdir(self.mount_point)

    @asynccontextmanager
    async def storage(self, *, require_mount: bool = False) -> AsyncIterator[Storage]:
        """Run storage while the block runs."""
        config = StorageConfig(
            recordings_dir=self.folder, state_dir=self.state, require_mount=require_mount
        )
        with trio.fail_after(300):
            async with open_storage(
                config, Fanout[Event](), self.disk, clock=SYSTEM_CLOCK
            ) as storage:
                yield storage


@attrs.define(eq=False)
class MountedVolume(PluggableVolume):
    """The same with real volumes, of which the kernel says where they are."""

    def plug(self, name: str = "a") -> None:
        """Bind a tmpfs that is mounted elsewhere, so that its content stays."""
        content = self.content(name)
        content.mkdir(exist_ok=True)
        if not content.is_mount():
            run("mount", "-t", "tmpfs", "-o", "size=64m", "camd-test", str(content))
        run("mount", "--bind", str(content), str(self.mount_point))

    def unplug(self, name: str = "a") -> None:
        """Unmount at once, whoever has files open."""
        run("umount", "--lazy", str(self.mount_point))

    def clear_away(self) -> None:
        """Unmount everything."""
        for path in (self.mount_point, *self.base.glob("disk-*")):
            while path.is_mount():
                run("umount", "--lazy", str(path))


def run(*command: str) -> None:
    """Run a program that must work."""
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(params=["fake", pytest.param("mounted", marks=pytest.mark.root)])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PluggableVolume]:
    """Return a mount point with nothing mounted, faked and real."""
    if request.param == "fake":
        fake = PluggableVolume(tmp_path)
        fake.disk.mounts = {Path("/"): 1}
        yield fake
        return
    if os.geteuid() != 0:
        pytest.skip("mounting a volume needs root")
    volume = MountedVolume(tmp_path)
    try:
        volume.plug()
        volume.unplug()
    except subprocess.CalledProcessError as error:
        volume.clear_away()
        pytest.skip(f"no volume can be mounted: {error.stderr.decode().strip()}")
    try:
        yield volume
    finally:
        volume.clear_away()


async def level(storage: Storage) -> StorageLevel:
    """Return the level of a fresh sample."""
    await storage.space.refresh()
    return storage.status.level


def marker(folder: Path) -> str:
    """Return the id that a volume bears."""
    found: str = json.loads((folder / ".camd" / "volume").read_text())["volume_id"]
    return found


def told(logs: list[dict[str, object]]) -> list[object]:
    """Return what the log says about the volume's identity."""
    return [entry["event"] for entry in logs if str(entry["event"]).startswith("volume_")]


# --- marker and memory ---


async def test_a_volume_is_marked_and_remembered(volume: PluggableVolume) -> None:
    """The first use leaves a marker and a memory; later ones change neither and say nothing."""
    volume.plug()
    with capture_logs() as logs:
        async with volume.storage() as storage:
            assert storage.status.level is OK
    assert told(logs) == ["volume_new"]
    files = [volume.folder / ".camd" / "volume", volume.state / "volume.json"]
    written = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    remembered = json.loads(files[1].read_text())
    assert remembered == {
        "volume_id": marker(volume.folder),
        "folder": str(volume.folder),
        "mount_point": str(volume.mount_point),
    }
    with capture_logs() as logs:
        async with volume.storage() as storage:
            assert await level(storage) is OK
    assert told(logs) == []
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == written


async def test_nothing_is_made_in_a_bare_mount_point(volume: PluggableVolume) -> None:
    """With its disk absent the folder is missing, with the reason and what to do; starts are
    refused as -1014 and not a file is left in the mount point; the disk's return is noticed."""
    volume.plug()
    async with volume.storage():
        pass
    volume.unplug()
    async with volume.storage() as storage:
        assert storage.status.level is MISSING
        assert storage.status.reason == BARE.reason
        assert "volume.json" in storage.status.suggestion
        with pytest.raises(Refusal) as refused:
            await storage.space.admit(SessionId("s0"), SpaceNeed(1.0, 1.0))
        assert (refused.value.kind.code, refused.value.message) == (-1014, BARE.reason)
        with pytest.raises(FileNotFoundError):
            await storage.on_disk(lambda: storage.disk.create(volume.mount_point / "a.mp4"))
        assert volume.left_in_the_mount_point() == []
        volume.folder.mkdir()  # by hand, or from before the disk was there
        assert await level(storage) is MISSING
        assert os.listdir(volume.folder) == []
        volume.folder.rmdir()
        volume.plug()
        assert await level(storage) is OK


async def test_a_disk_goes_while_running(volume: PluggableVolume) -> None:
    """Between two samples no file is created in the bare mount point either."""
    volume.plug()
    async with volume.storage() as storage:
        volume.unplug()
        volume.folder.mkdir()
        with pytest.raises(FileNotFoundError):
            await storage.on_disk(lambda: storage.disk.create(volume.folder / "a.mp4"))
        assert await level(storage) is MISSING
        assert os.listdir(volume.folder) == []
        volume.folder.rmdir()
        volume.plug()
        assert await level(storage) is OK
        await storage.on_disk(lambda: storage.disk.create(volume.folder / "a.mp4").close())


async def test_another_disk_is_taken_and_the_first_known_again(volume: PluggableVolume) -> None:
    """An empty disk in its place is marked, gets its folder and is logged; one with a marker of
    its own is logged as changed; both are remembered."""
    volume.plug()
    with capture_logs() as logs:
        async with volume.storage() as storage:
            first = marker(volume.folder)
            volume.unplug()
            assert await level(storage) is MISSING
            volume.content("b").mkdir()
            volume.plug("b")
            assert await level(storage) is OK
            second = marker(volume.folder)
            volume.unplug("b")
            assert await level(storage) is MISSING
            volume.plug("a")
            assert await level(storage) is OK
    assert told(logs) == ["volume_new", "volume_new", "volume_changed"]
    assert first != second
    assert json.loads((volume.state / "volume.json").read_text())["volume_id"] == first


@pytest.mark.parametrize(
    ("noticed", "step"), [(True, 0), (False, 1)], ids=["same number", "between two looks"]
)
async def test_an_empty_disk_gets_its_folder(tmp_path: Path, noticed: bool, step: int) -> None:
    """Though the other disk has the number of the first, as sticks in one socket do, and though
    nobody looked while there was none; a folder that is moved away on its disk stays away."""
    volume = PluggableVolume(tmp_path)
    volume.plug()
    async with volume.storage() as storage:
        volume.folder.rename(volume.mount_point / "moved")
        assert await level(storage) is MISSING
        assert await level(storage) is MISSING
        volume.unplug()
        if noticed:
            assert await level(storage) is MISSING
        volume.content("b").mkdir()
        volume.device += step - 1
        volume.plug("b")
        assert await level(storage) is OK
        assert marker(volume.folder)


async def test_a_lost_memory_is_learned_from_the_marker(volume: PluggableVolume) -> None:
    """Without the state folder the marker says which volume it is, and it is kept."""
    volume.plug()
    async with volume.storage():
        first = marker(volume.folder)
    (volume.state / "volume.json").unlink()
    async with volume.storage():
        assert marker(volume.folder) == first
    volume.unplug()
    async with volume.storage() as storage:
        assert storage.status.reason == BARE.reason


async def test_a_state_folder_that_cannot_be_written_is_a_warning(volume: PluggableVolume) -> None:
    """Recording goes on, the log says so once, and the disk is known as long as camd runs."""
    volume.plug()
    volume.state.touch()
    with capture_logs() as logs:
        async with volume.storage() as storage:
            for _ in range(3):
                assert await level(storage) is OK
            volume.unplug()
            assert await level(storage) is MISSING
    assert told(logs) == ["volume_not_recalled", "volume_not_remembered", "volume_new"]


async def test_a_required_mount_is_required_from_the_first_start(volume: PluggableVolume) -> None:
    """Without its disk nothing is made, though nothing is remembered; with it all is well."""
    async with volume.storage(require_mount=True) as storage:
        assert storage.status.level is MISSING
        assert storage.status.reason == NO_MOUNT.reason
        assert volume.left_in_the_mount_point() == []
        volume.plug()
        assert await level(storage) is OK
        assert marker(volume.folder)


async def test_a_full_disk_is_remembered_before_it_can_be_marked(tmp_path: Path) -> None:
    """A volume that is critical from the first start on is not written to, and its absence shows
    all the same."""
    volume = PluggableVolume(tmp_path)
    volume.plug()
    volume.disk.fill(96)
    async with volume.storage() as storage:
        assert storage.status.level is StorageLevel.CRITICAL
        assert os.listdir(volume.folder) == []
        volume.unplug()
        assert await level(storage) is MISSING
    async with volume.storage() as storage:
        assert storage.status.reason == BARE.reason


async def test_a_marker_that_met_a_bare_mount_point_is_not_known(tmp_path: Path) -> None:
    """When a new disk goes in the moment in which it is marked, the marker that landed beside it
    does not make the bare mount point a known volume."""
    plugged = PluggableVolume(tmp_path)
    plugged.plug()

    class MarkedTooLate(Volume):
        def _mark(self) -> str | None:
            plugged.unplug()
            plugged.folder.mkdir()
            return super()._mark()

    volume = MarkedTooLate(plugged.folder, plugged.state, False, plugged.disk, clock=SYSTEM_CLOCK)
    assert volume.identify() is None
    with pytest.raises(FileNotFoundError):
        volume.claim()
    assert marker(volume.folder)
    assert volume.identify() is BARE


async def test_a_torn_marker_is_written_anew(volume: PluggableVolume) -> None:
    """What a power cut left of a marker counts as none."""
    volume.plug()
    async with volume.storage():
        (volume.folder / ".camd" / "volume").write_bytes(b"")
    async with volume.storage() as storage:
        assert storage.status.level is OK
        assert marker(volume.folder)


# --- where a folder is ---


def test_a_link_is_followed_to_its_disk(tmp_path: Path) -> None:
    """A folder is where its link points, be it there or not; loops are no disk."""
    shm = Path("/dev/shm")
    if not shm.is_mount():
        pytest.skip("no other file system at hand")
    disk = PosixDisk()
    (tmp_path / "link").symlink_to(shm / "camd-test-absent" / "recordings")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    device = shm.stat().st_dev
    assert disk.locate(tmp_path / "link") == FilesystemLocation(shm, device)
    assert disk.locate(tmp_path / "link" / "x") == FilesystemLocation(shm, device)
    assert disk.locate(Path("/")) == FilesystemLocation(Path("/"), Path("/").stat().st_dev)
    assert disk.locate(tmp_path / "loop") == disk.locate(tmp_path)


# --- sessions ---


async def record_through(volume: PluggableVolume, lose, find) -> Session:
    """Record while the disk is lost and found again; return the receipt."""
    async with open_real_camera(
        BUNDLED, volume.folder, SMALL, disk=volume.disk, state_dir=volume.state
    ) as rig:
        published = rig.storage.published
        await rig.camera.start_recording(REQUEST)
        await rig.grow(10)
        lose()
        rig.storage.space.suspect()
        await published.wait_until(lambda status: status.level is MISSING)
        await rig.until_session(SessionState.WAITING)
        find()
        rig.storage.space.suspect()
        await published.wait_until(lambda status: status.level is OK)
        await rig.until_session(SessionState.RECORDING)
        return await rig.camera.stop_recording()


async def test_a_session_pauses_while_its_disk_is_away(volume: PluggableVolume) -> None:
    """Sealed when the disk goes, resumed under the same session when it is back, every frame
    counted, and nothing in the bare mount point."""
    seen: list[list[str]] = []

    def find() -> None:
        seen.append(volume.left_in_the_mount_point())
        volume.plug()

    volume.plug()
    with trio.fail_after(300):
        session = await record_through(volume, volume.unplug, find)
    assert seen == [[]]
    assert len(session.segments) == 2
    assert [segment.state for segment in session.segments] == [SegmentState.SEALED] * 2
    assert len(list(check_receipt(volume.folder, session))) == 2
    (gap,) = session.gaps
    assert (gap.cause, gap.exact) == (GapCause.STORAGE_ERROR, True)


async def test_a_session_pauses_while_its_dead_disk_gives_errors(tmp_path: Path) -> None:
    """A mount that stays and answers with EIO is missing with that reason; the session goes on
    when it answers again."""
    volume = PluggableVolume(tmp_path)
    volume.plug()
    dead = OSError(errno.EIO, "Input/output error")

    def lose() -> None:
        volume.disk.error = volume.disk.write_error = dead

    def find() -> None:
        volume.disk.error = volume.disk.write_error = None

    with trio.fail_after(300):
        session = await record_through(volume, lose, find)
    assert len(session.segments) == 2
    assert session.segments[1].state is SegmentState.SEALED
    assert {gap.cause for gap in session.gaps} == {GapCause.STORAGE_ERROR}
    assert session.frames_captured == session.frames_written + sum(g.frames for g in session.gaps)


async def test_a_dead_disk_says_why_it_is_missing(tmp_path: Path) -> None:
    """The kernel's word reaches the status."""
    volume = PluggableVolume(tmp_path)
    volume.plug()
    async with volume.storage() as storage:
        volume.disk.error = OSError(errno.EIO, "Input/output error")
        assert await level(storage) is MISSING
        assert "Input/output error" in storage.status.reason


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[PluggableVolume]:
    """Return a disk that can hold a thousand files."""
    if os.geteuid() != 0:
        pytest.skip("mounting a volume needs root")
    volume = MountedVolume(tmp_path, PosixDisk())
    options = "size=64m,nr_inodes=1000"
    try:
        run("mount", "-t", "tmpfs", "-o", options, "camd-test", str(volume.mount_point))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no volume can be mounted: {error.stderr.decode().strip()}")
    try:
        yield volume
    finally:
        volume.clear_away()


@pytest.mark.root
async def test_a_volume_runs_out_of_inodes(few_inodes: PluggableVolume) -> None:
    """On a real file system files use inodes up: no_inodes, -1017, and running files go on."""
    volume = few_inodes
    async with volume.storage() as storage:
        assert await level(storage) is OK
        file = await storage.on_disk(lambda: storage.disk.create(volume.folder / "a.mp4"))
        others = [volume.mount_point / str(number) for number in range(1000)]
        left = os.statvfs(volume.folder).f_favail
        for path in others[: left - 99]:
            path.touch()
        assert await level(storage) is StorageLevel.NO_INODES
        with pytest.raises(Refusal) as refused:
            await storage.space.admit(SessionId("s0"), SpaceNeed(1.0, 1.0))
        assert refused.value.kind.code == -1017
        await storage.on_disk(lambda: file.append([b"footage"]))
        await storage.on_disk(file.close)
        for path in others[:20]:
            path.unlink()
        assert await level(storage) is OK


def test_what_is_remembered_is_of_one_folder(tmp_path: Path) -> None:
    """Another recordings folder begins anew."""
    known = KnownVolume("a", Path("/mnt/usb/recordings"), Path("/mnt/usb"))
    known_volume_file(tmp_path).save(known)
    assert load_known_volume(tmp_path, known.folder) == known
    assert load_known_volume(tmp_path, Path("/var/lib/camd/recordings")) is None
