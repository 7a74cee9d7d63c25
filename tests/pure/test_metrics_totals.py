"""Totals of the recorder grow by what sessions grew by since the daemon started."""

from __future__ import annotations

from datetime import timedelta

import attrs
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON, gap, segment, session

from camd.metrics.totals import RecorderTotals
from camd.model import (
    CameraChanged,
    CameraId,
    CameraState,
    CameraStatus,
    GapCause,
    RecordingChanged,
    RecordingEventKind,
    Segment,
    Session,
    VideoFormat,
)
from camd.model.problems import TIMED_OUT

CAMERA = CameraId("camera0")


def changed(
    of: Session, kind: RecordingEventKind = RecordingEventKind.PROGRESS
) -> RecordingChanged:
    return RecordingChanged(kind, "/dev/video0", of, "")


def status(state: CameraState, *, failed: bool = False) -> CameraChanged:
    nothing = VideoFormat("", 0, 0, 0.0)
    return CameraChanged(
        CameraStatus(
            camera_id=CAMERA,
            device="camera0",
            name="",
            identity="",
            state=state,
            problem=TIMED_OUT if failed else None,
            video=None,
            wanted=nothing,
            session=None,
            bytes_captured=0,
            streaming_since=None,
            restarts=0,
        )
    )


def test_what_is_written_between_two_events_is_counted_once() -> None:
    totals = RecorderTotals(NOON)
    one = segment(end=NOON + timedelta(seconds=5), duration_seconds=5.0)
    totals.count(changed(session(segments=(one,), bytes_written=500, frames_written=50)))
    grown = attrs.evolve(one, duration_seconds=8.0)
    more = session(segments=(grown,), bytes_written=900, frames_written=80)
    totals.count(changed(more))
    totals.count(changed(more))
    assert totals.recorded_bytes[CAMERA] == 900
    assert totals.recorded_frames[CAMERA] == 80
    assert totals.recorded_seconds[CAMERA] == 8.0


@given(st.lists(st.floats(min_value=0.1, max_value=50.0), min_size=1, max_size=6), st.data())
def test_seconds_are_those_of_all_files_whenever_they_are_looked_at(
    lengths: list[float], data: st.DataObject
) -> None:
    totals = RecorderTotals(NOON)
    done: tuple[Segment, ...] = ()
    for number, seconds in enumerate(lengths):
        begun = segment(number=number, end=NOON + timedelta(hours=1), duration_seconds=seconds / 2)
        if data.draw(st.booleans()):
            totals.count_session(session(segments=(*done, begun)))
        done = (*done, attrs.evolve(begun, duration_seconds=seconds))
        if data.draw(st.booleans()):
            totals.count_session(session(segments=done))
    totals.count_session(session(segments=done))
    assert abs(totals.recorded_seconds[CAMERA] - sum(lengths)) < 1e-6


def test_gaps_are_counted_by_their_cause() -> None:
    totals = RecorderTotals(NOON)
    gaps = (gap(1), gap(2, cause=GapCause.CAMERA_LOST, duration_seconds=12.5), gap(3))
    totals.count(changed(session(gaps=gaps[:1])))
    totals.count(changed(session(gaps=gaps)))
    assert totals.gap_seconds == {
        (CAMERA, "storage_slow"): 2.0,
        (CAMERA, "camera_lost"): 12.5,
    }
    assert totals.gap_entries[CAMERA, "storage_slow"] == 2


def test_a_session_that_is_continued_counts_from_the_start_of_the_daemon() -> None:
    totals = RecorderTotals(NOON + timedelta(minutes=10))
    before = segment(number=0, end=NOON, size_bytes=1000, frames=100, duration_seconds=60.0)
    after = segment(
        number=1, end=NOON + timedelta(minutes=11), frames=20, duration_seconds=4.0, size_bytes=0
    )
    down = gap(0, end=NOON + timedelta(minutes=10, seconds=5), cause=GapCause.DAEMON_DOWN)
    old = gap(0)
    totals.count(
        changed(
            session(
                segments=(before, after),
                gaps=(old, down),
                bytes_written=1200,
                frames_written=120,
            )
        )
    )
    assert totals.recorded_bytes[CAMERA] == 200
    assert totals.recorded_frames[CAMERA] == 20
    assert totals.recorded_seconds[CAMERA] == 4.0
    assert set(totals.gap_seconds) == {(CAMERA, "daemon_down")}


def test_nothing_is_kept_of_a_session_that_has_ended() -> None:
    totals = RecorderTotals(NOON)
    totals.count(changed(session(bytes_written=5)))
    totals.count(changed(session(bytes_written=7), RecordingEventKind.STOPPED))
    assert totals.recorded_bytes[CAMERA] == 7
    assert totals.counted == {}


def test_frames_that_another_program_removed_do_not_make_a_counter_go_back() -> None:
    totals = RecorderTotals(NOON)
    totals.count(changed(session(frames_written=50)))
    totals.count(changed(session(frames_written=40)))
    totals.count(changed(session(frames_written=60)))
    assert totals.recorded_frames[CAMERA] == 70


def test_a_capture_that_fails_is_counted_once_with_its_cause() -> None:
    totals = RecorderTotals(NOON)
    for each in (
        status(CameraState.STARTING),
        status(CameraState.RESTING, failed=True),
        status(CameraState.RESTING, failed=True),
        status(CameraState.STARTING),
        status(CameraState.STREAMING),
        status(CameraState.IDLE),
    ):
        totals.count(each)
    assert totals.failed_captures == {(CAMERA, TIMED_OUT.kind.value): 1}
