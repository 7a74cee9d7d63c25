"""From bytes to a level and to an admission."""

from __future__ import annotations

import errno

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from camd.errors import STORAGE_CRITICAL, STORAGE_LOW, Refusal
from camd.model import StorageLevel, StorageStatus
from camd.storage.rules.admission import SEAL_RESERVE_BYTES, SpaceNeed, admit, room_below_block
from camd.storage.rules.levels import (
    Thresholds,
    Usage,
    VolumeFault,
    blames_volume,
    classify_level,
    level_of,
    message_of,
    seconds_until_blocked,
)

OK, LOW, BLOCKED, CRITICAL = list(StorageLevel)[:4]
UNUSABLE = list(StorageLevel)[4:]
NO_INODES = StorageLevel.NO_INODES
BY_USE = [OK, LOW, BLOCKED, CRITICAL]
GIGA = 1_000_000_000


def used(percent: float, total: int = 10_000) -> Usage:
    """Return a volume of which `percent` are used."""
    return Usage(total, total - round(total * percent / 100))


def status(percent: float = 50.0, total: int = 100 * GIGA, **facts: object) -> StorageStatus:
    """Return the status of a volume as the space monitor publishes it."""
    volume = used(percent, total)
    plain = StorageStatus(
        level=level_of(volume, Thresholds()),
        total_bytes=volume.total_bytes,
        used_bytes=volume.total_bytes - volume.available_bytes,
        available_bytes=volume.available_bytes,
        used_percent=volume.used_percent,
        recordings_bytes=0,
        promised_bytes=0,
        write_rate=0.0,
        seconds_until_blocked=None,
        warn_percent=80.0,
        block_percent=90.0,
        critical_percent=95.0,
    )
    return attrs.evolve(plain, **facts)


# --- usage and levels ---


@pytest.mark.parametrize(
    ("usage", "percent"),
    [
        (Usage(0, 0), 100.0),
        (Usage(1000, 1000), 0.0),
        (Usage(1000, 0), 100.0),
        (Usage(1000, 125), 87.5),
    ],
)
def test_used_percent_is_what_is_not_available(usage: Usage, percent: float) -> None:
    """Used is total less available, and a volume of no size is full."""
    assert usage.used_percent == percent


# What is said at each percent, by what was said before: ok, low, blocked, critical.
HELD = {
    0: (OK, OK, OK, OK),
    79: (OK, OK, OK, OK),
    79.01: (OK, LOW, LOW, LOW),
    79.99: (OK, LOW, LOW, LOW),
    80: (LOW, LOW, LOW, LOW),
    89: (LOW, LOW, LOW, LOW),
    89.01: (LOW, LOW, BLOCKED, BLOCKED),
    89.99: (LOW, LOW, BLOCKED, BLOCKED),
    90: (BLOCKED, BLOCKED, BLOCKED, BLOCKED),
    94: (BLOCKED, BLOCKED, BLOCKED, BLOCKED),
    94.01: (BLOCKED, BLOCKED, BLOCKED, CRITICAL),
    94.99: (BLOCKED, BLOCKED, BLOCKED, CRITICAL),
    95: (CRITICAL, CRITICAL, CRITICAL, CRITICAL),
    100: (CRITICAL, CRITICAL, CRITICAL, CRITICAL),
}


@pytest.mark.parametrize("percent", HELD)
def test_a_level_begins_at_its_line_and_ends_one_percent_below(percent: float) -> None:
    """Levels rise at once and fall only when use is a whole percent below the line."""
    said = tuple(level_of(used(percent), Thresholds(), before) for before in BY_USE)
    assert said == HELD[percent]


@pytest.mark.parametrize("before", UNUSABLE)
def test_a_volume_that_comes_back_is_judged_afresh(before: StorageLevel) -> None:
    """After missing, read-only or unresponsive there is no level to hold on to."""
    assert level_of(used(79.5), Thresholds(), before) is OK


@given(st.floats(0, 100), st.sampled_from(list(StorageLevel)))
def test_read_only_goes_before_every_percent(percent: float, before: StorageLevel) -> None:
    """A read-only volume is read-only, however full it is."""
    usage = attrs.evolve(used(percent), read_only=True)
    assert level_of(usage, Thresholds(), before) is StorageLevel.READ_ONLY


@given(st.floats(0, 100), st.sampled_from(BY_USE), st.floats(1, 94), st.floats(0, 5))
def test_a_level_is_a_fixed_point(
    percent: float, before: StorageLevel, warn: float, distance: float
) -> None:
    """The same sample a second time never changes the level, whatever the thresholds are."""
    thresholds = Thresholds(warn, warn + distance)
    level = level_of(used(percent), thresholds, before)
    assert level_of(used(percent), thresholds, level) is level
    assert BY_USE.index(level) >= BY_USE.index(level_of(used(percent), thresholds))


def test_only_levels_below_critical_are_written_at() -> None:
    """Running sessions go on while the level is ok, low, blocked or short of inodes."""
    writable = [level for level in StorageLevel if level.writable]
    assert writable == [OK, LOW, BLOCKED, StorageLevel.NO_INODES]


# --- inodes ---


@pytest.mark.parametrize(
    ("total", "line"),
    [(0, 0), (50, 5), (900, 90), (1000, 100), (100_000, 100), (1_000_000, 1000)],
)
def test_the_inode_line_fits_the_volume(total: int, line: int) -> None:
    """A hundred, or a thousandth where that is more; never more than a tenth."""
    assert Usage(1, 1, total, total_inodes=total).inode_line == line


@pytest.mark.parametrize("percent", [10.0, 85.0, 92.0])
def test_few_inodes_are_a_level_that_is_left_above_its_line(percent: float) -> None:
    """Below the line new recordings stop however empty the volume is; 10 % above it they may."""

    def judged(free: int, before: StorageLevel) -> StorageLevel:
        volume = attrs.evolve(used(percent), free_inodes=free, total_inodes=10_000)
        return level_of(volume, Thresholds(), before)

    plain = level_of(used(percent), Thresholds())
    assert [judged(free, OK) for free in (100, 99, 0)] == [plain, NO_INODES, NO_INODES]
    assert [judged(free, NO_INODES) for free in (109, 110)] == [NO_INODES, plain]


def test_inodes_that_are_not_counted_are_not_missed() -> None:
    """A file system without a count of inodes never runs short of them, and critical goes on."""
    assert level_of(attrs.evolve(used(10), free_inodes=-1), Thresholds(), NO_INODES) is OK
    short = attrs.evolve(used(96), free_inodes=3, total_inodes=10_000)
    assert level_of(short, Thresholds()) is CRITICAL


# --- what goes first ---


@given(
    st.sampled_from([*BY_USE, StorageLevel.NO_INODES]),
    st.sampled_from([None, StorageLevel.MISSING, StorageLevel.READ_ONLY]),
    st.booleans(),
    st.booleans(),
)
def test_what_stops_sessions_is_never_hidden(
    by_use: StorageLevel, found: StorageLevel | None, hangs: bool, failing: bool
) -> None:
    """A lost disk and one that is critical show whatever else is the matter; hanging goes before
    failing, and both before what only stops starts."""
    fault = VolumeFault(found) if found else None
    level = classify_level(by_use, fault, hangs=hangs, failing=failing)
    if found is not None:
        assert level is found
    elif by_use is CRITICAL:
        assert level is CRITICAL
    elif hangs or failing:
        assert level.value == ("unresponsive" if hangs else "failing")
    else:
        assert level is by_use


@pytest.mark.parametrize(
    ("code", "blamed"),
    [(code, True) for code in (errno.EIO, errno.EROFS, errno.ENODEV, errno.ESTALE, None)]
    + [(code, False) for code in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENOENT)],
)
def test_errors_of_the_disk_are_told_from_others(code: int | None, blamed: bool) -> None:
    """Want of room, of descriptors or of a folder does not mean that the disk fails."""
    assert blames_volume(OSError(code, "words")) is blamed


CODES = {
    "low": -1008,
    "blocked": -1010,
    "critical": -1010,
    "missing": -1014,
    "read_only": -1015,
    "unresponsive": -1016,
    "no_inodes": -1017,
    "failing": -1018,
}


@pytest.mark.parametrize("level", list(StorageLevel))
def test_every_level_but_ok_says_what_to_do(level: StorageLevel) -> None:
    """Each has its code, a message and a suggestion, and those of the finding go before."""
    notice = message_of(status(level=level))
    if level is OK:
        assert notice is None
        return
    assert notice is not None
    assert notice.kind.code == CODES[level.value]
    assert notice.message
    assert notice.suggestion
    special = message_of(status(level=level, reason="gone", suggestion="fetch it"))
    assert special is not None
    assert special.message == "gone"
    assert special.suggestion == ("fetch it" if level is not LOW else notice.suggestion)


@pytest.mark.parametrize("level", [*UNUSABLE, BLOCKED, CRITICAL])
def test_a_volume_in_problem_admits_nothing(level: StorageLevel) -> None:
    """A start is refused with the code of the level."""
    with pytest.raises(Refusal) as refused:
        admit(status(level=level), SpaceNeed(1.0, 1.0))
    assert refused.value.kind.code == CODES[level.value]


# --- admission ---


@pytest.mark.parametrize("percent", [90.0, 94.0, 95.0, 100.0])
def test_nothing_starts_at_the_block_line(percent: float) -> None:
    """At blocked and above a start is refused as -1010, with the facts."""
    with pytest.raises(Refusal) as refused:
        admit(status(percent), SpaceNeed(1.0, 1.0))
    assert refused.value.kind is STORAGE_CRITICAL
    assert refused.value.kind.code == -1010
    assert refused.value.details["usage_percent"] == percent


def test_a_held_block_refuses_too() -> None:
    """Below the line, but not yet by the hysteresis, blocked still refuses."""
    with pytest.raises(Refusal) as refused:
        admit(status(89.5, level=BLOCKED), SpaceNeed(1.0, 1.0))
    assert refused.value.kind.code == -1010


def test_what_does_not_fit_is_told_how_much_would() -> None:
    """Beyond the room below the block line the answer is -1008 and the seconds that fit."""
    volume = status(50.0)
    room = 40 * GIGA - SEAL_RESERVE_BYTES
    assert admit(volume, SpaceNeed(1e6, room / 1e6)).warnings == ()
    with pytest.raises(Refusal) as refused:
        admit(volume, SpaceNeed(1e6, room / 1e6 + 1))
    assert refused.value.kind is STORAGE_LOW
    assert refused.value.kind.code == -1008
    assert refused.value.details["fits_seconds"] == room // 1_000_000
    assert refused.value.details["available_space"] == 50 * GIGA


def test_a_low_volume_warns_and_admits() -> None:
    """At low a start is allowed, and its answer says how full the volume is."""
    (warning,) = admit(status(85.25), SpaceNeed(1e6, 60)).warnings
    assert "85.2" in warning


def test_an_open_end_needs_room_for_a_minute_only() -> None:
    """Nobody asked for the whole interval until the next file: a minute is enough, however long
    a file may be, and what fits is told in a warning; less than a minute is refused as -1010."""
    volume = status(50.0)
    room = room_below_block(volume)
    fits_13_minutes = room / 780.5
    admission = admit(volume, SpaceNeed(fits_13_minutes, None, file_seconds=86_400.0))
    assert admission.fits_seconds == 780
    assert admission.warnings == (
        "There is room for about 13 min of this recording until 90 % of the storage volume are "
        "used",
    )
    assert admit(volume, SpaceNeed(room / 60, None)).fits_seconds in (59, 60)
    with pytest.raises(Refusal) as refused:
        admit(volume, SpaceNeed(room / 59.5, None))
    assert refused.value.kind is STORAGE_CRITICAL
    assert refused.value.details["fits_seconds"] == 59
    with pytest.raises(Refusal) as refused:
        admit(volume, SpaceNeed(fits_13_minutes, 3600.0))
    assert refused.value.kind is STORAGE_LOW
    assert refused.value.details["fits_seconds"] == 780


@pytest.mark.parametrize(
    ("fits", "file_seconds", "words"),
    [
        (3599.5, 1800.0, "59 min"),
        (3600.5, 1800.0, None),  # enough for now
        (7300.0, 7200.0, None),
        (7100.0, 7200.0, "118 min"),  # not even one file
        (9000.0, 86_400.0, "2 h 30 min"),
        (100.0, 1800.0, "100 s"),
    ],
)
def test_an_open_end_warns_when_little_fits(
    fits: float, file_seconds: float, words: str | None
) -> None:
    """Less than an hour, or than one file, is told; a volume that is low says both."""
    for percent in (50.0, 85.0):
        volume = status(percent)
        need = SpaceNeed(room_below_block(volume) / fits, None, file_seconds=file_seconds)
        warnings = admit(volume, need).warnings
        assert [("room for" in each) for each in warnings] == (
            [False] * (percent > 80) + [True] * (words is not None)
        )
        assert words is None or f"about {words} of" in warnings[-1]


def test_what_fits_leaves_room_for_what_came_before() -> None:
    """The seconds that would fit are a duration: pre-roll comes on top of it."""
    volume = status(50.0)
    rate = room_below_block(volume) / 100.5
    with pytest.raises(Refusal) as refused:
        admit(volume, SpaceNeed(rate, 95.0, preroll_seconds=10.0))
    fits = refused.value.details["fits_seconds"]
    assert fits == 90
    assert admit(volume, SpaceNeed(rate, fits, preroll_seconds=10.0)).fits_seconds == 90


def test_promises_to_others_count_as_used() -> None:
    """Space that is reserved is not reserved again."""
    volume = status(50.0, promised_bytes=39 * GIGA)
    assert room_below_block(volume) == GIGA - SEAL_RESERVE_BYTES
    with pytest.raises(Refusal) as refused:
        admit(volume, SpaceNeed(1e6, 1000))
    assert refused.value.details["fits_seconds"] == 991


@given(
    total=st.integers(0, 10**14),
    percent=st.floats(0, 100),
    block=st.floats(2, 95),
    requests=st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e6)), max_size=20),
)
def test_promises_never_cross_the_block_line(
    total: int, percent: float, block: float, requests: list[tuple[float, float]]
) -> None:
    """However many are admitted, what is used and reserved stays below the block line; whoever
    is refused for room is told a time that would have been admitted."""
    volume = status(percent, total, block_percent=block, level=OK)
    reserved = 0.0
    for rate, seconds in requests:
        now = attrs.evolve(volume, promised_bytes=int(reserved))
        try:
            admit(now, SpaceNeed(rate, seconds))
        except Refusal as refusal:
            fits = refusal.details["fits_seconds"]
            assert 0 <= fits <= seconds
            admit(now, SpaceNeed(rate, fits * (1 - 1e-12)))
        else:
            reserved += rate * seconds
            line = total * block / 100
            assert rate * seconds == 0 or volume.used_bytes + reserved <= line


# --- forecast ---


@given(st.floats(0, 100), st.floats(1e3, 1e9))
def test_the_forecast_is_the_way_to_the_line_over_the_rate(percent: float, rate: float) -> None:
    """Seconds until blocked shrink to 0 at the line and never go below."""
    volume = status(percent, write_rate=rate)
    seconds = seconds_until_blocked(volume)
    left = max(0.0, 90 * GIGA - volume.used_bytes)
    assert seconds == pytest.approx(left / rate, abs=0.05 + 1e-6)  # a tenth, rounded, ties too


@given(st.floats(max_value=0, allow_infinity=False))
def test_without_writing_there_is_no_forecast(rate: float) -> None:
    """Nothing is forecast while nothing is written."""
    assume(rate <= 0)
    assert seconds_until_blocked(status(50.0, write_rate=rate)) is None
