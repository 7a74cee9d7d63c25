"""Methods that list, make and revoke API keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, TypeVar

import attrs
import structlog
import trio

from camd.api import result_fields
from camd.auth.authenticator import Authenticator
from camd.auth.key_file import (
    ApiKey,
    KeyFile,
    KeyFileError,
    NameTakenError,
    TooManyKeysError,
)
from camd.clock import Clock
from camd.contract.result_types import doc
from camd.contract.sign_in_results import CreatedKey, KeyList, RevokedKey
from camd.errors import (
    KEY_EXISTS,
    KEY_LIMIT,
    KEY_UNKNOWN,
    KEYS_UNUSABLE,
    UNSUPPORTED,
    ParamMistake,
    Refusal,
    invalid_params,
)
from camd.rpc.registry import Caller, NoParams, method
from camd.rpc.roles import Role

MAX_LIFETIME_SECONDS = 100 * 366 * 86_400
_T = TypeVar("_T")
_log = structlog.get_logger("camd.auth")


@attrs.frozen
class ApiKeyRequest:
    """A key to be made."""

    name: Annotated[str, doc("of whom or what will use it; no two keys have the same")]
    role: Annotated[Role, doc("what it allows")] = Role.VIEWER
    lifetime: Annotated[
        float | None, doc("seconds until it expires; without it, it is valid until it is revoked")
    ] = attrs.field(
        default=None,
        validator=attrs.validators.optional(
            [attrs.validators.ge(1), attrs.validators.le(MAX_LIFETIME_SECONDS)]
        ),
    )


@attrs.frozen
class ByApiKeyName:
    """An API key."""

    name: Annotated[str, doc("as `list_keys` has it")]


@attrs.define(eq=False)
class ApiKeysApi:
    """Handlers over the key file, which the command line changes, too."""

    _authenticator: Authenticator
    _clock: Clock = attrs.field(kw_only=True)

    @method(role=Role.ADMIN, result=KeyList)
    async def list_keys(self, caller: Caller, params: NoParams) -> result_fields.View:
        """List the API keys: names, roles and times. The keys themselves are not stored."""
        found = await _in_thread(self._file().load)
        return {"keys": [_key_info(each) for each in found]}

    @method(role=Role.ADMIN, result=CreatedKey)
    async def create_key(self, caller: Caller, params: ApiKeyRequest) -> result_fields.View:
        """Make an API key; no later answer has it again, since only its hash is stored."""
        created = self._clock.now()
        lifetime = params.lifetime
        expires = None if lifetime is None else created + timedelta(seconds=lifetime)
        add = partial(self._file().add, params.name, params.role, created=created, expires=expires)
        secret = await self._changed(partial(_added, add, params.name))
        _log.info("key_created", name=params.name, role=params.role.value, by=caller.name)
        api_key = ApiKey(params.name, params.role, "", created, expires)
        return {**_key_info(api_key), "key": secret}

    @method(role=Role.ADMIN, result=RevokedKey)
    async def revoke_key(self, caller: Caller, params: ByApiKeyName) -> result_fields.View:
        """Revoke an API key; connections and sessions of browsers that use it end."""
        if not await self._changed(partial(self._file().revoke, params.name)):
            raise Refusal(KEY_UNKNOWN, name=params.name)
        _log.info("key_revoked", name=params.name, by=caller.name)
        return {"name": params.name, "revoked": True}

    def _file(self) -> KeyFile:
        """Return the key file. Raises Refusal where authentication is switched off."""
        if self._authenticator.file is None:
            raise Refusal(
                UNSUPPORTED,
                "Authentication is switched off: no key is needed or looked at",
                suggestion="Set auth.enabled = true, and start the service again.",
            )
        return self._authenticator.file

    async def _changed(self, change: Callable[[], _T]) -> _T:
        """Change the key file; the change is in force when this returns. Raises Refusal."""

        def work() -> _T:
            result = change()
            self._authenticator.refresh()
            return result

        return await _in_thread(work)


def _added(add: Callable[[], str], name: str) -> str:
    """Add a key. Raises Refusal when its name or the number of keys does not allow it."""
    try:
        return add()
    except NameTakenError:
        raise Refusal(KEY_EXISTS, name=name) from None
    except TooManyKeysError:
        raise Refusal(KEY_LIMIT) from None
    except ValueError as error:
        raise invalid_params(ParamMistake("name", str(error))) from None


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Read or write the key file. Raises Refusal when that fails.

    At a shutdown a thread on a disk that hangs is abandoned: the file is replaced atomically.
    """
    try:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    except (KeyFileError, OSError) as error:
        _log.error("keys_unusable", error=str(error))
        raise Refusal(KEYS_UNUSABLE, reason=_reason(error)) from error


def _reason(error: Exception) -> str:
    """Say why, without a path."""
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _key_info(api_key: ApiKey) -> result_fields.View:
    return {
        "name": api_key.name,
        "role": api_key.role.value,
        "created": api_key.created,
        "expires": api_key.expires,
    }
