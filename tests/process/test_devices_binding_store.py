"""The file of known cameras: saved, damaged, newer, and written only when it changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from camd.devices.binding_store import (
    KNOWN_FILE,
    load_known,
    look_up_known,
    parse_bindings,
    render_bindings,
    save_known,
)
from camd.devices.listing import describe_doubt
from camd.devices.matching.identity import DeviceIdentity, RememberedCamera
from camd.model import CameraId
from camd.runtime.state_file import NewerVersionError

ENTRANCE = RememberedCamera(
    CameraId("entrance"),
    DeviceIdentity(
        "Cam", "0c45", "6366", 'S"Ä\n', "0000:00:14.0-usb2-1", "", "pci-1", "0123456789abcdef"
    ),
    "port=1-1",
    adopted=True,
)
NUMBERED = RememberedCamera(
    CameraId("camera0"), DeviceIdentity("vivid", bus_info="platform:vivid-000")
)
KNOWN = (NUMBERED, ENTRANCE)


def test_saved_cameras_are_loaded(tmp_path: Path) -> None:
    """After a restart the same cameras are known; a missing folder is made."""
    file = tmp_path / "state" / KNOWN_FILE
    assert load_known(file) == ()
    assert save_known(file, KNOWN)
    assert load_known(file) == KNOWN
    assert list(file.parent.iterdir()) == [file]


def test_it_is_written_only_when_it_changes(tmp_path: Path) -> None:
    """Saving the same cameras again writes nothing."""
    file = tmp_path / KNOWN_FILE
    assert save_known(file, KNOWN)
    before = file.stat().st_ino
    assert not save_known(file, KNOWN)
    assert file.stat().st_ino == before
    assert save_known(file, (ENTRANCE,))
    assert file.stat().st_ino != before


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b"{", b"[" * 100_000, b" " * 2**20 + b"{}", b'{"version": 0}']
)
def test_a_damaged_file_is_set_aside_before_it_is_replaced(tmp_path: Path, content: bytes) -> None:
    """The daemon starts without it and logs that; the damaged file is kept."""
    file = tmp_path / KNOWN_FILE
    for name in ("cameras.json.damaged", "cameras.json.damaged1"):
        file.write_bytes(content)
        with capture_logs() as logs:
            assert load_known(file) == ()
            assert file.read_bytes() == content
            assert save_known(file, KNOWN)
        told = [line["event"] for line in logs]
        assert told == ["state_file_damaged", "state_file_set_aside"]
        assert (tmp_path / name).read_bytes() == content
        assert load_known(file) == KNOWN


def test_a_newer_file_is_not_replaced(tmp_path: Path) -> None:
    """After a downgrade and an upgrade the newer file is unchanged."""
    file = tmp_path / KNOWN_FILE
    text = json.dumps({"version": 2, "more": True})
    file.write_text(text)
    with capture_logs() as logs:
        assert load_known(file) == ()
        assert not save_known(file, KNOWN)
    assert [line["event"] for line in logs] == ["state_file_newer"] * 2
    assert file.read_text() == text


def test_a_file_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    """Its content may still be valid."""
    file = tmp_path / KNOWN_FILE
    file.mkdir()
    with capture_logs() as logs:
        assert load_known(file) == ()
    assert [line["event"] for line in logs] == ["state_file_unreadable"]
    with pytest.raises(IsADirectoryError):
        save_known(file, KNOWN)


def test_what_is_wrong_with_the_file_is_told_to_a_person(tmp_path: Path) -> None:
    """A command gets the error instead of a line in the log; a file that is not there is none."""
    file = tmp_path / KNOWN_FILE
    with capture_logs() as logs:
        assert look_up_known(file) == ((), None)
        save_known(file, KNOWN)
        assert look_up_known(file) == (KNOWN, None)
        file.write_text('{"version": 2}')
        newer = look_up_known(file)[1]
        file.unlink()
        file.mkdir()
        folder = look_up_known(file)[1]
    assert logs == []
    doubt = f"Ids of cameras may be other ones than the service has: {file} "
    assert newer is not None
    assert describe_doubt(file, newer) == f"{doubt}has version 2, and this camd knows 1"
    assert folder is not None
    assert describe_doubt(file, folder) == f"{doubt}cannot be read: Is a directory"


def change(path: str, value: object) -> str:
    """Return a valid file with one wrong value."""
    raw = json.loads(render_bindings((ENTRANCE,)))
    *parents, last = path.split(".")
    place = raw
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", True, "has no version"),
        ("version", "1", "has no version"),
        ("more", 1, "unknown field `more`"),
        ("cameras", {}, r"\$.cameras"),
        ("cameras", [0] * 1025, r"length <= 1024 - at `\$.cameras`"),
        ("cameras", [7], r"\$.cameras\[0\]"),
        ("cameras.0.id", "Entrance", r"\$.cameras\[0\].id"),
        ("cameras.0.id", "entrance\n", r"\$.cameras\[0\].id"),
        ("cameras.0.id", 7, r"\$.cameras\[0\].id"),
        ("cameras.0.adopted", 1, r"\$.cameras\[0\].adopted"),
        ("cameras.0.selector", None, r"\$.cameras\[0\].selector"),
        ("cameras.0.identity.serial", 7, r"\$.cameras\[0\].identity.serial"),
        (
            "cameras.0.identity.name",
            "x" * 1025,
            r"<= 1024 - at `\$.cameras\[0\].identity.name`",
        ),
        ("cameras.0.identity.more", "", r"unknown field `more` - at `\$.cameras\[0\].identity`"),
    ],
)
def test_values_are_not_converted(path: str, value: object, message: str) -> None:
    """A field of another type, size or name makes the file invalid."""
    with pytest.raises(ValueError, match=message):
        parse_bindings(change(path, value))


def test_a_repeated_id_is_invalid() -> None:
    """A camera id has one identity."""
    with pytest.raises(ValueError, match="twice"):
        parse_bindings(render_bindings((ENTRANCE, ENTRANCE)))


def test_a_newer_version_may_have_other_fields() -> None:
    """It is recognised by its version alone."""
    with pytest.raises(NewerVersionError, match="version 9"):
        parse_bindings('{"version": 9}')


words = st.text(max_size=20)


@given(
    st.lists(
        st.builds(
            RememberedCamera,
            st.from_regex("[a-z0-9_-]{1,64}", fullmatch=True).map(CameraId),
            st.builds(DeviceIdentity, *[words] * 8),
            words,
            st.booleans(),
        ),
        unique_by=lambda known: known.camera_id,
        max_size=5,
    )
)
def test_any_camera_can_be_saved(known: list[RememberedCamera]) -> None:
    """Names and serial numbers may contain any characters."""
    assert set(parse_bindings(render_bindings(known))) == set(known)


@given(st.text() | st.recursive(st.none() | st.integers() | words, st.lists).map(json.dumps))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Only BindingsError is raised."""
    try:
        parse_bindings(text)
    except ValueError:
        return
