"""Why somebody is not let in; the words that clients read as `data.reason`."""

from __future__ import annotations

import enum


class AuthFailure(enum.Enum):
    """One word per way to fail."""

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
    NO_SECRET = "no_jwt_secret"  # noqa: S105 - the word for having none


class AccessRefusedError(Exception):
    """The credentials do not count; `reason` says why, in one word."""

    def __init__(self, reason: AuthFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason
