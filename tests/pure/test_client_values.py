"""The client's values: errors by the table, results, pauses, and no secret in sight."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import camd.client
from camd.client import (
    CannotConnectError,
    Client,
    GapInfo,
    NotAuthenticatedError,
    RemoteError,
    UnreadableAnswerError,
)
from camd.client.remote_errors import remote_error
from camd.client.results import read_result
from camd.client.service_connection import ServiceAddress
from camd.errors import TABLE, ErrorKind


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.name)
def test_every_kind_of_refusal_has_a_class(kind: ErrorKind) -> None:
    """The class belongs to this row alone, is exported, and has what the answer said."""
    error = remote_error(kind.code, "why", {"retryable": kind.retryable, "suggestion": "do"})
    assert type(error).kind == kind
    assert getattr(camd.client, type(error).__name__) is type(error)
    assert (error.code, error.message, str(error)) == (kind.code, "why", "why")
    assert (error.retryable, error.suggestion) == (kind.retryable, "do")


def test_an_unknown_code_and_odd_data_are_an_error_too() -> None:
    """A newer service may have kinds that this client does not know."""
    error = remote_error(-4711, "new", {"errors": [{"path": "a", "message": "b"}]})
    assert type(error) is RemoteError
    assert (error.retryable, error.suggestion, error.errors) == (False, "", (("a", "b"),))
    assert remote_error(-32001, "", {}).errors == ()


GAP = {
    "camera_id": "a",
    "session_id": "s",
    "from": "2026-01-02T03:04:05.5Z",
    "to": "2026-01-02T03:04:06Z",
    "duration": 0.5,
    "frames": 7,
    "exact": True,
    "cause": "camera",
    "action": "",
}


def test_a_result_is_read_strictly_and_new_fields_are_ignored() -> None:
    """Times are times; a field of the wrong type or a missing one is named."""
    gap = read_result(GapInfo, {**GAP, "new": 1})
    assert gap.start == datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
    assert gap.duration == 0.5
    for wrong, named in (({**GAP, "frames": "7"}, "frames"), ({"from": GAP["from"]}, "camera_id")):
        with pytest.raises(UnreadableAnswerError, match=named):
            read_result(GapInfo, wrong)
    for garbage in (None, [], "x", {"exact": None}):
        with pytest.raises(UnreadableAnswerError):
            read_result(GapInfo, garbage)


def test_results_are_frozen_values() -> None:
    """Nobody changes an answer."""
    listed = [each for each in vars(camd.client).values() if isinstance(each, type)]
    results = [each for each in listed if each.__module__.startswith("camd.contract.")]
    assert results
    for found in results:
        assert found.__setattr__ is not object.__setattr__, found


def test_a_token_is_not_shown() -> None:
    """Neither the address nor the client has it in its `repr`."""
    secret = "camd_a_secret_that_nobody_sees"
    address = ServiceAddress("ws://host/ws", secret)
    assert secret not in repr(address)
    assert secret not in repr(Client(address, reconnect=True, timeout=None))


@pytest.mark.parametrize(
    "url",
    [
        "ws://ann:camd_secret@127.0.0.1:1/ws?token=camd_secret",
        "ftp://ann:camd_secret@host/?x=camd_secret",
        "ann:camd_secret@127.0.0.1:1/ws?token=camd_secret",
    ],
)
async def test_a_secret_in_an_address_is_not_shown(url: str) -> None:
    """Errors show the address without user, password and query."""
    with pytest.raises(CannotConnectError) as caught:
        async with camd.client.connect(url):
            pass
    assert "camd_secret" not in str(caught.value)
    assert "camd_secret" not in repr(caught.value)


def test_the_class_of_wrong_keys_is_the_one_of_the_table() -> None:
    """Programs that handle it go on working."""
    assert isinstance(remote_error(-32001, "", {"reason": "expired"}), NotAuthenticatedError)
