"""Losses and outages without an entry, when the wall clock is set."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from support.media_streams import EPOCH, captured, fragments_of
from test_recording_ledger import loss, new_ledger, segment

from camd.capture.consumer import CaptureEnded
from camd.model import GapCause
from camd.recording.rules.ledger import SessionLedger
from camd.recording.rules.resume_point import BootMoment, ResumePoint

HOUR = timedelta(hours=1)


def seconds(count: float) -> timedelta:
    """Make a timedelta."""
    return timedelta(seconds=count)


def written() -> SessionLedger:
    """Make the ledger of a session that has written for half a second."""
    ledger = new_ledger()
    (piece,) = captured(fragments_of(5)[1])
    ledger.begin(piece.start)
    ledger.took(5)
    ledger.wrote(piece, segment(), size_bytes=500, monotonic=100.0)
    return ledger


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_an_outage_keeps_its_length(step: timedelta) -> None:
    """The start of an outage is shifted by the step."""
    ledger = written()
    ledger.capture_ended(CaptureEnded(GapCause.CAMERA_LOST, "gone"))
    ledger.clock_stepped(step, EPOCH + seconds(3) + step)
    (gap,) = ledger.begin(EPOCH + seconds(5) + step)
    assert (gap.start, gap.end) == (EPOCH + seconds(0.5) + step, EPOCH + seconds(5) + step)
    assert gap.duration_seconds == 4.5


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_loss_keeps_its_length(step: timedelta) -> None:
    """Frames that were lost before and after the step are one loss in the new time."""
    ledger = written()
    ledger.took(10)
    ledger.lose(loss(1, 2, 10))
    ledger.clock_stepped(step, EPOCH + seconds(2) + step)
    ledger.took(5)
    ledger.lose(loss(2, 2.5, 5).moved(step))
    (gap,) = ledger.enter_losses()
    assert (gap.start, gap.end) == (EPOCH + seconds(1) + step, EPOCH + seconds(2.5) + step)
    assert (gap.frames, gap.duration_seconds) == (15, 1.5)
    assert ledger.audit() == 0


def test_a_file_that_is_not_cut_yet_ends_in_the_new_time() -> None:
    """Its own times are by the old clock; where footage goes on is by the new one."""
    ledger = written()
    ledger.clock_stepped(HOUR, EPOCH + HOUR)
    assert ledger.clock_was_set
    (_, piece) = captured(fragments_of(5, 5)[1], EPOCH + HOUR)
    ledger.took(5)
    ledger.wrote(piece, segment(frames=10), size_bytes=500, monotonic=100.5)
    assert ledger.written_until == EPOCH + seconds(1) + HOUR
    late = attrs.evolve(piece, arrived=piece.arrived + 0.6)
    assert ledger.start_of(late) == EPOCH + seconds(1) + HOUR
    ledger.begin(EPOCH + seconds(1) + HOUR)
    assert not ledger.clock_was_set
    assert ledger.stepped_seconds == HOUR.total_seconds()


def test_files_of_an_earlier_run_have_times_of_another_clock() -> None:
    """A boot with an old clock that is corrected later: the outage is not counted as the step."""
    moment, point = BootMoment(EPOCH, 7.0, "b2"), ResumePoint(EPOCH + seconds(0.5))
    ledger = SessionLedger.resumed(written().snapshot(100.5), moment=moment, point=point)
    ledger.clock_stepped(HOUR, EPOCH + HOUR)
    (gap,) = ledger.begin(EPOCH + HOUR + seconds(0.5))
    assert (gap.cause, gap.duration_seconds) == (GapCause.DAEMON_DOWN, 3600.0)
    assert ledger.stepped_seconds == 0
