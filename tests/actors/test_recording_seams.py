"""All time between two files of a session is in a file or in the ledger (I4)."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
import trio
from support.camera_rig import REQUEST, open_camera_rig
from support.fake_ffmpeg import Behaviour, FakeFfmpeg
from trio.testing import MockClock

from camd.config.schema import RecordingConfig
from camd.model import GapCause, Session

ROTATION = RecordingConfig(rotation=timedelta(seconds=2))


def paced(*pauses: float) -> Behaviour:
    """Deliver half a second of pictures after each of these pauses, repeatedly."""

    async def part(child: FakeFfmpeg) -> int:
        child.write(child.stream.head)
        while True:
            for pause in pauses:
                with trio.move_on_after(pause):
                    await child.told_to_end.wait()
                    return 255
                child.write(child.stream.next(5))

    return part


async def _record(part: Behaviour, seconds: float) -> Session:
    async with open_camera_rig(part, recording=ROTATION) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(seconds)
        session = await rig.camera.stop_recording()
        rig.check(session)
        return session


async def test_a_source_slower_than_real_time_is_in_the_ledger(clock: MockClock) -> None:
    """Half a second of pictures every 0.7 s: files and entries together cover the whole time."""
    session = await _record(paced(0.7), 60.1)
    assert {gap.cause for gap in session.gaps} == {GapCause.FRAMES_DROPPED_BY_SOURCE}
    spans = [(part.start, part.end) for part in (*session.segments, *session.gaps)]
    assert all(one[1] == two[0] for one, two in pairwise(sorted(spans)))
    recorded = sum(segment.duration_seconds for segment in session.segments)
    missing = sum(gap.duration_seconds for gap in session.gaps)
    assert recorded == pytest.approx(60 * 5 / 7, abs=1)
    assert recorded + missing == pytest.approx(60, abs=1)
    assert sum(gap.frames for gap in session.gaps) == pytest.approx(10 * missing, abs=2)


async def test_a_fragment_that_comes_late_is_no_seam(clock: MockClock) -> None:
    """Fragments that come in bursts, on time on average, are recorded without a gap."""
    session = await _record(paced(0.5, 0.5, 0.5, 1.1, 0.1, 0.1, 0.7), 60.1)
    assert session.gaps == ()
    assert len(session.segments) > 20
    assert all(one.end == two.start for one, two in pairwise(session.segments))


async def test_clocks_that_differ_a_little_lose_nothing(clock: MockClock) -> None:
    """A camera whose second is a thousandth longer is corrected, without an entry."""
    session = await _record(paced(0.5005), 600.1)
    assert session.gaps == ()
    drift = session.segments[-1].end - session.segments[0].start
    assert drift.total_seconds() == pytest.approx(600, abs=1)
