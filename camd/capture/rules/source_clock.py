"""Pure: the offset of a source's clock; it is shown, and used for nothing else.

RTCP sender reports say what the wall clock of a camera shows; FFmpeg writes it into its
fragments (RFC 3550 section 6.4.1; ISO/IEC 14496-12 clause 8.16.5). For a source that sends none,
FFmpeg writes the clock of this machine.
"""

from __future__ import annotations

from datetime import datetime

import attrs

WRONG_SECONDS = 1.0
SURE = 3  # fragments in a row, before there is a warning


@attrs.define(eq=False)
class CameraClockOffset:
    """Compares the wall time that a source sends with the arrival of its fragments."""

    _offset: float | None = attrs.field(default=None, init=False)
    _wrong: int = attrs.field(default=0, init=False)  # fragments in a row

    @property
    def offset_seconds(self) -> float | None:
        """How far ahead of this machine the source's clock is; None while it is not known."""
        return None if self._offset is None else round(self._offset, 1)

    @property
    def warning(self) -> str:
        """A sentence for people; empty when the clock is right."""
        if self._offset is None or self._wrong < SURE:
            return ""
        way = "ahead of" if self._offset > 0 else "behind"
        return (
            f"The camera's clock is {_length(abs(self._offset))} {way} this machine's; "
            "files are named by this machine's clock"
        )

    def look(self, said: datetime, arrived: datetime) -> None:
        """Compare the wall time that a fragment states for its end (`said`) with its arrival."""
        offset = (said - arrived).total_seconds()
        wrong = abs(offset) > WRONG_SECONDS
        self._wrong = self._wrong + 1 if wrong else 0
        if self._offset is None or abs(offset - self._offset) > WRONG_SECONDS / 2:
            self._offset = offset  # smaller changes are network delay

    def clear(self) -> None:
        """Forget the offset: another capture begins."""
        self._offset, self._wrong = None, 0


def _length(seconds: float) -> str:
    """Round a duration to its largest unit, so that the sentence does not change with drift."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
