"""JSON Web Tokens (RFC 7519), signed with HS256 alone, and the reasons to refuse credentials."""

from __future__ import annotations

import enum
import math
from typing import Any

import jwt

from camd.rpc.roles import AuthMethod, Principal, Role

# --- Why credentials are refused; clients read the value as `data.reason`.


class AuthFailure(enum.Enum):
    """Why credentials are refused."""

    MISSING = "missing"  # no credentials were given
    MALFORMED = "malformed"
    WRONG_ALGORITHM = "wrong_algorithm"
    INVALID_SIGNATURE = "invalid_signature"
    MISSING_CLAIM = "missing_claim"
    INVALID_CLAIM = "invalid_claim"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNKNOWN_KEY = "unknown_key"
    REVOKED = "revoked"
    SESSION_ENDED = "session_ended"
    UNKNOWN_CODE = "unknown_code"
    NO_SECRET = "no_jwt_secret"  # noqa: S105 - not a secret


class InvalidCredentialsError(Exception):
    """The credentials are not valid."""

    def __init__(self, reason: AuthFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason


# --- Tokens.

MIN_SECRET_BYTES = 32  # RFC 7518, 3.2: at least the size of the hash
MAX_TOKEN_CHARACTERS = 8192
ALGORITHM = "HS256"
CLAIMS = ("user_id", "role", "iat", "exp")

# Times are compared below, against the `now` of the caller.
_OPTIONS: Any = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
    "require": list(CLAIMS),
}


def usable_secret(secret: str) -> bool:
    """Whether `secret` is long enough for signing."""
    return len(secret.encode("utf-8", "surrogatepass")) >= MIN_SECRET_BYTES


def mint_token(secret: str, *, user_id: str, role: Role, now: float, lifetime: float) -> str:
    """Make a token that is valid for `lifetime` seconds from `now` (seconds since 1970).

    Raises ValueError when the secret is shorter than 32 bytes.
    """
    if not usable_secret(secret):
        raise ValueError(f"the secret must have at least {MIN_SECRET_BYTES} bytes")
    claims = {"user_id": user_id, "role": role.value, "iat": now, "exp": now + lifetime}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def validate_token(token: str, secret: str, now: float) -> Principal:
    """Return whose token it is. Raises InvalidCredentialsError."""
    if not usable_secret(secret):
        raise InvalidCredentialsError(AuthFailure.NO_SECRET)
    claims = _verified_claims(token, secret)
    user_id, role = claims["user_id"], _role(claims["role"])
    issued, expires = _moment(claims["iat"]), _moment(claims["exp"])
    if not isinstance(user_id, str) or not user_id or role is None:
        raise InvalidCredentialsError(AuthFailure.INVALID_CLAIM)
    if issued is None or expires is None:
        raise InvalidCredentialsError(AuthFailure.INVALID_CLAIM)
    if now >= expires:
        raise InvalidCredentialsError(AuthFailure.EXPIRED)
    if "nbf" in claims:
        not_before = _moment(claims["nbf"])
        if not_before is None or now < not_before:
            raise InvalidCredentialsError(AuthFailure.NOT_YET_VALID)
    return Principal(user_id, role, expires, AuthMethod.JWT)


def _verified_claims(token: str, secret: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidCredentialsError(AuthFailure.MALFORMED)
    try:
        return dict(jwt.decode(token, secret, algorithms=[ALGORITHM], options=_OPTIONS))
    except jwt.InvalidAlgorithmError:
        raise InvalidCredentialsError(AuthFailure.WRONG_ALGORITHM) from None
    except jwt.InvalidSignatureError:
        raise InvalidCredentialsError(AuthFailure.INVALID_SIGNATURE) from None
    except jwt.MissingRequiredClaimError:
        raise InvalidCredentialsError(AuthFailure.MISSING_CLAIM) from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise InvalidCredentialsError(AuthFailure.MALFORMED) from None


def _role(value: object) -> Role | None:
    return next((role for role in Role if role.value == value), None)


def _moment(value: object) -> float | None:
    """Read a NumericDate (RFC 7519, 2), which may have a fraction; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        moment = float(value)
    except OverflowError:
        return None
    return moment if math.isfinite(moment) else None
