"""When a segment is over, and that every frame is written or in the ledger (I4)."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import EPOCH, captured, fragments_of

from camd.model import (
    CameraId,
    GapCause,
    RecordingRequest,
    Segment,
    SegmentState,
    Session,
    SessionId,
    SessionState,
)
from camd.recording.rules.ledger import OLDEST_FIRST_FRAME_SECONDS, FrameLoss, SessionLedger
from camd.recording.rules.resume_point import BootMoment, ResumePoint, accounted_until
from camd.recording.rules.rotation import Rotation

CAMERA = CameraId("camera0")
FRAME = 0.1


def seconds(count: float) -> timedelta:
    """Make a timedelta."""
    return timedelta(seconds=count)


def new_ledger() -> SessionLedger:
    """Make the ledger of a session that was asked for at EPOCH."""
    return SessionLedger(
        session_id=SessionId("s"),
        camera_id=CAMERA,
        request=RecordingRequest("ann", key="k"),
        format="mp4",
        started=EPOCH,
    )


def write(ledger: SessionLedger, segment: Segment, frames: int, monotonic: float) -> None:
    """Let the newest `frames` frames of `segment` be written, 100 bytes each."""
    (piece,) = captured(fragments_of(frames)[1])
    ledger.wrote(piece, segment, size_bytes=frames * 100, monotonic=monotonic)


def segment(number: int = 0, frames: int = 5, start: float = 0.0) -> Segment:
    """Describe a segment of ten frames a second."""
    return Segment(
        filename=f"{number}.mp4",
        camera_id=CAMERA,
        session_id=SessionId("s"),
        number=number,
        start=EPOCH + seconds(start),
        end=EPOCH + seconds(start + frames * FRAME),
        duration_seconds=frames * FRAME,
        frames=frames,
        size_bytes=frames * 100,
        sha256=None,
        state=SegmentState.OPEN,
        codec="avc1",
        width=320,
        height=180,
        modified=EPOCH + seconds(start + frames * FRAME),
    )


def loss(
    start: float, end: float, frames: int, cause: GapCause = GapCause.STORAGE_FULL
) -> FrameLoss:
    """Describe frames that could not be written."""
    return FrameLoss(EPOCH + seconds(start), EPOCH + seconds(end), frames, cause, "paused")


# --- rotation -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "number", "size", "more", "due"),
    [
        (9.9, 1, 0, 0, False),
        (9.94, 1, 0, 0, False),
        (9.95, 1, 0, 0, True),  # half a frame early is on time
        (10.0, 1, 0, 0, True),
        (0.0, 1, 900, 100, False),
        (0.0, 1, 901, 100, True),
        (7.9, 0, 0, 0, False),  # the first one is cut early
        (8.0, 0, 0, 0, True),
        (8.0, 1, 0, 0, False),
    ],
)
def test_rotation_is_due_by_time_or_size(
    at: float, number: int, size: int, more: int, due: bool
) -> None:
    """A file ends when its time is over, and before a fragment that would make it too large."""
    rotation = Rotation(10.0, 1000, stagger_seconds=2.0)
    asked = rotation.due(
        number=number, seconds=at, size_bytes=size, next_bytes=more, frame_seconds=FRAME
    )
    assert asked is due


@given(st.integers(0, 199), st.integers(1, 86400))
def test_a_camera_is_always_staggered_alike_and_by_little(number: int, interval: int) -> None:
    """The first segment is shorter by at most a hundredth and five seconds, the same each time."""
    camera = CameraId(f"camera{number}")
    rotation = Rotation.of(camera, seconds(interval), None)
    assert rotation == Rotation.of(camera, seconds(interval), None)
    assert 0 <= rotation.stagger_seconds < min(5, interval / 100)


def test_cameras_that_start_together_do_not_cut_together() -> None:
    """Sixteen cameras with half an hour each are spread over most of five seconds."""
    rotations = [Rotation.of(CameraId(f"camera{n}"), seconds(1800), None) for n in range(16)]
    staggers = sorted(rotation.stagger_seconds for rotation in rotations)
    assert len(set(staggers)) == 16
    assert staggers[-1] - staggers[0] > 4


# --- the ledger --------------------------------------------------------------------------

CAUSES = st.sampled_from([GapCause.STORAGE_FULL, GapCause.STORAGE_ERROR, GapCause.STORAGE_SLOW])


@given(
    st.lists(
        st.tuples(st.sampled_from(["wrote", "lost", "missed"]), st.integers(1, 50), CAUSES),
        max_size=40,
    )
)
def test_captured_is_written_and_ledgered(steps: list[tuple[str, int, GapCause]]) -> None:
    """Whatever happens to fragments, the sum is right after each of them (I4)."""
    account, at, written, lost = new_ledger(), 0.0, 0, 0
    for number, (what, frames, cause) in enumerate(steps):
        end = at + frames * FRAME
        match what:
            case "wrote":
                account.took(frames)
                assert account.unaccounted == frames
                write(account, segment(number, frames, at), frames, 100.0 + end)
                written += frames
            case "lost":
                account.took(frames)
                account.enter_loss(loss(at, end, frames, cause))
                lost += frames
            case _:
                account.enter_outage(
                    EPOCH + seconds(at), EPOCH + seconds(end), GapCause.CAMERA_LOST
                )
        at = end
        assert account.unaccounted == 0
    session = account.snapshot(100.0 + at)
    assert session.frames_captured == written + lost
    assert session.frames_written == sum(each.frames for each in session.segments) == written
    assert sum(gap.frames for gap in session.gaps if gap.exact) == lost
    assert all(gap.duration_seconds >= 0 for gap in session.gaps)


def test_an_error_in_the_sum_is_returned_once() -> None:
    """Until the end, frames in hand and losses without an entry are no error."""
    account = new_ledger()
    account.took(7)
    assert account.audit() == 0
    write(account, segment(frames=7), 7, 100.0)
    account.took(3)
    assert account.audit() == 0
    account.lose(loss(0, 1, 3))
    assert account.audit() == 0
    account.state = SessionState.ENDED
    assert account.audit() == 3
    assert account.audit() == 0
    account.took(1)
    assert account.audit() == 4
    account.enter_loss(loss(0, 1, 4))
    assert account.audit() == 0
    account.took(4)
    assert account.audit() == 4


def test_missed_frames_are_estimated_from_the_newest_rate() -> None:
    """Frames that never arrived cannot be counted: their number is marked as an estimate."""
    account = new_ledger()
    account.took(50)
    write(account, segment(frames=50), 50, 105.0)
    gap = account.enter_outage(EPOCH + seconds(5), EPOCH + seconds(7.5), GapCause.ENCODER_EXIT)
    assert (gap.frames, gap.exact, gap.duration_seconds) == (25, False, 2.5)
    assert (gap.cause, gap.camera_id, gap.session_id) == (GapCause.ENCODER_EXIT, CAMERA, "s")
    assert account.unaccounted == 0


def test_a_gap_never_ends_before_it_begins() -> None:
    """A clock that was set back makes a gap of length zero, not a negative one."""
    account = new_ledger()
    gap = account.enter_outage(EPOCH + seconds(5), EPOCH, GapCause.CAMERA_LOST)
    assert (gap.start, gap.end, gap.duration_seconds, gap.frames) == (gap.end, gap.start, 0, 0)


def test_losses_one_after_another_are_one_entry() -> None:
    """The first one's cause is the cause of both."""
    both = loss(0, 1, 10).and_then(loss(1, 3, 20, GapCause.STORAGE_ERROR))
    assert both == loss(0, 3, 30)
    assert loss(1, 3, 5).and_then(loss(0, 2, 5)).end == EPOCH + seconds(3)


def test_a_session_begins_with_its_first_frame() -> None:
    """Frames from before the request are pre-roll, and the session's time counts from them."""
    account = new_ledger()
    account.took(10)
    write(account, segment(frames=10, start=-0.8), 10, 100.0)
    session = account.snapshot(102.0)
    assert session.start == EPOCH - seconds(0.8)
    assert session.preroll_seconds == 0.8
    assert session.elapsed_seconds == pytest.approx(3.0)


def test_a_source_with_a_wrong_clock_does_not_shorten_a_recording() -> None:
    """A first frame that says it is a day old is at most half a minute old."""
    account = new_ledger()
    old = attrs.evolve(segment(), start=EPOCH - timedelta(days=1))
    account.took(5)
    write(account, old, 5, 100.0)
    assert account.snapshot(100.0).elapsed_seconds == OLDEST_FIRST_FRAME_SECONDS


def test_states_follow_what_happens() -> None:
    """Recording while frames are written, waiting in between, ending until it has ended."""
    account, states = new_ledger(), []

    def see() -> None:
        states.append((account.state, account.reason))

    account.wait_for("before the first frame it is still starting")
    see()
    write(account, segment(), 5, 100.0)
    see()
    account.wait_for("the camera is lost")
    see()
    write(account, segment(1), 5, 110.0)
    see()
    account.end_for("stopped", EPOCH)
    account.wait_for("the child was told to end")
    see()
    write(account, segment(1, 10), 5, 110.5)
    see()
    assert states == [
        (SessionState.STARTING, ""),
        (SessionState.RECORDING, ""),
        (SessionState.WAITING, "the camera is lost"),
        (SessionState.RECORDING, ""),
        (SessionState.ENDING, "stopped"),
        (SessionState.ENDING, "stopped"),
    ]


def test_durable_is_what_was_written_before_the_last_sync() -> None:
    """The next frame makes the session not durable again."""
    account = new_ledger()
    write(account, segment(), 5, 100.0)
    assert not account.snapshot(100.0).durable
    account.synced(101.0)
    assert account.snapshot(101.0).durable
    write(account, segment(frames=10), 5, 101.5)
    assert not account.snapshot(101.5).durable


def test_a_snapshot_is_everything_and_stays_as_it_is() -> None:
    """Later changes of the ledger do not change it."""
    account = new_ledger()
    account.took(10)
    write(account, segment(), 5, 100.0)
    account.enter_loss(loss(0.5, 1, 5))
    before = account.snapshot(100.0)
    write(account, segment(1, 7, 1.0), 7, 102.0)
    account.replace(segment(0, 6))
    assert (before.session_id, before.owner, before.key, before.format) == ("s", "ann", "k", "mp4")
    assert before.segments == (segment(),)
    assert (before.frames_captured, before.frames_written, before.bytes_written) == (10, 5, 500)
    assert len(before.gaps) == 1
    after = account.snapshot(102.0)
    assert after.segments == (segment(0, 6), segment(1, 7, 1.0))
    assert after.current == segment(1, 7, 1.0)


def test_the_length_of_an_ended_session_is_fixed() -> None:
    """Its length is from its first frame to its last."""
    account = new_ledger()
    write(account, segment(frames=50), 50, 105.0)
    account.ended = segment(frames=50).end
    assert account.snapshot(999.0).elapsed_seconds == 5.0


def test_the_account_ends_behind_the_newest_segment_or_entry() -> None:
    """Without either: where the session began."""
    account = new_ledger()
    assert accounted_until(account.snapshot(0.0)) == EPOCH
    account.replace(segment(0, frames=20))
    assert accounted_until(account.snapshot(0.0)) == EPOCH + seconds(2)
    account.enter_outage(EPOCH + seconds(2), EPOCH + seconds(5), GapCause.DAEMON_DOWN)
    assert accounted_until(account.snapshot(0.0)) == EPOCH + seconds(5)
    account.replace(segment(1, start=5.0))
    assert accounted_until(account.snapshot(0.0)) == EPOCH + seconds(5.5)


# --- another run of the daemon ---


def continued(session: Session, moment: BootMoment) -> SessionLedger:
    """Continue a session whose newest file has no arrival time."""
    return SessionLedger.resumed(
        session, moment=moment, point=ResumePoint.of(session, moment, None)
    )


def left(limit: float | None = None, stepped: float = 0.0) -> Session:
    """Describe a session that began at EPOCH, at second 1000 of the boot "b1"."""
    opened = new_ledger()
    opened.request = attrs.evolve(opened.request, duration=seconds(limit) if limit else None)
    opened.boot_id, opened.first_frame_at, opened.stepped_seconds = "b1", 1000.0, stepped
    opened.segments = [segment(frames=100)]
    return opened.snapshot(1010.0)


@pytest.mark.parametrize(
    ("wall", "monotonic", "boot", "elapsed"),
    [
        (60, 1060, "b1", 60),
        (60 + 86_400, 1060, "b1", 60),  # the clock was set: the elapsed time is the same
        (-86_400, 1060, "b1", 60),
        (60, 7, "b2", 60),  # another boot: the wall clock is all there is
        (-5, 7, "b2", 0),
        (60, 7, "", 60),
    ],
)
def test_time_goes_by_the_monotonic_clock_of_a_boot(
    wall: float, monotonic: float, boot: str, elapsed: float
) -> None:
    """Steps of the wall clock do not change when a session's time is over."""
    moment = BootMoment(EPOCH + seconds(wall), monotonic, boot)
    assert moment.since_start_of(left()) == elapsed
    assert moment.planned_end_of(left()) is None
    assert moment.planned_end_of(left(100.0)) == moment.wall + seconds(100 - elapsed)
    resumed = continued(left(), moment)
    assert resumed.snapshot(monotonic + 1.0).elapsed_seconds == elapsed + 1.0
    again = BootMoment(moment.wall + seconds(5), monotonic + 5, boot)
    assert again.since_start_of(resumed.snapshot(monotonic)) == (elapsed + 5 if boot else 65)


def test_a_clock_that_was_set_before_the_boot_does_not_age_a_session() -> None:
    """Steps of the wall clock during the session are subtracted from its age by the wall clock."""
    moment = BootMoment(EPOCH + seconds(3660), 7.0, "b2")
    assert moment.since_start_of(left(stepped=3600.0)) == 60.0


def test_a_pre_roll_is_not_taken_off_a_duration() -> None:
    """A timed session that another run continues has the duration that was asked for."""
    begun = attrs.evolve(left(100.0), preroll_seconds=8.0)
    moment = BootMoment(EPOCH + seconds(60), 1060.0, "b1")
    assert moment.planned_end_of(begun) == moment.wall + seconds(100 + 8 - 60)
    assert continued(begun, moment).snapshot(1060.0).preroll_seconds == 8.0


def test_the_rest_of_a_session_that_is_not_continued() -> None:
    """Until footage was wanted; where that is not known, at most what could be lost."""
    opened = continued(left(), BootMoment(EPOCH + seconds(99), 7.0, "b2"))
    end = accounted_until(left())
    assert end == EPOCH + seconds(10)
    assert opened.enter_not_continued(end, end - seconds(1), seconds(2)) == []
    (missed,) = opened.enter_not_continued(end, end + seconds(5), seconds(2))
    assert (missed.start, missed.end, missed.frames, missed.exact) == (end, missed.end, 50, False)
    assert missed.end == end + seconds(5)
    (at_most,) = opened.enter_not_continued(end, None, seconds(1.5))
    assert (at_most.start, at_most.end, at_most.frames) == (end, end + seconds(1.5), 15)
    assert (at_most.cause, at_most.exact) == (GapCause.DAEMON_DOWN, False)
