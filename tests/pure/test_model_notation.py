"""Notations of values: what is written reads back exactly, and mistakes are explained."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.model import notation


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("0s", 0),
        ("0", 0),
        ("90", 90),
        ("2d", 172800),
        (" 10s ", 10),
        (10, 10),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read_in_every_documented_form(text: str | float, seconds: float) -> None:
    """Units, compounds, decimals and plain seconds mean what they say."""
    assert notation.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "m",
        "30x",
        "-5s",
        "5m5m",
        "30s1h",
        "1e3",
        "1,5s",
        "٣s",
        -1,
        True,
        math.nan,
        math.inf,
    ],
)
def test_a_wrong_duration_is_told_what_would_be_right(text: str | float) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(ValueError, match='"30m"'):
        notation.parse_duration(text)


def test_an_absurdly_long_duration_is_refused_and_not_a_crash() -> None:
    """What does not fit into a timedelta is a mistake like any other."""
    with pytest.raises(ValueError, match="too long"):
        notation.parse_duration("9" * 40)


@given(st.timedeltas(min_value=timedelta(0)))
def test_a_duration_that_is_written_reads_back_exactly(duration: timedelta) -> None:
    """Writing and reading are inverse, to the microsecond."""
    assert notation.parse_duration(notation.format_duration(duration)) == duration


def test_durations_are_written_for_people() -> None:
    """Hours are the largest unit, and zero has one."""
    written = [notation.format_duration(timedelta(seconds=s)) for s in (0, 0.5, 90, 86400)]
    assert written == ["0s", "500ms", "1m30s", "24h"]


def test_durations_in_sentences_are_rounded_down() -> None:
    """Two units at most; the larger one is not below 2, so that little is lost."""
    spoken = [notation.spoken_duration(s) for s in (119.9, 120, 7199, 7260, 172_799, 180_000)]
    assert spoken == ["119 s", "2 min", "119 min", "2 h 1 min", "47 h 59 min", "2 d 2 h"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 << 30), ("500MB", 500_000_000), ("1.5 kB", 1500), ("7B", 7), ("7", 7), (7, 7)],
)
def test_a_size_is_read_in_every_documented_form(text: str | int, size: int) -> None:
    """Powers of 1000 and of 1024 are different units."""
    assert notation.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2G", "GiB", "-1", "1 2", "2 PB", -1, True])
def test_a_wrong_size_is_told_what_would_be_right(text: str | int) -> None:
    """A bare letter could mean 1000 or 1024, so it is refused too."""
    with pytest.raises(ValueError, match='"2GiB", "500MB"'):
        notation.parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_size_is_read_exactly(size: int) -> None:
    """To the byte, with and without its unit."""
    assert notation.parse_size(f"{size}B") == notation.parse_size(size) == size


@pytest.mark.parametrize(
    ("text", "bits"),
    [("4M", 4_000_000), ("500k", 500_000), ("2.5M", 2_500_000), ("4Mbit/s", 4_000_000), (9, 9)],
)
def test_a_bit_rate_is_read_in_every_documented_form(text: str | int, bits: int) -> None:
    """Bit rates are decimal."""
    assert notation.parse_bitrate(text) == bits


@given(st.integers(min_value=0, max_value=10**12))
def test_a_bit_rate_is_read_exactly(bits: int) -> None:
    """To the bit, with and without a unit."""
    assert notation.parse_bitrate(f"{bits}k") == 1000 * notation.parse_bitrate(str(bits))
    assert notation.parse_bitrate(bits) == bits


@pytest.mark.parametrize("text", ["", "4MB", "fast", "-4M", False])
def test_a_wrong_bit_rate_is_told_what_would_be_right(text: str | int) -> None:
    """Bytes are not bits."""
    with pytest.raises(ValueError, match='"4M"'):
        notation.parse_bitrate(text)


def test_a_resolution_is_read_as_width_and_height() -> None:
    """Both the letter x and the sign × stand between them."""
    assert notation.parse_resolution("1280x720") == (1280, 720)
    assert notation.parse_resolution("1280 × 720") == (1280, 720)


@pytest.mark.parametrize("text", ["", "720p", "1280", "1280x", "8x8", "1280x99999"])
def test_a_wrong_resolution_is_refused(text: str) -> None:
    """No form but two numbers within bounds."""
    with pytest.raises(ValueError, match=r"resolution|bounds"):
        notation.parse_resolution(text)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8002", "localhost:0", "[::1]:8002", "[fe80::1%eth0]:80", "unix:/run/c.sock"]
)
def test_an_address_to_listen_on_reads_back_as_written(text: str) -> None:
    """Host and port, bracketed IPv6, and Unix sockets."""
    assert str(notation.parse_listen(text)) == text


@pytest.mark.parametrize(
    "text", ["", "8002", ":8002", "*:8002", "::1:8002", "a:70000", "http://a:1", "a:1\n"]
)
def test_a_wrong_address_is_told_what_would_be_right(text: str) -> None:
    """A port alone could mean every interface, so it is refused."""
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:8002"):
        notation.parse_listen(text)


@pytest.mark.parametrize("text", ["unix:", "unix:c.sock", "unix:/" + "x" * 107])
def test_a_unix_socket_is_an_absolute_path_that_the_kernel_takes(text: str) -> None:
    """The address of a Unix socket holds 107 bytes."""
    with pytest.raises(ValueError, match="absolute path of at most 107 bytes"):
        notation.parse_listen(text)


BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 1, 23, 30, 5, tzinfo=UTC)  # half past midnight of the next day in Berlin


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("now", "2026-11-01T23:30:05Z"),
        ("-2h", "2026-11-01T21:30:05Z"),
        (" -1h30m ", "2026-11-01T22:00:05Z"),
        ("14:00", "2026-11-02T13:00:00Z"),
        ("9:05:30", "2026-11-02T08:05:30Z"),
        ("today 00:10", "2026-11-01T23:10:00Z"),
        ("Yesterday 14:00", "2026-11-01T13:00:00Z"),
        ("yesterday", "2026-10-31T23:00:00Z"),
        ("yesterday 14:00 UTC", "2026-11-01T14:00:00Z"),
        ("2026-11-01 14:00", "2026-11-01T13:00:00Z"),
        ("2026-07-01T14:00:00.5", "2026-07-01T12:00:00.500000Z"),
        ("2026-07-01T14:00:00+01:00", "2026-07-01T13:00:00Z"),
        ("2026-10-25 02:30 CEST", "2026-10-25T00:30:00Z"),
        ("2026-10-25 02:30 CET", "2026-10-25T01:30:00Z"),
        ("2026-10-25 03:00", "2026-10-25T02:00:00Z"),
        ("2026-03-29 03:00", "2026-03-29T01:00:00Z"),
    ],
)
def test_an_instant_is_read_as_people_write_it(text: str, utc: str) -> None:
    """Days and hours of the zone, also where the day is another one in UTC."""
    assert notation.format_instant(notation.parse_instant(text, NOW, BERLIN)) == utc


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-03-29 02:30", "skipped"),
        ("2026-10-25 02:30", "'2026-10-25 02:30:00 CEST' or '2026-10-25 02:30:00 CET'"),
        ("2026-10-25 04:00 CEST", "is CET here"),
        *((text, "is no time") for text in ("", "-", "-x", "-9999999d", "25:00", "14", "tomorrow")),
        *((text, "is no time") for text in ("0001-01-01", "yesterday noon", "15:30Z CET")),
    ],
)
def test_what_is_no_instant_is_explained(text: str, said: str) -> None:
    """A time that does not exist, one that exists twice, and text that is none."""
    with pytest.raises(ValueError, match=said):
        notation.parse_instant(text, NOW, BERLIN)
