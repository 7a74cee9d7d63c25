"""Files are told apart, also where a new one gets the inode number of one that was removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import attrs
import pytest

from camd.storage.file_identity import FileIdentity, identity_of

MOST_TRIES = 1000
WITH_GENERATIONS = ("ext2/ext3", "xfs", "btrfs")  # as stat(1) names them; ext4 is the first one


def file_system_of(path: Path) -> str:
    """Return the kind of the file system at a path."""
    command = ["stat", "--file-system", "--format=%T", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def identity_at(path: Path) -> FileIdentity:
    """Open a file, and return its identity."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return identity_of(descriptor)
    finally:
        os.close(descriptor)


def test_a_file_keeps_its_identity(tmp_path: Path) -> None:
    """While it grows, under another name, and opened again."""
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"1")
    before = identity_at(path)
    with path.open("ab") as file:
        file.write(b"2")
    path.rename(other)
    assert identity_at(other) == before


def test_a_new_file_is_another_one(tmp_path: Path) -> None:
    """A file system such as ext4 gives an inode number again at once."""
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = identity_at(path)
    if file_system_of(tmp_path) not in WITH_GENERATIONS:
        pytest.skip("the file system of the temporary folder tells no generations")
    for _ in range(MOST_TRIES):
        path.unlink()
        path.write_bytes(b"1")
        after = identity_at(path)
        assert after != before
        if after.inode == before.inode:
            assert after == attrs.evolve(before, generation=after.generation)
            return
    pytest.skip("the file system does not give inode numbers again")


def test_what_tells_no_generation_is_known_by_its_number() -> None:
    """A pipe, for one."""
    ends = os.pipe()
    try:
        facts = os.fstat(ends[0])
        assert identity_of(ends[0]) == FileIdentity(facts.st_dev, facts.st_ino, 0)
    finally:
        for end in ends:
            os.close(end)
