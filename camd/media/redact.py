"""How credentials leave a text before anybody can log it or send it."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/'\"]*@")


def redact(text: str) -> str:
    """Replace the `user:password@` of every URL in `text` by `***@`."""
    return _USER_INFO.sub(r"\1***@", text)
