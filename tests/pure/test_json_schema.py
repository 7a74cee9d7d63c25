"""The comparison of answers with their schemas notices what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from json_schema import differences

GAP = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TIME = {"type": "string", "format": "date-time"}
MAYBE = {"anyOf": [{"$ref": "#/components/schemas/Gap"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("schema", "value", "wrong"),
    [
        (GAP, {"a": 1}, 0),
        (GAP, {}, 1),
        (GAP, {"a": "1"}, 1),
        (GAP, {"a": True}, 1),
        (GAP, {"a": 1, "b": 2}, 1),
        (GAP, [], 1),
        ({"type": "number"}, 1, 0),
        ({"type": "integer"}, 1.5, 1),
        ({"type": "object"}, {"any": "thing"}, 0),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": 1}, 1),
        ({"type": "array", "items": GAP}, [{"a": 1}, {}], 1),
        ({"enum": ["x"], "type": "string"}, "y", 1),
        ({"enum": ["x"], "type": "string"}, "x", 0),
        (TIME, "2026-01-15T14:30:00Z", 0),
        (TIME, "2026-01-15T14:30:00+00:00", 1),
        (MAYBE, None, 0),
        (MAYBE, {"a": 1}, 0),
        (MAYBE, {"a": "1"}, 1),
        ({}, object(), 0),
    ],
)
def test_a_value_that_differs_from_its_schema_is_noticed(
    schema: Any, value: Any, wrong: int
) -> None:
    """Missing and undescribed members, other types and other values are differences."""
    assert len(list(differences(value, schema, {"Gap": GAP}))) == wrong


def test_a_keyword_that_is_not_checked_is_noticed() -> None:
    """So that no part of a schema is passed over."""
    with pytest.raises(AssertionError, match="uniqueItems"):
        list(differences([], {"uniqueItems": True}, {}))
