"""How credentials leave a text before anybody can log it or send it.

Rather too much goes than too little: a password that its owner forgot to percent-encode may hold
any character but a space.
"""

from __future__ import annotations

import re

# `user@`, `user:password@` and `user:pa/ss@word@`; in `host:80/x@y` it is the path that goes.
# Schemes are short; without a bound, a long word would be scanned once for each of its letters.
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

    They are what stands before the `@` of a URL, values whose names say that they are secret in
    a URL's query or path, and what HTTP and RTSP send as authorisation.
    """
    text = _USER_INFO.sub(r"\1***@", text)
    text = _NAMED.sub(r"\1***", text)
    return _HEADER.sub(r"\1***", text)
