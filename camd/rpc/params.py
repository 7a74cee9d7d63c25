"""Convert the parameters of a call to an attrs value, without coercion; errors name the parameter.

The fields of the attrs class are the parameters. A field's metadata may hold `name` (the public
name, where it is not a valid Python name) and `aliases` (further public names). Unknown parameters
are ignored and reported, since clients also send what other services expect.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs
import cattrs

from camd.errors import ParamMistake, invalid_params

_EXACT_FLOAT = 2.0**53
_MAX_NAMES = 8  # of unknown parameters in one report
_NAME_CHARACTERS = 40


@attrs.frozen
class NoParams:
    """A method without parameters."""


def _boolean(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _integer(value: object, _: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_FLOAT:
        return int(value)  # JSON has one kind of number: 7.0 is 7
    raise ValueError("must be a whole number")


def _number(value: object, _: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("is too large") from None
    raise ValueError("must be a number")


def _text(value: object, _: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("must be a string")


def _moment(value: object, _: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a time in ISO 8601, such as 2026-01-15T14:30:00Z")
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        message = "must be a time in ISO 8601, such as 2026-01-15T14:30:00Z"
        raise ValueError(message) from None


def _choice(value: object, kind: type[enum.Enum]) -> enum.Enum:
    for member in kind:
        if type(member.value) is type(value) and member.value == value:
            return member
    raise ValueError("must be one of " + ", ".join(str(member.value) for member in kind))


Hook = Callable[[Any, Any], Any]


def _list_of(kind: Any, converter: cattrs.BaseConverter) -> Hook:
    wanted = typing.get_args(kind)[0]
    build = typing.get_origin(kind) or list

    def structure(value: object, _: object) -> object:
        if not isinstance(value, list):
            raise ValueError("must be an array")
        return build(converter.structure(item, wanted) for item in value)

    return structure


def _optional(kind: Any, converter: cattrs.BaseConverter) -> Hook:
    inner = [part for part in typing.get_args(kind) if part is not type(None)]
    nullable = len(inner) < len(typing.get_args(kind))

    def structure(value: object, _: object) -> object:
        if value is None and nullable:
            return None
        problem: Exception = ValueError("must not be null")
        for part in inner:
            try:
                return converter.structure(value, part)
            except ValueError as error:
                problem = error
        raise problem

    return structure


def _strict_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True)
    hooks: dict[type, Hook] = {
        bool: _boolean,
        int: _integer,
        float: _number,
        str: _text,
        datetime: _moment,
    }
    for kind, hook in hooks.items():  # cattrs asks no predicate for these classes
        converter.register_structure_hook(kind, partial(_unless_enum, hook))
    converter.register_structure_hook_func(_is_enum, _choice)
    converter.register_structure_hook_factory(_is_list, _list_of)
    converter.register_structure_hook_factory(_is_union, _optional)
    return converter


def _unless_enum(hook: Hook, value: object, wanted: Any) -> object:
    """Call `hook`, except for an enum whose members are also strings or numbers."""
    return _choice(value, wanted) if _is_enum(wanted) else hook(value, wanted)


def _is_enum(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, enum.Enum)


def _is_list(wanted: Any) -> bool:
    origin: Any = typing.get_origin(wanted)
    return origin in (list, tuple, frozenset)


def _is_union(wanted: Any) -> bool:
    origin: Any = typing.get_origin(wanted)
    return origin in (typing.Union, types.UnionType)


_converter = _strict_converter()


@attrs.frozen
class _Field:
    name: str  # of the attribute
    argument: str  # of __init__
    public: str  # for clients
    type: Any
    required: bool


class ParamsReader:
    """Reads the parameters of one method as a value of the attrs class `kind`."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._fields: dict[str, _Field] = {}
        self._spellings: dict[str, _Field] = {}
        hints = typing.get_type_hints(kind)
        for attribute in attrs.fields(kind):
            field = _Field(
                name=attribute.name,
                argument=attribute.alias,
                public=attribute.metadata.get("name", attribute.name),
                type=hints[attribute.name],
                required=attribute.default is attrs.NOTHING,
            )
            self._fields[field.name] = field
            for spelling in (field.public, *attribute.metadata.get("aliases", ())):
                if spelling in self._spellings:
                    raise ValueError(f"{kind.__name__}: {spelling} names two parameters")
                self._spellings[spelling] = field
        self._empty = None if any(f.required for f in self._fields.values()) else kind()

    def unknown(self, params: Mapping[str, object]) -> tuple[str, ...]:
        """List the unknown parameters (see `unknown_names`)."""
        return unknown_names(params, self._spellings) if params else ()

    def read(self, params: Mapping[str, object]) -> object:
        """Give the parameters as a value of `kind`, without unknown ones. Raises Refusal."""
        if not params and self._empty is not None:
            return self._empty
        errors: list[ParamMistake] = []
        values: dict[str, Any] = {}
        spelled: dict[str, str] = {}  # attribute -> the name that the client used
        for spelling, raw in params.items():
            self._take(spelling, raw, values, spelled, errors)
        errors.extend(
            ParamMistake(field.public, "is required")
            for field in self._fields.values()
            if field.required and field.name not in spelled
        )
        if not errors:
            try:
                return self._kind(**{self._fields[n].argument: v for n, v in values.items()})
            except (ValueError, TypeError) as error:  # raised by a validator
                errors.append(self._validation_error(error, spelled))
        raise invalid_params(*errors)

    def _take(
        self,
        spelling: str,
        raw: object,
        values: dict[str, Any],
        spelled: dict[str, str],
        errors: list[ParamMistake],
    ) -> None:
        field = self._spellings.get(spelling)
        if field is None:
            return
        earlier = spelled.setdefault(field.name, spelling)
        try:
            value = _converter.structure(raw, field.type)
        except (ValueError, TypeError, KeyError) as error:
            errors.append(ParamMistake(spelling, _message_of(error)))
            return
        if earlier != spelling and values.get(field.name, value) != value:
            errors.append(ParamMistake(spelling, f"contradicts {earlier}"))
        values[field.name] = value

    def _validation_error(self, error: Exception, spelled: dict[str, str]) -> ParamMistake:
        """Find the field to which the message of an attrs validator belongs."""
        text = _message_of(error)
        for part in error.args[1:]:
            if isinstance(part, attrs.Attribute):
                return ParamMistake(spelled.get(part.name, part.name), text)
        for name, field in self._fields.items():
            if text.startswith(f"'{name}' "):
                public = spelled.get(name, field.public)
                return ParamMistake(public, text.removeprefix(f"'{name}' "))
        return ParamMistake("", text)


def unknown_names(params: Mapping[str, object], known: Container[str]) -> tuple[str, ...]:
    """List names of `params` that are not in `known`: at most eight, shortened and escaped."""
    names = [name for name in params if name not in known]
    shown = [printable(name, _NAME_CHARACTERS) for name in names[:_MAX_NAMES]]
    if len(names) > _MAX_NAMES:
        shown.append(f"and {len(names) - _MAX_NAMES} more")
    return tuple(shown)


def with_warnings(result: object, unknown: tuple[str, ...]) -> object:
    """Add a warning for each ignored parameter to a result that is an object."""
    if not unknown or not isinstance(result, dict):
        return result
    added = [f"unknown parameter, ignored: {name}" for name in unknown]
    return {**result, "warnings": [*result.get("warnings", ()), *added]}


def printable(text: str, most: int) -> str:
    """Shorten text from a client to `most` characters and escape what is not printable."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:most])
    return shown if len(text) <= most else shown + "…"


def _message_of(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"needs {error.args[0]}"
    return str(error.args[0]) if error.args else type(error).__name__
