"""The client library has a typed call for each method of the service, with all its parameters."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from test_docs import REGISTRY

import camd.client
from camd.client import Client
from camd.client.service_connection import ServiceAddress
from camd.contract.result_types import classes_in, wire_name
from camd.rpc.openrpc import fields_of

WITHOUT_CALL = {
    "subscribe_events": "`Client.events` makes it, on a connection of its own",
    "unsubscribe_events": "an `EventStream` is closed instead",
    "get_status": "`get_system_status` answers the same, and every role may call it",
}
NO_CALLS = {"call", "download_export", "next_notification", "still"}  # of no method, or pages
WITHOUT_PARAMETER = {
    "start_recording": {"duration_seconds", "duration_minutes", "duration_hours"},  # `duration`
    "list_snapshots": {"session_id"},  # they belong to none
}
# What a call returns in place of the whole result.
RETURNS = {"ping": type(None), "get_camera_list": tuple[camd.client.CameraInfo, ...]}

EXAMPLES: dict[Any, object] = {
    str: "x",
    int: 1,
    float: 1.5,
    bool: True,
    datetime: datetime(2026, 1, 2, tzinfo=UTC),
    Iterable[str]: ["recording"],
}


def example(hint: Any) -> object:
    """Return a value of a parameter's type; of several types, one of the first."""
    if isinstance(hint, types.UnionType):
        return example(typing.get_args(hint)[0])
    return EXAMPLES[hint]


class AskedError(Exception):
    """A call was made."""


@attrs.define(eq=False)
class AskedClient(Client):
    """Connects to nothing; raises what a call would send."""

    async def call(self, method: str, /, **params: object) -> Any:
        """Say what was called."""
        raise AskedError(method, params)


async def asked(name: str, *, everything: bool) -> tuple[str, dict[str, Any]]:
    """Return method and parameters that a call of the library sends."""
    client = AskedClient(ServiceAddress("ws://host/ws"), reconnect=False, timeout=None)
    call = getattr(client, name)
    hints = typing.get_type_hints(call)
    given: dict[str, Any] = {}
    for parameter in inspect.signature(call).parameters.values():
        hint = hints[parameter.name]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:  # optional ones, of a TypedDict
            options = typing.get_type_hints(typing.get_args(hint)[0])
            given |= {name: example(each) for name, each in options.items() if everything}
        elif everything or parameter.default is inspect.Parameter.empty:
            given[parameter.name] = example(hint)
    with pytest.raises(AskedError) as caught:
        await call(**given)
    return caught.value.args[0], caught.value.args[1]


CALLS = [
    name
    for name, _ in inspect.getmembers_static(Client, inspect.iscoroutinefunction)
    if not name.startswith("_") and name not in NO_CALLS
]
METHODS = {method.name: method for method in REGISTRY.methods}


async def test_every_method_has_a_call() -> None:
    """A new method needs a call in `camd/client/client.py`, or a reason above."""
    called = {(await asked(name, everything=False))[0] for name in CALLS}
    assert METHODS.keys() - called == WITHOUT_CALL.keys()
    assert called <= METHODS.keys()


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_sends_the_parameters_of_its_method(name: str) -> None:
    """All of them, where they are given; no other one, and without them, none that is null."""
    method, params = await asked(name, everything=True)
    fields = fields_of(METHODS[method])
    known = {wire_name(field) for field in fields}
    assert params.keys() == known - WITHOUT_PARAMETER.get(method, set())
    _, few = await asked(name, everything=False)
    needed = {wire_name(field) for field in fields if field.default is attrs.NOTHING}
    assert few.keys() == needed


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_returns_the_declared_result(name: str) -> None:
    """Its type is that of the OpenRPC document."""
    method, _ = await asked(name, everything=False)
    returned = typing.get_type_hints(getattr(Client, name))["return"]
    assert returned == RETURNS.get(method, METHODS[method].result)


def test_the_classes_of_results_can_be_imported_from_the_library() -> None:
    """Programs name them in their own annotations."""
    returned = [typing.get_type_hints(getattr(Client, name))["return"] for name in CALLS]
    missing = {
        found.__name__
        for kind in returned
        for found in classes_in(kind)
        if getattr(camd.client, found.__name__, None) is not found
    }
    assert missing == set()
