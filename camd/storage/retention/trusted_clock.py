"""Reads the clocks for retention, and keeps over restarts how far they are trusted."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import attrs
import structlog

from camd.clock import Clock
from camd.runtime.state_file import StateFile, from_json
from camd.storage.rules.clock_trust import ClockReading, CredibleTime

log = structlog.get_logger("camd.retention")

FILE = "clock.json"
SAVE_SECONDS = 600.0  # between saves; a crash loses so much of the passed time


@attrs.define(eq=False)
class ClockTrustStore:
    """How far the wall clock is trusted. Everything blocks; for one thread at a time."""

    file: StateFile[CredibleTime]
    trust: CredibleTime
    clock: Clock
    _saved_at: float = attrs.field(default=float("-inf"), init=False)
    _logged_error: str = attrs.field(default="", init=False)

    @classmethod
    def open(cls, state_dir: Path, *, clock: Clock) -> ClockTrustStore:
        """Continue from the saved state, and read the clocks."""
        file = StateFile(state_dir / FILE, partial(from_json, kind=CredibleTime))
        known, reading = file.load(), read_clocks(clock)
        trust = CredibleTime.first(reading) if known is None else known.then(reading)
        trusted = cls(file, trust, clock)
        trusted._log_change("")
        trusted.save()
        return trusted

    def look(self) -> CredibleTime:
        """Read the clocks, and save the result from time to time."""
        before, self.trust = self.trust, self.trust.then(read_clocks(self.clock))
        self._log_change(before.doubt)
        changed = bool(before.doubt) != bool(self.trust.doubt)
        if changed or self.trust.reading.boottime - self._saved_at >= SAVE_SECONDS:
            self.save()
        return self.trust

    def _log_change(self, before: str) -> None:
        doubt = self.trust.doubt
        if doubt and not before:
            log.warning("clock_not_trusted", why=doubt)
        elif before and not doubt:
            log.info("clock_trusted")

    def save(self) -> None:
        """Save the state; a failure is logged, and makes recordings younger than they are."""
        try:
            self.file.save(self.trust)
            self._saved_at, self._logged_error = self.trust.reading.boottime, ""
        except OSError as error:
            if str(error) != self._logged_error:
                log.warning("clock_not_saved", error=str(error))
            self._logged_error = str(error)


def read_clocks(clock: Clock) -> ClockReading:
    """Read all clocks."""
    return ClockReading(clock.now(), clock.boottime(), clock.boot_id(), clock.synchronised())
