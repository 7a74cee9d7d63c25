"""Whether a folder is on the disk that it should be on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.storage.rules.levels import VolumeFault
from camd.storage.rules.volume_identity import (
    BARE,
    NO_MOUNT,
    FilesystemLocation,
    KnownVolume,
    RecognisedAs,
    parse_known,
    parse_marker,
    recognise,
    render_known,
)

FOLDER = Path("/mnt/usb/recordings")
ROOT, HOME = FilesystemLocation(Path("/"), 1), FilesystemLocation(Path("/mnt"), 2)
DISK = FilesystemLocation(Path("/mnt/usb"), 3)
ELSEWHERE = FilesystemLocation(Path("/media/stick"), 4)
ON_DISK = KnownVolume("a", FOLDER, DISK.top)
ON_ROOT = KnownVolume("a", FOLDER, ROOT.top)
UNMARKED = KnownVolume("", FOLDER, DISK.top)
SAME, FOUND, NEW, CHANGED = RecognisedAs


@pytest.mark.parametrize(
    ("location", "marker", "known", "verdict"),
    [
        # the first use, or what was remembered is lost
        *((location, None, None, NEW) for location in (ROOT, DISK)),
        *((location, "a", None, FOUND) for location in (ROOT, DISK)),
        # the same disk, wherever it is mounted
        *((location, "a", ON_DISK, SAME) for location in (DISK, ELSEWHERE, HOME, ROOT)),
        (DISK, "a", ON_ROOT, SAME),
        # the bare mount point, on the root disk or on another one around it
        *((location, marker, ON_DISK, BARE) for location in (ROOT, HOME) for marker in (None, "b")),
        (ROOT, None, UNMARKED, BARE),
        # another disk
        *((location, None, ON_DISK, NEW) for location in (DISK, ELSEWHERE)),
        *((location, "b", ON_DISK, CHANGED) for location in (DISK, ELSEWHERE)),
        (DISK, None, UNMARKED, NEW),
        # never on a mount of its own: nothing can be absent
        *((location, None, ON_ROOT, NEW) for location in (ROOT, DISK)),
        *((location, "b", ON_ROOT, CHANGED) for location in (ROOT, DISK)),
    ],
)
def test_a_volume_is_recognised(
    location: FilesystemLocation,
    marker: str | None,
    known: KnownVolume | None,
    verdict: RecognisedAs | VolumeFault,
) -> None:
    """By its marker; without the right one, by where it is and where it was."""
    assert recognise(location, marker, known, require_mount=False) is verdict


@given(
    st.sampled_from([ROOT, HOME, DISK, ELSEWHERE]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, ON_DISK, ON_ROOT, UNMARKED]),
)
def test_a_required_mount_is_required_always(
    location: FilesystemLocation, marker: str | None, known: KnownVolume | None
) -> None:
    """On the root file system no marker and no memory helps; elsewhere nothing changes."""
    verdict = recognise(location, marker, known, require_mount=True)
    if location is ROOT:
        assert verdict is NO_MOUNT
    else:
        assert verdict is recognise(location, marker, known, require_mount=False)


def test_what_is_remembered_is_read_again() -> None:
    """Written and read it is the same."""
    text = render_known(ON_DISK)
    assert parse_known(text) == ON_DISK


@given(st.one_of(st.text(), st.sampled_from(["{}", "[]", "3", '{"volume_id": 3}', '{"volume_id'])))
def test_any_other_text_is_recognised_as_damaged(text: str) -> None:
    """Text that a power cut or a person left in a file: no marker, and a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011
        parse_known(text)
    assert parse_marker(text) is None


def test_a_marker_is_read() -> None:
    """The id is a word that is not empty."""
    assert parse_marker('{"volume_id": "a", "created": "2026-01-15T14:30:00+00:00"}') == "a"
    assert parse_marker('{"volume_id": ""}') is None
