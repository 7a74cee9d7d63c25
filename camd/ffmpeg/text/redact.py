"""Remove credentials from a text before it is logged or sent.

It removes too much rather than too little: a password that its owner forgot to percent-encode may
contain any character but a space.
"""

from __future__ import annotations

import re

# `user@`, `user:password@` and `user:pa/ss@word@`; of `host:80/x@y` the path is removed.
# Schemes are short; without a limit, a long word would be scanned once for each of its letters.
_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}://)(?:[^\s/?#]*:\S*|[^\s/?#]*)@")
_HIDDEN = (
    "user|username|usr|login|pass|passwd|password|passphrase|pwd|psw|auth|authorization|token"
    "|secret|key|apikey|sig|signature|session|sessionid|credential|credentials"
)
# `?token=…`, `&api_key=…`, and the `/user=admin_password=…_channel=1` of some cameras.
_NAMED = re.compile(
    rf"([?&;/_](?:[A-Za-z0-9]{{1,64}}[_-]){{0,6}}(?:{_HIDDEN})(?:=|%3[Dd]))[^\s&;]+", re.IGNORECASE
)
_HEADER = re.compile(r"(Authorization: *)[^\r\n]+", re.IGNORECASE)


def redact(text: str) -> str:
    """Replace credentials in `text` by `***`.

    These are the part of a URL before its `@`, values in its query or path that are secret by
    their names, and the Authorization header of HTTP and RTSP.
    """
    text = _USER_INFO.sub(r"\1***@", text)
    text = _NAMED.sub(r"\1***", text)
    return _HEADER.sub(r"\1***", text)
