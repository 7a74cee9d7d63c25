"""The format of a folder: an older camd refuses a newer one, a newer camd backs up an older one."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from camd.runtime.folders.format_marker import (
    MARKER,
    NewerFormatError,
    UnreadableFormatError,
    claim_format,
)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_folder_without_a_marker_gets_one(tmp_path: Path) -> None:
    """A new folder, and that of a camd before there were markers, are of this format."""
    (tmp_path / "keys.toml").write_text("k", encoding="utf-8")
    claim_format(tmp_path, 1, "0.1.0")
    assert json.loads((tmp_path / MARKER).read_bytes()) == {"version": 1, "written_by": "0.1.0"}
    before = contents(tmp_path)
    claim_format(tmp_path, 1, "0.1.1")
    assert contents(tmp_path) == before


def test_an_older_camd_changes_nothing(tmp_path: Path) -> None:
    """It says which version wrote the folder, and where the backup is."""
    claim_format(tmp_path, 3, "2.0.0")
    (tmp_path / "index.sqlite").write_bytes(b"new")
    before = contents(tmp_path)
    with pytest.raises(NewerFormatError) as refused:
        claim_format(tmp_path, 2, "1.5.0")
    assert contents(tmp_path) == before
    assert "was last used by camd 2.0.0, in format 3" in str(refused.value)
    assert f"{tmp_path}/backup-format-2" in str(refused.value)


def test_a_newer_camd_keeps_what_the_older_one_had(tmp_path: Path) -> None:
    """The backup has every file as it was; with it the older camd starts again."""
    claim_format(tmp_path, 1, "1.0.0")
    (tmp_path / "index.sqlite").write_bytes(b"old")
    (tmp_path / "lock").write_bytes(b"")
    before = contents(tmp_path)
    claim_format(tmp_path, 2, "2.0.0")
    backup = tmp_path / "backup-format-1"
    assert contents(backup) == {name: data for name, data in before.items() if name != "lock"}
    (tmp_path / "index.sqlite").write_bytes(b"new")
    for name, data in contents(backup).items():
        (tmp_path / name).write_bytes(data)
    claim_format(tmp_path, 1, "1.0.0")
    assert (tmp_path / "index.sqlite").read_bytes() == b"old"


def test_a_backup_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    """What a crash left of a backup is replaced; a whole one is kept."""
    claim_format(tmp_path, 1, "1.0.0")
    (tmp_path / "backup-part").mkdir()
    (tmp_path / "backup-part" / "half").touch()
    claim_format(tmp_path, 2, "2.0.0")
    assert contents(tmp_path / "backup-format-1").keys() == {MARKER}
    claim_format(tmp_path, 3, "3.0.0")
    assert contents(tmp_path / "backup-format-1").keys() == {MARKER}
    assert contents(tmp_path / "backup-format-2").keys() == {MARKER}


DAMAGED = {
    "empty": b"",
    "torn": b'{"version": 1, "wri',
    "not an object": b"[]",
    "a format that is text": b'{"version": "1", "written_by": "1.0.0"}',
    "a format that is a truth": b'{"version": true, "written_by": "1.0.0"}',
    "a format that is a fraction": b'{"version": 1.5, "written_by": "1.0.0"}',
    "a format that never was": b'{"version": 0, "written_by": "1.0.0"}',
    "nobody": b'{"version": 1}',
    "not UTF-8": b'{"version": 1, "written_by": "\xff"}',
    "nested": b"[" * 4000,
    "large": b" " * 4096 + b'{"version": 1, "written_by": "1.0.0"}',
    "zeros": bytes(512),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_marker_that_tells_no_format_is_refused_and_left(tmp_path: Path, content: bytes) -> None:
    """Nothing is changed, also not the marker; the sentence says what to do, and that works."""
    marker = tmp_path / MARKER
    marker.write_bytes(content)
    (tmp_path / "index.sqlite").write_bytes(b"of a newer camd, perhaps")
    before = contents(tmp_path)
    with pytest.raises(UnreadableFormatError) as refused:
        claim_format(tmp_path, 1, "1.0.0")
    assert contents(tmp_path) == before
    assert "camd 1.0.0 has changed nothing. If it was camd 1.0.0 or an older one" in str(
        refused.value
    )
    assert f"mv {marker} {marker}.damaged" in str(refused.value)
    marker.rename(tmp_path / "format.json.damaged")
    claim_format(tmp_path, 1, "1.0.0")
    assert json.loads(marker.read_bytes())["version"] == 1


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "FIFO"])
def test_a_marker_that_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A FIFO does not hold the start."""
    make(tmp_path / MARKER)
    with pytest.raises(UnreadableFormatError, match="not a file"):
        claim_format(tmp_path, 1, "1.0.0")


def test_a_marker_that_the_disk_does_not_give_is_the_fault_of_the_disk(tmp_path: Path) -> None:
    """It is no statement about the format: whoever uses the disk reports it."""
    (tmp_path / MARKER).symlink_to(MARKER)  # a loop: ELOOP, as EIO cannot be had without a disk
    with pytest.raises(OSError, match="symbolic links") as failed:
        claim_format(tmp_path, 1, "1.0.0")
    assert not isinstance(failed.value, UnreadableFormatError)


def test_a_backup_for_which_there_is_no_space_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a copy that failed in the middle, the next start makes the whole backup."""
    claim_format(tmp_path, 1, "1.0.0")
    (tmp_path / "index.sqlite").write_bytes(b"old")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copy2", full)  # a full disk cannot be had without a volume
        with pytest.raises(OSError, match="No space"):
            claim_format(tmp_path, 2, "2.0.0")
    assert not (tmp_path / "backup-format-1").exists()
    claim_format(tmp_path, 2, "2.0.0")
    assert contents(tmp_path / "backup-format-1").keys() == {MARKER, "index.sqlite"}
