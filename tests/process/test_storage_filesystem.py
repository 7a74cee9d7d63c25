"""What file systems differ in: sizes of files, and names that are taken exclusively."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from camd.storage import filesystem
from camd.storage.disk import OpenFileStat, PosixDisk
from camd.storage.filesystem import FAT_LIMIT_BYTES, largest_file, move_exclusively, type_of_mount

MOUNTS = """\
21 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
35 21 8:17 / /media/stick\\040one rw,nosuid - vfat /dev/sdb1 rw,fmask=0022
36 21 8:33 / /media/card rw shared:9 master:1 - exfat /dev/sdc1 rw
"""


def test_a_mount_is_found_by_its_device() -> None:
    """The type stands behind the optional fields, however many there are."""
    types = [type_of_mount(MOUNTS, os.makedev(8, minor)) for minor in (2, 17, 33, 1)]
    assert types == ["ext4", "vfat", "exfat", ""]
    assert type_of_mount("garbage\n1 2 8:2 - \n- - -", os.makedev(8, 2)) == ""


def test_fat_has_a_limit(tmp_path: Path) -> None:
    """A file on FAT has at most 4 GiB and a byte less; nothing is known of other file systems."""
    device = tmp_path.stat().st_dev
    line = f"35 21 {os.major(device)}:{os.minor(device)} / /x rw - %s /dev/sdb1 rw\n"
    mounts = tmp_path / "mountinfo"
    for name, limit in (("vfat", FAT_LIMIT_BYTES), ("exfat", None), ("ext4", None)):
        mounts.write_text(line % name)
        assert largest_file(tmp_path, mounts) == limit
    mounts.unlink()
    assert largest_file(tmp_path, mounts) is None


def test_the_limit_of_the_process_counts(tmp_path: Path) -> None:
    """RLIMIT_FSIZE (ulimit -f) is known before it is met, and does not kill."""
    code = (
        "import sys; from pathlib import Path; from camd.storage.disk import PosixDisk\n"
        "folder = Path(sys.argv[1]); disk = PosixDisk(); print(disk.largest_file(folder))\n"
        "file = disk.create(folder / 'large')\n"
        "try: file.append([bytes(8192)])\n"
        "except OSError as error: print(error.errno, file.size())\n"
        "disk.learn_largest_file(folder, 100); print(disk.largest_file(folder))"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout.split() == ["4096", str(errno.EFBIG), "4096", "100"]


def without_renameat2(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let the kernel refuse renameat2."""

    def refuse(path: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    # The kernel of this machine has renameat2(2).
    monkeypatch.setattr(filesystem, "_rename_noreplace", refuse)


def without_links(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let the file system refuse hard links, as FAT does."""

    def refuse(path: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code), str(path))

    # The file system of this machine has hard links.
    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("way", ["renameat2", "link", "reservation"])
def test_a_name_is_taken_exclusively_in_each_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The file has its new name and no other; a name that is taken stays what it was."""
    if way != "renameat2":
        without_renameat2(monkeypatch, errno.EINVAL)
    if way == "reservation":
        without_links(monkeypatch, errno.EPERM)
    part, target, other = tmp_path / "part", tmp_path / "name", tmp_path / "other"
    part.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        move_exclusively(part, target)
    assert (part.read_text(), target.read_text()) == ("new", "old")
    PosixDisk().move(part, other)
    assert other.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["name", "other"]


def test_an_error_that_says_something_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only "there is no such thing here" leads to another way."""
    without_renameat2(monkeypatch, errno.EIO)
    (tmp_path / "part").write_text("new")
    with pytest.raises(OSError, match="Input/output"):
        move_exclusively(tmp_path / "part", tmp_path / "name")
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        move_exclusively(tmp_path / "none", tmp_path / "name")


def test_a_file_that_others_touch_says_so(tmp_path: Path) -> None:
    """Removal, renaming, replacing and cutting show on the open file, a lost volume is an error."""
    disk = PosixDisk()
    path, other = tmp_path / "name", tmp_path / "other"
    file = disk.create(path)
    file.append([b"12345"])
    assert file.open_stat(path) == OpenFileStat(5, linked=True, here=True)
    path.rename(other)
    assert file.open_stat(path) == OpenFileStat(5, linked=True, here=False)
    path.write_text("mine")
    assert file.open_stat(path) == OpenFileStat(5, linked=True, here=False)
    os.truncate(other, 2)
    assert file.open_stat(other) == OpenFileStat(2, linked=True, here=True)
    other.unlink()
    assert file.open_stat(path) == OpenFileStat(2, linked=False, here=False)
    file.close()


def test_a_folder_that_is_removed_with_its_file_says_so(tmp_path: Path) -> None:
    """A file whose folder is gone is gone; it is no fault of the volume."""
    folder = tmp_path / "folder"
    folder.mkdir()
    file = PosixDisk().create(folder / "name")
    shutil.rmtree(folder)
    assert file.open_stat(folder / "name") == OpenFileStat(0, linked=False, here=False)
    file.close()


@pytest.mark.parametrize(("code", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_folder_that_cannot_be_synced_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fails: bool
) -> None:
    """Some file systems have no such thing; an error of the disk is told all the same."""

    def refuse(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    # The file system of this machine syncs directories.
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="error") if fails else contextlib.nullcontext():
        PosixDisk().sync_directory(tmp_path)
