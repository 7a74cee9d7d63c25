"""Small state files: bounded, replaced whole, and never overwritten unread."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import attrs
import pytest
from structlog.testing import capture_logs

from camd.runtime.state_file import (
    MAX_BYTES,
    NewerVersionError,
    StateFile,
    from_json,
    validate_version,
)


def parse(text: str) -> int:
    """Read a number of format version 1."""
    content = json.loads(text)
    validate_version(content, 1)
    return int(content["number"])


def render(number: int) -> str:
    """Write a number."""
    return json.dumps({"version": 1, "number": number})


def numbers(folder: Path) -> StateFile[int]:
    """Name a file that holds a number."""
    return StateFile(folder / "state" / "number.json", parse, render, mode=0o600)


def test_a_value_is_read_again(tmp_path: Path) -> None:
    """The folder is made; the file has its mode, and nothing is left beside it."""
    file = numbers(tmp_path)
    assert file.load() is None
    assert file.save(7)
    assert file.load() == 7
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert list(file.path.parent.iterdir()) == [file.path]


def test_the_same_value_is_not_written_again(tmp_path: Path) -> None:
    """A save without a change costs no write."""
    file = numbers(tmp_path)
    file.save(7)
    before = file.path.stat().st_ino
    assert not file.save(7)
    assert file.path.stat().st_ino == before


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"{", b"[]", b"[" * 100_000, b" " * MAX_BYTES + b"{}", b"{}"]
)
def test_a_damaged_file_is_set_aside_before_it_is_replaced(tmp_path: Path, content: bytes) -> None:
    """Reading leaves it as it is; each damaged file is kept, and the log says so once for each."""
    file = numbers(tmp_path)
    file.path.parent.mkdir()
    for name in ("number.json.damaged", "number.json.damaged1"):
        file.path.write_bytes(content)
        with capture_logs() as logs:
            assert file.load() is None
            assert file.path.read_bytes() == content
            assert file.save(7)
            assert not file.save(7)
        events = [line["event"] for line in logs]
        assert events == ["state_file_damaged", "state_file_set_aside"]
        assert file.path.with_name(name).read_bytes() == content
        assert file.load() == 7


def test_the_damaged_copies_are_bounded(tmp_path: Path) -> None:
    """However often a file is damaged, ten copies are kept at most."""
    file = numbers(tmp_path)
    file.path.parent.mkdir()
    for number in range(12):
        file.path.write_text(f"damage {number}")
        assert file.save(number)
    assert len(list(file.path.parent.iterdir())) == 11


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    """Who goes back to an older version of camd finds the file untouched."""
    file = numbers(tmp_path)
    file.path.parent.mkdir()
    file.path.write_text('{"version": 2}')
    with capture_logs() as logs:
        assert file.load() is None
        assert not file.save(7)
    assert [line["event"] for line in logs] == ["state_file_newer"] * 2
    assert file.path.read_text() == '{"version": 2}'


def test_a_file_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    """`load` logs the error, `read` and `save` raise it."""
    file = numbers(tmp_path)
    file.path.mkdir(parents=True)
    with capture_logs() as logs:
        assert file.load() is None
    assert [line["event"] for line in logs] == ["state_file_unreadable"]
    with pytest.raises(IsADirectoryError):
        file.read()
    with pytest.raises(IsADirectoryError):
        file.save(7)


def test_a_value_that_could_not_be_read_again_is_refused(tmp_path: Path) -> None:
    """The bound holds for writing, too."""
    file = StateFile(tmp_path / "text", str, str)
    assert file.save("x" * MAX_BYTES)
    with pytest.raises(OSError, match="so large") as refused:
        file.save("x" * (MAX_BYTES + 1))
    assert refused.value.errno == errno.EFBIG
    assert file.load() == "x" * MAX_BYTES


@attrs.frozen
class Counted:
    """A file with a version."""

    version: int
    count: int = 0


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('{"version": 2, "counts": "others"}', NewerVersionError, "has version 2"),
        ('{"version": 1, "count": "7"}', ValueError, "`\\$.count`"),
        ('{"version": 1, "count": true}', ValueError, "`\\$.count`"),
        ('{"count": 7}', ValueError, "has no version"),
        ("[]", ValueError, "is not understood"),
    ],
)
def test_the_version_is_read_before_anything_else_and_values_are_not_converted(
    text: str, error: type[ValueError], message: str
) -> None:
    """What a newer camd has written in another form is newer, not damaged."""
    with pytest.raises(ValueError, match=message) as raised:
        from_json(text, Counted, version=1)
    assert type(raised.value) is error


def test_fields_of_the_same_version_that_are_unknown_are_ignored() -> None:
    """A field may be added without another version."""
    assert from_json('{"version": 1, "count": 7, "more": 1}', Counted, version=1) == Counted(1, 7)
