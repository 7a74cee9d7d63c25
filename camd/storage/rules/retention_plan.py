"""Which recordings a policy removes, which it must keep, and when it would remove too much.

Pure. Segments come oldest first; the caller says which are pinned or in use.
"""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable
from datetime import datetime, timedelta

import attrs

from camd.model import Segment, SegmentState

BYTES_PER_GB = 1_000_000_000
MAX_AGE_DAYS = 36_500
MAX_SIZE_GB = 1_000_000_000
MAX_LISTED = 1000  # kept files in a plan; all are counted


class PolicyType(enum.Enum):
    """What decides that a recording is removed."""

    AGE = "age"
    SIZE = "size"
    MANUAL = "manual"  # only a request by name


@attrs.frozen
class RetentionPolicy:
    """The policy in force; only an enabled one removes anything."""

    type: PolicyType = PolicyType.MANUAL
    enabled: bool = False
    max_age_days: float | None = None
    max_size_gb: float | None = None  # of all recordings

    @property
    def removes(self) -> bool:
        """Whether it removes anything."""
        return self.enabled and self.type is not PolicyType.MANUAL

    @property
    def rule(self) -> str:
        """The policy in words, as the reason of a removal."""
        match self.type:
            case PolicyType.AGE:
                return f"older than {self.max_age_days or 0:g} days"
            case PolicyType.SIZE:
                return f"recordings over {self.max_size_gb or 0:g} GB, oldest first"
            case PolicyType.MANUAL:
                return "only by name"


class KeptReason(enum.Enum):
    """Why a recording is kept although the policy would remove it."""

    PINNED = "pinned"
    BUSY = "busy"  # recorded, read, converted, or the newest of a running session
    INTERRUPTED = "interrupted"  # left unsealed by a crash
    CLOCK = "clock"  # too old only by a wall clock that is not trusted


@attrs.frozen
class ToDelete:
    """A recording to be removed."""

    filename: str
    camera_id: str
    start: datetime
    size_bytes: int


@attrs.frozen
class Kept:
    """A recording that the policy would remove, and why it is kept."""

    filename: str
    size_bytes: int
    reason: KeptReason


@attrs.frozen
class CleanupPlan:
    """What one run does. Every file to delete is listed, oldest first."""

    policy: RetentionPolicy
    total_bytes: int  # of all recordings before the run
    to_delete: tuple[ToDelete, ...]
    kept: tuple[Kept, ...]  # the first MAX_LISTED of them
    kept_files: int
    freed_bytes: int
    short_bytes: int  # above the size limit even after the run
    stopped_by_limit: bool  # above max_delete_percent: nothing is removed
    waiting_files: int = 0  # kept ones with KeptReason.CLOCK
    clock: str = ""  # why the wall clock is not trusted; "" when it is

    @property
    def enough(self) -> bool:
        """Whether the recordings are within the size limit afterwards."""
        return self.short_bytes == 0

    @property
    def waits(self) -> str:
        """How many files wait for the clock, and why, in words."""
        why = self.clock or "they were recorded while the clock was wrong"
        return f"{self.waiting_files} wait, as they are not that old: {why}"

    @property
    def share_percent(self) -> float:
        """The share of all recorded bytes that would be removed."""
        return 100.0 * self.freed_bytes / self.total_bytes if self.total_bytes else 0.0


@attrs.define(eq=False)
class CleanupPlanner:
    """Builds a plan from segments that come in pieces, oldest first, until it is `done`.

    `total_bytes` is the size of all recordings, growing ones included.
    """

    policy: RetentionPolicy
    total_bytes: int
    now: datetime
    max_delete_percent: float
    clock: str = ""  # why it is not trusted
    _to_delete: list[ToDelete] = attrs.field(factory=list, init=False)
    _kept: list[Kept] = attrs.field(factory=list, init=False)
    _kept_files: int = attrs.field(default=0, init=False)
    _waiting_files: int = attrs.field(default=0, init=False)
    _freed_bytes: int = attrs.field(default=0, init=False)
    _done: bool = attrs.field(default=False, init=False)

    @property
    def done(self) -> bool:
        """Whether newer segments make no difference any more."""
        by_size = self.policy.type is not PolicyType.AGE and self._excess_bytes <= 0
        return self._done or by_size

    @property
    def _cutoff(self) -> datetime | None:
        """Recordings that ended before this are too old."""
        if self.policy.type is not PolicyType.AGE or self.policy.max_age_days is None:
            return None
        return self.now - timedelta(days=self.policy.max_age_days)

    @property
    def _excess_bytes(self) -> int:
        """How much has to be removed yet."""
        if self.policy.type is not PolicyType.SIZE or self.policy.max_size_gb is None:
            return 0
        allowed = int(self.policy.max_size_gb * BYTES_PER_GB)
        return self.total_bytes - self._freed_bytes - allowed

    def aged(self, segments: Iterable[Segment]) -> list[Segment]:
        """Return those of the next segments that are too old by their dates and the wall clock."""
        cutoff = self._cutoff
        if cutoff is None:
            return []
        there = (segment for segment in segments if segment.state is not SegmentState.MISSING)
        return [segment for segment in there if segment.end < cutoff]

    def take(
        self,
        segments: Iterable[Segment],
        pinned: Container[str],
        busy: Container[str],
        too_young: Container[str] = (),
    ) -> None:
        """Decide about the next segments; `pinned` and `busy` ones are kept.

        `too_young` are those that are not as old as their dates say.
        """
        for segment in segments:
            cutoff = self._cutoff
            if self.done or (cutoff is not None and segment.start >= cutoff):
                self._done = True  # all others are newer
                return
            if segment.state is SegmentState.MISSING:
                continue
            if cutoff is None or segment.end < cutoff:
                self._decide(segment, _reason(segment, pinned, busy, too_young))

    def _decide(self, segment: Segment, reason: KeptReason | None) -> None:
        name, size = segment.filename, segment.size_bytes
        if reason is None:
            self._to_delete.append(ToDelete(name, segment.camera_id, segment.start, size))
            self._freed_bytes += size
            return
        self._kept_files += 1
        self._waiting_files += reason is KeptReason.CLOCK
        if len(self._kept) < MAX_LISTED:
            self._kept.append(Kept(name, size, reason))

    def plan(self) -> CleanupPlan:
        """Return the plan."""
        return CleanupPlan(
            policy=self.policy,
            total_bytes=self.total_bytes,
            to_delete=tuple(self._to_delete),
            kept=tuple(self._kept),
            kept_files=self._kept_files,
            freed_bytes=self._freed_bytes,
            short_bytes=max(0, self._excess_bytes),
            stopped_by_limit=self._freed_bytes * 100 > self.max_delete_percent * self.total_bytes,
            waiting_files=self._waiting_files,
            clock=self.clock,
        )


def _reason(
    segment: Segment, pinned: Container[str], busy: Container[str], too_young: Container[str]
) -> KeptReason | None:
    if segment.filename in busy or segment.state is SegmentState.OPEN:
        return KeptReason.BUSY
    if segment.state is SegmentState.INTERRUPTED:
        return KeptReason.INTERRUPTED
    if segment.filename in pinned:
        return KeptReason.PINNED
    return KeptReason.CLOCK if segment.filename in too_young else None


def mistakes_of(policy: RetentionPolicy) -> list[tuple[str, str]]:
    """Return what is wrong with a policy, as pairs of field and sentence."""
    needed = {PolicyType.AGE: "max_age_days", PolicyType.SIZE: "max_size_gb"}.get(policy.type)
    found = []
    for field, most in (("max_age_days", MAX_AGE_DAYS), ("max_size_gb", MAX_SIZE_GB)):
        value: float | None = getattr(policy, field)
        if value is None and field == needed:
            found.append((field, f"is required by the policy type {policy.type.value}"))
        elif value is not None and not 0 < value <= most:  # NaN is neither
            found.append((field, f"must be more than 0 and at most {most}, not {value:g}"))
    return found


def describe_run(plan: CleanupPlan, removed: int, freed_bytes: int, problem: str = "") -> str:
    """Describe in a sentence what a run did, or why nothing; `problem` is why it stopped."""
    if plan.policy.type is PolicyType.MANUAL:
        return "The policy is manual: nothing is removed by itself"
    if not plan.policy.enabled:
        return "The policy is off: nothing is removed"
    if plan.stopped_by_limit:
        return (
            f"Nothing was removed: it would be {plan.share_percent:.1f} % of all recorded bytes "
            "at once, more than retention.max_delete_percent allows; look at the preview, and "
            "use force if that is what you want"
        )
    parts = [f"{removed} of {len(plan.to_delete)} files removed, {freed_bytes} bytes freed"]
    if plan.kept_files:
        parts.append(f"{plan.kept_files} stay that the policy would take")
    if not plan.enough:
        parts.append(f"{plan.short_bytes} bytes more than the policy allows are left")
    if plan.waiting_files:
        parts.append(plan.waits)
    if problem:
        parts.append(f"stopped before the end: {problem}")
    return "; ".join(parts)
