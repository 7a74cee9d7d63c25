"""Totals since the daemon started: footage recorded, gaps by cause, FFmpeg processes that failed.

Events carry the whole account of a session; what it grew by since the last event is added. A
counter begins at 0 with the daemon, so what a session had before is left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import attrs

from camd.model import (
    CameraChanged,
    CameraId,
    CameraState,
    CameraStatus,
    Event,
    RecordingChanged,
    RecordingEventKind,
    Session,
    SessionId,
)
from camd.runtime.broadcast import Fanout

_zeros: Callable[[], defaultdict[Any, float]] = partial(defaultdict, float)
_CAPTURING = (CameraState.STARTING, CameraState.STREAMING, CameraState.STOPPING)
_FAILED = (CameraState.RESTING, CameraState.ABSENT)


@attrs.frozen
class CountedAmounts:
    """How much of a session is counted. Bytes, frames; numbers of files and of ledger entries.

    `newest_seconds` is what is counted of the newest of those files, which may grow.
    """

    size_bytes: int = 0
    frames: int = 0
    files: int = 0
    newest_seconds: float = 0.0
    gaps: int = 0

    @classmethod
    def of(cls, session: Session) -> CountedAmounts:
        """Everything that a session has now."""
        newest = session.current
        return cls(
            size_bytes=session.bytes_written,
            frames=session.frames_written,
            files=len(session.segments),
            newest_seconds=newest.duration_seconds if newest is not None else 0.0,
            gaps=len(session.gaps),
        )

    @classmethod
    def until(cls, moment: datetime, session: Session) -> CountedAmounts:
        """What a session had at `moment`, by the times of its files and ledger entries."""
        old = [each for each in session.segments if each.end <= moment]
        return cls(
            size_bytes=sum(each.size_bytes for each in old),
            frames=sum(each.frames for each in old),
            files=len(old),
            newest_seconds=old[-1].duration_seconds if old else 0.0,
            gaps=sum(gap.end <= moment for gap in session.gaps),
        )

    def seconds_since(self, session: Session) -> float:
        """How many seconds of footage the session has more than is counted."""
        newer = session.segments[max(0, self.files - 1) :]
        return max(0.0, sum(each.duration_seconds for each in newer) - self.newest_seconds)


@attrs.define(eq=False)
class RecorderTotals:
    """Counters of all cameras since `began`, the start of the daemon; they only grow.

    Keys are camera ids, or camera id and cause.
    """

    began: datetime
    recorded_bytes: Counter[CameraId] = attrs.field(factory=Counter, init=False)
    recorded_frames: Counter[CameraId] = attrs.field(factory=Counter, init=False)
    recorded_seconds: defaultdict[CameraId, float] = attrs.field(factory=_zeros, init=False)
    gap_entries: Counter[tuple[CameraId, str]] = attrs.field(factory=Counter, init=False)
    gap_seconds: defaultdict[tuple[CameraId, str], float] = attrs.field(factory=_zeros, init=False)
    failed_captures: Counter[tuple[CameraId, str]] = attrs.field(factory=Counter, init=False)
    counted: dict[SessionId, CountedAmounts] = attrs.field(factory=dict, init=False)  # running
    _states: dict[CameraId, CameraState] = attrs.field(factory=dict, init=False)

    @contextmanager
    def listening(self, events: Fanout[Event]) -> Iterator[None]:
        """Count the events of `events` while the block runs."""
        with events.subscribed(self.count):
            yield

    def count(self, event: Event) -> None:
        """Take an event into account; never waits."""
        match event:
            case RecordingChanged(kind=kind, session=session):
                self.count_session(session)
                if kind is RecordingEventKind.STOPPED:
                    del self.counted[session.session_id]
            case CameraChanged(status):
                self._count_capture(status)

    def count_session(self, session: Session) -> None:
        """Add what a session has more than when it was last seen; it may have no events lately."""
        camera = session.camera_id
        before = self.counted.get(session.session_id)
        if before is None:
            before = CountedAmounts.until(self.began, session)
        self.recorded_bytes[camera] += max(0, session.bytes_written - before.size_bytes)
        self.recorded_frames[camera] += max(0, session.frames_written - before.frames)
        self.recorded_seconds[camera] += before.seconds_since(session)
        for gap in session.gaps[before.gaps :]:
            self.gap_entries[camera, gap.cause.value] += 1
            self.gap_seconds[camera, gap.cause.value] += gap.duration_seconds
        self.counted[session.session_id] = CountedAmounts.of(session)

    def _count_capture(self, status: CameraStatus) -> None:
        """Count a capture that failed, when its camera is found waiting for the next one."""
        before = self._states.get(status.camera_id)
        self._states[status.camera_id] = status.state
        if before in _CAPTURING and status.state in _FAILED and status.problem is not None:
            self.failed_captures[status.camera_id, status.problem.kind.value] += 1
