"""The OpenRPC document (spec.open-rpc.org, 1.3.2), made from the registry alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import msgspec

from camd import __version__
from camd.errors import TABLE
from camd.rpc.registry import Caller, Method, NoParams, Registry, method, methods_of
from camd.rpc.roles import Role

_REFERENCE = "#/components/schemas/{name}"


@attrs.define(eq=False)
class DiscoveryApi:
    """Describes the methods of all API objects, and its own."""

    _apis: tuple[object, ...]
    _document: msgspec.Raw = attrs.field(init=False, repr=False)  # JSON

    def __attrs_post_init__(self) -> None:
        described = [found for api in (*self._apis, self) for found in methods_of(api)]
        listed = sorted(described, key=lambda found: found.name)
        text = msgspec.json.encode(document(listed, title="camd", version=__version__))
        self._document = msgspec.Raw(text)

    @method(role=Role.VIEWER, immediate=True, name="rpc.discover")
    async def discover(self, caller: Caller, params: NoParams) -> msgspec.Raw:
        """Describe all methods, their parameters and errors as an OpenRPC document."""
        return self._document


def registry_with_discovery(apis: tuple[object, ...]) -> Registry:
    """Collect the methods of API objects, and the method that describes them all."""
    return Registry((*apis, DiscoveryApi(apis)))


def document(methods: Iterable[Method], *, title: str, version: str) -> dict[str, Any]:
    """Describe all methods, their parameters and all errors."""
    listed = tuple(methods)
    types = [field.type for method in listed for field in fields_of(method)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    remaining = iter(schemas)
    return {
        "openrpc": "1.3.2",
        "info": {"title": title, "version": version},
        "methods": [_method(method, remaining) for method in listed],
        "components": {
            "schemas": components,
            "errors": {kind.name: {"code": kind.code, "message": kind.message} for kind in TABLE},
        },
    }


def fields_of(method: Method) -> tuple[Any, ...]:
    """List the attrs fields of the method's parameters, with resolved types."""
    return tuple(attrs.fields(attrs.resolve_types(method.params)))


def _method(method: Method, schemas: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"name": method.name, "summary": method.summary}
    if method.description:
        described["description"] = method.description
    return described | {
        "paramStructure": "by-name",
        "params": [_param(field, next(schemas)) for field in fields_of(method)],
        "result": {"name": "result", "schema": {}},
        "x-role": method.role.value,
    }


def _param(field: Any, schema: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": field.metadata.get("name", field.name),
        "required": field.default is attrs.NOTHING,
        "schema": schema,
    }
    aliases = field.metadata.get("aliases", ())
    if aliases:
        described["x-aliases"] = list(aliases)
    if "help" in field.metadata:
        described["description"] = field.metadata["help"]
    return described
