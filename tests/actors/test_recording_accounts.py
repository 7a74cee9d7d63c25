"""The accounts are right whatever a camera, its clock and its disk do, in any order (I4).

A real camera actor records random captures: FFmpeg processes that deliver, leave frames out, exit,
hang or cannot open the source; a disk that fails, is slow or full; a wall clock that is set.
"""

from __future__ import annotations

import errno
from datetime import datetime, timedelta

import attrs
import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.camera_rig import FOLDER, REQUEST, CameraRig, Wall, at, jump_clocks, open_camera_rig
from support.fake_ffmpeg import Behaviour, FakeFfmpeg, refuses
from support.media_streams import FPS
from trio.testing import MockClock

from camd.config.schema import RecordingConfig
from camd.model import Gap, GapCause, Session, SessionState
from camd.recording.rules.source_drops import MIN_KNOWN

FRAGMENT_SECONDS = 1.0  # the longest that is drawn
SOURCE = (GapCause.FRAMES_DROPPED_BY_SOURCE, GapCause.CLOCK_STEP)  # no outage, and within files
ROTATION = RecordingConfig(rotation=timedelta(seconds=3))


@attrs.frozen
class CaptureScript:
    """One capture: fragments of so many frames, or so many left out (negative); and its end."""

    steps: tuple[int, ...]
    hangs: bool
    refused: int  # failed tries of the next process

    @property
    def undecided_seconds(self) -> float:
        """The longest time without frames that may as well be the interval of a slow camera.

        No rate is known before it, or no interval comes after it to compare.
        """
        longest = seconds = 0.0
        for place, count in enumerate(self.steps):
            seconds = seconds - count / FPS if count < 0 else 0.0
            before = sum(each for each in self.steps[:place] if each > 0)
            after = sum(each for each in self.steps[place:] if each > 0)
            if before <= MIN_KNOWN or after < 2:
                longest = max(longest, seconds)
        return longest


@attrs.frozen
class Fault:
    """A fault of disk or clock after so many seconds: its kind and a number."""

    after: float
    kind: str
    value: float


LIVES = st.builds(
    CaptureScript,
    st.lists(st.integers(-30, 10).filter(bool), min_size=1, max_size=12).map(tuple),
    st.booleans(),
    st.integers(0, 2),
)
FAULTS = st.builds(
    Fault,
    st.floats(0.1, 6.0).map(lambda seconds: round(seconds, 1)),
    *[st.sampled_from(["full", "fails", "fails twice", "slow"]), st.integers(0, 5)],
)
STEPS = st.builds(
    Fault, st.floats(0.1, 6.0), st.just("set"), st.sampled_from([-3600, -2, 0.7, 5, 86400])
)


@attrs.define
class Footage:
    """The frames that the source made and delivered, in seconds since the test began."""

    fragments_of: list[tuple[float, float]] = attrs.field(factory=list)
    left_out: int = 0

    def behaviour(self, life: CaptureScript) -> Behaviour:
        """Return the behaviour of one capture."""

        async def behaviour(child: FakeFfmpeg) -> int:
            child.write(child.stream.head)
            for count in life.steps:
                begun = trio.current_time()
                with trio.move_on_after(abs(count) / FPS):
                    await child.told_to_end.wait()
                if child.told_to_end.is_set():
                    return 255
                if count < 0:
                    child.stream.skip(-count)
                    self.left_out -= count
                else:
                    child.write(child.stream.next(count))
                    self.fragments_of.append((begun, begun + count / FPS))
            if life.hangs:
                await child.told_to_end.wait()
                return 255
            return -9

        return behaviour

    def steady(self) -> Behaviour:
        """Return the behaviour of a capture that delivers until it is ended."""

        async def behaviour(child: FakeFfmpeg) -> int:
            child.write(child.stream.head)
            while not child.told_to_end.is_set():
                begun = trio.current_time()
                with trio.move_on_after(0.5):
                    await child.told_to_end.wait()
                if frames := round((trio.current_time() - begun) * FPS):
                    child.write(child.stream.next(frames))
                    self.fragments_of.append((begun, begun + frames / FPS))
            return 255

        return behaviour

    def longest_silence(self, until: float) -> float:
        """Return the longest time in which nothing was delivered."""
        ends = [0.0, *(end for _, end in self.fragments_of)]
        starts = [*(start for start, _ in self.fragments_of), until]
        return max(start - end for end, start in zip(ends, starts, strict=True))


async def apply_fault(rig: CameraRig, wall: Wall, blow: Fault) -> None:
    """Apply a fault."""
    await trio.sleep(blow.after)
    match blow.kind:
        case "full":
            rig.fill(96)
            await trio.sleep(blow.value)
            rig.fill(10)
        case "fails":
            rig.disk.fail(int(blow.value), code=errno.EIO)
        case "fails twice":
            rig.disk.fail(int(blow.value), int(blow.value) + 1, code=errno.ENOSPC)
        case "slow":
            rig.storage.seconds = blow.value
            await trio.sleep(2 * blow.value)
            rig.storage.seconds = 0.0
        case "set":
            wall.step(seconds=blow.value)


async def recorded(
    lives: list[CaptureScript], blows: list[Fault], wall: Wall
) -> tuple[Session, Footage, float]:
    """Record a session through all of it; return its receipt, the source, and the time."""
    world, behaviours = Footage(), []
    wall.ahead = timedelta(0)
    for life in lives:
        behaviours += [world.behaviour(life), *[refuses("[error] No such device")] * life.refused]
    behaviours += [world.steady()] * 50
    with capture_logs() as logs, trio.fail_after(600):
        async with open_camera_rig(
            world.steady(), recording=ROTATION, wall=wall, queue_bytes=6000
        ) as rig:
            rig.launcher.behaviours.clear()
            rig.launcher.then(world.behaviour(CaptureScript((5,), False, 0)), *behaviours)
            await rig.camera.start_recording(REQUEST)
            for blow in blows:
                await apply_fault(rig, wall, blow)
            await trio.sleep(60)
            rig.disk.faults.clear()
            rig.space._failure = None  # as a trial of the disk would find
            rig.space.look()
            await rig.camera.published.wait_until(
                lambda s: s.session is not None and s.session.state is SessionState.RECORDING
            )
            await trio.sleep(3)
            session = await rig.camera.stop_recording()
            ended = trio.current_time()
            told = {FOLDER / segment.filename for segment in session.segments}
            for path in set(rig.disk.files) - told:  # nor could it be removed again
                assert rig.disk.steps.count("unlink") > 0
                del rig.disk.files[path]
            rig.check(session)
    assert [entry for entry in logs if entry["event"] == "frames_unaccounted"] == []
    return session, world, ended


def outages(session: Session) -> list[Gap]:
    """Return the entries that stand for time between files."""
    return [gap for gap in session.gaps if gap.cause not in SOURCE]


def check_sums(session: Session, world: Footage) -> None:
    """captured = written + ledgered; and files are as long as what is in them."""
    delivered = sum(round((end - start) * FPS) for start, end in world.fragments_of)
    assert session.frames_captured == delivered
    written = session.frames_written / FPS
    length = sum(segment.duration_seconds for segment in session.segments)
    assert written - 0.01 <= length <= written + world.left_out / FPS + 0.01


def check_lengths(session: Session, world: Footage, ended: float) -> None:
    """No entry is longer than the outage that made it."""
    silence = world.longest_silence(ended)
    for gap in outages(session):
        assert gap.duration_seconds >= 0
        most = (gap.frames + world.left_out) / FPS if gap.exact else silence
        assert gap.duration_seconds <= most + FRAGMENT_SECONDS, gap


def check_places(session: Session, undecided_seconds: float) -> None:
    """Entries and files follow each other, without gaps or overlaps longer than a fragment.

    Between two files may be the interval of a slow camera: its last frame lasts so long.
    """
    most = FRAGMENT_SECONDS + undecided_seconds
    apart = [(each.start, each.end) for each in (*session.segments, *outages(session))]
    left_out = [(gap.start, gap.end) for gap in session.gaps if gap.cause in SOURCE]
    for spans, least in ((apart + left_out, None), (apart, -FRAGMENT_SECONDS)):
        spans.sort()
        until: datetime = spans[0][0]
        for start, end in spans:
            seconds = (start - until).total_seconds()
            assert least is None or seconds >= least, spans
            assert least is not None or seconds <= most, spans
            until = max(until, end)


def tell(session: Session) -> str:
    """Format a receipt for the message of a failure."""
    zero = at(0)
    lines = [
        f"{(each.start - zero).total_seconds():8.2f}"
        f" {(each.end - zero).total_seconds():8.2f} {what}"
        for each, what in [
            *((s, f"file, {s.frames} frames") for s in session.segments),
            *((g, f"{g.cause.value}, {g.frames} frames, {g.exact}") for g in session.gaps),
        ]
    ]
    return "\n".join(sorted(lines))


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock may be set."""
    return jump_clocks(monkeypatch)


BOUNDED = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@BOUNDED
@given(lives=st.lists(LIVES, max_size=4), blows=st.lists(FAULTS, max_size=4))
@example(lives=[CaptureScript((1, -29, 1), False, 0)], blows=[])
@example(lives=[CaptureScript((10, 10, -29, 1), False, 0)], blows=[])
@example(lives=[CaptureScript((10, 10, -29, 10, 10), False, 0)], blows=[])
def test_files_and_ledger_make_up_the_session(
    wall: Wall, lives: list[CaptureScript], blows: list[Fault]
) -> None:
    """I4: captured = written + ledgered; entries are as long as their outages, and fill what is
    between files without overlapping them."""
    session, world, ended = trio.run(
        recorded, lives, blows, wall, clock=MockClock(autojump_threshold=0)
    )
    try:
        check_sums(session, world)
        check_lengths(session, world, ended)
        check_places(session, max((life.undecided_seconds for life in lives), default=0.0))
    except AssertionError as error:
        error.add_note(tell(session))
        raise


@BOUNDED
@given(lives=st.lists(LIVES, max_size=3), blows=st.lists(FAULTS | STEPS, max_size=4))
def test_a_clock_that_is_set_changes_no_sum_and_no_length(
    wall: Wall, lives: list[CaptureScript], blows: list[Fault]
) -> None:
    """I4 with a wall clock that steps: sums, lengths and durations are those of the footage."""
    session, world, ended = trio.run(
        recorded, lives, blows, wall, clock=MockClock(autojump_threshold=0)
    )
    try:
        check_sums(session, world)
        check_lengths(session, world, ended)
    except AssertionError as error:
        error.add_note(tell(session))
        raise
