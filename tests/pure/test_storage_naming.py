"""How recordings are called, and which names from outside are looked up at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.model import CameraId
from camd.storage.rules.naming import candidates, is_plain, is_recording, stem, with_extension

CAMERA = CameraId("camera0")
moments = st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.timezones())


def test_a_name_is_the_camera_and_the_utc_second() -> None:
    """The name comes from the capture time in UTC, whatever zone that was given in."""
    zone = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 1, 15, 20, 0, 0, 999_999, tzinfo=zone)
    assert stem(CAMERA, moment) == "camera0_2026-01-15_14-30-00"


def test_taken_names_are_counted_on() -> None:
    """The plain name is tried first, then `_1`, `_2`, … with the extension asked for."""
    names = candidates(CAMERA, datetime(2026, 1, 15, tzinfo=UTC), "mkv")
    assert list(islice(names, 3)) == [
        "camera0_2026-01-15_00-00-00.mkv",
        "camera0_2026-01-15_00-00-00_1.mkv",
        "camera0_2026-01-15_00-00-00_2.mkv",
    ]


@given(st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True), moments, st.integers(0, 20))
def test_every_name_given_is_known_again(camera: str, moment: datetime, number: int) -> None:
    """Whatever camd calls a file is plain, a recording, and ends in the extension."""
    name = next(islice(candidates(CameraId(camera), moment), number, None))
    assert is_plain(name)
    assert is_recording(name)
    assert is_recording(with_extension(name, "mkv"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "holiday.mp4",
        "camera0_2026-01-15_14-30-00.mp4.part",
        "camera0_2026-01-15_14-30-00.avi",
        "camera0_2026-01-15_14-30-00_.mp4",
        "camera0_2026-01-15_14-30-00.mp4\n",
        "_2026-01-15_14-30-00.mp4",
        "Camera0_2026-01-15_14-30-00.mp4",
        "camera0_٢٠٢٦-01-15_14-30-00.mp4",
        "a" * 232 + "_2026-01-15_14-30-00.mp4",
    ],
)
def test_foreign_names_are_no_recordings(name: str) -> None:
    """A name that camd could not have given is foreign, digits of other scripts included."""
    assert not is_recording(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/../b", "/etc/passwd", "a/b", "a\\b", ".camd", ".hidden"),
        *("a\0b", "a\nb", "a\x7fb", "a\u202eb", "a\ud800b", "a\u00a0b", "é" * 128, "a" * 256),
    ],
)
def test_what_is_not_one_visible_component_is_refused(name: str) -> None:
    """Paths, hidden names, controls, invisible characters and overlong names are not plain."""
    assert not is_plain(name)


@given(st.text(alphabet=st.characters() | st.sampled_from("./\\\0\n\ud800"), max_size=300))
def test_a_plain_name_stays_in_its_folder(name: str) -> None:
    """What is plain names an entry of the folder itself that a file system can hold."""
    if is_plain(name):
        folder = PurePosixPath("/recordings")
        assert (folder / name).parent == folder
        assert (folder / name).name == name
        assert len(name.encode()) <= 255
        assert not any(ord(character) < 32 for character in name)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=60))
def test_letters_and_digits_are_plain(name: str) -> None:
    """A short name of letters and digits of any script may be looked up."""
    assert is_plain(name)
