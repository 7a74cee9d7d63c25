"""The OpenRPC document (spec.open-rpc.org, 1.3.2), made from the registry alone."""

from __future__ import annotations

import operator
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import msgspec

from camd import __version__
from camd.contract.result_types import classes_in, wire_name
from camd.errors import TABLE
from camd.rpc.registry import (
    Caller,
    Method,
    MethodDescription,
    NoParams,
    Registry,
    method,
    methods_of,
)
from camd.rpc.roles import Role

Schema = dict[str, Any]

_GENERAL = (
    "Parameters that a method does not know are ignored; a result that is an object names them in "
    "`warnings`. Results may get further members. Times are ISO 8601 in UTC, sizes bytes, "
    "durations seconds. Every error has `data` with `retryable` and `suggestion`."
)
_REFERENCE = "#/components/schemas/{name}"


@attrs.define(eq=False)
class OpenRpcApi:
    """Describes the methods of all API objects, its own, and those outside of the registry."""

    _apis: tuple[object, ...]
    _others: tuple[MethodDescription, ...] = ()
    _notifications: Mapping[str, type] = attrs.field(factory=dict)
    _document: msgspec.Raw = attrs.field(init=False, repr=False)  # JSON

    def __attrs_post_init__(self) -> None:
        described = [found for api in (*self._apis, self) for found in methods_of(api)]
        listed = sorted((*described, *self._others), key=lambda found: found.name)
        whole = openrpc_document(
            listed, title="camd", version=__version__, notifications=self._notifications
        )
        self._document = msgspec.Raw(msgspec.json.encode(whole))

    @method(role=Role.VIEWER, result=dict[str, Any], immediate=True, name="rpc.discover")
    async def discover(self, caller: Caller, params: NoParams) -> msgspec.Raw:
        """Describe all methods, notifications and errors as an OpenRPC document."""
        return self._document


def registry_with_discovery(
    apis: tuple[object, ...],
    *,
    others: tuple[MethodDescription, ...] = (),
    notifications: Mapping[str, type] | None = None,
) -> Registry:
    """Collect the methods of API objects, and the method that describes them all.

    `others` are methods that are answered elsewhere; `notifications` have their fields by name.
    """
    return Registry((*apis, OpenRpcApi(apis, others, notifications or {})))


def openrpc_document(
    methods: Iterable[MethodDescription],
    *,
    title: str,
    version: str,
    notifications: Mapping[str, type] | None = None,
) -> Schema:
    """Describe all methods, their parameters and results, all notifications and all errors."""
    listed, sent = tuple(methods), dict(notifications or {})
    types = [part for method in listed for part in (*_types_of(method), method.result)]
    schemas, components = schemas_of((*types, *sent.values()))
    remaining = iter(schemas)
    return {
        "openrpc": "1.3.2",
        "info": {"title": title, "version": version, "description": _GENERAL},
        "methods": [_method(method, remaining) for method in listed],
        "x-notifications": [{"name": name, "schema": next(remaining)} for name in sent],
        "components": {
            "schemas": components,
            "errors": {kind.name: {"code": kind.code, "message": kind.message} for kind in TABLE},
        },
    }


def schemas_of(types: Iterable[Any]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    """Return the JSON Schema of each type, and those of the classes that they are made of."""
    listed = tuple(types)
    schemas, components = msgspec.json.schema_components(listed, ref_template=_REFERENCE)
    for found in {each for kind in listed for each in classes_in(kind)}:
        _use_wire_names(components[found.__name__], found)
    return schemas, components


def _use_wire_names(schema: Schema, kind: type) -> None:
    names = {field.name: wire_name(field) for field in attrs.fields(kind)}
    schema["properties"] = {names[name]: each for name, each in schema["properties"].items()}
    schema["required"] = [names[name] for name in schema.get("required", ())]


def fields_of(method: MethodDescription) -> tuple[Any, ...]:
    """List the attrs fields of the method's parameters, with resolved types."""
    return tuple(attrs.fields(attrs.resolve_types(method.params)))


def _types_of(method: MethodDescription) -> list[Any]:
    hints = typing.get_type_hints(method.params, include_extras=True)
    return [hints[field.name] for field in fields_of(method)]


def _method(method: MethodDescription, schemas: Any) -> Schema:
    described: Schema = {"name": method.name, "summary": method.summary}
    if method.description:
        described["description"] = method.description
    described |= {
        "paramStructure": "by-name",
        "params": [_param(field, next(schemas)) for field in fields_of(method)],
        "result": {"name": "result", "schema": next(schemas)},
    }
    return described | {"x-role": method.role.value} if isinstance(method, Method) else described


_BOUNDS: dict[Any, str] = {operator.ge: "minimum", operator.le: "maximum"}


def _bounds(validator: Any) -> Iterator[tuple[str, Any]]:
    """Read the bounds of a number or a length from the validators of attrs."""
    for each in getattr(validator, "_validators", ()):  # of `and_`
        yield from _bounds(each)
    if inner := getattr(validator, "validator", None):  # of `optional`
        yield from _bounds(inner)
    if name := _BOUNDS.get(getattr(validator, "compare_func", None)):
        yield name, validator.bound


def _param(field: Any, schema: Schema) -> Schema:
    kind = schema | dict(_bounds(field.validator))
    described: Schema = {"name": wire_name(field)}
    if "description" in kind:
        described["description"] = kind.pop("description")
    required = field.default is attrs.NOTHING
    if not required and field.default is not None:
        kind["default"] = msgspec.to_builtins(field.default)
    described |= {"required": required, "schema": kind}
    aliases = field.metadata.get("aliases", ())
    return described | {"x-aliases": list(aliases)} if aliases else described
