"""Compare values with the JSON Schemas of the OpenRPC document (the part of 2020-12 that it uses).

A member that a schema does not list is a difference, too: what is sent has to be described.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from camd.rpc.openrpc import schemas_of

Schema = Mapping[str, Any]

KNOWN = {  # keywords, those that only describe included
    *("$ref", "type", "enum", "const", "anyOf", "items", "properties", "required", "format"),
    *("additionalProperties", "title", "description", "default", "maxItems", "minItems"),
    *("minimum", "maximum"),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def differences(
    value: object, schema: Schema, components: Mapping[str, Schema], path: str = "result"
) -> Iterator[str]:
    """Say where a value is not what its schema says."""
    assert set(schema) <= KNOWN, f"{path}: {set(schema) - KNOWN} is not checked here"
    if "$ref" in schema:
        named = components[schema["$ref"].rpartition("/")[2]]
        yield from differences(value, named, components, path)
        return
    if "anyOf" in schema:
        tried = [list(differences(value, each, components, path)) for each in schema["anyOf"]]
        yield from () if [] in tried else min(tried, key=len)
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is {value!r}, not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{path} is {value!r}, not {schema['const']!r}"
    wanted = schema.get("type")
    if wanted is not None and not _has_type(value, wanted):
        yield f"{path} is {value!r}, not {wanted}"
    elif isinstance(value, dict):
        yield from _members(value, schema, components, path)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from differences(item, schema.get("items", {}), components, f"{path}[{number}]")
    elif schema.get("format") == "date-time" and not _is_utc(value):
        yield f"{path} is {value!r}, not a time"


def undescribed(kind: object, value: object) -> list[str]:
    """Say where a result, as a method returns it, is not what its declared type says.

    Any result may have `warnings`: they name parameters that were ignored.
    """
    (schema,), components = schemas_of((kind,))
    sent = msgspec.json.decode(msgspec.json.encode(value))
    found = differences(sent, schema, components)
    return [each for each in found if each != "result.warnings is not described"]


def _has_type(value: object, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _TYPES[wanted])


def _is_utc(value: object) -> bool:
    if not (isinstance(value, str) and value.endswith("Z")):
        return False
    return datetime.fromisoformat(value).utcoffset() is not None


def _members(
    value: dict[str, Any], schema: Schema, components: Mapping[str, Schema], path: str
) -> Iterator[str]:
    described = schema.get("properties")
    others = schema.get("additionalProperties", {} if described is None else None)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name} is missing"
    for name, each in value.items():
        known = (described or {}).get(name, others)
        if known is None:
            yield f"{path}.{name} is not described"
        else:
            yield from differences(each, known, components, f"{path}.{name}")
