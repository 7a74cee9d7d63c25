"""Fields of signing in to the web page, and of API keys."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import Time, doc


@attrs.frozen(kw_only=True)
class SignInCode:
    """A code that signs a browser in, once."""

    code: str
    path: Annotated[str, doc("behind the address of the service, it is a link to the web page")]
    role: str
    expires_in: Annotated[float, doc("seconds")]
    expires_at: Time


@attrs.frozen(kw_only=True)
class KeyInfo:
    """An API key; the key itself is not stored."""

    name: str
    role: str
    created: Time
    expires: Annotated[Time | None, doc("null: it does not expire")]


@attrs.frozen(kw_only=True)
class KeyList:
    """All API keys, also expired ones, in the order in which they were made."""

    keys: tuple[KeyInfo, ...]


@attrs.frozen(kw_only=True)
class CreatedKey(KeyInfo):
    """A new API key: it is shown here, and never again."""

    key: Annotated[str, doc("the key itself")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class RevokedKey:
    """A key that is not valid any more."""

    name: str
    revoked: bool
