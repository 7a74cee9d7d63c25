"""Read answers as values of `camd.contract`. A test compares each with those of a real daemon.

Fields that a newer service adds are ignored; those that an answer may lack have defaults.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import attrs
import msgspec

from camd.contract.result_types import classes_in, wire_name

T = TypeVar("T")


class UnreadableAnswerError(Exception):
    """An answer of the service is not what this client knows."""


def read_result(kind: type[T], answer: object) -> T:
    """Make a value of an answer. Raises UnreadableAnswerError, which names the field."""
    wanted: Any = kind  # a class, or a type such as tuple[StreamInfo, ...]
    try:
        return msgspec.convert(_renamed(answer, _other_names(wanted)), kind)
    except msgspec.ValidationError as error:
        name = getattr(wanted, "__name__", wanted)
        raise UnreadableAnswerError(f"{name}: {error}") from error


@cache
def _other_names(kind: Any) -> dict[str, str]:
    """Return the names of fields that have another one on the wire, by that name."""
    fields = [field for found in classes_in(kind) for field in attrs.fields(found)]
    return {wire_name(each): each.name for each in fields if wire_name(each) != each.name}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if not names:
        return value
    if isinstance(value, dict):
        return {names.get(name, name): _renamed(each, names) for name, each in value.items()}
    return [_renamed(each, names) for each in value] if isinstance(value, list) else value
