"""Where the account of an earlier life of the daemon ends, on the wall clock as it is now. Pure.

The clock may have been set while the daemon was down. Within one boot the monotonic clock says by
how much; across a boot only that a clock which is behind the account was set back.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from camd.camera.sessions import BootMoment, SessionBook
from camd.storage.trust import FootageArrival

STEP_SECONDS = 2.0  # less is how exactly a file tells when it arrived
_NONE = timedelta(0)


@attrs.frozen
class ResumePoint:
    """`until` is where the account ends; the clock was set by `moved` since the newest file began.

    Of that, no entry of the ledger says `untold` yet. `exact`: it is by the monotonic clock.
    """

    until: datetime
    moved: timedelta = _NONE
    untold: timedelta = _NONE
    exact: bool = False

    @classmethod
    def of(
        cls, book: SessionBook, moment: BootMoment, arrival: FootageArrival | None
    ) -> ResumePoint:
        """Compare the clocks; `arrival` is that of the newest file's last frame, if it is known."""
        until = book.accounted_until
        if not book.segments:
            return cls(until)
        newest = book.segments[-1]
        steps = (gap.stepped for gap in book.gaps if gap.start >= newest.start)
        told = sum(steps, _NONE)
        if arrival is None or not arrival.boot_id or arrival.boot_id != moment.boot_id:
            untold = min(_NONE, moment.wall - until)
            return cls(until + untold, told + untold, untold)
        since = timedelta(seconds=moment.monotonic - arrival.monotonic_end)
        moved = moment.wall - since - newest.end
        if abs(moved.total_seconds()) < STEP_SECONDS:
            moved = _NONE
        untold = moved - told
        if abs(untold.total_seconds()) < STEP_SECONDS:
            untold = _NONE
        by_file, by_entry = newest.end + moved, until + untold
        there = by_file if until == newest.end else max(by_file, by_entry)
        return cls(min(there, max(by_file, moment.wall)), moved, untold, exact=True)


def arrival_by_session(
    book: SessionBook, boot_id: str, monotonic_start: float
) -> FootageArrival | None:
    """Say when the newest file's last frame arrived, where the file does not tell it."""
    if not book.segments or not boot_id:
        return None
    newest = book.segments[-1]
    steps = sum((gap.stepped for gap in book.gaps if gap.start <= newest.start), _NONE)
    since = newest.end - book.started - steps
    return FootageArrival(boot_id, monotonic_start + since.total_seconds())
