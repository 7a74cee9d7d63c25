"""Methods of API keys over a key file in a folder: what is in force when a call is answered."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
import trio

from camd.api.http.key_methods import ApiKeyRequest, ApiKeysApi, ByApiKeyName
from camd.auth.authenticator import Authenticator
from camd.auth.key_file import ApiKey, KeyFile
from camd.auth.tokens import InvalidCredentialsError
from camd.clock import SYSTEM_CLOCK
from camd.errors import KEYS_UNUSABLE, Refusal
from camd.rpc.registry import Caller
from camd.rpc.roles import ANONYMOUS, Role

CALLER = Caller(ANONYMOUS, "c1")
NOW = datetime(2026, 1, 15, tzinfo=UTC)


def api_over(authenticator: Authenticator) -> ApiKeysApi:
    return ApiKeysApi(authenticator, clock=SYSTEM_CLOCK)


async def test_a_change_is_in_force_when_it_is_answered(tmp_path: Path) -> None:
    """A new key is accepted at once; a revoked one is refused at once, and told to connections."""
    authenticator = Authenticator(file=KeyFile(tmp_path / "keys.toml"))
    api, now = api_over(authenticator), SYSTEM_CLOCK.now().timestamp()
    made = await api.create_key(CALLER, ApiKeyRequest("ann", Role.OPERATOR))
    identity = authenticator.identify(made["key"], now)
    assert (identity.name, identity.role) == ("ann", Role.OPERATOR)
    generation = authenticator.generation
    await api.revoke_key(CALLER, ByApiKeyName("ann"))
    assert authenticator.generation > generation
    assert authenticator.revoked(identity)
    with pytest.raises(InvalidCredentialsError):
        authenticator.identify(made["key"], now)


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The refusal says why, without a path."""
    (tmp_path / "file").write_text("no folder")
    api = api_over(Authenticator(file=KeyFile(tmp_path / "file" / "keys.toml")))
    for call in (
        api.create_key(CALLER, ApiKeyRequest("ann")),
        api.revoke_key(CALLER, ByApiKeyName("ann")),
    ):
        with pytest.raises(Refusal) as refused:
            await call
        assert refused.value.kind is KEYS_UNUSABLE
        assert refused.value.data["reason"]
        assert str(tmp_path) not in f"{refused.value.message} {refused.value.data}"


@attrs.frozen
class HeldKeyFile(KeyFile):
    """A key file whose first reading takes until `go` is set."""

    began: threading.Event = attrs.field(factory=threading.Event)
    go: threading.Event = attrs.field(factory=threading.Event)

    def load(self) -> tuple[ApiKey, ...]:
        """Read the keys; the first time, return late what was read early."""
        keys = KeyFile.load(self)
        if not self.began.is_set():
            self.began.set()
            self.go.wait(200)
        return keys


async def test_a_slow_reading_does_not_bring_a_revoked_key_back(tmp_path: Path) -> None:
    """A thread that read the file before a change, and ends after it, does not undo the change."""
    plain, held = KeyFile(tmp_path / "keys.toml"), HeldKeyFile(tmp_path / "keys.toml")
    plain.add("ann", Role.VIEWER, created=NOW, expires=None)
    authenticator = Authenticator(file=held)
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, authenticator.refresh)
            await trio.to_thread.run_sync(held.began.wait, 200)
            plain.revoke("ann")
            nursery.start_soon(trio.to_thread.run_sync, authenticator.refresh)
            await trio.sleep(0.2)  # without the lock, the second reading would end in this time
            held.go.set()
    assert authenticator.api_keys == ()
