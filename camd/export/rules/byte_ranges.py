"""Which bytes of a response a client asks for (RFC 9110, section 14), and where they lie."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from camd.mp4.movies.cut_movie import ByteSpan

_SINGLE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.ASCII)


class UnsatisfiableRangeError(Exception):
    """The client asks for bytes behind the end."""


def requested_span(headers: Mapping[str, str], etag: str, size: int) -> ByteSpan | None:
    """Return the part that a request asks for; None: everything.

    Everything is sent where the part is not one range, or where If-Range names another version.
    Raises UnsatisfiableRangeError.
    """
    if headers.get("if-range", etag) != etag:
        return None
    found = _SINGLE.fullmatch(headers.get("range", ""))
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        last = int(found[2])
        if not last or not size:
            raise UnsatisfiableRangeError
        return ByteSpan(max(0, size - last), size)
    begin = int(found[1])
    last = int(found[2]) if found[2] else max(begin, size)
    if last < begin:
        return None  # not a valid range: ignored
    if begin >= size:
        raise UnsatisfiableRangeError
    return ByteSpan(begin, min(last + 1, size))


def overlaps(sizes: Iterable[int], wanted: ByteSpan) -> Iterator[tuple[int, ByteSpan]]:
    """Yield the numbers of consecutive blocks in which a span lies, and the bytes of each."""
    at = 0
    for number, size in enumerate(sizes):
        begin, end = max(wanted.begin - at, 0), min(wanted.end - at, size)
        if begin < end:
            yield number, ByteSpan(begin, end)
        at += size
