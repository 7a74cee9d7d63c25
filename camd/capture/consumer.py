"""The items that a hub puts into its consumers, and what a consumer is.

A consumer is a recording, a viewer, a snapshot, a publisher, or a camera that always captures.
`Consumer.put` never waits: each consumer has its own policy for a full queue. FFmpeg's pipe is
always read, because a blocked FFmpeg loses frames in the kernel, where they are not counted.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

import attrs

from camd.clock import Anchor
from camd.model import GapCause
from camd.mp4.fragments import Fragment, Init


@attrs.frozen
class CapturedFragment:
    """A fragment, and when its last frame arrived, in monotonic seconds.

    `anchor` converts that to wall time (UTC). `init` is the header that the fragment needs; None:
    the header that its capture began with. `placed`: its time stamps were compared with its
    arrival and follow it. `turned`: from here on the time stamps come from another clock, so
    intervals before and after cannot be compared. `vague`: the frames are timed by their arrival
    alone, or time stamps beside them were wrong.
    """

    fragment: Fragment
    arrived: float
    anchor: Anchor
    init: Init | None = None
    placed: bool = False
    turned: bool = False
    vague: bool = False

    @property
    def began(self) -> float:
        """When its first frame was captured, in monotonic seconds."""
        return self.arrived - self.fragment.duration_seconds

    @property
    def start(self) -> datetime:
        """Wall time of its first frame."""
        return self.end - timedelta(seconds=self.fragment.duration_seconds)

    @property
    def end(self) -> datetime:
        """Wall time of its last frame."""
        return self.anchor.wall_at(self.arrived)


@attrs.frozen
class CaptureBegan:
    """A capture delivers its header; everything up to CaptureEnded belongs to it."""

    init: Init


@attrs.frozen
class CaptureEnded:
    """The capture is over; `cause` says why footage will be missing, None: nothing is missing."""

    cause: GapCause | None
    reason: str


@attrs.frozen
class ClockStepped:
    """The wall clock was set by `by`; `at` and all later times are on the new clock."""

    by: timedelta
    at: datetime


@attrs.frozen
class EndOfStream:
    """Nothing follows."""


HubItem = CaptureBegan | CapturedFragment | CaptureEnded | ClockStepped | EndOfStream


class Consumer(Protocol):
    """Takes a camera's stream, with a queue and a policy of its own."""

    @property
    def grace_seconds(self) -> float:
        """How long the capture goes on after this consumer, when it is the last one to leave."""

    @property
    def each_frame(self) -> bool:
        """Whether it takes each frame as it arrives, in a fragment of its own.

        If not, frames are joined to fragments of `recording.fragment`.
        """

    def put(self, item: HubItem) -> None:
        """Take an item at once: keep it, merge it, or drop it and count it."""


@attrs.frozen
class DiscardingConsumer:
    """The consumer of an `always_on` camera or its pre-roll: needs the capture, keeps nothing.

    The hub keeps what a later consumer begins with.
    """

    grace_seconds: float = 0.0
    each_frame: bool = False

    def put(self, item: HubItem) -> None:
        """Drop the item."""
