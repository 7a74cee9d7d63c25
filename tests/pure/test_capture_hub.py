"""What a camera delivers, and to whom: from the last key frame on, with the right times."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

import attrs
import pytest
from support.media_streams import EPOCH, FPS, FakeStream, fragments_of, prft, read
from test_capture_consumer import shape, take_all

from camd.capture import hub as feed_module
from camd.capture.consumer import CaptureBegan, CapturedFragment, CaptureEnded, CaptureQueue
from camd.capture.hub import StreamHub
from camd.capture.rules.timestamps import StreamTimeline
from camd.model import Cause, VideoFormat

LOST = CaptureEnded(Cause.CAMERA_LOST, "gone")


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be EPOCH."""
    monkeypatch.setattr(feed_module, "now", lambda: EPOCH)
    monkeypatch.setattr(feed_module, "monotonic", lambda: 7.0)


def fed(*counts: int, **film: int) -> StreamHub:
    """Make a feed that got fragments of so many frames."""
    feed = StreamHub()
    init, fragments = fragments_of(*counts, **film)
    feed.begin(init)
    for each in fragments:
        feed.deliver(each)
    return feed


def test_a_session_begins_with_the_last_key_frame() -> None:
    """It need not wait for the next one: what is shown at the moment is in it."""
    feed, queue = fed(5, 5, 5, 4), CaptureQueue()
    assert feed.attach(queue) == 9
    assert shape(take_all(queue)) == ["CaptureBegan", "K", "p"]


def test_what_comes_goes_to_everybody_who_is_attached() -> None:
    """Each consumer gets the same items from when it came until it went."""
    feed, first, second = fed(5), CaptureQueue(), CaptureQueue()
    _, (_, later, last) = fragments_of(5, 5, 5)
    feed.attach(first)
    feed.deliver(later)
    feed.attach(second)
    feed.detach(first)
    feed.detach(first)
    feed.deliver(last)
    feed.end(LOST)
    assert feed.queues == (second,)
    assert shape(take_all(first)) == ["CaptureBegan", "K", "p"]
    assert shape(take_all(second)) == ["CaptureBegan", "K", "p", "K", "CaptureEnded"]


def test_before_a_child_delivers_there_is_nothing_to_begin_with() -> None:
    """A consumer that came first gets everything from the stream's description on."""
    feed, queue = StreamHub(), CaptureQueue()
    assert feed.attach(queue) == 0
    init, (first, *_) = fragments_of(5)
    feed.begin(init)
    feed.deliver(first)
    assert shape(take_all(queue)) == ["CaptureBegan", "K"]


def test_nothing_of_a_child_that_is_gone_is_handed_on() -> None:
    """A session that starts between two children begins with the second one's first frame."""
    feed, queue = fed(5, 5), CaptureQueue()
    feed.end(LOST)
    assert feed.began_at is None
    assert feed.attach(queue) == 0
    init, (first, *_) = fragments_of(5)
    feed.begin(init)
    feed.deliver(first)
    began, captured = take_all(queue)
    assert began == CaptureBegan(init)
    assert isinstance(captured, CapturedFragment)
    assert captured.fragment is first


def test_what_the_stream_says_of_wall_time_names_nothing() -> None:
    """A source whose clock is an hour behind is told of; its frames were there when they came."""
    film = FakeStream()
    said = EPOCH - timedelta(hours=1)
    data = film.head + b"".join(
        prft(1, Fraction(int(said.timestamp()))) + film.next(5) for _ in range(3)
    )
    init, fragments = read(data)
    feed = StreamHub(timeline=StreamTimeline())
    feed.begin(init)
    for fragment in fragments:
        captured = feed.deliver(fragment)
        assert captured.end == EPOCH
    assert feed.source_clock.offset_seconds == -3600
    assert feed.warnings.value == (
        "The camera's clock is 60 minutes behind this machine's; "
        "files are named by this machine's clock",
    )


def test_times_come_from_the_arrival() -> None:
    """The last frame of a fragment was there when the fragment was."""
    feed = StreamHub()
    init, (fragment,) = fragments_of(5)
    feed.begin(init)
    captured = feed.deliver(fragment)
    spread: tuple[datetime, datetime] = (captured.start, captured.end)
    assert spread == (EPOCH - timedelta(seconds=0.5), EPOCH)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_step_of_the_clock_is_told_before_what_comes_after_it(
    hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is attached hears of it in order; what is held, is moved."""
    step = timedelta(hours=hours)
    film = FakeStream()
    data = film.head + b"".join(
        prft(1, Fraction(int((EPOCH + later).timestamp()))) + film.next(5)
        for later in (timedelta(0), timedelta(seconds=1), timedelta(seconds=1) + step)
    )
    init, pieces = read(data)
    feed, running, later = StreamHub(), CaptureQueue(), CaptureQueue()
    feed.begin(init)
    feed.attach(running)
    feed.deliver(pieces[0])
    monkeypatch.setattr(feed_module, "now", lambda: EPOCH + step)
    feed.deliver(pieces[1])
    feed.deliver(pieces[2])
    feed.attach(later)
    assert shape(take_all(running)) == ["CaptureBegan", "K", "ClockStepped", "p", "K"]
    ends = [item.end for item in take_all(later) if isinstance(item, CapturedFragment)]
    assert ends == [EPOCH + step]
    assert feed.look_at_clock() == EPOCH + step


def test_what_is_held_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that begins after a step begins in the new time, and hears of no step."""
    feed, queue = fed(5, 5), CaptureQueue()
    monkeypatch.setattr(feed_module, "now", lambda: EPOCH + timedelta(days=9))
    feed.look_at_clock()
    feed.attach(queue)
    began, *held = take_all(queue)
    assert isinstance(began, CaptureBegan)
    assert [item.end for item in held if isinstance(item, CapturedFragment)] == [
        EPOCH + timedelta(days=9)
    ] * 2


def test_rates_are_measured() -> None:
    """Frames and bytes a second are what the fragments say, smoothed."""
    feed = fed(5, 5, 5, 5, frame_bytes=1000)
    _, fragments = fragments_of(5, frame_bytes=1000)
    assert feed.video == VideoFormat("avc1", 320, 180, float(FPS))
    assert feed.bytes_per_second == pytest.approx(fragments[0].size_bytes * 2)
    assert feed.bytes_captured == 4 * fragments[0].size_bytes
    assert feed.began_at == 7.0


def test_a_single_odd_fragment_moves_the_rates_a_little() -> None:
    """A tenth of the way."""
    feed = fed(5)
    before = feed.bytes_per_second
    assert before is not None
    _, (_, heavy) = fragments_of(5, 5, frame_bytes=10_000)
    feed.deliver(heavy)
    rate = heavy.size_bytes / heavy.duration_seconds
    assert feed.bytes_per_second == pytest.approx(before + 0.1 * (rate - before))


def test_a_frame_that_lasts_no_time_moves_the_rates_hardly() -> None:
    """The last fragment of a child is short, however many bytes are in it."""
    feed = fed(5)
    before = feed.bytes_per_second
    _, (last,) = fragments_of(1)
    assert last.video is not None
    feed.deliver(attrs.evolve(last, video=attrs.evolve(last.video, duration=1)))
    assert feed.video is not None
    assert feed.bytes_per_second == pytest.approx(before, rel=0.15)
    assert feed.video.fps == pytest.approx(float(FPS), rel=0.15)


def test_another_picture_is_measured_anew() -> None:
    """What a smaller picture needs is not told by what a larger one took."""
    feed = fed(5, frame_bytes=10_000)
    init, fragments = fragments_of(5, frame_bytes=1000)
    feed.begin(attrs.evolve(init, tracks=(attrs.evolve(init.video, width=160),)))
    feed.deliver(fragments[0])
    assert feed.bytes_per_second == pytest.approx(fragments[0].size_bytes * 2)


def test_a_group_that_never_ends_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: past the limit a session waits for the next key frame."""
    monkeypatch.setattr(feed_module, "GOP_LIMIT_BYTES", 3000)
    feed, queue = fed(*[5] * 7, group=1000), CaptureQueue()
    assert feed.attach(queue) == 0
    init, (first, *_) = fragments_of(5)
    feed.begin(init)
    feed.deliver(first)
    assert shape(take_all(queue)) == ["CaptureBegan", "CaptureBegan", "K"]


def test_a_session_never_begins_inside_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames before its first key frame cannot be recorded and are not counted as lost."""
    monkeypatch.setattr(feed_module, "GOP_LIMIT_BYTES", 3000)
    _, fragments = fragments_of(*[5] * 12, group=50)
    feed, queue = fed(*[5] * 7, group=50), CaptureQueue()
    feed.attach(queue)
    for each in fragments[7:]:
        feed.deliver(each)
    assert shape(take_all(queue)) == ["CaptureBegan", "K", "p"]


def test_a_group_without_an_end_costs_32_mebibytes() -> None:
    """A camera that never sends another key frame makes nobody keep more than the bound."""
    feed, (init, fragments) = StreamHub(), fragments_of(*[5] * 12, group=1000)
    feed.begin(init)
    media = bytes(5 * 1024 * 1024)
    for each in fragments:
        feed.deliver(attrs.evolve(each, mdat=media))
        assert feed.ring.size_bytes <= 32 * 1024 * 1024
