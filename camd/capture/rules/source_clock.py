"""How far the clock of a source is from this machine's: shown, and used for nothing. Pure.

RTCP sender reports say what the wall clock of a camera shows; FFmpeg passes that on with its
fragments (RFC 3550 section 6.4.1; ISO/IEC 14496-12 clause 8.16.5). Where a source says nothing,
FFmpeg's own clock stands there, which is this machine's.
"""

from __future__ import annotations

from datetime import datetime

import attrs

WRONG_SECONDS = 1.0
SURE = 3  # fragments in a row that say so


@attrs.define(eq=False)
class SourceClock:
    """The latest that a source said about wall time, against when it arrived."""

    _offset: float | None = attrs.field(default=None, init=False)
    _wrong: int = attrs.field(default=0, init=False)  # fragments in a row

    @property
    def offset_seconds(self) -> float | None:
        """How far ahead of this machine the source's clock is; None while it is not known."""
        return None if self._offset is None else round(self._offset, 1)

    @property
    def warning(self) -> str:
        """What people should know; empty when the clock is right."""
        if self._offset is None or self._wrong < SURE:
            return ""
        way = "ahead of" if self._offset > 0 else "behind"
        return (
            f"The camera's clock is {_length(abs(self._offset))} {way} this machine's; "
            "files are named by this machine's clock"
        )

    def look(self, said: datetime, arrived: datetime) -> None:
        """Take what a fragment says of its end, and when it arrived."""
        offset = (said - arrived).total_seconds()
        wrong = abs(offset) > WRONG_SECONDS
        self._wrong = self._wrong + 1 if wrong else 0
        if self._offset is None or abs(offset - self._offset) > WRONG_SECONDS / 2:
            self._offset = offset  # smaller changes are how long the way was

    def clear(self) -> None:
        """Another capture begins."""
        self._offset, self._wrong = None, 0


def _length(seconds: float) -> str:
    """Say a length of time roughly, so that the sentence stays the same while it drifts."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
