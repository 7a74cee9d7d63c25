"""Decode and encode JSON-RPC: any input gives calls or refusals."""

from __future__ import annotations

import enum
import json
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.errors import FILE_NOT_FOUND, INTERNAL_ERROR, Refusal
from camd.rpc import codec
from camd.rpc.codec import BadCall, Call
from camd.rpc.registry import Notification


def only(message: str | bytes) -> Call | BadCall:
    incoming = codec.decode_message(message)
    assert not incoming.batch
    (call,) = incoming.calls
    return call


def code_of(message: str | bytes) -> int:
    call = only(message)
    assert isinstance(call, BadCall)
    return call.refusal.kind.code


def request(**changes: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", **changes})


@pytest.mark.parametrize("params", ["", ',"params":{}', ',"params":[]', ',"params":null'])
def test_no_parameters_can_be_said_in_four_ways(params: str) -> None:
    """Absent, empty object, empty array and null all mean: none."""
    call = only('{"jsonrpc":"2.0","id":1,"method":"ping"' + params + "}")
    assert call == Call(b"1", "ping", {})


def test_parameters_by_position_are_refused_by_name() -> None:
    """A non-empty array is -32602 with the id, because no method has positions."""
    call = only(request(params=[1]))
    assert isinstance(call, BadCall)
    assert (call.id, call.refusal.kind.code) == (b"1", -32602)


@pytest.mark.parametrize(
    "id_text",
    ["0", "-7", "1.0", "1e3", "123456789012345678901234567890", '"a"', '"\\u00e9 \\n"', "null"],
)
def test_an_id_comes_back_as_it_was_written(id_text: str) -> None:
    """Numbers of any size and spelling, strings with escapes, and null are echoed exactly."""
    call = only('{"jsonrpc":"2.0","method":"ping","id": ' + id_text + " }")
    assert isinstance(call, Call)
    assert call.id is not None
    answer = codec.encode_result(call.id, "pong")
    assert b'"id":' + id_text.encode() + b"}" in answer


@pytest.mark.parametrize("id_text", ["true", "[]", "{}", '"%s"' % ("x" * 300), "9" * 300])
def test_an_id_of_another_kind_is_refused(id_text: str) -> None:
    """Booleans, containers and huge ids are -32600, answered with a null id."""
    call = only('{"jsonrpc":"2.0","method":"ping","id":' + id_text + "}")
    assert isinstance(call, BadCall)
    assert (call.id, call.refusal.kind.code) == (codec.NO_ID, -32600)


def test_a_call_without_id_is_a_notification() -> None:
    """No id means that no answer is wanted."""
    assert only('{"jsonrpc":"2.0","method":"ping"}') == Call(None, "ping", {})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", -32700),
        ("{", -32700),
        ("nonsense", -32700),
        ('{"id":NaN}', -32700),
        ('{"jsonrpc":"2.0","method":"\\ud800","id":1}', -32700),
        ("\ud800", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","method":"ping","id":"\xff"}', -32700),
        ("[" * 100_000, -32700),
        ('{"params":' * 100_000, -32700),
        ("5", -32600),
        ('"ping"', -32600),
        ("[]", -32600),
        ("[" + ",".join(["1"] * 51) + "]", -32600),
        (request(jsonrpc="1.0"), -32600),
        (request(method=5), -32600),
        (request(params="x"), -32600),
        ('{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":1e999}}', -32600),
    ],
)
def test_what_is_no_request_is_refused(text: str | bytes, code: int) -> None:
    """Broken JSON is -32700, JSON that is no request is -32600; nothing raises."""
    assert code_of(text) == code


def test_a_broken_request_keeps_its_id() -> None:
    """When the id can be read, the refusal carries it."""
    call = only('{"jsonrpc":"2.0","id":7}')
    assert isinstance(call, BadCall)
    assert call.id == b"7"


def test_each_part_of_a_batch_stands_alone() -> None:
    """One broken part leaves the others as they are."""
    incoming = codec.decode_message(f"[{request(id=1)}, 5, {request(id=2, method=None)}]")
    assert incoming.batch
    first, second, third = incoming.calls
    assert isinstance(first, Call)
    assert isinstance(second, BadCall)
    assert second.id == codec.NO_ID
    assert isinstance(third, BadCall)
    assert third.id == b"2"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
near_requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2]),
        "id": json_values,
        "method": st.text() | json_values,
        "params": json_values,
    },
)


@given(st.text() | st.binary())
def test_any_bytes_become_something(message: str | bytes) -> None:
    """No input raises, and none is dropped."""
    assert codec.decode_message(message).calls


@given(near_requests | st.lists(near_requests, max_size=5))
def test_every_request_with_an_id_keeps_it_or_gets_null(message: object) -> None:
    """Each part yields exactly one call or refusal; an id is echoed or, unreadable, null."""
    incoming = codec.decode_message(json.dumps(message))
    parts = message if isinstance(message, list) and message else [message]
    if len(incoming.calls) != len(parts):
        assert [type(call) for call in incoming.calls] == [BadCall]  # refused as a whole
        return
    for part, call in zip(parts, incoming.calls, strict=True):
        if isinstance(part, dict) and "id" in part:
            assert call.id is not None
            assert call.id == codec.NO_ID or json.loads(call.id) == part["id"]


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Thing:
    colour: Colour
    at: datetime
    names: tuple[str, ...]


def test_results_are_encoded_as_clients_expect() -> None:
    """attrs classes become objects, enums their values, times end in Z."""
    thing = Thing(Colour.RED, datetime(2026, 1, 15, 14, 30, tzinfo=UTC), ("a",))
    assert json.loads(codec.encode_result(b"1", thing)) == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"colour": "red", "at": "2026-01-15T14:30:00Z", "names": ["a"]},
    }


def test_errors_carry_code_message_and_what_to_do() -> None:
    """Every error has `data` with `retryable` and `suggestion`, and no result key."""
    answer = json.loads(codec.encode_refusal(b"1", Refusal(FILE_NOT_FOUND, filename="x.mp4")))
    assert answer["error"]["code"] == -1005
    assert answer["error"]["data"]["filename"] == "x.mp4"
    assert answer["error"]["data"].keys() >= {"retryable", "suggestion"}
    assert "result" not in answer


def test_old_clients_get_a_null_result_beside_the_error() -> None:
    """In the old dialect an error has `"result": null`, too."""
    answer = json.loads(codec.encode_refusal(b"1", Refusal(INTERNAL_ERROR), null_result=True))
    assert answer["result"] is None
    assert answer["error"]["code"] == -32603


def test_an_error_gets_through_whatever_its_data_holds() -> None:
    """A value that JSON cannot hold becomes text, so that the error is sent."""
    answer = codec.encode_refusal(b"1", Refusal(INTERNAL_ERROR, what=object()))
    assert "object" in json.loads(answer)["error"]["data"]["what"]


def test_notifications_have_no_id() -> None:
    """A notification is a method with params."""
    text = codec.encode_notification(Notification("update", {"seq": 1}))
    assert json.loads(text) == {"jsonrpc": "2.0", "method": "update", "params": {"seq": 1}}


def deep(levels: int) -> str:
    """Make a request that holds `levels` objects and arrays in each other, itself included."""
    inner = levels - 2
    return '{"jsonrpc":"2.0","id":1,"method":"a","params":{"b":' + "[" * inner + "]" * inner + "}}"


@pytest.mark.parametrize("batch", [False, True])
def test_depth_is_bounded(batch: bool) -> None:
    """MAX_DEPTH levels are read, one more is refused with the limit; a batch is one level."""
    for levels in (codec.MAX_DEPTH, codec.MAX_DEPTH + 1):
        text = f"[{deep(levels - 1)}]" if batch else deep(levels)
        (call,) = codec.decode_message(text).calls
        assert isinstance(call, Call) == (levels == codec.MAX_DEPTH)
    assert isinstance(call, BadCall)
    assert call.refusal.kind.code == -32700
    assert call.refusal.data["limit"] == codec.MAX_DEPTH


@pytest.mark.parametrize("text", ["[" * 1000, '{"a":' * 1_000, "[" * 500_000, '["' * 300_000])
def test_depth_without_an_end_is_refused(text: str) -> None:
    """Brackets that never close are refused as well."""
    (call,) = codec.decode_message(text).calls
    assert isinstance(call, BadCall)
    assert call.refusal.kind.code == -32700


def test_brackets_in_strings_and_beside_each_other_are_not_deep() -> None:
    """Only what is open counts: many lists in a row, and text with brackets, are read."""
    params = {"text": '\\"[' * 500, "lists": [[] for _ in range(500)]}
    (call,) = codec.decode_message(json.dumps(request_object(params))).calls
    assert isinstance(call, Call)
    assert call.params == params


def request_object(params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": "a", "params": params}


@pytest.mark.parametrize("id_text", [b"1", b'"a"', b'"\\",\\"id\\":7"', b"null"])
def test_an_error_in_place_of_an_answer_keeps_its_id(id_text: bytes) -> None:
    """The id is that of the answer, whatever the answer and the id hold."""
    answer = codec.encode_result(id_text, {"id": 5, "text": '","id":6}'})
    replaced = json.loads(codec.encode_too_large(answer))
    assert replaced["id"] == json.loads(id_text)
    assert replaced["error"]["code"] == -32002
