"""Time stamps with errors, from the stream to the ledger: no entry is longer than the gap."""

from __future__ import annotations

import random
from datetime import timedelta

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.recordings import NOON, segment
from test_capture_timestamps import RATE, Frame, begun, muxed, steady, then

from camd.capture.consumer import CapturedFragment
from camd.clock import Anchor
from camd.model import CameraId, Gap, GapCause, RecordingRequest, SessionId
from camd.recording.rules.ledger import SessionLedger

ROTATION_SECONDS = 20.0


def ledgered(frames: list[Frame], size: int = 10) -> list[Gap]:
    """Record frames as a live stream, into files of 20 s; return the entries of the ledger."""
    began = frames[0].arrived
    ledger = SessionLedger(
        session_id=SessionId("s"),
        camera_id=CameraId("c"),
        request=RecordingRequest("ann"),
        format="mp4",
        started=NOON,
    )
    timeline, gaps = begun(), []
    start, zero = NOON, 0.0
    for fragment, arrived in muxed(frames, size):
        placed = timeline.place(fragment, arrived)
        captured = CapturedFragment(
            placed,
            arrived,
            Anchor(began, NOON),
            placed=True,
            turned=timeline.turned,
            vague=timeline.vague,
        )
        ledger.took(placed.frames)
        if not ledger.frames_written or placed.start_seconds - zero >= ROTATION_SECONDS:
            gaps += ledger.enter_found_drops()
            start, zero = ledger.start_of(captured), placed.start_seconds
            gaps += ledger.begin(start, placed)
        until = start + timedelta(seconds=placed.end_seconds - zero)
        file = segment("a.mp4", start=start, end=until, number=0)
        gaps += ledger.wrote(captured, file, size_bytes=1, monotonic=arrived)
    assert ledger.frames_captured == len(frames)
    return [*gaps, *ledger.enter_found_drops(capture_over=True)]


def strayed(frames: list[Frame], seed: int, spread: float) -> list[Frame]:
    """Stamp each frame wrong by a time of its own, up to `spread` seconds either way."""
    dice = random.Random(seed)
    return [attrs.evolve(f, stamp=f.stamp + dice.uniform(-spread, spread)) for f in frames]


@example(575, 30.0, 20)  # by chance a step of half a second is among the jumps
@example(115, 30.0, 20)
@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.02, 0.1, 0.2, 0.35, 0.5, 0.8, 1.0, 1.4, 3.0, 30.0, 1000.0]),
    st.sampled_from([1, 5, 10, 20]),
)
def test_wrong_stamps_are_no_loss(seed: int, spread: float, size: int) -> None:
    """Random errors in every time stamp, and no frame missing: the ledger stays empty."""
    assert ledgered(strayed(steady(45), seed, spread), size) == []


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.2, 0.35])
@pytest.mark.parametrize("seed", range(5))
def test_missing_frames_among_wrong_stamps_have_an_entry(seed: int, spread: float) -> None:
    """An outage of seconds has an entry that is no longer than the outage."""
    outage = 5.0
    frames = then(steady(15), steady(15), step=outage, pause=outage)
    gaps = ledgered(strayed(frames, seed, spread))
    assert {gap.cause for gap in gaps} == {GapCause.FRAMES_DROPPED_BY_SOURCE}
    told = sum(gap.frames for gap in gaps)
    assert (outage - 2 * spread - 1.0) * RATE < told <= (outage + 2 * spread) * RATE
    assert all((gap.end - gap.start).total_seconds() <= outage + 2 * spread + 0.1 for gap in gaps)
