"""Signed tokens: what counts, and every way not to."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.auth.authenticator import Authenticator
from camd.auth.tokens import AuthFailure, InvalidCredentialsError, mint_token, validate_token
from camd.rpc.roles import ANONYMOUS, AuthMethod, Principal, Role

SECRET = "s" * 32
NOW = 1_800_000_000.25
GOOD = {"user_id": "ann", "role": "operator", "iat": NOW - 5.5, "exp": NOW + 10.5}


def reason(token: str, secret: str = SECRET, now: float = NOW) -> AuthFailure:
    with pytest.raises(InvalidCredentialsError) as caught:
        validate_token(token, secret, now)
    return caught.value.reason


def signed(**changes: object) -> str:
    claims = {**GOOD, **changes}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, SECRET, "HS256")


def test_a_token_is_valid_until_it_expires() -> None:
    """Fractional seconds count; at `exp` itself it is over."""
    token = mint_token(SECRET, user_id="ann", role=Role.OPERATOR, now=NOW, lifetime=1.5)
    assert validate_token(token, SECRET, NOW + 1.4) == Principal(
        "ann", Role.OPERATOR, NOW + 1.5, AuthMethod.JWT
    )
    assert reason(token, now=NOW + 1.5) is AuthFailure.EXPIRED


@pytest.mark.parametrize("claim", ["user_id", "role", "iat", "exp"])
def test_every_claim_is_required(claim: str) -> None:
    """A token without one of them is refused with the reason."""
    assert reason(signed(**{claim: None})) is AuthFailure.MISSING_CLAIM


@pytest.mark.parametrize(
    "claims",
    [
        {"role": "root"},
        {"role": ["admin"]},
        {"user_id": ""},
        {"user_id": 5},
        {"iat": "now"},
        {"exp": True},
        {"exp": 10**400},
        {"exp": float("inf")},
        {"exp": float("nan")},
    ],
)
def test_claims_of_the_wrong_kind_are_refused(claims: dict[str, object]) -> None:
    """Nothing is coerced, and nothing that never ends is believed."""
    assert reason(signed(**claims)) is AuthFailure.INVALID_CLAIM


def test_other_algorithms_are_refused() -> None:
    """`none` and every other algorithm than HS256 do not count, signed or not."""
    assert reason(jwt.encode(GOOD, "s" * 64, "HS512"), "s" * 64) is AuthFailure.WRONG_ALGORITHM
    assert reason(jwt.encode(GOOD, None, "none")) is AuthFailure.WRONG_ALGORITHM


def test_another_secret_or_a_changed_token_is_refused() -> None:
    """The signature covers the claims."""
    token = signed()
    assert reason(token, "t" * 32) is AuthFailure.INVALID_SIGNATURE
    head, _, signature = token.split(".")
    forged = json.dumps({**GOOD, "role": "admin"}).encode()
    body = base64.urlsafe_b64encode(forged).rstrip(b"=").decode()
    assert reason(f"{head}.{body}.{signature}") is AuthFailure.INVALID_SIGNATURE


def test_a_short_secret_switches_tokens_off() -> None:
    """Below 32 bytes nothing is signed and nothing believed."""
    with pytest.raises(ValueError, match="32 bytes"):
        mint_token("short", user_id="a", role=Role.ADMIN, now=NOW, lifetime=1)
    assert reason(signed(), "") is AuthFailure.NO_SECRET
    assert reason(signed(), "x" * 31) is AuthFailure.NO_SECRET


def test_a_token_that_begins_later_does_not_count_yet() -> None:
    """`nbf` is honoured where it is given."""
    assert reason(signed(nbf=NOW + 1)) is AuthFailure.NOT_YET_VALID
    assert validate_token(signed(nbf=NOW - 1), SECRET, NOW).name == "ann"


def _part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("text", ["..", "a.b.c", _part("[" * 3000) + ".e30.x", "é.é.é"])
def test_other_text_is_malformed(text: str) -> None:
    """Garbage, deep nesting and foreign alphabets are refused without a crash."""
    assert reason(text) is AuthFailure.MALFORMED


@given(
    st.text(alphabet=st.characters(codec=None), max_size=200)
    | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]*")
)
def test_no_text_is_accepted_as_a_token(text: str) -> None:
    """Any text is refused with a reason."""
    with pytest.raises(InvalidCredentialsError):
        Authenticator(jwt_secret=SECRET).identify(text, NOW)


def test_without_authentication_everybody_is_admin() -> None:
    """Switched off, no token is looked at."""
    assert Authenticator(enabled=False).identify("whatever", NOW) == ANONYMOUS
