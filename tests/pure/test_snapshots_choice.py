"""Which frame of a group a snapshot shows, and how its group is held."""

from __future__ import annotations

from array import array
from datetime import datetime, timedelta

import attrs
import pytest
from support.media_streams import EPOCH, FPS, FakeStream

from camd.capture.consumer import (
    CaptureBegan,
    CapturedFragment,
    CaptureEnded,
    ClockStepped,
    EndOfStream,
)
from camd.clock import Anchor
from camd.model import GapCause
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.snapshots.newest_gop import NewestGop
from camd.snapshots.rules.frame_choice import (
    FrameDemand,
    GroupFrame,
    frames_of,
    samples_of,
)

STEP = timedelta(seconds=1 / FPS)
ANCHOR = Anchor(1000.0, EPOCH)


def stream(*counts: int) -> tuple[Init, list[CapturedFragment]]:
    """Make fragments of so many frames each, captured one behind the other from EPOCH on."""
    source, reader = FakeStream(), FragmentReader()
    (init,) = reader.feed(source.head)
    assert isinstance(init, Init)
    captured, start = [], EPOCH
    for count in counts:
        (fragment,) = reader.feed(source.next(count))
        assert isinstance(fragment, Fragment)
        start += count * STEP
        captured.append(CapturedFragment(fragment, ANCHOR.monotonic_at(start), ANCHOR))
    return init, captured


def at(number: int) -> datetime:
    """Return the time of a frame by its number."""
    return EPOCH + number * STEP


def frames_in_order(count: int) -> list[GroupFrame]:
    """Make frames in order, a tenth of a second apart."""
    return [GroupFrame(at(number), STEP) for number in range(count)]


# --- times --------------------------------------------------------------------------------


def test_frames_have_their_fragments_times() -> None:
    """Each frame is shown at its distance from its own fragment's start."""
    _, captured = stream(5, 3, 2)
    assert [frame.time for frame in frames_of(captured)] == [at(number) for number in range(10)]
    late = attrs.evolve(captured[1], arrived=captured[1].arrived + 1)
    times = [frame.time for frame in frames_of([captured[0], late, captured[2]])]
    assert times[5] == at(5) + timedelta(seconds=1)
    assert times[8] == at(8)


def test_reordered_frames_are_timed_by_their_presentation() -> None:
    """With B-frames the key frame is shown at its fragment's start, the others around it."""
    _, (captured,) = stream(4)
    run = captured.fragment.video
    assert run is not None
    tick = run.durations[0]
    offsets = array("i", [2 * tick, 4 * tick, 0, tick])
    moved = attrs.evolve(captured.fragment, video=attrs.evolve(run, composition=offsets))
    frames = frames_of([attrs.evolve(captured, fragment=moved)])
    assert [frame.time for frame in frames] == [at(0), at(3), at(0), at(2)]


def test_samples_up_to_the_frame_are_taken() -> None:
    """The movie gets the key frame and what follows, up to the frame, across fragments."""
    _, captured = stream(3, 3)
    taken = samples_of(captured, 4)
    assert len(taken.samples) == len(taken.durations) == len(taken.composition) == 4
    whole = samples_of(captured, 6).samples
    assert [bytes(each) for each in taken.samples] == [bytes(each) for each in whole[:4]]


# --- the choice ---------------------------------------------------------------------------


@pytest.mark.parametrize("since", [None, at(2)])
def test_a_frame_that_is_shown_before_the_key_frame_is_not_chosen(since: datetime | None) -> None:
    """It may need frames before the key frame, which are not there."""
    key_frame, *leading = (GroupFrame(at(number), STEP) for number in (4, 2, 3))
    assert FrameDemand(at(5), since).choose([key_frame, *leading]) == 0
    assert FrameDemand(at(5), since, settled=at(5)).choose([key_frame, *leading]) is None
    later = GroupFrame(at(6), STEP)
    assert FrameDemand(at(6)).choose([key_frame, *leading, later]) == 3


def test_the_newest_frame_is_the_one_shown_last() -> None:
    """Without an age, the frame that is shown last counts, wherever it stands in the stream."""
    frames = frames_in_order(5)
    frames[2], frames[4] = frames[4], frames[2]
    assert FrameDemand(at(5)).choose(frames) == 2


def test_an_age_takes_the_first_frame_that_will_do() -> None:
    """The earlier in the group, the less is decoded; the key frame is the cheapest of all."""
    frames = frames_in_order(10)
    assert FrameDemand(at(10), since=at(3)).choose(frames) == 3
    assert FrameDemand(at(10), since=at(-5)).choose(frames) == 0
    assert FrameDemand(at(10), since=at(-5)).choose(frames, intra_only=True) == 9
    assert FrameDemand(at(10), since=at(9) + timedelta(microseconds=1)).choose(frames) is None


def test_an_old_frame_is_not_new() -> None:
    """Five seconds after it was shown, or two intervals of a slow camera, a frame is no answer."""
    frames = frames_in_order(1)
    five = timedelta(seconds=5)
    assert FrameDemand(at(0) + five).choose(frames) == 0
    assert FrameDemand(at(0) + five + timedelta(microseconds=1)).choose(frames) is None
    slow = [GroupFrame(at(0), timedelta(seconds=10))]
    assert FrameDemand(at(0) + timedelta(seconds=20)).choose(slow) == 0
    assert FrameDemand(at(0) + timedelta(seconds=21)).choose(slow) is None


def test_dark_frames_do_not_count() -> None:
    """Frames from before a camera has settled are left out, whatever age would do."""
    frames = frames_in_order(8)
    assert FrameDemand(at(8), since=at(-9), settled=at(5)).choose(frames) == 5
    assert FrameDemand(at(8), settled=at(5)).choose(frames) == 7
    assert FrameDemand(at(8), settled=at(8)).choose(frames) is None


# --- the consumer -------------------------------------------------------------------------


def test_the_newest_group_is_held() -> None:
    """A key frame begins a group, and the one before it is dropped."""
    init, captured = stream(5, 5, 5, 5)  # a key frame every ten frames
    gop = NewestGop()
    gop.put(CaptureBegan(init))
    for each, held in zip(captured, ([0], [0, 1], [2], [2, 3]), strict=True):
        gop.put(each)
        assert gop.fragments == [captured[number] for number in held]
    assert gop.init is init


def test_nothing_is_held_before_a_key_frame() -> None:
    """What cannot be decoded is of no use."""
    _, captured = stream(5, 5, 5)
    gop = NewestGop()
    gop.put(captured[1])
    assert gop.fragments == []
    gop.put(captured[2])
    assert gop.fragments == [captured[2]]


def test_a_group_beyond_the_bound_is_dropped_whole() -> None:
    """A camera that hardly sends key frames fills no memory; the next key frame begins anew."""
    _, captured = stream(5, 5, 5, 5)
    size = captured[0].fragment.size_bytes
    gop = NewestGop(limit_bytes=size + 10)
    gop.put(captured[0])
    assert gop.fragments == [captured[0]]
    gop.put(captured[1])
    assert gop.fragments == []
    gop.put(captured[2])
    assert gop.fragments == [captured[2]]


@pytest.mark.parametrize("cause", [None, GapCause.CAMERA_STALLED])
def test_the_end_of_a_capture_ends_its_group(cause: GapCause | None) -> None:
    """No frame of a capture that is over is shown; only a failure is one."""
    _, captured = stream(5)
    gop = NewestGop()
    gop.put(captured[0])
    ended = CaptureEnded(cause, "why")
    gop.put(ended)
    gop.put(EndOfStream())
    assert gop.fragments == []
    assert gop.failed is (None if cause is None else ended)


def test_a_clock_step_moves_what_is_held() -> None:
    """Ages stay right when the wall clock is set."""
    _, captured = stream(5)
    gop = NewestGop()
    gop.put(captured[0])
    by = timedelta(hours=-1)
    gop.put(ClockStepped(by, EPOCH))
    assert [each.start for each in gop.fragments] == [EPOCH + by]
