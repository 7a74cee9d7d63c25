"""Fields of signing in to the page."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import Time, doc


@attrs.frozen(kw_only=True)
class SignInCode:
    """A code that signs a browser in, once."""

    code: str
    path: Annotated[str, doc("behind the address of the service, it is a link to the page")]
    role: str
    expires_in: Annotated[float, doc("seconds")]
    expires_at: Time
