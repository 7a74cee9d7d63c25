"""Each way to lose footage has an entry of its own in the ledger, with its real cause."""

from __future__ import annotations

import errno
from datetime import timedelta

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from support import media_streams as build
from support.camera_rig import (
    REQUEST,
    MemoryStorage,
    Node,
    Wall,
    at,
    memory_storage,
    open_camera_rig,
)
from support.fake_ffmpeg import Behaviour, FakeFfmpeg, hangs, refuses, skips, streams
from trio.testing import MockClock

from camd.camera.unfinished import UnfinishedWork
from camd.config.schema import Config, RecordingConfig
from camd.model import CameraState, GapCause, Session, SessionState


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (errno.ENOSPC, GapCause.STORAGE_FULL),
        (errno.EDQUOT, GapCause.STORAGE_FULL),
        (errno.EIO, GapCause.STORAGE_ERROR),
        (errno.EROFS, GapCause.STORAGE_ERROR),
    ],
)
async def test_each_error_of_the_disk_has_its_cause(
    clock: MockClock, code: int, cause: GapCause
) -> None:
    """No room is `storage_full`, every other error `storage_error`; both count frames exactly."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        rig.disk.fail(0, code=code)
        await trio.sleep_until(6.2)
        session = await rig.camera.stop_recording()
        rig.check(session)
        (gap,) = session.gaps
        assert (gap.cause, gap.exact) == (cause, True)
        assert gap.frames == session.frames_captured - session.frames_written > 0


def _leaps(leaps: dict[int, int]) -> Behaviour:
    """Deliver decode times that jump ahead by so many frames before some fragments."""

    async def part(child: FakeFfmpeg) -> int:
        child.write(child.stream.head)
        for number in range(12):
            await trio.sleep(0.5)
            child.stream.skip(leaps.get(number, 0))
            child.write(child.stream.next(5))
        await child.told_to_end.wait()
        return 255

    return part


def _traf_of_32_bits(track_id: int, decode_time: int, *truns: bytes) -> bytes:
    """Build a track fragment whose decode time wraps at 2³²."""
    tfhd = build.full_box(b"tfhd", 0, 0x20000, build.u32(track_id))
    tfdt = build.full_box(b"tfdt", 0, 0, build.u32(decode_time % 2**32))
    return build.box(b"traf", tfhd, tfdt, *truns)


async def test_a_fragment_that_fits_into_no_file_is_in_the_ledger(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decode times that no file can hold lose only frames before a key frame, and count them."""
    monkeypatch.setattr(build, "traf", _traf_of_32_bits)
    recording = RecordingConfig(rotation=timedelta(days=10))
    async with open_camera_rig(_leaps({3: 1_398_090, 5: 1_398_080}), recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(6.3)
        session = await rig.camera.stop_recording()
        rig.check(session)
        assert session.frames_captured == 60
        (gap,) = [gap for gap in session.gaps if gap.exact]
        assert (gap.cause, gap.frames) == (GapCause.ENCODER_EXIT, 5)
        assert "too long" in gap.action


async def test_a_leap_that_no_file_can_hold_costs_no_frame(clock: MockClock) -> None:
    """The next file joins the one before it, without a gap."""
    async with open_camera_rig(_leaps({5: 3_000_000})) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(6.3)
        session = await rig.camera.stop_recording()
        rig.check(session)
        assert session.frames_captured == session.frames_written == 60


async def test_frames_in_hand_of_an_interrupted_writer_are_in_the_ledger(clock: MockClock) -> None:
    """After a bug in the middle of a write, the fragment is in the ledger."""
    bugs = [RuntimeError("a bug")]

    def watch(what: str) -> None:
        if what == "append" and trio.current_time() > 3.2 and bugs:
            raise bugs.pop()

    with capture_logs() as logs:
        async with open_camera_rig() as rig:
            rig.disk.watch = watch
            await rig.camera.start_recording(REQUEST)
            await trio.sleep_until(3.9)
        assert "actor_crashed" in {entry["event"] for entry in logs}
        session = rig.storage.sessions[-1]
        assert (session.state, session.reason) == (SessionState.ENDED, "internal_error")
        (gap,) = rig.storage.gaps
        assert (gap.frames, gap.exact, gap.cause) == (5, True, GapCause.STORAGE_ERROR)
        assert session.frames_captured == session.frames_written + 5


async def test_the_first_cause_of_an_outage_stands(clock: MockClock) -> None:
    """The exit of the first process is the cause, although the next two hang."""
    async with open_camera_rig(streams(2.2), hangs(), hangs(), streams()) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(30)
        session = await rig.camera.stop_recording()
        rig.check(session)
        assert [gap.cause for gap in session.gaps] == [GapCause.ENCODER_EXIT]


@attrs.define(eq=False)
class StorageWithSessions(MemoryStorage):
    """Storage that has unfinished sessions of an earlier run."""

    left: tuple[Session, ...] = ()

    async def unfinished_sessions(self) -> tuple[Session, ...]:
        """Return them."""
        await trio.lowlevel.checkpoint()
        return self.left


class NoCameras:
    """A configuration without cameras."""

    def get(self, camera_id: object) -> None:
        """Return none."""


@pytest.mark.parametrize("limit", [None, timedelta(seconds=60)])
async def test_a_session_that_is_not_continued_has_an_entry_for_the_rest(
    clock: MockClock, limit: timedelta | None
) -> None:
    """`daemon_down`: everything until the planned end, or at most what such an end can lose."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(3.2)
        ended = await rig.camera.stop_recording()
    running = attrs.evolve(
        ended, state=SessionState.RECORDING, reason="", end=None, duration_limit=limit
    )
    await trio.sleep_until(100)
    made = memory_storage()
    storage = StorageWithSessions(
        made.folder, made.disk, made.space, clock=made.clock, left=(running,)
    )
    work = UnfinishedWork(config=Config(), storage=storage, cameras=NoCameras(), clock=Wall().clock)
    await work.resume_sessions()
    (gap,) = storage.gaps
    (closed,) = storage.sessions
    assert (gap.cause, gap.exact) == (GapCause.DAEMON_DOWN, False)
    assert gap.start == ended.segments[-1].end
    assert gap.end == (at(60.0) if limit else gap.start + timedelta(seconds=0.5))
    assert closed.state is SessionState.ENDED
    assert closed.gaps == (*ended.gaps, gap)


async def test_an_outage_that_ends_on_a_full_disk_has_its_own_entry(clock: MockClock) -> None:
    """An outage, and frames that arrive after it and cannot be written, are two entries that
    together fill the time between two files."""
    async with open_camera_rig(streams(2.2), streams()) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(2.3)
        rig.fill(96)
        await trio.sleep_until(6.4)
        rig.fill(10)
        await trio.sleep_until(9.2)
        session = await rig.camera.stop_recording()
        rig.check(session)
        first, second = session.segments
        outage, loss = session.gaps
        assert [(gap.cause, gap.exact) for gap in session.gaps] == [
            (GapCause.ENCODER_EXIT, False),
            (GapCause.STORAGE_FULL, True),
        ]
        assert [gap.start for gap in session.gaps] == [first.end, outage.end]
        assert loss.end == second.start
        assert loss.frames == round(loss.duration_seconds * 10)


def _begins_within_a_group(child_frames: int) -> Behaviour:
    """Deliver frames before the first key frame."""

    async def part(child: FakeFfmpeg) -> int:
        child.stream.skip(child_frames)
        return await streams()(child)

    return part


async def test_frames_before_the_first_key_frame_have_the_cause_of_their_outage(
    clock: MockClock,
) -> None:
    """A capture that begins within a group of pictures is not an error of the disk."""
    async with open_camera_rig(streams(2.2), _begins_within_a_group(5)) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(9.2)
        session = await rig.camera.stop_recording()
        rig.check(session)
        first, second = session.segments
        outage, loss = session.gaps
        assert [gap.cause for gap in session.gaps] == [GapCause.ENCODER_EXIT] * 2
        assert (outage.start, outage.end, loss.end) == (first.end, loss.start, second.start)
        assert (loss.exact, loss.frames) == (True, 5)


async def test_a_device_that_is_gone_is_lost_whatever_ffmpeg_wrote(clock: MockClock) -> None:
    """Whatever FFmpeg's exit looks like: a device that is gone is `camera_lost`."""
    node = Node()
    async with open_camera_rig(streams(2.2, status=-9), node=node) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(2.1)
        node.there.append(False)
        await trio.sleep_until(12)
        node.there.append(True)
        await rig.until(CameraState.STREAMING)
        await trio.sleep(1.2)
        session = await rig.camera.stop_recording()
        assert [gap.cause for gap in session.gaps] == [GapCause.CAMERA_LOST]


async def test_drops_of_a_capture_are_entered_at_its_exit(clock: MockClock) -> None:
    """After the exit no further interval can change a drop: it is entered at once."""
    async with open_camera_rig(skips(5.0, frames=10)) as rig:
        await rig.camera.start_recording(REQUEST)
        await trio.sleep_until(7.2)
        rig.launcher.then(refuses("[error] Device or resource busy"))
        rig.launcher.processes[0]._killed.cancel()
        await trio.sleep_until(7.4)
        (gap,) = rig.storage.gaps
        assert (gap.cause, gap.frames) == (GapCause.FRAMES_DROPPED_BY_SOURCE, 10)
        rig.check(await rig.camera.stop_recording())
