"""JSON-RPC 2.0: the examples of its specification, and any mixture of calls and batches."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import attrs
import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_server import Peer, serving, token
from trio.testing import MockClock

from camd.rpc.registry import Caller, NoParams, Registry, method
from camd.rpc.roles import Role


@attrs.frozen
class Subtraction:
    minuend: int
    subtrahend: int


@attrs.frozen
class Anything:
    """Whatever it is called with."""


class ExampleMethods:
    """The methods of the examples (https://www.jsonrpc.org/specification#examples)."""

    @method(role=Role.VIEWER)
    async def subtract(self, caller: Caller, params: Subtraction) -> object:
        """Subtract."""
        return params.minuend - params.subtrahend

    @method(role=Role.VIEWER, immediate=True)
    async def update(self, caller: Caller, params: Anything) -> object:
        """Do nothing."""
        return None

    @method(role=Role.VIEWER)
    async def notify_hello(self, caller: Caller, params: Anything) -> object:
        """Do nothing."""
        return None

    @method(role=Role.VIEWER)
    async def get_data(self, caller: Caller, params: NoParams) -> object:
        """Return a text and a number."""
        return ["hello", 5]


EXAMPLES = Registry([ExampleMethods()])


def error(code: int, id_: object) -> tuple[object, object]:
    return id_, code


def result(value: object, id_: object) -> tuple[object, object]:
    return id_, json.dumps(value)


def seen(answer: dict[str, Any]) -> tuple[object, object]:
    """What is compared of an answer; texts of errors are the service's own."""
    assert answer["jsonrpc"] == "2.0"
    assert ("result" in answer) != ("error" in answer)
    if "error" in answer:
        assert isinstance(answer["error"]["message"], str)
        return answer["id"], answer["error"]["code"]
    return answer["id"], json.dumps(answer["result"])


# The text that is sent, and what comes: one answer, a list of them, or nothing. Where the
# specification gives parameters by position, this service says that it takes them by name.
CASES = {
    "positional parameters": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
        error(-32602, 1),
    ),
    "named parameters": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42},'
        ' "id": 3}',
        result(19, 3),
    ),
    "named parameters in another order": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23},'
        ' "id": 4}',
        result(19, 4),
    ),
    "notification": ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    "notification of an unknown method": ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    "unknown method": (
        '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
        error(-32601, "1"),
    ),
    "invalid JSON": (
        '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
        error(-32700, None),
    ),
    "invalid request": (
        '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
        error(-32600, None),
    ),
    "batch with invalid JSON": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
        '{"jsonrpc": "2.0", "method"]',
        error(-32700, None),
    ),
    "empty batch": ("[]", error(-32600, None)),
    "invalid batch": ("[1]", [error(-32600, None)]),
    "invalid batch of three": ("[1,2,3]", [error(-32600, None)] * 3),
    "batch": (
        """[
        {"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 7, "subtrahend": 4},
         "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": {}},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
        ]""",
        [
            result(3, "1"),
            error(-32602, "2"),
            error(-32600, None),
            error(-32601, "5"),
            result(["hello", 5], "9"),
        ],
    ),
    "batch of notifications": (
        '[{"jsonrpc": "2.0", "method": "notify_sum", "params": {}},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": {}}]',
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_examples_of_the_specification(autojump_clock: MockClock, name: str) -> None:
    """Each example gets the answer that the specification gives; batches in any order."""
    sent, wanted = CASES[name]
    async with serving(registry=EXAMPLES) as running, running.peer() as peer:
        await peer.socket.send(sent)
        answer = None if wanted is None else await peer.receive()
        if isinstance(answer, list):
            assert Counter(map(seen, answer)) == Counter(wanted)
        else:
            assert (answer and seen(answer)) == wanted
        await trio.sleep(10)  # of the test's own clock: nothing follows
        assert (await peer.call("get_data"))["result"] == ["hello", 5]


# --- Any mixture.

METHODS = ("ping", "wait", "crash", "refuse", "rule", "unknown_to_json", "work", "none", "")
params = st.sampled_from(
    [
        *({}, [], None, [1], "text", 7, {"seconds": 0.5}, {"seconds": "soon"}, {"about": "x"}),
        *({"seconds": 0, "unknown": [[]]}, {"auth_token": 5}),
    ]
)
calls = st.fixed_dictionaries(
    {"method": st.one_of(st.sampled_from(METHODS), st.sampled_from([1, None, []]))},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "2.0", "2.0", "1.0", 2]),
        "params": params,
        "id": st.booleans(),  # in its place comes an id that no other call has
        "further": st.just({"a": 1}),
    },
)
messages = st.lists(
    st.one_of(calls, st.lists(st.one_of(calls, st.sampled_from([1, "x", None, []])), max_size=6)),
    max_size=8,
)


def with_ids(parts: list[Any], kinds: list[Any]) -> list[Any]:
    """Give each call that has an id one of its own: a number, a text, or a large number."""
    number = 0

    def identified(part: Any) -> Any:
        nonlocal number
        if isinstance(part, list):
            return [identified(each) for each in part]
        if isinstance(part, dict) and "id" in part:
            number += 1
            kind = kinds[number % len(kinds)] if kinds else 0
            return part | {"id": (number, f"id-{number}", 10**30 + number)[kind]}
        return part

    return [identified(part) for part in parts]


def ids_of(parts: list[Any]) -> list[object]:
    """List the ids of all calls that have one."""
    flat = [each for part in parts for each in (part if isinstance(part, list) else [part])]
    return [part["id"] for part in flat if isinstance(part, dict) and "id" in part]


def admitted(answer: dict[str, Any], requests: dict[object, Any]) -> bool:
    """Whether a viewer may get this answer."""
    request = requests.get(answer["id"])
    return request is None or request["method"] != "rule" or "result" not in answer


@settings(max_examples=80, deadline=None)
@given(messages, st.lists(st.integers(0, 2), max_size=5))
def test_every_request_with_an_id_gets_exactly_one_answer(
    written: list[Any], kinds: list[int]
) -> None:
    """For any mixture of calls and batches, valid and not; what has no id has no answer with one.

    A batch is answered by one array, and a viewer never gets the answer of an administrator.
    """
    parts = with_ids(written, kinds)
    flat = [each for part in parts for each in (part if isinstance(part, list) else [part])]
    requests = {part["id"]: part for part in flat if isinstance(part, dict) and "id" in part}

    async def converse(peer: Peer) -> list[Any]:
        for part in parts:
            sent = part
            if isinstance(part, dict):
                sent = {"jsonrpc": "2.0", **part}
            elif isinstance(part, list):
                sent = [{"jsonrpc": "2.0", **p} if isinstance(p, dict) else p for p in part]
            await peer.socket.send(json.dumps(sent))
        await trio.sleep(20)  # of the test's own clock: all calls are over
        await peer.send(id="last", method="ping")
        received: list[Any] = []
        while True:
            message = await peer.receive()
            if isinstance(message, dict) and message.get("id") == "last":
                return received
            received.append(message)

    async def main() -> None:
        with structlog.testing.capture_logs():
            async with serving() as running, running.peer(login=False) as peer:
                await peer.call("authenticate", auth_token=token(Role.VIEWER))
                received = await converse(peer)
        answers = [each for m in received for each in (m if isinstance(m, list) else [m])]
        got = Counter(answer["id"] for answer in answers if answer["id"] is not None)
        assert got == Counter(ids_of(parts))
        assert all(admitted(answer, requests) for answer in answers)
        batches = [part for part in parts if isinstance(part, list) and ids_of([part])]
        arrays = [{a["id"] for a in m} - {None} for m in received if isinstance(m, list)]
        for batch in batches:
            assert set(ids_of([batch])) in arrays

    trio.run(main, clock=MockClock(autojump_threshold=0))
