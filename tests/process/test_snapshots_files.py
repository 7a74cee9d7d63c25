"""The snapshots folder: real files, a real index, and everything that can lie in a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
import trio
from support.fake_disk import GaugedDisk

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.errors import Refusal
from camd.model import CameraId, RecordingQuery
from camd.runtime.broadcast import Fanout
from camd.snapshots.rules.expiry import SnapshotLimits
from camd.snapshots.rules.pictures import PictureNote, with_note
from camd.snapshots.rules.snapshot_names import part_name
from camd.snapshots.snapshot_files import NewPicture, SnapshotFiles
from camd.storage.disk import PosixDisk, PosixFile
from camd.storage.storage import Storage, open_storage

CAMERA = CameraId("camera0")
TIME = datetime(2026, 1, 15, 14, 30, 0, 5000, tzinfo=UTC)
NAME = "camera0_2026-01-15_14-30-00.jpg"
PICTURE = (
    b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x5a\x00\xa0\x03" + bytes(9) + b"\xff\xda\x00\x04\0\0\xff\xd9"
)
ALL = RecordingQuery()
MANY = SnapshotLimits(None, 1 << 30, 1000)


@attrs.define(eq=False)
class StepsFile(PosixFile):
    """A file whose steps are those of its disk."""

    disk: StepsDisk

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        self.disk.step("append")
        super().append(pieces)

    def sync(self) -> None:
        self.disk.step("sync")
        super().sync()


@attrs.define(eq=False)
class StepsDisk(PosixDisk):
    """The real file system, which lists its steps, and fails on demand."""

    steps: list[str] = attrs.field(factory=list)
    fails: dict[str, int] = attrs.field(factory=dict)  # step: errno

    def step(self, name: str) -> None:
        """Note a step; raise when it is one that fails."""
        self.steps.append(name)
        if code := self.fails.get(name):
            raise OSError(code, os.strerror(code))

    def create(self, path: Path) -> PosixFile:
        self.step("create")
        return StepsFile(super().create(path)._fd, self)

    def move(self, path: Path, target: Path) -> None:
        self.step("move")
        super().move(path, target)

    def sync_directory(self, path: Path) -> None:
        self.step("sync_directory")
        super().sync_directory(path)

    def unlink(self, path: Path) -> None:
        self.step("unlink")
        super().unlink(path)


class StuckFiles(SnapshotFiles):
    """A folder whose index takes no change."""

    async def _forget(self, names: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Rig:
    """A snapshots folder beside a recordings folder."""

    files: SnapshotFiles
    storage: Storage
    disk: StepsDisk
    volume: GaugedDisk

    async def store(
        self, filename: str | None = None, *, time: datetime = TIME, picture: bytes = PICTURE
    ) -> str:
        """Store a picture; return its name."""
        noted = with_note(picture, PictureNote(CAMERA, time))
        stored = await self.files.store(NewPicture(noted, CAMERA, time, "jpg", filename))
        return stored.filename

    async def names(self) -> list[str]:
        """List all names, newest first."""
        return [each.filename for each in (await self.files.page(ALL)).snapshots]


@asynccontextmanager
async def opened(top: Path, limits: SnapshotLimits = MANY) -> AsyncIterator[Rig]:
    """Run the folder `top`/snapshots, on a volume that is half full."""
    volume, disk = GaugedDisk(), StepsDisk()
    volume.fill(50)
    config = StorageConfig(recordings_dir=top / "recordings", state_dir=top / "state")
    with trio.fail_after(100):
        async with open_storage(config, Fanout(), volume, clock=SYSTEM_CLOCK) as storage:
            files = SnapshotFiles(top / "snapshots", limits, storage, SYSTEM_CLOCK, disk)
            yield Rig(files, storage, disk, volume)


async def code_of(call: object, *arguments: object, **keywords: object) -> int:
    """Return the code of the refusal that a call ends with."""
    with pytest.raises(Refusal) as refusal:
        await call(*arguments, **keywords)  # type: ignore[operator]
    return refusal.value.kind.code


# --- storing ------------------------------------------------------------------------------


async def test_a_stored_picture_is_durable_before_it_has_a_name(tmp_path: Path) -> None:
    """Written and synced under a hidden name, renamed, and the folder synced: in this order."""
    async with opened(tmp_path) as rig:
        assert await rig.store() == NAME
        assert rig.disk.steps == ["create", "append", "sync", "move", "sync_directory"]
        found = await rig.files.find(NAME)
    assert (found.camera_id, found.time, found.width, found.height) == (CAMERA, TIME, 160, 90)
    assert found.size_bytes == (tmp_path / "snapshots" / NAME).stat().st_size
    assert os.listdir(tmp_path / "snapshots") == [NAME]


async def test_two_pictures_of_one_second_have_two_names(tmp_path: Path) -> None:
    """However many are stored at once, none replaces another."""
    async with opened(tmp_path) as rig, trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(rig.store)
    assert len(os.listdir(tmp_path / "snapshots")) == 12


async def test_a_name_is_given_once(tmp_path: Path) -> None:
    """A name that a client asks for and that exists is refused, and the file stays as it was."""
    async with opened(tmp_path) as rig:
        await rig.store("front.jpg")
        before = (tmp_path / "snapshots" / "front.jpg").read_bytes()
        assert await code_of(rig.store, "front.jpg", picture=PICTURE + b"other") == -32602
        (tmp_path / "snapshots" / "link.jpg").symlink_to("nowhere")
        assert await code_of(rig.store, "link.jpg") == -32602
    assert (tmp_path / "snapshots" / "front.jpg").read_bytes() == before
    assert sorted(os.listdir(tmp_path / "snapshots")) == ["front.jpg", "link.jpg"]


@pytest.mark.parametrize("step", ["append", "sync", "move"])
@pytest.mark.parametrize(("code", "expected"), [(errno.ENOSPC, -1010), (errno.EIO, -1018)])
async def test_what_the_disk_refuses_leaves_nothing_behind(
    tmp_path: Path, step: str, code: int, expected: int
) -> None:
    """No half picture, no hidden file, no row; the refusal says what the disk said."""
    async with opened(tmp_path) as rig:
        rig.disk.fails = {step: code}
        assert await code_of(rig.store) == expected
        assert os.listdir(tmp_path / "snapshots") == []
        assert await rig.names() == []
        rig.disk.fails = {}
        assert await rig.store() == NAME


async def test_a_full_volume_takes_no_pictures(tmp_path: Path) -> None:
    """At the block threshold −1010, with the facts; a picture that does not fit below it −1008."""
    async with opened(tmp_path) as rig:
        rig.volume.fill(91)
        with pytest.raises(Refusal) as refusal:
            await rig.store()
        assert refusal.value.kind.code == -1010
        assert {"usage_percent", "available_space", "total_space"} <= refusal.value.details.keys()
        rig.volume.fill(89)
        room = int(rig.storage.status.total_bytes * 0.9)
        assert await code_of(rig.files._admit, room) == -1008
        await rig.store()


async def test_a_folder_that_cannot_be_made_is_a_refusal(tmp_path: Path) -> None:
    """A file in the place of the folder is said to be a problem of storage, and no crash."""
    (tmp_path / "snapshots").write_text("a file")
    async with opened(tmp_path) as rig:
        assert await code_of(rig.store) == -1018
        assert await code_of(rig.files.page, ALL) == -1018


# --- limits -------------------------------------------------------------------------------


async def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    """The newest stay, the size of all is published, and a file that is read stays, too."""
    limits = SnapshotLimits(None, 1 << 30, max_count=3)
    async with opened(tmp_path, limits) as rig:
        names = [await rig.store(time=TIME + timedelta(seconds=n)) for n in range(4)]
        assert await rig.names() == names[:0:-1]
        with rig.files.leased(names[1]):
            names.append(await rig.store(time=TIME + timedelta(seconds=9)))
            assert await rig.names() == [names[4], names[3], names[1]]
        sizes = [path.stat().st_size for path in (tmp_path / "snapshots").iterdir()]
        assert rig.storage.status.snapshots_bytes == sum(sizes)
        assert len(sizes) == 3


async def test_the_picture_just_taken_is_never_the_one_deleted(tmp_path: Path) -> None:
    """One of a past instant is older than all others, and its answer names a file that exists."""
    async with opened(tmp_path, SnapshotLimits(None, 1 << 30, max_count=1)) as rig:
        await rig.store()
        old = await rig.store(time=TIME - timedelta(days=300))
        assert await rig.names() == [old]


async def test_an_age_is_a_limit(tmp_path: Path) -> None:
    """Applied at the start, without any call."""
    async with opened(tmp_path) as rig:
        await rig.store()
        await rig.store(time=datetime.now(UTC))
    limits = SnapshotLimits(timedelta(days=1), 1 << 30, 1000)
    async with opened(tmp_path, limits) as rig, trio.open_nursery() as nursery:
        await nursery.start(rig.files.serve)
        while len(os.listdir(tmp_path / "snapshots")) > 1:  # noqa: ASYNC110 - another task
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert os.listdir(tmp_path / "snapshots") != [NAME]


async def test_an_index_that_does_not_forget_deletes_no_more(tmp_path: Path) -> None:
    """While the index cannot be written, the limits take no file that they need not."""
    async with opened(tmp_path) as rig:
        for second in range(6):
            await rig.store(time=TIME + timedelta(seconds=second))
        limits = SnapshotLimits(None, 1 << 30, max_count=5)
        stuck = StuckFiles(tmp_path / "snapshots", limits, rig.storage, SYSTEM_CLOCK)
        await stuck._clean_up()
    assert len(os.listdir(tmp_path / "snapshots")) == 5


# --- the folder is the truth --------------------------------------------------------------


async def test_an_index_that_is_lost_is_made_again(tmp_path: Path) -> None:
    """Cameras and times come from the pictures themselves, whatever they are called."""
    async with opened(tmp_path) as rig:
        await rig.store("front.jpg")
        await rig.store(time=TIME + timedelta(seconds=7))
        before = (await rig.files.page(ALL)).snapshots
    for path in (tmp_path / "recordings" / ".camd").glob("index*"):
        path.unlink()
    async with opened(tmp_path) as rig:
        assert (await rig.files.page(ALL)).snapshots == before
        assert rig.storage.status.snapshots_bytes == sum(each.size_bytes for each in before)


async def test_what_others_did_in_the_folder_is_noticed_at_the_start(tmp_path: Path) -> None:
    """Files that came are listed, those that went are not, parts are removed, the rest stays."""
    folder = tmp_path / "snapshots"
    async with opened(tmp_path) as rig:
        await rig.store()
        await rig.store("gone.jpg")
    (folder / "gone.jpg").unlink()
    (folder / "came.jpg").write_bytes(PICTURE)
    (folder / "camera7_2026-01-01_00-00-00.png").write_bytes(b"no picture at all")
    (folder / part_name("0123456789abcdef")).write_bytes(b"half")
    (folder / "notes.txt").write_text("foreign")
    (folder / "folder.jpg").mkdir()
    (folder / "link.jpg").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.jpg")
    (folder / os.fsdecode(b"\xff.jpg")).write_bytes(PICTURE)
    os.utime(folder / "came.jpg", (2**40, 2**40))
    async with opened(tmp_path) as rig:
        assert set(await rig.names()) == {NAME, "came.jpg", "camera7_2026-01-01_00-00-00.png"}
        found = await rig.files.find("camera7_2026-01-01_00-00-00.png")
        assert (found.camera_id, found.time) == ("camera7", datetime(2026, 1, 1, tzinfo=UTC))
        assert (found.width, (await rig.files.find("came.jpg")).camera_id) == (0, "")
        for name in ("link.jpg", "folder.jpg", "pipe.jpg", "notes.txt"):
            assert await code_of(rig.files.stored_file, name) in (-1005, -32602)
    assert not (folder / part_name("0123456789abcdef")).exists()
    assert (folder / "notes.txt").exists()


async def test_a_picture_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """A reconciliation that runs meanwhile does not take its part away."""
    async with opened(tmp_path) as rig:
        await rig.store()
        part = tmp_path / "snapshots" / part_name("0123456789abcdef")
        file = rig.disk.create(part)
        rig.files._generation = -1
        assert await rig.names() == [NAME]
        assert part.exists()
        file.close()
        rig.files._generation = -1
        await rig.names()
        assert not part.exists()


# --- reading and deleting -----------------------------------------------------------------


async def test_a_deleted_snapshot_is_gone(tmp_path: Path) -> None:
    """File and row go together; a second time there is none, and a reader's file stays."""
    async with opened(tmp_path) as rig:
        await rig.store()
        with rig.files.leased(NAME):
            assert await code_of(rig.files.delete, NAME) == -1013
        rig.disk.steps.clear()
        assert (await rig.files.delete(NAME)).filename == NAME
        assert rig.disk.steps == ["unlink", "sync_directory"]
        assert await code_of(rig.files.delete, NAME) == -1005
        assert await rig.names() == []
    assert os.listdir(tmp_path / "snapshots") == []


@pytest.mark.parametrize("name", ["../x.jpg", "..", "", ".camd", "x.mp4", "/etc/passwd", "a/b.jpg"])
async def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """No call reads, or deletes, anything but pictures in the folder."""
    async with opened(tmp_path) as rig:
        for call in (rig.files.find, rig.files.stored_file, rig.files.delete):
            assert await code_of(call, name) == -32602


async def test_a_file_that_went_is_forgotten_when_it_is_asked_for(tmp_path: Path) -> None:
    """A download of a file that another program removed is a 404, and it is listed no more."""
    async with opened(tmp_path) as rig:
        await rig.store()
        (tmp_path / "snapshots" / NAME).unlink()
        assert await code_of(rig.files.stored_file, NAME) == -1005
        assert await rig.names() == []


async def test_other_limits_apply_while_the_folder_is_served(tmp_path: Path) -> None:
    """Fewer pictures are kept as soon as a reload says so; the newest ones stay."""
    async with opened(tmp_path) as rig, trio.open_nursery() as nursery:
        await nursery.start(rig.files.serve)
        names = [await rig.store(time=TIME + timedelta(seconds=n)) for n in range(5)]
        rig.files.limit(SnapshotLimits(None, 1 << 30, 2))
        while len(left := await rig.names()) > 2:
            pass
        assert left == [names[4], names[3]]
        nursery.cancel_scope.cancel()
