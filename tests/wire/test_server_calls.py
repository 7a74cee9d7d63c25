"""Calls on a WebSocket: answers, their order, and authentication."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_server import NO_ENDPOINTS, SECRET, Peer, key, serving, token
from trio.testing import MockClock, memory_stream_pair

from camd.rpc.roles import AuthMethod, Principal, Role
from camd.server.websocket import SocketClosedError, open_client_websocket


async def test_a_ping_behind_a_slow_call_answers_at_once(autojump_clock: MockClock) -> None:
    """Calls of one client run concurrently and are answered when they are done."""
    async with serving() as running, running.peer() as peer:
        began = trio.current_time()
        await peer.send(id=1, method="wait", params={"seconds": 60})
        await peer.send(id=2, method="wait", params={"seconds": 5})
        await peer.send(id=3, method="ping")
        answers = [((await peer.receive())["id"], trio.current_time() - began) for _ in range(3)]
        assert answers == [(3, 0), (2, 5), (1, 60)]


async def test_a_bug_is_answered_and_logged(autojump_clock: MockClock) -> None:
    """A handler that crashes gives -32603 with its traceback in the log; the connection stays."""
    async with serving() as running, running.peer() as peer:
        with structlog.testing.capture_logs() as logs:
            for method in ("crash", "unknown_to_json"):
                assert (await peer.call(method))["error"]["code"] == -32603
        assert [(line["event"], line["method"]) for line in logs] == [
            ("call_crashed", "crash"),
            ("call_crashed", "unknown_to_json"),
        ]
        assert (await peer.call("ping"))["result"] == "pong"
        assert running.server.shared.call_stats.errors == 2


async def test_a_refusal_is_answered_with_its_data(autojump_clock: MockClock) -> None:
    """A refusal of a handler keeps code, message and data."""
    async with serving() as running, running.peer() as peer:
        error = (await peer.call("refuse"))["error"]
        assert (error["code"], error["data"]["camera_id"]) == (-32004, "camera9")


async def test_more_calls_than_allowed_at_a_time_are_refused(autojump_clock: MockClock) -> None:
    """Above the bound a call is refused with the time to wait; those in flight continue."""
    async with serving(max_calls_in_flight=2) as running, running.peer() as peer:
        for number in range(3):
            await peer.send(id=number, method="wait", params={"seconds": 1})
        refused = await peer.receive()
        assert (refused["id"], refused["error"]["code"]) == (2, -32002)
        assert refused["error"]["data"]["retry_after_ms"] > 0
        assert {(await peer.receive())["id"] for _ in range(2)} == {0, 1}


async def test_the_rate_limit_says_when_to_go_on(autojump_clock: MockClock) -> None:
    """After a burst calls are refused until the time that the refusal names has passed."""
    async with serving(requests_per_minute=6) as running, running.peer() as peer:
        for _ in range(5):  # and one was authenticate
            assert (await peer.call("ping"))["result"] == "pong"
        error = (await peer.call("ping"))["error"]
        assert (error["code"], error["data"]["retry_after_ms"]) == (-32002, 10_000)
        await trio.sleep(10)
        assert (await peer.call("ping"))["result"] == "pong"


async def test_a_batch_is_answered_by_one_array(autojump_clock: MockClock) -> None:
    """It comes when all calls are done, has none for notifications, and contains all errors."""
    async with serving() as running, running.peer() as peer:
        await peer.socket.send(
            json.dumps(
                [
                    {"jsonrpc": "2.0", "id": 1, "method": "wait", "params": {"seconds": 9}},
                    {"jsonrpc": "2.0", "method": "ping"},
                    {"jsonrpc": "2.0", "id": 2, "method": "rule"},
                    {"jsonrpc": "2.0", "id": 3, "method": "ping"},
                    "nonsense",
                ]
            )
        )
        answers = await peer.receive()
        assert {a["id"]: a.get("result", a.get("error", {}).get("code")) for a in answers} == {
            1: 9,
            2: -32003,
            3: "pong",
            None: -32600,
        }


async def test_nothing_is_answered_to_notifications(autojump_clock: MockClock) -> None:
    """Neither a result, nor an error, nor a batch of nothing."""
    async with serving() as running, running.peer() as peer:
        await peer.send(method="ping")
        await peer.send(method="no_such_method")
        await peer.socket.send('[{"jsonrpc":"2.0","method":"crash"}]')
        assert (await peer.call("ping"))["result"] == "pong"


# --- Authentication.


async def test_nothing_is_answered_before_authentication(autojump_clock: MockClock) -> None:
    """Not even whether a method exists; and no notification is sent."""
    async with serving() as running, running.peer(login=False) as peer:
        for method in ("ping", "no_such_method"):
            error = (await peer.call(method))["error"]
            assert (error["code"], error["data"]["reason"]) == (-32001, "missing")
        running.publish("update", seq=1)
        assert "result" in await peer.call("authenticate", auth_token=token())
        running.publish("update", seq=2)
        assert (await peer.receive())["params"] == {"seq": 2}


async def test_authenticate_returns_the_identity(autojump_clock: MockClock) -> None:
    """The answer has the fields that clients read; times end in Z."""
    async with serving() as running, running.peer(login=False) as peer:
        result = (await peer.call("authenticate", auth_token=token(lifetime=60)))["result"]
        assert result["authenticated"] is True
        assert (result["role"], result["permissions"]) == ("operator", ["view", "control"])
        assert result["expires_at"].endswith("Z")
        assert result["session_id"]


async def test_a_failed_authentication_is_an_error_with_a_reason(autojump_clock: MockClock) -> None:
    """With `auth_token`, failure is -32001 and names the reason; no result key."""
    async with serving() as running, running.peer(login=False) as peer:
        answer = await peer.call("authenticate", auth_token="nonsense")
        assert (answer["error"]["code"], answer["error"]["data"]["reason"]) == (
            -32001,
            "unknown_key",
        )
        assert "result" not in answer


async def test_old_clients_get_failure_as_a_result(autojump_clock: MockClock) -> None:
    """With `token` and `auth_type` failure is a result, and later errors have a null one."""
    async with serving() as running, running.peer(login=False) as peer:
        answer = await peer.call("authenticate", token="nonsense", auth_type="jwt")
        assert answer["result"]["authenticated"] is False
        assert "unknown key" in answer["result"]["error"]
        answer = await peer.call("ping")
        assert (answer["result"], answer["error"]["code"]) == (None, -32001)
        answer = await peer.call("authenticate", token=token(), auth_type="jwt")
        assert answer["result"]["authenticated"] is True
        assert (await peer.call("ping"))["result"] == "pong"


@pytest.mark.parametrize(
    ("dialect", "params", "error_is_result", "null_result"),
    [
        ("auto", {"auth_token": "x"}, False, False),
        ("auto", {"token": "x"}, True, True),
        ("always", {"auth_token": "x"}, True, True),
        ("always", {"token": "x"}, True, True),
        ("never", {"auth_token": "x"}, False, False),
        ("never", {"token": "x", "auth_type": "api_key"}, False, False),
    ],
)
async def test_the_dialect_is_configurable(
    autojump_clock: MockClock,
    dialect: str,
    params: dict[str, object],
    error_is_result: bool,
    null_result: bool,
) -> None:
    """`auto` follows the client; `always` and `never` do not."""
    async with (
        serving(legacy_dialect=dialect) as running,
        running.peer(login=False) as peer,
    ):
        answer = await peer.call("authenticate", **params)
        assert ("error" not in answer) == error_is_result
        assert ("result" in await peer.call("ping")) == null_result


@pytest.mark.parametrize(
    "params", [{}, {"auth_token": 5}, {"auth_token": None}, {"token": "x", "auth_type": "magic"}]
)
async def test_authenticate_names_wrong_parameters(
    autojump_clock: MockClock, params: dict[str, object]
) -> None:
    """Parameters of the wrong kind are refused as such, in either dialect."""
    async with serving() as running, running.peer(login=False) as peer:
        answer = await peer.call("authenticate", **params)
        text = json.dumps(answer)
        assert "Invalid params" in text
        assert "auth_t" in text


async def test_a_token_inside_a_call_authenticates_the_connection(
    autojump_clock: MockClock,
) -> None:
    """The first one does; a later one is valid for its own call alone, and is always checked."""
    async with serving(keys=(key("root", Role.ADMIN),)) as running:
        async with running.peer(login=False) as peer:
            assert (await peer.call("ping", auth_token=token()))["result"] == "pong"
            assert (await peer.call("ping"))["result"] == "pong"
            assert (await peer.call("rule", auth_token="root" * 40))["result"] == "pong"
            assert (await peer.call("rule"))["error"]["code"] == -32003
            assert (await peer.call("ping", auth_token="wrong"))["error"]["code"] == -32001
        async with running.peer(login=False) as other:  # authenticates that connection, no other
            assert (await other.call("ping"))["error"]["code"] == -32001


async def test_an_identity_ends_with_its_token(autojump_clock: MockClock) -> None:
    """From `exp` on calls are refused and notifications stop, until there is a new token."""
    async with serving() as running, running.peer(login=False) as peer:
        await peer.call("authenticate", auth_token=token(lifetime=10))
        await trio.sleep(10)
        running.publish("update", seq=1)
        error = (await peer.call("ping"))["error"]
        assert (error["code"], error["data"]["reason"]) == (-32001, "expired")
        assert (await peer.call("ping", auth_token=token()))["result"] == "pong"


async def test_a_revoked_key_ends_at_once(autojump_clock: MockClock) -> None:
    """A revoked key is refused on open connections, too."""
    async with (
        serving(keys=(key("a"), key("b"))) as running,
        running.peer(login=False) as peer,
        running.peer(login=False) as other,
    ):
        await peer.call("authenticate", auth_token="a" * 40)
        await other.call("authenticate", auth_token="b" * 40)
        authenticator = running.server.shared.authenticator
        authenticator.api_keys = (key("b"),)
        authenticator.generation += 1
        assert (await peer.call("ping"))["error"]["data"]["reason"] == "revoked"
        assert (await other.call("ping"))["result"] == "pong"


async def test_the_peer_of_a_unix_socket_needs_no_token(autojump_clock: MockClock) -> None:
    """An identity known from the socket is accepted without a token."""
    async with serving() as running:
        ours, theirs = memory_stream_pair()
        root = Principal("uid:0", Role.ADMIN, None, AuthMethod.PEER)
        running.nursery.start_soon(running.server.serve_stream, theirs, NO_ENDPOINTS, root)
        async with open_client_websocket(
            ours, host="localhost", path="/ws", max_message_bytes=2**20
        ) as socket:
            assert (await Peer(socket, ours).call("rule"))["result"] == "pong"


calls = st.lists(
    st.fixed_dictionaries(
        {
            "jsonrpc": st.just("2.0"),
            "method": st.sampled_from(["ping", "wait", "crash", "refuse", "rule", "none", ""]),
        },
        optional={"params": st.sampled_from([{}, [], [1], {"seconds": 0.5}, {"auth_token": "x"}])},
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(calls, st.booleans())
def test_every_request_with_an_id_gets_exactly_one_answer(
    requests: list[dict[str, Any]], in_one_batch: bool
) -> None:
    """For any calls, alone or in a batch; and a viewer never gets the answer of an admin."""

    async def main() -> None:
        for number, request in enumerate(requests):
            request["id"] = number
        with structlog.testing.capture_logs():
            async with serving() as running, running.peer(login=False) as peer:
                await peer.call("authenticate", auth_token=token(Role.VIEWER))
                texts = [json.dumps(r) for r in requests]
                for text in [f"[{','.join(texts)}]"] if in_one_batch and texts else texts:
                    await peer.socket.send(text)
                await trio.sleep(10)  # of the test's own clock: all calls are over
                await peer.send(id="last", method="ping")
                answers: list[Any] = []
                while True:
                    message = await peer.receive()
                    if isinstance(message, dict) and message["id"] == "last":
                        break
                    answers.extend(message if isinstance(message, list) else [message])
                assert sorted(a["id"] for a in answers) == list(range(len(requests)))
                for answer in answers:
                    if requests[answer["id"]]["method"] == "rule":
                        assert answer["error"]["code"] in (-32003, -32602, -32001)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_stopping_service_answers_running_calls_and_closes(
    autojump_clock: MockClock,
) -> None:
    """Running calls are refused, then the socket is closed with 1001, all at once."""
    async with serving() as running, running.peer() as peer:
        await peer.send(id=1, method="wait", params={"seconds": 1000})
        await peer.call("ping")
        began = trio.current_time()
        running.server.stop()
        answer = await peer.receive()
        assert trio.current_time() == began
        assert (answer["id"], answer["error"]["code"]) == (1, -1021)
        with pytest.raises(SocketClosedError) as closed:
            await peer.receive()
        assert closed.value.code == 1001


async def test_tokens_stay_out_of_the_log(autojump_clock: MockClock) -> None:
    """Neither a valid nor a wrong token nor the secret is logged."""
    with structlog.testing.capture_logs() as logs:
        async with serving() as running, running.peer() as peer:
            good = token()
            await peer.call("authenticate", auth_token=good)
            await peer.call("crash", auth_token=good)
            await peer.call("authenticate", auth_token="camd_bad")
    text = repr(logs)
    assert "call_crashed" in text
    for secret in (good, "camd_bad", SECRET):
        assert secret not in text
