"""What `camd check` says of clock, secret, disk, flash and buses, from measured values."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.cli.checks.disk_speed import FRAGMENT_BYTES, DiskSpeed
from camd.cli.checks.filesystem_check import judge_kind
from camd.cli.checks.finding import Grade
from camd.cli.checks.flash_wear import SYNC_BYTES, daily_writes
from camd.cli.checks.host_check import (
    USB2_BYTES_PER_SECOND,
    bits_per_second_of,
    inspect_clock,
    inspect_secret,
    inspect_wear,
    judge_speed,
    usb_findings,
)
from camd.config.schema import CameraConfig, Config, RecordingConfig, StorageConfig
from camd.model import CameraId
from camd.sources import SyntheticSource


def test_a_clock_that_nobody_keeps_right_is_a_warning() -> None:
    """Files are named by the clock."""
    assert inspect_clock(True).grade is Grade.OK
    assert inspect_clock(False).grade is Grade.WARNING
    assert "timesyncd" in inspect_clock(False).advice


@pytest.mark.parametrize(
    ("secret", "weak"),
    [("", False), ("a" * 64, True), ("abc" * 11, True), ("0123456789abcdef" * 4, False)],
)
def test_a_secret_of_few_characters_is_weak(secret: str, weak: bool) -> None:
    """Length alone is no strength; the secret itself is not shown."""
    found = list(inspect_secret(secret))
    assert bool(found) is weak
    assert all(secret not in each.text + each.advice for each in found)


def speed(*seconds: float) -> DiskSpeed:
    """Return a measured disk."""
    return DiskSpeed(tuple(sorted(seconds)))


def test_a_disk_has_to_be_twice_as_fast_as_the_cameras() -> None:
    """Just twice is enough; less is a warning, and so is one slow sync."""
    second = speed(1.0)  # FRAGMENT_BYTES a second
    assert judge_speed(second, FRAGMENT_BYTES / 2).grade is Grade.OK
    assert judge_speed(second, FRAGMENT_BYTES / 1.9).grade is Grade.WARNING
    assert judge_speed(speed(*[0.001] * 9, 1.1), 1.0).grade is Grade.WARNING


@given(
    st.floats(1e3, 1e9),
    st.integers(1, 64),
    st.sampled_from(["1s", "5s", "30s", "segment"]),
    st.floats(1, 86_400),
)
def test_writes_are_footage_and_syncs(
    bits: float, cameras: int, durability: str, rotation: float
) -> None:
    """A day of footage, and each sync's share; fewer syncs never write more."""
    writes = daily_writes(bits, cameras, durability, rotation)
    assert writes.footage == pytest.approx(bits * 10_800)
    assert writes.syncs <= cameras * 86_400 * SYNC_BYTES / min(1.0, rotation) + 1
    often = daily_writes(bits, cameras, "1s", rotation)
    assert durability == "segment" or writes.syncs <= often.syncs
    assert writes.years > 0


def config(*bitrates: int | None, durability: str = "1s") -> Config:
    """Return a configuration of cameras with these bit rates."""
    return Config(
        cameras=tuple(
            CameraConfig(CameraId(f"camera{number}"), SyntheticSource(), bitrate=bitrate)
            for number, bitrate in enumerate(bitrates)
        ),
        storage=StorageConfig(durability=durability),
        recording=RecordingConfig(rotation=timedelta(minutes=30)),
    )


def test_cameras_without_a_bit_rate_are_assumed_to_have_one() -> None:
    """8 Mbit/s each."""
    assert bits_per_second_of(config(4_000_000, None)) == 12_000_000
    assert bits_per_second_of(config()) == 0


def test_the_life_of_a_flash_disk_is_said_in_years_or_months() -> None:
    """One camera of 8 Mbit/s writes 89 GB a day; without cameras nothing is said."""
    (one,) = inspect_wear(config(8_000_000))
    assert "about 89 GB" in one.text
    assert "3.1 years" in one.text
    (many,) = inspect_wear(config(*[8_000_000] * 10))
    assert "months" in many.text
    assert list(inspect_wear(config())) == []


def test_a_bus_that_is_asked_for_too_much_is_named() -> None:
    """The cameras of each bus are added up; one more byte than it carries is too much."""
    half = USB2_BYTES_PER_SECOND / 2
    fits = [("camera0", "a", half), ("camera1", "a", half), ("camera2", "b", half)]
    assert list(usb_findings(fits)) == []
    (found,) = usb_findings([*fits, ("camera3", "a", 1.0)])
    assert found.subject == "USB bus a"
    assert found.text.startswith("camera0, camera1, camera3 ask for 24 MB/s")


@pytest.mark.parametrize(
    ("kind", "limit", "words"),
    [
        ("ext4", None, []),
        ("nfs4", None, ["network mount"]),
        ("tmpfs", None, ["is memory"]),
        ("vfat", 2**32 - 1, ["4.3 GB at most"]),
        ("ext4", 2**40, []),
    ],
)
def test_kinds_of_file_systems_have_their_warnings(
    kind: str, limit: int | None, words: list[str]
) -> None:
    """What a kind costs is said before it happens."""
    found = list(judge_kind(kind, limit))
    assert [any(word in each.text for each in found) for word in words] == [True] * len(words)
    assert len(found) == len(words)
