"""One contract, kept by the real disk and by the one in memory that other tests rely on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from support.fake_disk import MemoryDisk

from camd.clock import SYSTEM_CLOCK
from camd.storage.disk import Disk, PosixDisk, PosixFile
from camd.storage.timed_disk import IoTimer, TimedDisk


@attrs.frozen
class Place:
    """A disk, a folder on it, and how others read a file there."""

    disk: Disk
    folder: Path
    read: Callable[[Path], bytes]


@pytest.fixture(params=["memory", "posix", "watched"])
def place(request, tmp_path: Path) -> Place:
    """Return an empty folder on each kind of disk."""
    if request.param == "posix":
        return Place(PosixDisk(), tmp_path, Path.read_bytes)
    if request.param == "watched":
        watched = TimedDisk(PosixDisk(), IoTimer(clock=SYSTEM_CLOCK), lambda _: None)
        return Place(watched, tmp_path, Path.read_bytes)
    memory = MemoryDisk(folders={tmp_path})
    return Place(memory, tmp_path, lambda path: bytes(memory.files[path].data))


def test_creation_is_exclusive(place: Place) -> None:
    """A taken name is refused as FileExistsError, and what is there stays."""
    path = place.folder / "a"
    first = place.disk.create(path)
    first.append([b"first"])
    with pytest.raises(FileExistsError) as refused:
        place.disk.create(path)
    assert refused.value.errno == errno.EEXIST
    first.append([b" still"])
    first.close()
    assert place.read(path) == b"first still"


def test_pieces_of_any_kind_are_appended_in_order(place: Place) -> None:
    """Bytes, views and empty pieces arrive as one piece would, however many there are."""
    file = place.disk.create(place.folder / "a")
    file.append([b"ab", memoryview(b"xcdx")[1:3], b"", b"e" * 100_000])
    file.append([])
    file.append([b"f"] * 1000)
    assert place.read(place.folder / "a") == b"abcd" + b"e" * 100_000 + b"f" * 1000
    file.close()


def test_overwriting_changes_no_size_and_no_position(place: Place) -> None:
    """Bytes in place are replaced, and appending goes on at the end."""
    file = place.disk.create(place.folder / "a")
    file.append([b"0123456789"])
    file.overwrite(3, b"abc")
    file.append([b"!"])
    assert place.read(place.folder / "a") == b"012abc6789!"
    file.close()


def test_appending_goes_on_where_a_file_was_cut(place: Place) -> None:
    """After truncating, the next bytes stand directly behind what is left."""
    file = place.disk.create(place.folder / "a")
    file.append([b"0123456789"])
    file.truncate(4)
    assert place.read(place.folder / "a") == b"0123"
    file.append([b"x"])
    file.truncate(5)
    file.sync()
    assert place.read(place.folder / "a") == b"0123x"
    file.close()


def test_an_unlinked_name_is_free_again(place: Place) -> None:
    """After unlinking, the name can be created anew, and who had it open disturbs nobody."""
    path = place.folder / "a"
    first = place.disk.create(path)
    place.disk.unlink(path)
    second = place.disk.create(path)
    first.append([b"first"])
    second.append([b"second"])
    assert place.read(path) == b"second"
    place.disk.sync_directory(place.folder)
    first.close()
    second.close()


def test_what_is_not_there_is_file_not_found(place: Place) -> None:
    """Every operation on a missing folder or file raises FileNotFoundError."""
    nowhere = place.folder / "nowhere"
    for attempt in (
        lambda: place.disk.create(nowhere / "a"),
        lambda: place.disk.sync_directory(nowhere),
        lambda: place.disk.unlink(nowhere),
        lambda: place.disk.usage(nowhere),
    ):
        with pytest.raises(FileNotFoundError):
            attempt()


def test_a_volume_has_room(place: Place) -> None:
    """Usage tells a size, and no more available than that."""
    usage = place.disk.usage(place.folder)
    assert 0 < usage.available_bytes <= usage.total_bytes
    assert not usage.read_only
    assert 0 <= usage.used_percent < 100


def test_faults_come_when_they_are_ordered() -> None:
    """The memory disk fails at the step it was told, with half of an append done, and goes on."""
    disk = MemoryDisk()
    file = disk.create(Path("/disk/a"))
    disk.fail(1, 3, code=errno.EIO)
    file.append([b"ab"])
    with pytest.raises(OSError, match="Input/output"):
        file.append([b"cd", b"ef"])
    assert file.data == b"abcd"
    file.truncate(2)
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    assert file.durable == b""
    file.sync()
    assert file.durable == b"ab"
    assert disk.steps == ["create", "append", "append", "truncate", "sync", "sync"]


def test_a_full_device_is_an_error_and_not_silence() -> None:
    """The real disk raises ENOSPC from the write itself (full(4))."""
    file = PosixFile(os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC))
    with pytest.raises(OSError, match="space") as refused:
        file.append([b"a"])
    assert refused.value.errno == errno.ENOSPC
    file.close()


def test_a_file_takes_anothers_place(place: Place) -> None:
    """What had the name is gone, and the old name with it."""
    for name in ("old", "new"):
        file = place.disk.create(place.folder / name)
        file.append([name.encode()])
        file.close()
    place.disk.replace(place.folder / "new", place.folder / "old")
    assert place.read(place.folder / "old") == b"new"
    assert place.disk.names(place.folder) == ["old"]
    with pytest.raises(FileNotFoundError):
        place.disk.replace(place.folder / "new", place.folder / "old")


def test_a_folder_is_made_once(place: Place) -> None:
    """Making a folder that is there does no harm to what is in it."""
    folder = place.folder / "pins"
    with pytest.raises(FileNotFoundError):
        place.disk.names(folder)
    place.disk.make_folder(folder)
    place.disk.create(folder / "a").close()
    place.disk.make_folder(folder)
    assert place.disk.names(folder) == ["a"]
    with pytest.raises(FileNotFoundError):
        place.disk.make_folder(place.folder / "no" / "such")
