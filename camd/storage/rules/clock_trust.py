"""How far retention trusts the wall clock. Pure.

The wall clock may be years off until it is set, and may be set at any time. What a machine knows
for certain is how long it has been running (CLOCK_BOOTTIME). So retention keeps a time of its own:
it runs with the machine, takes over the wall clock when that has been synchronised for a while, and
does not follow a step ahead before. While the machine is off it trusts the wall clock, without
synchronisation for at most a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from camd.clock import from_unix_micros
from camd.model.notation import spoken_duration

STEADY_SECONDS = 3600.0  # a clock that stepped is trusted after so long
MAX_DOWNTIME = timedelta(days=1)  # trusted without synchronisation
AHEAD = timedelta(seconds=60)  # less is not reported
MAX_BOOTS = 500  # remembered, the latest
_STEP_SECONDS = 5.0
_DRIFT = 0.001  # of the time between two readings


@attrs.frozen
class ClockReading:
    """All clocks at one moment. `boottime` and `monotonic` are seconds of this boot."""

    wall: datetime
    boottime: float  # including suspend
    boot_id: str
    synchronised: bool


@attrs.frozen
class RecordingEndMoment:
    """When a recording's last frame arrived, by the monotonic clock of its boot."""

    boot_id: str
    monotonic_end: float


@attrs.frozen
class KnownBoot:
    """A boot of this machine, and when it began (seconds since 1970), as far as is known."""

    boot_id: str
    began: float
    certain: bool  # the clock was synchronised in it


@attrs.frozen
class CredibleTime:
    """The latest time that is credible, and how it was derived."""

    reading: ClockReading
    credible: datetime
    stepped_at: float | None = None  # boottime of the latest step in this boot
    boots: tuple[KnownBoot, ...] = ()

    @classmethod
    def first(cls, reading: ClockReading) -> CredibleTime:
        """Begin with nothing known but the clocks."""
        return cls(reading, reading.wall)._dated()

    def then(self, reading: ClockReading) -> CredibleTime:
        """Take another reading, in the same boot or a later one."""
        before = self.reading
        by_wall = (reading.wall - before.wall).total_seconds()
        if reading.boot_id == before.boot_id:
            passed, stepped_at = max(0.0, reading.boottime - before.boottime), self.stepped_at
            if abs(by_wall - passed) > _STEP_SECONDS + _DRIFT * passed:
                stepped_at = reading.boottime
        else:
            most = reading.boottime + MAX_DOWNTIME.total_seconds()
            passed, stepped_at = max(reading.boottime, min(by_wall, most)), None
        credible = self.credible + timedelta(seconds=passed)
        seen = attrs.evolve(self, reading=reading, credible=credible, stepped_at=stepped_at)
        return seen._synchronised()._dated()

    @property
    def _is_steady(self) -> bool:
        """Whether the wall clock is trusted: it is synchronised, and was not set lately."""
        at = self.reading.boottime
        fresh = self.stepped_at is not None and at - self.stepped_at < STEADY_SECONDS
        return self.reading.synchronised and not fresh

    def _synchronised(self) -> CredibleTime:
        """Take over a trusted wall clock; its correction applies to earlier boots, too."""
        if not self._is_steady:
            return self
        wrong = (self.reading.wall - self.credible).total_seconds()
        boots = tuple(
            boot if boot.certain or wrong <= 0 else attrs.evolve(boot, began=boot.began + wrong)
            for boot in self.boots
        )
        return attrs.evolve(self, credible=self.reading.wall, boots=boots)

    def _dated(self) -> CredibleTime:
        """Remember when this boot began."""
        this, known = self.reading.boot_id, {boot.boot_id: boot for boot in self.boots}
        certain = self._is_steady or (this in known and known[this].certain)
        began = self.credible.timestamp() - self.reading.boottime
        others = [boot for boot in self.boots if boot.boot_id != this]
        boots = (*others, KnownBoot(this, began, certain))[-MAX_BOOTS:]
        return attrs.evolve(self, boots=boots if this else tuple(others))

    # --- for retention ---

    @property
    def now(self) -> datetime:
        """The present time, as far as it is trusted."""
        return min(self.reading.wall, self.credible)

    @property
    def doubt(self) -> str:
        """Why the wall clock is not trusted; "" when it is."""
        ahead = self.reading.wall - self.credible
        if ahead <= AHEAD:
            return ""
        if self.stepped_at is not None:
            why = "was set while the machine was running"
        else:
            why = "moved while the machine was off"
        kept = "" if self.reading.synchronised else ", and nothing says that it is synchronised"
        far = spoken_duration(ahead.total_seconds())
        return (
            f"the clock {why}, and is {far} ahead of the time that passed{kept}; "
            "recordings are as old as the time that passed until it has been synchronised for an "
            "hour"
        )

    def age(
        self, end: datetime, arrival: RecordingEndMoment | None, *, trust_wall_clock: bool = False
    ) -> timedelta:
        """Return the greatest possible age of a recording that ended at wall time `end`.

        With `trust_wall_clock` the present wall clock is taken to be right. A recording of this
        boot is measured by the boot clock in any case, which nobody can set.
        """
        reading = self.reading
        if arrival is not None and arrival.boot_id and arrival.boot_id == reading.boot_id:
            return timedelta(seconds=reading.boottime - arrival.monotonic_end)
        now = reading.wall if trust_wall_clock else self.now
        for boot in self.boots:
            if arrival is not None and boot.boot_id == arrival.boot_id:
                end = from_unix_micros(int((boot.began + arrival.monotonic_end) * 1e6))
        return now - end
