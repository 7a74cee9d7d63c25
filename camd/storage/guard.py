"""The storage guard: watches one volume, says its level, and promises room to sessions.

Sampling is one statvfs(3) in a thread. A probe that hangs shows as a level and delays nobody:
the rest of the program reads the last published status.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import structlog
import trio

from camd.clock import monotonic
from camd.errors import STORAGE_MISSING, STORAGE_READ_ONLY, STORAGE_UNRESPONSIVE, Refusal
from camd.model import Event, SessionId, StorageChanged, StorageLevel, StorageStatus
from camd.runtime.fanout import Fanout
from camd.runtime.published import Published
from camd.storage.disk import Disk
from camd.storage.levels import (
    SEAL_RESERVE_BYTES,
    Thresholds,
    Usage,
    admit,
    level_of,
    seconds_until_blocked,
)

log = structlog.get_logger("camd.storage")

SAMPLE_SECONDS = 1.0  # while anything records
IDLE_SAMPLE_SECONDS = 5.0
PROBE_PATIENCE_SECONDS = 3.0
RATE_WINDOW_SECONDS = 10.0
_RESERVE_SHARE = 100  # at most one percent of a small volume is set aside

_UNUSABLE = {
    StorageLevel.MISSING: STORAGE_MISSING,
    StorageLevel.READ_ONLY: STORAGE_READ_ONLY,
    StorageLevel.UNRESPONSIVE: STORAGE_UNRESPONSIVE,
}


@attrs.define(eq=False)
class Guard:
    """The level of the recordings volume, and who was promised how much of it."""

    folder: Path
    _disk: Disk
    _thresholds: Thresholds
    _events: Fanout[Event]
    prepare: Callable[[], None] = lambda: None  # runs in the probe's thread, folder usable
    _promises: dict[SessionId, float] = attrs.field(factory=dict, init=False)
    _usage: Usage = attrs.field(default=Usage(0, 0), init=False)
    _level: StorageLevel = attrs.field(default=StorageLevel.OK, init=False)
    _rate: float = attrs.field(default=0.0, init=False)
    _rate_at: float = attrs.field(factory=monotonic, init=False)
    _next: trio.Event = attrs.field(factory=trio.Event, init=False)  # the next sample is there
    _hurry: trio.Event = attrs.field(factory=trio.Event, init=False)
    stored_bytes: int = attrs.field(default=0, init=False)
    published: Published[StorageStatus] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.published = Published(self._status())

    @property
    def status(self) -> StorageStatus:
        """The latest word, with promises and rate as of now; never waits."""
        return self._status()

    # --- admission ---

    async def admit(self, session: SessionId, rate: float, seconds: float) -> tuple[str, ...]:
        """Promise room for `seconds` at `rate` bytes/s, judged on a fresh sample.

        Returns warnings for the answer. Waits for at most twice the probe's patience. Raises
        Refusal −1010, −1008, or why the volume cannot be used; then nothing was promised.
        """
        await self.refresh()
        if self._level in _UNUSABLE:
            raise Refusal(_UNUSABLE[self._level], available_space=0, usage_percent=0.0)
        warnings = admit(self._status(), rate, seconds)
        self._promises[session] = rate * seconds
        return warnings

    def renew(self, session: SessionId, size_bytes: float) -> None:
        """Promise room for the next segment of a session that runs already."""
        self._promises[session] = max(size_bytes, self._promises.get(session, 0.0))

    def release(self, session: SessionId) -> None:
        """Take a session's promise back."""
        self._promises.pop(session, None)

    def wrote(self, session: SessionId, size_bytes: int) -> None:
        """Count bytes that a session wrote: they come off its promise and feed the rate."""
        self.stored_bytes += size_bytes
        if session in self._promises:
            self._promises[session] = max(0.0, self._promises[session] - size_bytes)
        self._decay_rate()
        self._rate += size_bytes / RATE_WINDOW_SECONDS

    def _decay_rate(self) -> None:
        now = monotonic()
        self._rate *= math.exp((self._rate_at - now) / RATE_WINDOW_SECONDS)
        self._rate_at = now

    def reconfigure(self, thresholds: Thresholds) -> None:
        """Judge by other thresholds from now on; a volume that cannot be used stays so."""
        self._thresholds = thresholds
        unusable = self._level in _UNUSABLE
        self._judge(self._level if unusable else level_of(self._usage, thresholds, self._level))

    # --- sampling ---

    async def refresh(self) -> None:
        """Wait for a sample that begins after this call, or until a probe counts as hung."""
        if self._level is StorageLevel.UNRESPONSIVE:
            return
        wanted = self._next
        self._hurry.set()
        await wanted.wait()

    def suspect(self) -> None:
        """Sample soon: somebody met an error."""
        self._hurry.set()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sample for ever; from when this has started, `refresh` is answered."""
        task_status.started()
        while True:
            self._hurry = trio.Event()
            await self._sample()
            pause = SAMPLE_SECONDS if self._promises else IDLE_SAMPLE_SECONDS
            with trio.move_on_after(pause):
                await self._hurry.wait()

    async def _sample(self) -> None:
        sampled, self._next = self._next, trio.Event()
        async with self._impatience(sampled):
            # A probe only reads, so it may be left behind when the daemon stops.
            level, usage = await trio.to_thread.run_sync(self._probe, abandon_on_cancel=True)
        self._usage = usage
        self._judge(level)
        sampled.set()

    @asynccontextmanager
    async def _impatience(self, sampled: trio.Event) -> AsyncIterator[None]:
        async def complain() -> None:
            await trio.sleep(PROBE_PATIENCE_SECONDS)
            self._judge(StorageLevel.UNRESPONSIVE)
            sampled.set()
            self._next.set()  # nobody waits for what may never begin
            self._next = trio.Event()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(complain)
            yield
            nursery.cancel_scope.cancel()

    def _probe(self) -> tuple[StorageLevel, Usage]:
        try:
            if not stat.S_ISDIR(self.folder.stat().st_mode):
                return StorageLevel.MISSING, Usage(0, 0)
            usage = self._disk.usage(self.folder)
            if usage.read_only or not os.access(self.folder, os.W_OK | os.X_OK):
                return StorageLevel.READ_ONLY, usage
        except OSError as error:
            log.debug("storage_probe_failed", error=str(error))
            return StorageLevel.MISSING, Usage(0, 0)
        level = level_of(usage, self._thresholds, self._level)
        if level.writable:
            try:
                self.prepare()
                self._keep_reserve(usage)
            except OSError as error:  # costs the index or the reserve, no footage
                log.warning("storage_not_prepared", error=str(error))
        return level, usage

    def _judge(self, level: StorageLevel) -> None:
        before, self._level = self._level, level
        status = self._status()
        self.published.publish(status)
        if level is not before:
            log.info("storage_level", level=level.value, before=before.value)
            self._events.publish(StorageChanged(status))

    def _status(self) -> StorageStatus:
        self._decay_rate()
        status = StorageStatus(
            level=self._level,
            total_bytes=self._usage.total_bytes,
            used_bytes=self._usage.total_bytes - self._usage.available_bytes,
            available_bytes=self._usage.available_bytes,
            used_percent=self._usage.used_percent,
            recordings_bytes=self.stored_bytes,
            promised_bytes=int(sum(self._promises.values())),
            write_rate=round(self._rate, 1),
            seconds_until_blocked=None,
            warn_percent=self._thresholds.warn,
            block_percent=self._thresholds.block,
            critical_percent=self._thresholds.critical,
        )
        return attrs.evolve(status, seconds_until_blocked=seconds_until_blocked(status))

    # --- the reserve ---

    @property
    def _reserve(self) -> Path:
        return self.folder / ".camd" / "reserve"

    def _keep_reserve(self, usage: Usage) -> None:
        """Hold some blocks back, so that sealing finds room on a volume that is full."""
        size = min(SEAL_RESERVE_BYTES, usage.total_bytes // _RESERVE_SHARE)
        if self._reserve.exists() or usage.available_bytes < 4 * size:
            return
        fd = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, max(1, size))
        except OSError:
            self.give_reserve()
            raise
        finally:
            os.close(fd)

    def give_reserve(self) -> None:
        """Free the reserve for a seal; the next sample with room to spare takes it again.

        Blocks: call it in a thread.
        """
        with contextlib.suppress(OSError):
            self._reserve.unlink()
