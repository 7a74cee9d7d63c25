"""What is wrong with time stamps, at any rate: no false entry, each loss has one, times hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import attrs
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support import media_streams as build
from support.media_streams import Sample
from support.recordings import NOON, segment, session
from test_capture_timestamps import MARK, Frame, begun

from camd.capture.consumer import CapturedFragment
from camd.capture.rules.joining import ArrivedFragment, FragmentJoiner
from camd.capture.rules.timestamps import (
    AHEAD_SECONDS,
    BEHIND_SECONDS,
    TimestampFault,
    estimate_arrivals,
)
from camd.clock import Anchor
from camd.model import (
    CameraId,
    Gap,
    GapCause,
    RecordingRequest,
    Segment,
    SessionId,
    SessionState,
)
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.recording.rules.ledger import SessionLedger
from camd.storage.rules.rows import IndexedSession
from camd.storage.verify.rules.sessions import compare_session

SCALE = 15360
FRAGMENT_SECONDS = 0.5
READ_SECONDS = 0.25
ROTATION_SECONDS = 7.0
RATES = (0.5, 1.0, 4.0, 7.5, 15.0, 30000 / 1001, 60.0)
WRAP = -(2**33) / 90_000  # seconds: stamps of 33 bits begin anew


def steady(
    seconds: float, rate: float, *, pace: float = 1.0, jitter: float = 0.0, seed: int = 0
) -> list[Frame]:
    """Frames whose stamps advance `pace` times as fast, and which the network delays."""
    dice, frames = random.Random(seed), []
    for n in range(max(2, round(seconds * rate))):
        at = n / rate
        arrived = max(at + dice.uniform(0, jitter), frames[-1].arrived if frames else 0.0)
        frames.append(Frame(arrived, at * pace))
    return frames


def then(before: list[Frame], after: list[Frame], rate: float, step: float = 0.0, lost: float = 0):
    """Join two streams: between them so many seconds of frames are lost, and stamps step."""
    arrived = before[-1].arrived + 1 / rate + lost - after[0].arrived
    stamp = before[-1].stamp + 1 / rate + lost + step - after[0].stamp
    return before + [Frame(each.arrived + arrived, each.stamp + stamp) for each in after]


def written(frames: list[Frame], rate: float, size: int) -> Iterator[ArrivedFragment]:
    """Make fragments as FFmpeg does: steps that it cannot write become MARK, times only grow."""
    ticks: list[int] = []
    offset = 0.0
    for frame in frames:
        at, last = frame.stamp + offset, ticks[-1] / SCALE if ticks else None
        if last is not None and not last - 1.0 <= at <= last + 100.0:
            at = last + MARK
            offset = at - frame.stamp
        ticks.append(max(round(at * SCALE), ticks[-1] + 1) if ticks else round(at * SCALE))
    ticks.append(ticks[-1] + round(SCALE / rate))
    reader = FragmentReader()
    reader.feed(build.VIDEO_ONLY)
    for first in range(0, len(frames), size):
        last_one = min(first + size, len(frames))
        samples = [
            Sample(9, ticks[n + 1] - ticks[n], sync=n % 30 == 0) for n in range(first, last_one)
        ]
        (fragment,) = reader.feed(build.fragment((1, ticks[first], samples)))
        assert isinstance(fragment, Fragment)
        # FFmpeg writes a fragment when the frame behind it is there.
        there = frames[last_one] if last_one < len(frames) else None
        yield ArrivedFragment(fragment, there.arrived if there else frames[-1].arrived + 1 / rate)


def read(fragments: Iterator[ArrivedFragment]) -> Iterator[ArrivedFragment]:
    """Read them in rounds, as while nobody watches; estimate when each arrived."""
    waiting: list[ArrivedFragment] = []
    due = after = READ_SECONDS

    def taken() -> Iterator[ArrivedFragment]:
        times = estimate_arrivals([each.fragment for each in waiting], due, after)
        for each, at in zip(waiting, times, strict=True):
            yield ArrivedFragment(each.fragment, at)

    for each in fragments:
        if each.arrived > due and waiting:
            yield from taken()
            waiting, after = [], due
        while each.arrived > due:
            due += READ_SECONDS
        waiting.append(each)
    yield from taken()


def joined(fragments: Iterator[ArrivedFragment]) -> Iterator[ArrivedFragment]:
    """Join frames as a hub does."""
    (init,) = FragmentReader().feed(build.VIDEO_ONLY)
    assert isinstance(init, Init)
    joiner = FragmentJoiner(FRAGMENT_SECONDS)
    joiner.begin(init)
    for each in fragments:
        if joiner.closes_before(each.fragment):
            yield joiner.take()
        joiner.add(each.fragment, each.arrived)
        if joiner.is_complete or joiner.seconds_left < READ_SECONDS:
            yield joiner.take()
    if joiner.unjoined:
        yield joiner.take()


@attrs.define
class Recorded:
    """What became of a stream: entries of the ledger, and the time of each frame."""

    gaps: list[Gap] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)
    files: dict[datetime, Segment] = attrs.field(factory=dict)  # by their start

    @property
    def missing(self) -> float:
        """Seconds in the ledger."""
        return sum(gap.duration_seconds for gap in self.gaps)

    def off(self, frames: list[Frame]) -> float:
        """Return the largest difference between arrival and playback of a frame."""
        zero = frames[0].arrived - self.times[0]
        return max(abs(f.arrived - zero - t) for f, t in zip(frames, self.times, strict=True))


def recorded(
    frames: list[Frame], rate: float, size: int = 0, rotation: float = ROTATION_SECONDS
) -> Recorded:
    """Record a live stream, in fragments of `size` frames; 0: joined, as it is done."""
    stream = written(frames, rate, size or 1)
    if not size:
        stream = joined(read(stream))
    ledger = SessionLedger(
        session_id=SessionId("s"),
        camera_id=CameraId("c"),
        request=RecordingRequest("ann"),
        format="mp4",
        started=NOON,
    )
    timeline, came = begun(), Recorded()
    start, zero = NOON, 0.0
    for each in stream:
        placed = timeline.place(each.fragment, each.arrived)
        assert placed.video is not None
        captured = CapturedFragment(
            placed,
            each.arrived,
            Anchor(0.0, NOON),
            placed=True,
            turned=timeline.turned,
            vague=timeline.vague,
        )
        ledger.took(placed.frames)
        if not ledger.frames_written or placed.start_seconds - zero >= rotation:
            came.gaps += ledger.enter_found_drops()
            start, zero = ledger.start_of(captured), placed.start_seconds
            came.gaps += ledger.begin(start, placed)
        until = start + timedelta(seconds=placed.end_seconds - zero)
        file = segment("a.mp4", start=start, end=until, number=0)
        came.files[start] = file
        came.gaps += ledger.wrote(captured, file, size_bytes=1, monotonic=each.arrived)
        ticks = placed.video.decode_time
        for duration in placed.video.durations:
            came.times.append(ticks / SCALE)
            ticks += duration
    assert ledger.frames_captured == len(frames) == len(came.times)
    assert all(b > a for a, b in pairwise(came.times))
    came.gaps += ledger.enter_found_drops(capture_over=True)
    assert all(gap.cause is GapCause.FRAMES_DROPPED_BY_SOURCE for gap in came.gaps)
    return came


def seconds_of(rate: float) -> float:
    """How long a part of a stream is: long enough to know its rate."""
    return max(6.0, 24 / rate)


def faulty(kind: str, rate: float, value: float, seed: int, jitter: float) -> list[Frame]:
    """Make a stream in which nothing is missing, with a fault in its middle."""
    part = seconds_of(rate)
    dice = random.Random(seed)
    before, after = (steady(part, rate, jitter=jitter, seed=seed + n) for n in (0, 1))
    middle = steady(part, rate, jitter=jitter, seed=seed + 2)
    match kind:
        case "step":
            return then(then(before, middle, rate, value), after, rate)
        case "there and back":
            return then(then(before, middle, rate, value), after, rate, -value)
        case "wrap":
            return then(before, after, rate, WRAP)
        case "still":
            middle = [attrs.evolve(each, stamp=0.0) for each in middle]
        case "twice":
            pairs = [middle[n - n % 2].stamp for n in range(len(middle))]
            middle = [attrs.evolve(m, stamp=s) for m, s in zip(middle, pairs, strict=True)]
        case "stray":
            at = dice.randrange(len(middle))
            middle[at] = attrs.evolve(middle[at], stamp=middle[at].stamp + value)
        case "strays":
            middle = [attrs.evolve(m, stamp=m.stamp + dice.uniform(-value, value)) for m in middle]
        case "pace":
            middle = steady(2 * part, rate, pace=1 + value, jitter=jitter, seed=seed)
    return then(then(before, middle, rate), after, rate)


KINDS = ("none", "step", "there and back", "wrap", "still", "twice", "stray", "strays", "pace")
VALUES = {
    "pace": st.sampled_from((-0.02, -0.002, -0.0002, 0.0002, 0.002, 0.02)),
    "step": st.floats(-100_000, 100_000),
    "there and back": st.floats(-100_000, 100_000),
    "stray": st.one_of(st.floats(-3, 3), st.floats(-1000, 1000)),
    "strays": st.sampled_from((0.05, 0.5, 3.0, 30.0)),
}


@st.composite
def faults(draw: st.DrawFn) -> tuple[str, float, float, int, int, float]:
    """Draw a fault, a rate, a size of fragments, a seed, and how much the network delays."""
    kind = draw(st.sampled_from(KINDS))
    value = draw(VALUES.get(kind, st.just(0.0)))
    rate = draw(st.sampled_from(RATES))
    size = draw(st.sampled_from((0, 0, 1, 2, 20)))
    assume(size * 1.0 / rate <= 5.0)
    jitter = draw(st.sampled_from((0.0, 0.05, 0.2)))
    return kind, value, rate, size, draw(st.integers(0, 10_000)), jitter


def check(kind: str, value: float, rate: float, size: int, seed: int, jitter: float) -> None:
    """Record a stream in which no frame is missing; compare the times of frames with arrivals."""
    frames = faulty(kind, rate, value, seed, jitter)
    came = recorded(frames, rate, size)
    assert came.gaps == []
    slack = 2 * max(size / rate, FRAGMENT_SECONDS, 2 / rate)
    assert came.off(frames) < AHEAD_SECONDS + BEHIND_SECONDS + jitter + slack


@settings(max_examples=40)
@example(("step", 0.27, 15.0, 1, 1138, 0.0))
@example(("step", 0.78, 60.0, 20, 3665, 0.2))
@example(("step", 0.735, 4.0, 0, 333, 0.0))
@example(("strays", 0.5, 30000 / 1001, 20, 3818, 0.05))
@given(faults())
def test_faults_of_stamps_are_no_loss(fault: tuple[str, float, float, int, int, float]) -> None:
    """Where no frame is missing the ledger is empty, and frames play about when they arrived."""
    check(*fault)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [1 / 12, 240.0])
def test_faults_of_stamps_at_unusual_rates_are_no_loss(kind: str, rate: float) -> None:
    """From a frame in twelve seconds to 240 a second."""
    check(kind, {"pace": 0.02, "strays": 3.0}.get(kind, 50.0), rate, 0, 7, 0.05)


@pytest.mark.parametrize("size", [0, 1, 20])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
@pytest.mark.parametrize("lost", [1, 3, 12, 80])
@pytest.mark.parametrize("rate", [7.5, 30000 / 1001, 60.0])
def test_frames_that_are_lost_have_an_entry(
    rate: float, lost: int, jitter: float, size: int
) -> None:
    """One frame or many, whatever the network does: the ledger has as many."""
    part = seconds_of(rate)
    before, after = (steady(part, rate, jitter=jitter, seed=n) for n in (0, 1))
    came = recorded(then(before, after, rate, lost=lost / rate), rate, size)
    assert sum(gap.frames for gap in came.gaps) == lost
    assert came.missing == pytest.approx(lost / rate, abs=0.01)


@pytest.mark.parametrize("step", [-600.0, -0.3, 0.3, 600.0])
def test_frames_that_are_lost_at_a_step_have_an_entry(step: float) -> None:
    """A camera that begins anew loses seconds, and its stamps are others then."""
    rate, lost = 20.0, 4.0
    frames = then(steady(8, rate), steady(8, rate), rate, step, lost)
    came = recorded(frames, rate)
    assert came.missing == pytest.approx(lost, abs=0.75)


def test_jumps_in_one_fragment_count_each() -> None:
    """A fragment with three jumps is timed by its arrival, and the next ones are."""
    frames = steady(10, 20.0)
    for n, wrong in ((100, 50.0), (105, -70.0)):
        frames[n] = attrs.evolve(frames[n], stamp=frames[n].stamp + wrong)
    timeline = begun()
    for each in written(frames, 20.0, 20):
        timeline.place(each.fragment, each.arrived)
    assert timeline.vague
    assert timeline.fault is TimestampFault.UNSTEADY


@pytest.mark.parametrize("after", [1, 15])
def test_a_short_drop_before_a_jump_is_none(after: int) -> None:
    """Stamps that step by part of a second just before they jump: no frame is missing."""
    rate = 60.0
    late = [attrs.evolve(each, stamp=each.stamp + 0.08) for each in steady(after / rate, rate)]
    frames = then(then(steady(8, rate), late[:after], rate, 0.08), steady(8, rate), rate, 600.0)
    assert recorded(frames, rate, 1).gaps == []


def test_a_step_while_the_network_stalls_is_no_loss() -> None:
    """Arrivals of the seconds behind a step count, not only those of the next frames."""
    rate, stall = 20.0, 1.5
    frames = then(steady(8, rate), steady(8, rate), rate, 0.4)
    frames = [
        attrs.evolve(each, arrived=max(each.arrived, 8.0 + stall)) if each.arrived > 8.0 else each
        for each in frames
    ]
    assert recorded(frames, rate, 1).gaps == []


@pytest.mark.parametrize("drift", [-0.002, -0.0002, -0.00005, 0.0, 0.00005, 0.0002, 0.002])
def test_a_clock_that_drifts_for_hours_leaves_no_fault_between_files(drift: float) -> None:
    """Files follow the wall clock, a little each; `camd verify` finds no overlap and no gap."""
    hours, rate, rotation = 8, 1.0, 600.0
    frames = steady(hours * 3600, rate, pace=1 + drift)
    found = recorded(frames, rate, size=20, rotation=rotation)
    assert found.gaps == []
    files = [attrs.evolve(file, number=n) for n, file in enumerate(found.files.values())]
    assert len(files) > hours * 5
    whole = session(segments=tuple(files), state=SessionState.ENDED)
    written = sum(file.frames for file in files)
    assert compare_session(IndexedSession(whole, written, written)) == []
    last = files[-1]
    behind = (last.end - NOON).total_seconds() - (frames[-1].arrived + 1 / rate)
    assert abs(behind) < 2 + 2 * abs(drift) * rotation
