"""The level of one volume, and the space reserved for recording sessions.

A volume is sampled in a thread. A sample that hangs sets the level to UNRESPONSIVE, and so does
another call to the disk that hangs; callers do not wait for them, but read the published status.
What a camera delivers meanwhile waits in `camd.recording.recording_queue`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import structlog
import trio

from camd.clock import Clock
from camd.model import Event, SessionId, StorageChanged, StorageLevel, StorageStatus
from camd.runtime.aligned_sleep import next_aligned
from camd.runtime.broadcast import Fanout, LatestValue
from camd.runtime.folders.access_advice import explain_error
from camd.storage.disk import Disk
from camd.storage.rules.admission import Admission, SpaceNeed, admit
from camd.storage.rules.io_stats import IoStats
from camd.storage.rules.levels import (
    Thresholds,
    Usage,
    VolumeFault,
    blames_volume,
    classify_level,
    level_of,
    message_of,
    seconds_until_blocked,
)
from camd.storage.rules.timings import STORAGE_LIMITS, StorageLimits
from camd.storage.timed_disk import IoTimer
from camd.storage.volume_sample import (
    VolumeSample,
    free_reserve,
    keep_reserve,
    sample_volume,
    writing_works,
)

log = structlog.get_logger("camd.storage")

RATE_WINDOW_SECONDS = 10.0


@attrs.frozen(eq=False)
class PendingSample:
    """A sample that has not returned."""

    over: trio.Event  # for who waits for it
    begun: float  # by Trio's clock


@attrs.define(eq=False)
class SpaceMonitor:
    """Samples the recordings volume, derives its level, and keeps the reservations."""

    folder: Path
    _disk: Disk
    _thresholds: Thresholds
    _events: Fanout[Event]
    prepare: Callable[[], None] = lambda: None  # called in the sample's thread, when writing works
    identify: Callable[[], VolumeFault | None] = lambda: None  # in the same thread, before it
    clock: Clock = attrs.field(kw_only=True)
    limits: StorageLimits = attrs.field(default=STORAGE_LIMITS, kw_only=True)
    timer: IoTimer = attrs.field(init=False)
    _reservations: dict[SessionId, float] = attrs.field(factory=dict, init=False)
    _usage: Usage = attrs.field(default=Usage(0, 0), init=False)
    _level: StorageLevel = attrs.field(default=StorageLevel.OK, init=False)
    _fault: VolumeFault | None = attrs.field(default=None, init=False)
    _failure: OSError | None = attrs.field(default=None, init=False)  # until a trial works
    _trial_at: float = attrs.field(default=0.0, init=False)
    _sampling: PendingSample | None = attrs.field(default=None, init=False)
    _sample_hangs: bool = attrs.field(default=False, init=False)  # a sample does not return
    _slow: bool = attrs.field(default=False, init=False)
    _logged_error: str = attrs.field(default="", init=False)
    _rate: float = attrs.field(default=0.0, init=False)
    _rate_at: float = attrs.field(init=False)
    _sampled: trio.Event = attrs.field(factory=trio.Event, init=False)  # by the next sample
    _sample_soon: trio.Event = attrs.field(factory=trio.Event, init=False)
    stored_bytes: int = attrs.field(default=0, init=False)
    snapshots_bytes: int = attrs.field(default=0, init=False)
    notes_waiting: int = attrs.field(default=0, init=False)
    notes_lost: int = attrs.field(default=0, init=False)
    published: LatestValue[StorageStatus] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.timer = IoTimer(IoStats(self.limits), clock=self.clock)
        self._rate_at = self.clock.monotonic()
        self.published = LatestValue(self.status)

    @property
    def status(self) -> StorageStatus:
        """The present status, with reservations and write rate as of now; never waits."""
        self._decay_rate()
        fault, stats, now = self._explanation(), self.timer.stats, self.clock.monotonic()
        status = StorageStatus(
            level=self._level,
            reason=fault.reason,
            suggestion=fault.suggestion,
            total_bytes=self._usage.total_bytes,
            used_bytes=self._usage.total_bytes - self._usage.available_bytes,
            available_bytes=self._usage.available_bytes,
            used_percent=self._usage.used_percent,
            recordings_bytes=self.stored_bytes,
            snapshots_bytes=self.snapshots_bytes,
            promised_bytes=int(sum(self._reservations.values())),
            write_rate=round(self._rate, 1),
            seconds_until_blocked=None,
            warn_percent=self._thresholds.warn,
            block_percent=self._thresholds.block,
            critical_percent=self._thresholds.critical,
            free_inodes=self._usage.free_inodes if self._usage.free_inodes >= 0 else None,
            sync_latency=stats.syncs(),
            pending_seconds=round(stats.pending_seconds(now), 3),
            slow=stats.slow(now),
            notes_waiting=self.notes_waiting,
            notes_lost=self.notes_lost,
        )
        return attrs.evolve(status, seconds_until_blocked=seconds_until_blocked(status))

    # --- admission ---

    async def admit(self, session: SessionId, need: SpaceNeed) -> Admission:
        """Reserve space for a recording, decided on a fresh sample.

        Waits for at most twice the timeout of a sample. Raises Refusal −1010, −1008, or why the
        volume cannot be used; nothing is reserved then.
        """
        await self.refresh()
        admission = admit(self.status, need)
        self._reservations[session] = need.bytes
        return admission

    def reserve(self, session: SessionId, size_bytes: float) -> None:
        """Set the reservation of a running session."""
        self._reservations[session] = size_bytes

    def release(self, session: SessionId) -> None:
        """Drop a session's reservation."""
        self._reservations.pop(session, None)

    def wrote(self, session: SessionId, size_bytes: int) -> None:
        """Count bytes that a session wrote: its reservation shrinks, the write rate is updated."""
        self.stored_bytes += size_bytes
        if session in self._reservations:
            self._reservations[session] = max(0.0, self._reservations[session] - size_bytes)
        self._decay_rate()
        self._rate += size_bytes / RATE_WINDOW_SECONDS

    def _decay_rate(self) -> None:
        now = self.clock.monotonic()
        self._rate *= math.exp((self._rate_at - now) / RATE_WINDOW_SECONDS)
        self._rate_at = now

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds that apply now."""
        return self._thresholds

    def reconfigure(self, thresholds: Thresholds) -> None:
        """Use other thresholds from now on."""
        self._thresholds = thresholds
        self._assess()

    # --- disk calls of others ---

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Time a disk operation while the block runs; one that hangs changes the level."""
        try:
            with self.timer.operation():
                yield
        finally:
            if self._level is StorageLevel.UNRESPONSIVE:
                self._sample_soon.set()

    def suspect(self, error: OSError | None = None) -> None:
        """Sample soon. An error that means that the volume fails changes the level at once."""
        if error is not None and blames_volume(error):
            if self._failure is None:
                log.error("storage_fails", error=str(error))
            self._failure, self._trial_at = error, self._next_trial()
            self._assess()
        self._sample_soon.set()

    def _next_trial(self) -> float:
        return self.clock.monotonic() + self.limits.trial_seconds

    # --- sampling ---

    async def refresh(self) -> None:
        """Wait for a sample that begins after this call, or until the timeout of a sample."""
        if self._level is StorageLevel.UNRESPONSIVE:
            return
        wanted = self._sampled
        self._sample_soon.set()
        await wanted.wait()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sample until cancelled; `refresh` works from when this has started."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_samples)
            nursery.start_soon(self._watch_samples)

    async def _serve_samples(self) -> None:
        while True:
            self._sample_soon = trio.Event()
            await self._sample()
            pending = self.timer.stats.pending_seconds(self.clock.monotonic()) > 0
            busy = self._reservations or pending or self._failure is not None
            pause = self.limits.sample_seconds if busy else self.limits.idle_sample_seconds
            with trio.move_on_at(next_aligned(pause)):
                await self._sample_soon.wait()

    async def _sample(self) -> None:
        sampled, self._sampled = self._sampled, trio.Event()
        failure = self._failure if self.clock.monotonic() >= self._trial_at else None
        self._sampling = PendingSample(sampled, trio.current_time())
        try:
            # When the daemon stops, the sample may be abandoned: its result is not needed.
            sample = await trio.to_thread.run_sync(
                self._take_sample, failure is not None, abandon_on_cancel=True
            )
        finally:
            self._sampling = None
        if sample.works is not None:
            self._trial_at = self._next_trial()
            if sample.works and self._failure is failure:
                self._failure = None
        self._usage, self._fault, self._sample_hangs = sample.usage, sample.fault, False
        self._assess()
        sampled.set()

    async def _watch_samples(self) -> None:
        """Notice a sample that does not return in time; who waits for it or the next one goes on.

        One that begins while this sleeps is looked at before its time is over.
        """
        while True:
            sampling = None if self._sample_hangs else self._sampling
            begun = trio.current_time() if sampling is None else sampling.begun
            await trio.sleep_until(begun + self.limits.sample_timeout_seconds)
            if sampling is not None and self._sampling is sampling:
                self._sample_hangs = True
                self._assess()
                sampling.over.set()
                self._sampled.set()  # the next sample may never begin
                self._sampled = trio.Event()

    def _take_sample(self, trial: bool) -> VolumeSample:
        sample = sample_volume(self.folder, self._disk, self.identify)
        if sample.fault is not None:
            return sample
        if trial:
            sample = attrs.evolve(sample, works=writing_works(self.folder, self._disk))
        level = level_of(sample.usage, self._thresholds, self._level)
        if level.writable and sample.works is not False:
            self._prepare(sample.usage)
        return sample

    def _prepare(self, usage: Usage) -> None:
        try:
            self.prepare()
            keep_reserve(self.folder, usage, self._disk)
            self._logged_error = ""
        except OSError as error:  # concerns the index or the reserve, not the recordings
            if self._logged_error != str(error):
                advice = explain_error(error)
                log.warning("storage_not_prepared", error=str(error), suggestion=advice)
            self._logged_error = str(error)

    def _assess(self) -> None:
        """Derive the level from usage, faults and pending calls, and publish it."""
        now = self.clock.monotonic()
        pending = self.timer.stats.pending_seconds(now)
        slow = self.timer.stats.slow(now)
        if slow is not self._slow:
            self._slow = slow
            say, event = (log.warning, "slow") if slow else (log.info, "slow_over")
            say(f"storage_{event}", pending_seconds=round(pending, 3))
        if self._sample_hangs:
            self._judge(StorageLevel.UNRESPONSIVE)
            return
        hangs = pending >= self.limits.hang_seconds
        by_use = level_of(self._usage, self._thresholds, self._level)
        failing = self._failure is not None
        self._judge(classify_level(by_use, self._fault, hangs=hangs, failing=failing))

    def _judge(self, level: StorageLevel) -> None:
        before, self._level = self._level, level
        status = self.status
        self.published.publish(status)
        if level is not before:
            say = log.info if level is StorageLevel.OK else log.warning
            told = message_of(status)
            say(
                "storage_level",
                now=level.value,
                before=before.value,
                reason=told and told.message,
                suggestion=told and told.suggestion,
            )
            self._events.publish(StorageChanged(status))

    def _explanation(self) -> VolumeFault:
        """Return the reason for the present level, if more than its name is known."""
        if self._fault is not None and self._fault.level is self._level:
            return self._fault
        if self._failure is not None and self._level is StorageLevel.FAILING:
            why = self._failure.strerror or str(self._failure)
            return VolumeFault(self._level, f"Writing to the recordings volume fails: {why}")
        return VolumeFault(self._level)

    def free_reserve(self) -> None:
        """Free the reserve to make room for sealing; a later sample restores it. Blocks."""
        free_reserve(self.folder)
