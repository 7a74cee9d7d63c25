"""Open losses and the end of footage, when the clock that tells them is set."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from support.media_streams import EPOCH, captured, fragments_of
from test_recording_book import book, loss, segment

from camd.capture.consumer import CaptureEnded
from camd.model import Cause
from camd.recording.rules.ledger import GapLedger

HOUR = timedelta(hours=1)


def seconds(count: float) -> timedelta:
    """Say it shorter."""
    return timedelta(seconds=count)


def written() -> GapLedger:
    """Make the ledger of a session that has written for half a second."""
    ledger = GapLedger(book())
    (piece,) = captured(fragments_of(5)[1])
    ledger.begin(piece.start)
    ledger.took(5)
    ledger.ledger.wrote(segment(), 5, 500, 100.0)
    ledger.wrote(piece, piece.end)
    return ledger


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_an_outage_keeps_its_length(step: timedelta) -> None:
    """What began before the clock was set began by as much earlier or later on the new clock."""
    ledger = written()
    ledger.capture_ended(CaptureEnded(Cause.CAMERA_LOST, "gone"))
    ledger.set_clock(step, EPOCH + seconds(3) + step)
    (gap,) = ledger.begin(EPOCH + seconds(5) + step)
    assert (gap.start, gap.end) == (EPOCH + seconds(0.5) + step, EPOCH + seconds(5) + step)
    assert gap.duration_seconds == 4.5


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_loss_keeps_its_length(step: timedelta) -> None:
    """Frames that were lost before and after the step are one loss in the new time."""
    ledger = written()
    ledger.took(10)
    ledger.lose(loss(1, 2, 10))
    ledger.set_clock(step, EPOCH + seconds(2) + step)
    ledger.took(5)
    ledger.lose(loss(2, 2.5, 5).moved(step))
    (gap,) = ledger.settle_losses()
    assert (gap.start, gap.end) == (EPOCH + seconds(1) + step, EPOCH + seconds(2.5) + step)
    assert (gap.frames, gap.duration_seconds) == (15, 1.5)
    assert ledger.ledger.audit(ledger.undecided_frames) == 0


def test_a_file_that_is_not_cut_yet_ends_in_the_new_time() -> None:
    """What it holds is written by the old time; where footage goes on is told in the new one."""
    ledger = written()
    ledger.set_clock(HOUR, EPOCH + HOUR)
    assert ledger.clock_was_set
    (_, piece) = captured(fragments_of(5, 5)[1], EPOCH + HOUR)
    ledger.took(5)
    ledger.wrote(piece, EPOCH + seconds(1))
    assert ledger.written_until == EPOCH + seconds(1) + HOUR
    late = attrs.evolve(piece, arrived=piece.arrived + 0.6)
    assert ledger.start_of(late) == EPOCH + seconds(1) + HOUR
    ledger.begin(EPOCH + seconds(1) + HOUR)
    assert not ledger.clock_was_set
    assert ledger.ledger.stepped_seconds == HOUR.total_seconds()


def test_what_another_life_wrote_has_times_of_another_clock() -> None:
    """A machine that boots with an old clock corrects it: the time it was down is not the step."""
    ledger = written()
    ledger.resume(EPOCH + seconds(0.5))
    ledger.set_clock(HOUR, EPOCH + HOUR)
    (gap,) = ledger.begin(EPOCH + HOUR + seconds(0.5))
    assert (gap.cause, gap.duration_seconds) == (Cause.DAEMON_DOWN, 3600.0)
    assert ledger.ledger.stepped_seconds == 0
