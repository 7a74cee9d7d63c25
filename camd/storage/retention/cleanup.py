"""Keeps the retention policy and carries it out, on schedule or on request, with receipts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import attrs
import msgspec
import structlog
import trio

from camd.clock import Clock
from camd.config.schema import RetentionConfig
from camd.errors import INTERNAL_ERROR, Refusal
from camd.model import CleanupEnded, CleanupReceipt, Event, Segment, SegmentState
from camd.runtime.broadcast import Fanout
from camd.runtime.state_file import StateFile
from camd.storage.disk import Disk, open_lines
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.recovery.reconcile import in_batches
from camd.storage.removal import Removal
from camd.storage.retention.trusted_clock import ClockTrustStore
from camd.storage.rules.clock_trust import CredibleTime, RecordingEndMoment
from camd.storage.rules.retention_plan import (
    MAX_LISTED,
    CleanupPlan,
    CleanupPlanner,
    PolicyType,
    RetentionPolicy,
    describe_run,
    mistakes_of,
)
from camd.storage.rules.rows import SessionStartMoment
from camd.storage.storage import Storage, arrival_of

log = structlog.get_logger("camd.retention")

FIRST_SECONDS = 300.0  # before the first run: cameras and recovery come first
LOOK_SECONDS = 60.0  # between two readings of the clocks
RECEIPT_SECONDS = 5.0
SCHEDULED = "schedule"
POLICY_FILE = "retention.json"  # in the state folder
RECEIPTS = "cleanups.jsonl"  # beside the index; one JSON object a line, append-only

InUse = Callable[[], Mapping[str, int]]  # newest files of running sessions, and their sizes


@attrs.frozen
class CleanupBatchSizes:
    """How much is done at once; others use the index, or stop the service, in between."""

    read: int = 500  # segments read from the index
    remove: int = 8  # files removed


BATCHES = CleanupBatchSizes()


@attrs.frozen
class CleanupRun:
    """A run: its plan, whether it was carried out, and its receipt."""

    plan: CleanupPlan
    executed: bool
    receipt: CleanupReceipt


@attrs.define(eq=False)
class _CleanupCounts:
    """What a run has done so far."""

    files: list[str] = attrs.field(factory=list)  # the first MAX_LISTED
    removed: int = 0
    freed_bytes: int = 0
    skipped: int = 0  # became busy or pinned, or failed
    problem: str = ""  # why it ended early

    def add(self, answers: list[Removal]) -> None:
        gone = [answer.filename for answer in answers if answer.removed]
        self.files += gone[: max(0, MAX_LISTED - len(self.files))]
        self.removed += len(gone)
        self.skipped += sum(answer.refused is not None for answer in answers)
        self.freed_bytes += sum(answer.freed_bytes for answer in answers)


@attrs.define(eq=False)
class Retention:
    """The policy in force, and the runs that carry it out, one at a time."""

    storage: Storage
    config: RetentionConfig
    state_dir: Path
    events: Fanout[Event]
    in_use: InUse
    policy: RetentionPolicy
    trusted_clock: ClockTrustStore
    clock: Clock
    batches: CleanupBatchSizes
    last: CleanupReceipt | None = attrs.field(default=None, init=False)  # since the start
    _one: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _clock_thread: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )

    async def set_policy(self, policy: RetentionPolicy) -> None:
        """Put a policy in force; durable when this returns. Raises Refusal.

        A run by the old policy stops.
        """
        try:
            await trio.to_thread.run_sync(save_policy, self.state_dir, policy)
        except OSError as error:
            raise Refusal(
                INTERNAL_ERROR,
                f"The policy cannot be stored: {error.strerror}",
                suggestion="Check the state folder; the old policy stays in force.",
            ) from error
        self.policy = policy
        log.info("retention_policy", rule=policy.rule, enabled=policy.enabled)

    async def preview(self) -> CleanupPlan:
        """Return what a run would do now; changes nothing. Raises Refusal."""
        return await self._plan(self.policy, self.config.max_delete_percent)

    @property
    def doubt(self) -> str:
        """Why the wall clock is not trusted, as of the last reading; "" when it is."""
        return self.trusted_clock.trust.doubt

    async def watch_clock(self) -> None:
        """Read the clocks until cancelled, so that no step is missed."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            await self._look_at_clock()

    async def _look_at_clock(self) -> CredibleTime:
        return await trio.to_thread.run_sync(
            self.trusted_clock.look, limiter=self._clock_thread, abandon_on_cancel=True
        )

    async def clean_up(self, asked_by: str, *, force: bool = False) -> CleanupRun:
        """Carry out the policy once; `force` ignores max_delete_percent and trusts the wall clock.

        Waits for a run that goes on. Files that become busy meanwhile are kept. When cancelled, the
        run ends between two batches, with its receipt. Raises Refusal.
        """
        async with self._one:
            began, policy, tally = self.clock.now(), self.policy, _CleanupCounts()
            max_delete_percent = float("inf") if force else self.config.max_delete_percent
            plan = await self._plan(policy, max_delete_percent, trust_wall_clock=force)
            executed = policy.removes and not plan.stopped_by_limit
            try:
                if executed:
                    await self._carry_out(plan, tally)
            finally:
                receipt = _receipt(plan, tally, began, self.clock.now(), asked_by)
                with trio.CancelScope(shield=True), trio.move_on_after(RECEIPT_SECONDS):
                    await self._record(receipt, plan)
            return CleanupRun(plan, executed, receipt)

    async def run_when_due(self, first_seconds: float = FIRST_SECONDS) -> None:
        """Clean up until cancelled: some time after the start, then once in every interval."""
        interval = self.config.interval.total_seconds()
        await trio.sleep(min(first_seconds, interval))
        while True:
            if self.policy.removes:
                try:
                    await self.clean_up(SCHEDULED)
                except Refusal as refusal:
                    log.error("cleanup_failed", error=refusal.message)
            await trio.sleep(interval)

    # --- planning ---

    async def _plan(
        self, policy: RetentionPolicy, max_delete_percent: float, *, trust_wall_clock: bool = False
    ) -> CleanupPlan:
        index_worker, in_use = self.storage.index_worker, self.in_use()
        total = await index_worker.read(lambda index: _total_bytes(index, in_use))
        trust = await self._look_at_clock()
        doubt = "" if trust_wall_clock else trust.doubt
        planner = CleanupPlanner(policy, total, trust.reading.wall, max_delete_percent, doubt)
        behind: Segment | None = None
        while not planner.done:
            segments = await index_worker.read(
                partial(_oldest, behind=behind, limit=self.batches.read)
            )
            if not segments:
                break
            behind, in_use = segments[-1], self.in_use()
            pins = await self.storage.pins([s.filename for s in segments])
            busy = {s.filename for s in segments if s.filename in in_use or self.storage.busy(s)}
            aged = [s for s in planner.aged(segments) if s.filename not in busy]
            too_young = await self._too_young(aged, trust, policy, trust_wall_clock)
            planner.take(segments, pins, busy, too_young)
        return planner.plan()

    async def _too_young(
        self,
        aged: Sequence[Segment],
        trust: CredibleTime,
        policy: RetentionPolicy,
        trust_wall_clock: bool,
    ) -> set[str]:
        """Return the files that are not as old as their dates say, judged by their arrival."""
        disk, folder = self.storage.disk, self.storage.folder
        told = await self.storage.on_disk(lambda: [arrival_of(disk, folder, s) for s in aged])
        silent = {s.session_id for s, each in zip(aged, told, strict=True) if each is None}
        sessions = await self.storage.index_worker.read(
            lambda index: {s: index.database.session_start(s) for s in silent}
        )
        most, too_young = timedelta(days=policy.max_age_days or 0), set[str]()
        for segment, each in zip(aged, told, strict=True):
            arrival = each or _by_session(segment, sessions.get(segment.session_id))
            if trust.age(segment.end, arrival, trust_wall_clock=trust_wall_clock) < most:
                too_young.add(segment.filename)
        return too_young

    # --- doing ---

    async def _carry_out(self, plan: CleanupPlan, tally: _CleanupCounts) -> None:
        names = [each.filename for each in plan.to_delete]
        # Unless the run completes.
        tally.problem = "its client went away, or the service stops"
        for batch in in_batches(names, self.batches.remove):
            if self.policy is not plan.policy:
                tally.problem = "the policy was changed"
                return
            in_use = self.in_use()
            free = [name for name in batch if name not in in_use]
            tally.skipped += len(batch) - len(free)
            try:
                tally.add(await self.storage.remove(free, f"retention: {plan.policy.rule}"))
            except Refusal as refusal:
                tally.problem = refusal.message
                return
        tally.problem = ""

    async def _record(self, receipt: CleanupReceipt, plan: CleanupPlan) -> None:
        """Keep, publish and log a receipt; a scheduled run that found nothing is not recorded."""
        self.last = receipt
        if receipt.asked_by == SCHEDULED and not plan.to_delete and plan.enough:
            return
        log.info("cleanup", asked_by=receipt.asked_by, message=receipt.message)
        self.events.publish(CleanupEnded(receipt))
        disk = self.storage.disk
        await self.storage.index_worker.write(
            lambda index: append_receipt(disk, index.folder, receipt)
        )


def _by_session(
    segment: Segment, session_start: SessionStartMoment | None
) -> RecordingEndMoment | None:
    """Derive the arrival of a file without metadata (Matroska) from its session's start."""
    if session_start is None or not session_start.boot_id:
        return None
    since = max(0.0, (segment.end - session_start.start).total_seconds())
    return RecordingEndMoment(session_start.boot_id, session_start.monotonic + since)


def _oldest(index: RecordingIndex, behind: Segment | None, limit: int) -> tuple[Segment, ...]:
    return index.database.oldest(behind, limit)


def _total_bytes(index: RecordingIndex, in_use: Mapping[str, int]) -> int:
    """Return the size of all recordings, growing ones as large as they are now."""
    known = [index.database.segment(name) for name in in_use]
    listed = sum(s.size_bytes for s in known if s and s.state is not SegmentState.MISSING)
    return index.database.total_bytes() - listed + sum(in_use.values())


def _receipt(
    plan: CleanupPlan, tally: _CleanupCounts, began: datetime, ended: datetime, asked_by: str
) -> CleanupReceipt:
    return CleanupReceipt(
        began=began,
        ended=ended,
        asked_by=asked_by,
        policy_type=plan.policy.type.value,
        rule=plan.policy.rule,
        files_planned=len(plan.to_delete),
        files_deleted=tally.removed,
        space_freed=tally.freed_bytes,
        files=tuple(tally.files),
        files_skipped=tally.skipped,
        files_kept=plan.kept_files,
        space_short=plan.short_bytes,
        stopped_by_limit=plan.stopped_by_limit and plan.policy.removes,
        complete=not tally.problem,
        message=describe_run(plan, tally.removed, tally.freed_bytes, tally.problem),
    )


@asynccontextmanager
async def open_retention(
    config: RetentionConfig,
    state_dir: Path,
    storage: Storage,
    events: Fanout[Event],
    in_use: InUse,
    *,
    clock: Clock,
    batches: CleanupBatchSizes = BATCHES,
) -> AsyncIterator[Retention]:
    """Carry out the stored policy while the block runs; a run ends between two batches."""
    policy = await trio.to_thread.run_sync(load_policy, state_dir)
    trusted_clock = await trio.to_thread.run_sync(
        partial(ClockTrustStore.open, state_dir, clock=clock)
    )
    retention = Retention(
        storage=storage,
        config=config,
        state_dir=state_dir,
        events=events,
        in_use=in_use,
        policy=policy,
        trusted_clock=trusted_clock,
        clock=clock,
        batches=batches,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(retention.watch_clock)
        nursery.start_soon(retention.run_when_due)
        yield retention
        nursery.cancel_scope.cancel()


# --- The file of the policy


class _StoredPolicy(msgspec.Struct, forbid_unknown_fields=True):
    """The policy as stored in its file."""

    policy_type: PolicyType
    enabled: bool
    max_age_days: float | None = None
    max_size_gb: float | None = None


def load_policy(state_dir: Path) -> RetentionPolicy:
    """Read the policy. Blocks. A missing or unreadable one removes nothing."""
    return _policy_file(state_dir).load() or RetentionPolicy()


def save_policy(state_dir: Path, policy: RetentionPolicy) -> None:
    """Store the policy durably. Blocks. Raises OSError."""
    _policy_file(state_dir).save(policy)


def _policy_file(state_dir: Path) -> StateFile[RetentionPolicy]:
    return StateFile(state_dir / POLICY_FILE, _parse, _render, mode=0o600)


def _parse(text: str) -> RetentionPolicy:
    stored = msgspec.json.decode(text, type=_StoredPolicy)  # its errors are ValueErrors
    policy = RetentionPolicy(
        stored.policy_type, stored.enabled, stored.max_age_days, stored.max_size_gb
    )
    if mistakes := mistakes_of(policy):
        raise ValueError("; ".join(f"{field} {sentence}" for field, sentence in mistakes))
    return policy


def _render(policy: RetentionPolicy) -> str:
    stored = _StoredPolicy(policy.type, policy.enabled, policy.max_age_days, policy.max_size_gb)
    return msgspec.json.encode(stored).decode() + "\n"


# --- The log of cleanups


def append_receipt(disk: Disk, folder: Path, receipt: CleanupReceipt) -> None:
    """Append a receipt durably. Raises OSError.

    A line torn by a crash is kept, and the next one begins on a line of its own.
    """
    lines = open_lines(disk, folder / RECEIPTS)
    try:
        line = msgspec.json.encode(attrs.asdict(receipt)) + b"\n"
        lines.file.append([b"\n" * lines.torn, line])
        lines.file.sync()
    finally:
        lines.file.close()
