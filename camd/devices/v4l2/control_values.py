"""Converts control names and values from what people write to what drivers take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from camd.model import Control, ControlKind

T = TypeVar("T")

RequestedValue = bool | int | str  # from a client or the configuration

# Linux 5.16 renamed controls of UVC cameras (drivers/media/usb/uvc/uvc_ctrl.c uses the names of
# v4l2-ctrls-defs.c since then). Either name finds the control, whatever the kernel is.
_NEWER_NAMES = {
    "exposure_auto": "auto_exposure",
    "exposure_absolute": "exposure_time_absolute",
    "exposure_auto_priority": "exposure_dynamic_framerate",
    "white_balance_temperature_auto": "white_balance_automatic",
    "white_balance_component_auto": "white_balance_automatic",
    "focus_auto": "focus_automatic_continuous",
    "gain_auto": "gain_automatic",
    "autogain": "gain_automatic",
    "hue_auto": "hue_automatic",
    "brightness_auto": "brightness_automatic",
    "backlight_compensation_auto": "backlight_compensation_automatic",
}
_ON, _OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0")
_MOST_SHOWN = 40  # names in a message


def variable_name(label: str) -> str:
    """Return a label's name as v4l2-ctl writes it: exposure_time_absolute."""
    return "_".join(re.findall("[a-z0-9]+", label.lower()))


def canonical_name(name: str) -> str:
    """Return the newer of a control's two names."""
    plain = variable_name(name)
    return _NEWER_NAMES.get(plain, plain)


def find_control(controls: Iterable[Control], name: str) -> Control:
    """Find a control by its older or newer name, or its label.

    Raises ValueError with the names of all controls.
    """
    controls = tuple(controls)
    plain = variable_name(name)
    for wanted in (
        lambda c: c.name == plain,
        lambda c: canonical_name(c.name) == canonical_name(plain),
    ):
        for control in controls:
            if wanted(control):
                return control
    names = [control.name for control in controls]
    shown = ", ".join(names[:_MOST_SHOWN]) + (", …" if len(names) > _MOST_SHOWN else "")
    raise ValueError(f"is no control of this camera; it has {shown or 'none'}")


def modes_first(values: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    """Sort values by name: automatic modes first, since they make other controls inactive."""
    return sorted(values, key=lambda value: not _is_mode(value[0]))


def _is_mode(name: str) -> bool:
    words = canonical_name(name).split("_")
    return any(word.startswith("auto") for word in words) or words[-1] == "framerate"


def driver_value(control: Control, given: RequestedValue) -> int | str:
    """Convert a requested value to the driver's.

    Raises ValueError with a message that says what is possible.
    """
    match control.kind:
        case ControlKind.BOOLEAN:
            return _switch(given)
        case ControlKind.MENU:
            return _choice(control.choices, given)
        case ControlKind.BUTTON:
            return 1
        case ControlKind.STRING:
            return _words(control, given)
        case ControlKind.BITMASK:
            return _bits(control, given)
        case ControlKind.INTEGER:
            return _number(control, given)


def possible(control: Control) -> str:
    """Describe the values that a control can have."""
    match control.kind:
        case ControlKind.BOOLEAN:
            return "on or off"
        case ControlKind.MENU:
            return "one of " + ", ".join(f"{value} ({label})" for value, label in control.choices)
        case ControlKind.BUTTON:
            return "anything: it is a button"
        case ControlKind.STRING:
            return f"text of {control.minimum} to {control.maximum} bytes"
        case ControlKind.BITMASK:
            return f"bits within {control.maximum:#x}"
        case ControlKind.INTEGER:
            steps = f" in steps of {control.step}" if control.step > 1 else ""
            return f"a whole number from {control.minimum} to {control.maximum}{steps}"


def _switch(given: RequestedValue) -> int:
    word = str(given).strip().lower()
    if word in _ON:
        return 1
    if word in _OFF:
        return 0
    raise ValueError(f"must be on or off, not {given!r}")


def _choice(choices: Sequence[tuple[int, str]], given: RequestedValue) -> int:
    """Find a menu entry by number, label, or the first words of exactly one label."""
    number = _whole(given)
    if number is not None and number in dict(choices):
        return number
    if isinstance(given, str) and (word := variable_name(given)):
        exact = [value for value, label in choices if variable_name(label) == word]
        begun = [v for v, label in choices if variable_name(label).startswith(f"{word}_")]
        if exact or len(begun) == 1:
            return (exact or begun)[0]
    shown = ", ".join(f"{value} ({label})" for value, label in choices)
    raise ValueError(f"must be one of {shown}, not {given!r}")


def _number(control: Control, given: RequestedValue) -> int:
    number = _whole(given)
    outside = number is None or not control.minimum <= number <= control.maximum
    if number is None or outside or _uneven(control, number):
        raise ValueError(f"must be {possible(control)}, not {given!r}")
    return number


def _uneven(control: Control, number: int) -> bool:
    """Tell whether a number is between two steps."""
    return control.step > 1 and (number - control.minimum) % control.step != 0


def _bits(control: Control, given: RequestedValue) -> int:
    number = _whole(given)
    if number is not None and number >= 0 and not number & ~(control.maximum & 0xFFFFFFFF):
        return number
    raise ValueError(f"must be {possible(control)}, not {given!r}")


def _words(control: Control, given: RequestedValue) -> str:
    text = given if isinstance(given, str) else str(int(given))
    size = len(text.encode())
    fits = control.minimum <= size <= control.maximum and not _uneven(control, size)
    if "\0" in text or not fits:
        raise ValueError(f"must be {possible(control)}, not {given!r}")
    return text


def _whole(given: RequestedValue) -> int | None:
    """Parse a whole number, also as text ("50", "-3", "0x1f"); None for anything else."""
    if isinstance(given, bool):
        return None
    if isinstance(given, int):
        return given
    text = given.strip()
    if re.fullmatch(r"[+-]?[0-9]{1,19}", text):
        return int(text)
    return int(text, 16) if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text) else None
