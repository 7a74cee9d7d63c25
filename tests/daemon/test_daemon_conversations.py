"""Every method over a real socket, as another WebSocket library speaks: golden conversations."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from json_schema import differences as schema_differences
from running_daemon import SECRET, Daemon
from websockets.sync.client import ClientConnection, connect

from camd.auth.tokens import mint_token
from camd.clock import SYSTEM_CLOCK
from camd.rpc.roles import Role

HERE = Path(__file__).parent
API_PAGE = HERE.parents[1] / "docs" / "api.md"
SECONDS = 300


def _is_time(value: object) -> bool:
    if not (isinstance(value, str) and value.endswith("Z")):
        return False
    return datetime.fromisoformat(value).utcoffset() is not None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


KINDS: dict[str, Callable[[Any], bool]] = {
    "<text>": lambda value: isinstance(value, str) and value != "",
    "<time>": _is_time,
    "<int>": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "<number>": _is_number,
    "<bool>": lambda value: isinstance(value, bool),
    "<hash>": lambda value: re.fullmatch("[0-9a-f]{64}", value) is not None,
    "<list>": lambda value: isinstance(value, list) and bool(value),
    "<items>": lambda value: isinstance(value, list),
    "<object>": lambda value: isinstance(value, dict),
    "<file>": lambda value: re.fullmatch(r"camera\d_[\d_-]+\.mp4", value) is not None,
}


@attrs.frozen
class Exchange:
    """One request, and what its answer must have."""

    line: int
    request: dict[str, Any]
    answer: dict[str, Any]


def read_conversations(text: str) -> Iterator[Exchange]:
    """Read the exchanges of a conversation."""
    request = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("> "):
            request = json.loads(line[2:])
        elif line.startswith("< "):
            assert request is not None, f"line {number}: an answer without a request"
            yield Exchange(number, request, json.loads(line[2:]))
            request = None


@attrs.define
class Matcher:
    """Compares answers with what is written, and keeps the values that are named."""

    kept: dict[str, Any] = attrs.field(factory=dict)

    def differences(self, wanted: Any, found: Any, path: str = "answer") -> Iterator[str]:
        """Say where the answer differs."""
        if isinstance(wanted, dict) and isinstance(found, dict):
            for name, value in wanted.items():
                if name in found:
                    yield from self.differences(value, found[name], f"{path}.{name}")
                else:
                    yield f"{path}.{name} is missing"
        elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
            for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
                yield from self.differences(one, other, f"{path}[{number}]")
        elif not self._fits(wanted, found):
            yield f"{path} is {found!r}, not {wanted!r}"

    def _fits(self, wanted: Any, found: Any) -> bool:
        if isinstance(wanted, str) and wanted.startswith("="):
            return bool(self.kept.setdefault(wanted, found) == found)
        if isinstance(wanted, str) and wanted in KINDS:
            return KINDS[wanted](found)
        return type(wanted) is type(found) and bool(wanted == found)

    def fill_in(self, value: Any) -> Any:
        """Put kept values into a request."""
        if isinstance(value, dict):
            return {name: self.fill_in(each) for name, each in value.items()}
        return self.kept.get(value, value) if isinstance(value, str) else value


CONVERSATIONS = tuple(read_conversations((HERE / "conversations.txt").read_text("utf-8")))


def tell(socket: ClientConnection, request: dict[str, Any]) -> dict[str, Any]:
    """Make a call; return its answer, without the notifications before it."""
    socket.send(json.dumps({"jsonrpc": "2.0", "id": "golden", **request}))
    while True:
        answer: dict[str, Any] = json.loads(socket.recv(timeout=SECONDS))
        if "method" not in answer:
            assert answer["jsonrpc"] == "2.0"
            assert answer["id"] == "golden"
            assert ("result" in answer) != ("error" in answer)
            return answer


UNKNOWN = {"pong"}  # no method, asked for all the same


@attrs.frozen
class Answered:
    """An exchange that took place: its answer, and where that differs from what is written."""

    exchange: Exchange
    answer: dict[str, Any]
    wrong: tuple[str, ...]


@pytest.fixture(scope="module")
def conversation(shared_daemon: Daemon) -> tuple[Answered, ...]:
    """Make all requests of `conversations.txt`, on one connection."""
    matcher, made = Matcher({"=key": shared_daemon.key}), []
    with connect(shared_daemon.url) as socket:
        for each in CONVERSATIONS:
            answer = tell(socket, matcher.fill_in(each.request))
            wrong = tuple(matcher.differences(each.answer, answer))
            made.append(Answered(each, answer, wrong))
    return tuple(made)


def test_every_method_answers_as_it_is_written(conversation: tuple[Answered, ...]) -> None:
    """Each request of `conversations.txt` gets the answer that stands there."""
    wrong = [f"line {each.exchange.line}: {text}" for each in conversation for text in each.wrong]
    assert wrong == []


def test_every_result_is_as_the_openrpc_document_says(
    conversation: tuple[Answered, ...],
) -> None:
    """All members of each result are described, and have the types that stand there."""
    (document,) = [
        each.answer["result"]
        for each in conversation
        if each.exchange.request["method"] == "rpc.discover"
    ]
    results = {each["name"]: each["result"]["schema"] for each in document["methods"]}
    components, wrong = document["components"]["schemas"], []
    assert results.keys() == {each.exchange.request["method"] for each in conversation} - UNKNOWN
    for each in conversation:
        name = each.exchange.request["method"]
        if "result" in each.answer:
            wrong += schema_differences(each.answer["result"], results[name], components, name)
    assert wrong == []
    assert [name for name, schema in results.items() if not schema] == [], "nothing is said"


async def test_kept_events_are_as_the_openrpc_document_says(
    conversation: tuple[Answered, ...], shared_daemon: Daemon
) -> None:
    """So are the notifications that the conversations have caused."""
    assert conversation
    with trio.fail_after(SECONDS):
        document = await shared_daemon.call("rpc.discover")
        events = (await shared_daemon.call("get_events", since=0, limit=1000))["events"]
    schemas = {each["name"]: each["schema"] for each in document["x-notifications"]}
    components, wrong = document["components"]["schemas"], []
    for each in events:
        name = each["method"]
        wrong += schema_differences(each["params"], schemas[name], components, name)
    assert wrong == []
    kinds = {"camera_status_update", "recording_status_update", "retention_update"}
    assert kinds <= {each["method"] for each in events}


async def test_every_method_has_a_conversation_with_a_result(shared_daemon: Daemon) -> None:
    """No method of the running service is missing in `conversations.txt`."""
    answered = {each.request["method"] for each in CONVERSATIONS}
    with trio.fail_after(SECONDS):
        document = await shared_daemon.call("rpc.discover")
    assert "authenticate" in answered
    assert {method["name"] for method in document["methods"]} <= answered


@pytest.mark.parametrize(
    ("wanted", "found", "differs"),
    [
        ({"a": 1}, {"a": 1, "more": 2}, 0),
        ({"a": 1}, {}, 1),
        ({"a": 1}, {"a": 1.0}, 1),
        ({"a": 1}, {"a": True}, 1),
        ({"a": "<int>"}, {"a": True}, 1),
        ({"a": "<time>"}, {"a": "2026-01-15T14:30:00+00:00"}, 1),
        ({"a": "=x", "b": "=x"}, {"a": "1", "b": "2"}, 1),
        ([1], [1, 2], 1),
        (None, {}, 1),
    ],
)
def test_an_answer_that_differs_is_noticed(wanted: Any, found: Any, differs: int) -> None:
    """Missing members, other types and other values are differences; further members are none."""
    assert len(list(Matcher().differences(wanted, found))) == differs


def documented_roles() -> dict[str, Role]:
    """Read from the API page which role each method needs."""
    table = API_PAGE.read_text("utf-8").partition("## Methods")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \[`([\w.]+)`\]\([^)]*\) \| (\w+) \|", table, re.MULTILINE)
    return {name: Role(role) for name, role in rows}


@pytest.mark.parametrize("role", [None, Role.VIEWER, Role.OPERATOR])
async def test_nobody_reaches_a_method_above_their_role(
    shared_daemon: Daemon, role: Role | None
) -> None:
    """Whatever the parameters, alone and in a batch: -32003 with both roles, or -32001."""
    ranks = (None, *Role)
    above = {
        name: needed
        for name, needed in documented_roles().items()
        if ranks.index(needed) > ranks.index(role)
    }

    def converse() -> None:
        now = SYSTEM_CLOCK.now().timestamp()
        with connect(shared_daemon.url) as socket:
            if role is not None:
                token = mint_token(SECRET, user_id="eve", role=role, now=now, lifetime=3600)
                tell(socket, {"method": "authenticate", "params": {"auth_token": token}})
            for name, needed in above.items():
                for params in ({}, {"device": "camera0"}, {"role": "admin"}, []):
                    check(tell(socket, {"method": name, "params": params}), needed)
            calls = [{"jsonrpc": "2.0", "id": name, "method": name} for name in above]
            socket.send(json.dumps(calls[:50]))
            answers = json.loads(socket.recv(timeout=SECONDS))
            assert {answer["id"] for answer in answers} == {call["id"] for call in calls[:50]}
            for answer in answers:
                check(answer, above[answer["id"]])

    def check(answer: dict[str, Any], needed: Role) -> None:
        if role is None:
            assert answer["error"]["code"] == -32001
            return
        assert answer["error"]["code"] == -32003, answer
        assert answer["error"]["data"]["required"] == needed.value
        assert answer["error"]["data"]["role"] == role.value

    assert len(above) >= 10
    with trio.fail_after(300):
        await trio.to_thread.run_sync(converse)


async def test_the_pages_of_components(shared_daemon: Daemon) -> None:
    """Health pages need no key; the list of cameras does, and is that of `get_camera_list`."""
    with trio.fail_after(SECONDS):
        listed = await shared_daemon.get("/api/cameras")
        assert (listed.status, listed.headers["content-type"]) == (200, "application/json")
        cameras = json.loads(listed.body)
        assert set(cameras) == {"cameras", "total", "connected"}
        assert [camera["camera_id"] for camera in cameras["cameras"]] == ["camera0", "camera1"]
        refused = await shared_daemon.get("/api/cameras", anonymous=True)
        assert (refused.status, json.loads(refused.body)["reason"]) == (401, "missing")
        key = await shared_daemon.get(
            "/api/cameras", headers={"X-API-Key": shared_daemon.key}, anonymous=True
        )
        assert key.body == listed.body or json.loads(key.body)["total"] == 2
        health = await shared_daemon.get("/health/cameras", anonymous=True)
        found = json.loads(health.body)
        assert (health.status, found.pop("status")) == (200, "healthy")
        assert _is_time(found.pop("timestamp"))
        assert found == {"details": "", "total": 2, "connected": 2, "recording": 0}
        volume = await shared_daemon.get("/health/storage", anonymous=True)
        found = json.loads(volume.body)
        assert (volume.status, found["threshold_status"]) == (200, "normal")
        assert 0 < found["available_space"] <= found["total_space"]
