"""The instant for which schedules are asked, on a wall clock that is set and corrected."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from camd.clock import Clock

# A clock that goes back by less does not leave a window again that it has just entered.
CORRECTION = timedelta(seconds=60)


@attrs.define(eq=False)
class ScheduleTime:
    """Wall time that does not run backwards, except when the clock is set back by a minute."""

    _clock: Clock
    _latest: datetime | None = attrs.field(default=None, init=False)

    def now(self) -> datetime:
        """Return the instant as of now, in UTC."""
        now, latest = self._clock.now(), self._latest
        if latest is None or not latest - CORRECTION < now < latest:
            self._latest = latest = now
        return latest
