"""Pins: markers that mean what they say, and that mean "stay" whenever there is a doubt."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_disk import MemoryDisk
from support.power_cut_disk import RecordingDisk
from support.recordings import NOON

from camd.storage.removal import Pin, Pins, decode_pin, encode_pin

RECORDINGS = Path("/disk")
NAME = "camera0_2026-01-15_12-00-00.mp4"
OLD = Pin("evidence", "ann", NOON, NOON + timedelta(days=1))
NEW = Pin("evidence, longer", "bob", NOON, NOON + timedelta(days=9))
HOUR = timedelta(hours=1)

moments = st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC))
pins = st.builds(Pin, st.text(), st.text(), st.none() | moments, st.none() | moments)


def memory() -> tuple[MemoryDisk, Pins]:
    """Return a disk, and the pins on it."""
    disk = MemoryDisk(folders={RECORDINGS, RECORDINGS / ".camd"})
    return disk, Pins.of(disk, RECORDINGS)


@given(pins)
def test_a_marker_says_what_was_written(pin: Pin) -> None:
    """Everything comes back as it was, to the microsecond."""
    assert decode_pin(encode_pin(pin)) == pin


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode))
def test_any_marker_can_be_read(data: bytes) -> None:
    """Nonsense is a pin without end, whatever it looks like."""
    assert decode_pin(data).counts(NOON)


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ('{"until": "2026-01-15T12:00:00Z"}', NOON),
        ('{"until": "2026-01-15T12:00:00"}', NOON),
        ('{"until": "2026-01-15T14:00:00+02:00"}', NOON),
        ('{"until": "2026-01-15"}', NOON - 12 * HOUR),
        ('{"until": "soon", "reason": 7, "by": null, "extra": []}', None),
        ('{"until": "0001-01-01T00:00:00+23:00"}', None),
        ('{"until": 5}', None),
    ],
)
def test_a_marker_written_by_hand_is_understood(text: str, until: datetime | None) -> None:
    """Times without a zone are UTC; what is no time means for ever."""
    assert decode_pin(text.encode()) == Pin(until=until)


def test_a_pin_counts_until_its_time() -> None:
    """At the moment itself it is over."""
    assert OLD.until is not None
    assert OLD.counts(OLD.until - timedelta.resolution)
    assert not OLD.counts(OLD.until)
    assert not OLD.counts(OLD.until.astimezone(timezone(HOUR)) + HOUR)
    assert Pin().counts(datetime.max.replace(tzinfo=UTC))


def test_only_what_is_pinned_is_among_the_pinned() -> None:
    """Markers of other files and those that are over do not count; no folder means no pins."""
    _, markers = memory()
    assert markers.among([NAME], NOON) == {}
    markers.put(NAME, OLD)
    markers.put("over.mp4", Pin(until=NOON))
    markers.put("elsewhere.mp4", Pin())
    assert markers.among([NAME, "over.mp4", "other.mp4"], NOON) == {NAME: OLD}


def test_a_newer_pin_takes_the_place_of_an_older_one() -> None:
    """A pin can be lengthened, shortened and taken away."""
    disk, markers = memory()
    for pin in (OLD, NEW, OLD):
        markers.put(NAME, pin)
        assert markers.find(NAME, NOON) == pin
    assert disk.names(markers.folder) == [NAME]
    assert markers.drop(NAME)
    assert not markers.drop(NAME)
    assert markers.find(NAME, NOON) is None
    assert disk.open_files == 0


def test_what_cannot_be_read_is_pinned() -> None:
    """A marker that cannot be opened or read keeps its recording."""
    for step in (0, 1):
        disk, markers = memory()
        markers.put(NAME, Pin(until=NOON))
        disk.fail(step, code=errno.EIO)
        pin = markers.find(NAME, NOON)
        assert pin is not None
        assert pin.until is None
        assert disk.open_files == 0


def test_a_pin_that_fails_leaves_the_older_one() -> None:
    """Whatever step fails, the file is pinned as before or anew, and a second try succeeds."""
    for number in range(12):
        disk, markers = memory()
        markers.put(NAME, OLD)
        disk.fail(number, code=errno.EIO)
        try:
            markers.put(NAME, NEW)
        except OSError:
            disk.faults.clear()
            assert markers.find(NAME, NOON) in (OLD, NEW)
            markers.put(NAME, NEW)
        disk.faults.clear()
        assert markers.find(NAME, NOON) == NEW
        assert disk.open_files == 0


def test_what_takes_a_recordings_place_is_pinned_as_it_was() -> None:
    """An MKV inherits the pin of its MP4; without one nothing is made; an error is
    raised, so that it is tried again."""
    disk, markers = memory()
    markers.carry_over(NAME, "a.mkv", NOON)
    assert markers.among(["a.mkv"], NOON) == {}
    markers.put(NAME, OLD)
    markers.carry_over(NAME, "a.mkv", NOON)
    assert markers.find("a.mkv", NOON) == OLD
    disk.fail(*range(2, 9))
    with pytest.raises(OSError, match="space"):
        markers.carry_over(NAME, "b.mkv", NOON)
    disk.faults.clear()
    assert markers.find("b.mkv", NOON) is None
    assert markers.find(NAME, NOON) == OLD


@settings(max_examples=500)
@given(st.data())
def test_a_power_cut_never_unpins(data: st.DataObject) -> None:
    """A pin that was answered holds; while a newer one is written, the older or the newer does."""
    disk = RecordingDisk()
    markers = Pins.of(disk, RECORDINGS)
    markers.put(NAME, OLD)
    first = len(disk.log)
    markers.put(NAME, NEW)
    second = len(disk.log)
    again = data.draw(st.booleans(), label="answered twice")
    left = disk.after_power_cut(data.draw, at_least=second if again else first)
    found = Pins.of(left, RECORDINGS).find(NAME, NOON)
    assert found == NEW if again else found in (OLD, NEW)


def test_the_first_pin_makes_its_folder_durable() -> None:
    """The folder of the pins is made when it is needed, and its own name is synced."""
    disk = RecordingDisk()
    Pins.of(disk, RECORDINGS).put(NAME, OLD)
    made = disk.log.index(("make_folder", RECORDINGS / ".camd" / "pins"))
    assert ("sync_directory", RECORDINGS / ".camd") in disk.log[made:]


def test_a_pin_that_was_dropped_does_not_come_back() -> None:
    """The power may go the moment after: what was unpinned stays so."""
    disk = RecordingDisk()
    markers = Pins.of(disk, RECORDINGS)
    markers.put(NAME, OLD)
    assert markers.drop(NAME)
    assert disk.barely().files == {}
