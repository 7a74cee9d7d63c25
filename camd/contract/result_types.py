"""How results are declared: what a field means, its name on the wire, what a list answers."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import attrs
import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]


def doc(text: str) -> msgspec.Meta:
    """Say what a field means, where its name does not."""
    return msgspec.Meta(description=text)


def one_of(*values: str) -> msgspec.Meta:
    """List the values of a text; a client accepts those of a newer service, too."""
    return msgspec.Meta(extra_json_schema={"enum": list(values)})


def wire_name(field: attrs.Attribute[Any]) -> str:
    """Return the name of a field in JSON; another one where Python does not allow it."""
    name: str = field.metadata.get("name", field.name)
    return name


def classes_in(kind: object) -> Iterator[type]:
    """Yield the attrs classes that a type is made of, each before those of its fields."""
    seen: set[type] = set()
    yield from _classes_in(kind, seen)


def _classes_in(kind: object, seen: set[type]) -> Iterator[type]:
    if isinstance(kind, type) and attrs.has(kind) and kind not in seen:
        seen.add(kind)
        yield kind
        for part in typing.get_type_hints(kind).values():
            yield from _classes_in(part, seen)
    for part in typing.get_args(kind):
        yield from _classes_in(part, seen)


@attrs.frozen(kw_only=True)
class ListPage:
    """Which part of a list an answer holds."""

    total: int
    limit: Annotated[int, doc("as asked for")]
    offset: Annotated[int, doc("how many come before this page")]


@attrs.frozen(kw_only=True)
class ProblemFields:
    """What is wrong; the fields are absent while nothing is."""

    cause: Annotated[str | None, doc("see faults.md")] = None
    message: Annotated[str | None, doc("for people")] = None
    suggestion: Annotated[str | None, doc("what to do")] = None
