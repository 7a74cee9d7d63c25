"""Control names and values: from what people write to what a driver takes."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.devices.v4l2.control_values import (
    canonical_name,
    driver_value,
    find_control,
    modes_first,
    possible,
    variable_name,
)
from camd.model import Control, ControlKind


def control(kind: ControlKind, label: str = "Gain", **facts: object) -> Control:
    """Make a control from 0 to 255 with the default 128."""
    made = Control(1, variable_name(label), label, kind, 0, 255, 1, 128, 128)
    return attrs.evolve(made, **facts)


EXPOSURE = control(
    ControlKind.MENU,
    "Auto Exposure",
    choices=((0, "Auto Mode"), (1, "Manual Mode"), (3, "Aperture Priority Mode")),
)
LINES = control(
    ControlKind.MENU,
    "Power Line Frequency",
    choices=((0, "Disabled"), (1, "50 Hz"), (2, "60 Hz"), (3, "Auto")),
)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Exposure Time, Absolute", "exposure_time_absolute"),
        ("White Balance Temperature", "white_balance_temperature"),
        ("Y'CbCr Encoding", "y_cbcr_encoding"),
        ("Limited RGB Range (16-235)", "limited_rgb_range_16_235"),
        ("  LED1 Mode ", "led1_mode"),
        ("ß", ""),
    ],
)
def test_names_are_those_of_v4l2_ctl(label: str, name: str) -> None:
    """Lower-case ASCII letters and digits, and one underscore for all between them."""
    assert variable_name(label) == name


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("exposure_auto", "auto_exposure"),
        ("exposure_absolute", "exposure_time_absolute"),
        ("exposure_auto_priority", "exposure_dynamic_framerate"),
        ("white_balance_temperature_auto", "white_balance_automatic"),
        ("focus_auto", "focus_automatic_continuous"),
    ],
)
def test_older_and_newer_names_find_the_same_control(older: str, newer: str) -> None:
    """Either name works, whichever of the two the kernel uses."""
    for of_the_kernel in (older, newer):
        there = control(ControlKind.INTEGER, of_the_kernel)
        for asked in (older, newer):
            assert find_control([control(ControlKind.INTEGER), there], asked) is there
    assert canonical_name(older) == canonical_name(newer) == newer


def test_a_control_is_found_by_its_label() -> None:
    """An unknown name is refused with the names that exist."""
    assert find_control([LINES, EXPOSURE], "Auto Exposure") is EXPOSURE
    with pytest.raises(ValueError, match="it has power_line_frequency, auto_exposure"):
        find_control([LINES, EXPOSURE], "focus_absolute")
    with pytest.raises(ValueError, match="it has none"):
        find_control([], "gain")


def test_an_exact_name_comes_before_an_alias() -> None:
    """Where a camera has controls of both names, each name finds its own control."""
    older = control(ControlKind.INTEGER, "autogain")
    newer = control(ControlKind.INTEGER, "gain_automatic")
    assert find_control([older, newer], "gain_automatic") is newer
    assert find_control([newer, older], "autogain") is older


@pytest.mark.parametrize(
    ("one", "given_", "value"),
    [
        (control(ControlKind.BOOLEAN), True, 1),
        (control(ControlKind.BOOLEAN), "off", 0),
        (control(ControlKind.BOOLEAN), "ON", 1),
        (control(ControlKind.BOOLEAN), 1, 1),
        (control(ControlKind.INTEGER), 255, 255),
        (control(ControlKind.INTEGER), " 12 ", 12),
        (control(ControlKind.INTEGER, minimum=-10), "-3", -3),
        (control(ControlKind.INTEGER, step=10), 250, 250),
        (control(ControlKind.INTEGER, minimum=5, step=10), 15, 15),
        (control(ControlKind.BITMASK, step=0), "0x81", 0x81),
        (control(ControlKind.BITMASK, maximum=-1), 0xFFFFFFFF, 0xFFFFFFFF),
        (control(ControlKind.BUTTON), "press", 1),
        (control(ControlKind.STRING, minimum=2, maximum=4), "abc", "abc"),
        (control(ControlKind.STRING, maximum=4), 12, "12"),
        (LINES, 2, 2),
        (LINES, "1", 1),
        (LINES, "50 Hz", 1),
        (LINES, "50 hz", 1),
        (LINES, "60", 2),
        (LINES, "auto", 3),
        (EXPOSURE, "manual", 1),
        (EXPOSURE, "Aperture Priority Mode", 3),
        (EXPOSURE, "aperture_priority", 3),
    ],
)
def test_requested_values_are_converted(
    one: Control, given_: bool | int | str, value: int | str
) -> None:
    """Numbers as text, labels in any case, and first words of exactly one label are accepted."""
    assert driver_value(one, given_) == value


@pytest.mark.parametrize(
    ("one", "given_", "sentence"),
    [
        (control(ControlKind.BOOLEAN), "maybe", "must be on or off, not 'maybe'"),
        (control(ControlKind.BOOLEAN), 2, "must be on or off, not 2"),
        (control(ControlKind.INTEGER), 256, "a whole number from 0 to 255, not 256"),
        (control(ControlKind.INTEGER), -1, "a whole number from 0 to 255, not -1"),
        (control(ControlKind.INTEGER, step=10), 255, "in steps of 10, not 255"),
        (control(ControlKind.INTEGER), True, "a whole number from 0 to 255, not True"),
        (control(ControlKind.INTEGER), "12.5", "a whole number"),
        (control(ControlKind.BITMASK, maximum=0x10), 0x21, "bits within 0x10, not 33"),
        (control(ControlKind.BITMASK), -1, "bits within 0xff"),
        (control(ControlKind.STRING, maximum=4), "abcde", "text of 0 to 4 bytes"),
        (control(ControlKind.STRING), "a\0b", "text of 0 to 255 bytes"),
        (LINES, "70 Hz", "must be one of 0 (Disabled), 1 (50 Hz), 2 (60 Hz), 3 (Auto)"),
        (LINES, "5", "must be one of"),
        (LINES, "", "must be one of"),
        (LINES, True, "must be one of"),
        (EXPOSURE, 2, "0 (Auto Mode), 1 (Manual Mode), 3 (Aperture Priority Mode), not 2"),
    ],
)
def test_impossible_values_are_refused_with_what_is_possible(
    one: Control, given_: bool | int | str, sentence: str
) -> None:
    """The message has the range, step or choices, and the requested value."""
    with pytest.raises(ValueError, match=r".") as caught:
        driver_value(one, given_)
    assert sentence in str(caught.value)


def test_first_words_of_two_labels_are_refused() -> None:
    """An ambiguous label is not guessed."""
    two = control(ControlKind.MENU, choices=((1, "Fast Left"), (2, "Fast Right")))
    with pytest.raises(ValueError, match="must be one of"):
        driver_value(two, "fast")
    assert driver_value(two, "fast right") == 2


def test_automatic_modes_come_first_and_the_rest_keeps_its_order() -> None:
    """A mode that is set later would undo the controls that it governs, or make them fail."""
    names = ["exposure_absolute", "brightness", "exposure_auto", "gain", "focus_auto", "autogain"]
    assert [name for name, _ in modes_first((name, 1) for name in names)] == [
        *("exposure_auto", "focus_auto", "autogain"),
        *("exposure_absolute", "brightness", "gain"),
    ]


@given(
    st.sampled_from(ControlKind),
    st.booleans() | st.integers() | st.text(max_size=30),
    st.integers(-300, 300),
    st.integers(-300, 300),
    st.integers(0, 50),
)
def test_any_value_is_within_the_limits_or_refused(
    kind: ControlKind, request: bool | int | str, low: int, high: int, step: int
) -> None:
    """Only ValueError is raised, and no number outside the limits is returned."""
    one = control(kind, minimum=low, maximum=high, step=step, choices=LINES.choices)
    try:
        value = driver_value(one, request)
    except ValueError as error:
        said = str(error)
    else:
        assert _is_possible(one, value)
        return
    assert possible(one) in said


def _is_possible(one: Control, value: int | str) -> bool:
    match one.kind:
        case ControlKind.INTEGER:
            assert isinstance(value, int)
            steps = value - one.minimum
            return one.minimum <= value <= one.maximum and steps % max(one.step, 1) == 0
        case ControlKind.MENU:
            return value in dict(one.choices)
        case ControlKind.BOOLEAN | ControlKind.BUTTON:
            return value in (0, 1)
        case ControlKind.BITMASK:
            assert isinstance(value, int)
            return value >= 0 and value | one.maximum & 0xFFFFFFFF == one.maximum & 0xFFFFFFFF
        case ControlKind.STRING:
            assert isinstance(value, str)
            return one.minimum <= len(value.encode()) <= one.maximum
