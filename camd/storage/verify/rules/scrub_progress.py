"""How far the scrub has come, when it is due, and how slowly it reads. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from camd.model import Segment
from camd.storage.verify.rules.findings import Finding

MAX_PROBLEMS = 100  # kept of a run; all are counted
_SHARE = 3.0  # seconds of pause for every second of reading, at least
_SHORTEST_SECONDS = 0.01  # shorter pauses are added up


@attrs.frozen
class ScrubPosition:
    """The file that was verified last."""

    start: datetime
    filename: str


@attrs.frozen
class ScrubRun:
    """One run over all recordings, from the oldest to the newest."""

    began: datetime
    ended: datetime | None = None
    at: ScrubPosition | None = None
    files: int = 0  # verified
    read_bytes: int = 0
    problem_count: int = 0
    problems: tuple[Finding, ...] = ()  # the first MAX_PROBLEMS

    def passed(self, segment: Segment) -> ScrubRun:
        """Move past a file that is not verified."""
        return attrs.evolve(self, at=ScrubPosition(segment.start, segment.filename))

    def verified(self, segment: Segment, read_bytes: int, found: list[Finding]) -> ScrubRun:
        """Move past a file that was verified."""
        return attrs.evolve(
            self.passed(segment),
            files=self.files + 1,
            read_bytes=self.read_bytes + read_bytes,
            problem_count=self.problem_count + len(found),
            problems=(*self.problems, *found)[:MAX_PROBLEMS],
        )


@attrs.frozen
class ScrubProgress:
    """The present run, and the last one that was completed."""

    current: ScrubRun | None = None
    last: ScrubRun | None = None

    def begun(self, moment: datetime) -> ScrubProgress:
        """Continue an interrupted run, or begin one."""
        return self if self.current else attrs.evolve(self, current=ScrubRun(moment))

    def over(self, moment: datetime) -> ScrubProgress:
        """Complete the present run."""
        assert self.current is not None
        return ScrubProgress(None, attrs.evolve(self.current, ended=moment))

    def seconds_until_due(self, moment: datetime, interval: timedelta) -> float:
        """Seconds until the next run; 0: now, also when the wall clock was set back."""
        if self.current or self.last is None or moment < self.last.began:
            return 0.0
        return max(0.0, (self.last.began + interval - moment).total_seconds())


@attrs.define(eq=False)
class ScrubPace:
    """How long to leave the disk alone after a read.

    At most `rate` bytes a second on a fast disk, and a quarter of the time on a slow one.
    """

    rate: int
    _owed: float = attrs.field(default=0.0, init=False)

    def pause_after(self, size_bytes: int, seconds: float) -> float:
        """Return the seconds to wait after a read of so many bytes that took `seconds`."""
        self._owed += max(size_bytes / self.rate - seconds, _SHARE * seconds)
        if self._owed < _SHORTEST_SECONDS:
            return 0.0
        owed, self._owed = self._owed, 0.0
        return owed
