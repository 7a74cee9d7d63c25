"""Snapshots of real captures and of their recordings: the right frame, or a clear refusal."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import imageio_ffmpeg
import pytest
import trio
from coded_frames import FPS, make_coded_clip, number_in
from real_camera import REQUEST, FrameCounter, RealCamera, joined, open_real_camera, packets

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import Config, RecordingConfig, StorageConfig
from camd.errors import Refusal
from camd.ffmpeg.binary import FFmpegBinary
from camd.model import CameraState, RecordingQuery, Segment
from camd.runtime.child_process import ChildProcess, open_child_process
from camd.snapshots.decoder import PictureTimings
from camd.snapshots.live_frame import FrameSource
from camd.snapshots.snapshots import PictureRequest, Snapshots, Still, open_snapshots
from camd.sources.file import FileSource

PROGRAM = imageio_ffmpeg.get_ffmpeg_exe()
SECONDS = 40
REORDERED = 4  # B-frames: a frame may come before so many that are shown earlier
FRAME = timedelta(seconds=1 / FPS)
EVERY_SECOND = RecordingConfig(rotation=timedelta(seconds=1))
LONG = RecordingConfig(rotation=timedelta(hours=1))
# On a busy machine FFmpeg takes longer than a user would wait.
PATIENT = PictureTimings(decode_seconds=100.0, copy_seconds=100.0)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips by codec, a key frame every second."""
    folder = tmp_path_factory.mktemp("clips")
    for codec in ("h264", "open", "h265", "mjpeg"):
        make_coded_clip(PROGRAM, folder / f"{codec}.mp4", codec, SECONDS)
    return folder


@attrs.define(eq=False)
class SnapshotRig:
    """A camera, and what takes its pictures."""

    rig: RealCamera
    snapshots: Snapshots
    decoders: list[ChildProcess]

    @property
    def source(self) -> FrameSource:
        """The camera as a snapshot sees it."""
        camera = self.rig.camera
        return FrameSource(camera.camera_id, camera.hub, camera.published)

    async def show(self, **request: object) -> Still:
        """Take a picture that is not stored."""
        return await self.snapshots.show(self.source, PictureRequest(**request))  # type: ignore[arg-type]

    async def number(self, **request: object) -> int:
        """Take a picture, and read the number of its frame."""
        still = await self.show(**request)
        return await trio.to_thread.run_sync(number_in, PROGRAM, still.picture)

    async def refused(self, **request: object) -> Refusal:
        """Return the refusal that a picture ends with."""
        with pytest.raises(Refusal) as refusal:
            await self.show(**request)
        return refusal.value


@asynccontextmanager
async def opened(
    folder: Path,
    source: FileSource,
    recording: RecordingConfig = LONG,
    *,
    codec: str = "copy",
    silent: int = 0,
) -> AsyncIterator[SnapshotRig]:
    """Run a camera, and take snapshots of it. The first `silent` decoders give no picture."""
    decoders: list[ChildProcess] = []
    program = FFmpegBinary(Path(PROGRAM), (9, 0))

    @asynccontextmanager
    async def launch(arguments: Sequence[str]) -> AsyncIterator[ChildProcess]:
        if len(decoders) < silent:
            arguments = [sys.executable, "-c", "import sys; sys.stdin.buffer.read()"]
        async with open_child_process(arguments, takes_input=True) as process:
            decoders.append(process)
            yield process

    async def find() -> FFmpegBinary:
        return program

    config = Config(storage=StorageConfig(folder / "recordings", folder / "snapshots"))
    with trio.fail_after(300):
        async with (
            open_real_camera(
                PROGRAM,
                folder / "recordings",
                source,
                codec=codec,
                recording=recording,
                found=program,
                stall=60,
                state_dir=folder / "state",
            ) as rig,
            open_snapshots(
                config, rig.storage, find, clock=SYSTEM_CLOCK, launch=launch, timings=PATIENT
            ) as snapshots,
        ):
            yield SnapshotRig(rig, snapshots, decoders)


# --- the newest frame ---------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
@pytest.mark.parametrize("format", ["jpg", "png"])
async def test_the_newest_frame_is_shown(
    clips: Path, tmp_path: Path, codec: str, format: str
) -> None:
    """The picture is the newest that had arrived when it was asked for, or newer; by number."""
    counter = FrameCounter()
    async with (
        opened(tmp_path, FileSource(clips / f"{codec}.mp4")) as taking,
        taking.rig.camera.hub.attach(counter),
    ):
        for _ in range(4):
            await trio.sleep(0.37)
            before = counter.frames
            number = await taking.number(format=format)
            assert came_in(number, max(0, before - 1), counter.frames + REORDERED)
        before = counter.frames
        number = await taking.number(format=format, max_age=timedelta(0))
        assert came_in(number, before, counter.frames + REORDERED)
    assert len(taking.rig.children) == 1


def came_in(number: int, begin: int, end: int) -> bool:
    """Whether the frame of this number came in a range of all frames of a clip that is repeated."""
    return (number - begin) % (SECONDS * FPS) < end - begin


async def test_a_young_key_frame_will_do(clips: Path, tmp_path: Path) -> None:
    """With an age, the cheapest frame that is young enough is shown, and never an older one."""
    counter = FrameCounter()
    async with (
        opened(tmp_path, FileSource(clips / "h264.mp4")) as taking,
        taking.rig.camera.hub.attach(counter),
    ):
        times = []
        for _ in range(6):
            asked = datetime.now(UTC)
            still = await taking.show(max_age=timedelta(seconds=1))
            assert asked - timedelta(seconds=1) <= still.time <= datetime.now(UTC)
            times.append(still.time)
            assert await taking.number(max_age=timedelta(hours=1)) % FPS == 0
            await counter.until(counter.frames + FPS // 2 - 1)  # to another place of the group
    assert all(later > one - REORDERED * FRAME for one, later in itertools.pairwise(times))


async def test_the_age_is_that_of_the_frame(clips: Path, tmp_path: Path) -> None:
    """A frame that arrived a while ago is told with its age, at the time of the answer."""
    async with opened(tmp_path, FileSource(clips / "mjpeg.mp4")) as taking:
        asked = datetime.now(UTC)
        still = await taking.show()
        assert still.age > timedelta(0)
        assert asked <= still.time + still.age <= datetime.now(UTC)


async def test_motion_jpeg_is_passed_on_as_it_is(clips: Path, tmp_path: Path) -> None:
    """No process decodes it, unless another quality, size or format is asked for."""
    async with opened(tmp_path, FileSource(clips / "mjpeg.mp4")) as taking:
        still = await taking.show()
        assert taking.decoders == []
        assert (still.width, still.height) == (256, 64)
        assert (await taking.show(width=128)).width == 128
        assert len(taking.decoders) == 1


async def test_a_camera_is_started_for_a_snapshot_and_goes_on(clips: Path, tmp_path: Path) -> None:
    """An idle camera is captured, and the next snapshot finds it running."""
    async with opened(tmp_path, FileSource(clips / "h264.mp4")) as taking:
        assert taking.rig.camera.status.state is CameraState.IDLE
        await taking.show()
        assert taking.rig.camera.status.state is CameraState.STREAMING
        assert taking.rig.camera.hub.demand.value.consumers == 0
        await taking.show()
        assert len(taking.rig.children) == 1


async def test_a_picture_of_an_open_group_is_tried_again(clips: Path, tmp_path: Path) -> None:
    """Where a group begins with a key frame that needs what came before, FFmpeg may show nothing of
    the frames behind it: the next ones are tried. It never does so behind any other key frame."""
    async with opened(tmp_path, FileSource(clips / "open.mp4"), silent=3) as taking:
        counter = FrameCounter()
        async with taking.rig.camera.hub.attach(counter):
            while counter.frames < FPS + 15:  # the first group is as any other  # noqa: ASYNC110
                await trio.sleep(0.01)
            still = await taking.show()
            assert number_in(PROGRAM, still.picture) > FPS
        assert len(taking.decoders) >= 4
    async with opened(tmp_path / "closed", FileSource(clips / "h264.mp4"), silent=1) as taking:
        refusal = await taking.refused()
        assert refusal.details["cause"] == "decoder_ended"


# --- refusals -----------------------------------------------------------------------------


async def test_a_camera_that_is_gone(clips: Path, tmp_path: Path) -> None:
    """The refusal has the camera's problem; as soon as the camera is there, so are pictures."""
    path = tmp_path / "later.mp4"
    async with opened(tmp_path, FileSource(path)) as taking:
        refusal = await taking.refused()
        assert (refusal.kind.code, refusal.details["cause"]) == (-32006, "not_found")
        assert refusal.details["camera_id"] == "camera0"
        assert str(path) not in refusal.message
        path.symlink_to(clips / "h264.mp4")
        await taking.show()


async def test_a_stalled_cameras_last_frame_is_not_new(clips: Path, tmp_path: Path) -> None:
    """Past its age, or five seconds, the last frame is refused; then pictures come again."""
    counter = FrameCounter()
    async with (
        opened(tmp_path, FileSource(clips / "h264.mp4")) as taking,
        taking.rig.camera.hub.attach(counter),
    ):
        await taking.show()
        taking.rig.children[0].signal(signal.SIGSTOP)
        await counter.until_quiet(0.7)
        assert (await taking.show(max_age=timedelta(hours=1))).age > timedelta(0)  # young enough
        refusal = await taking.refused(max_age=timedelta(milliseconds=300))
        assert (refusal.kind.code, refusal.details["cause"]) == (-32006, "stalled")
        refusal = await taking.refused()
        assert (refusal.kind.code, refusal.details["cause"]) == (-32006, "stalled")
        taking.rig.children[0].signal(signal.SIGCONT)
        asked = datetime.now(UTC)
        assert (await taking.show(max_age=timedelta(0))).time >= asked


async def test_a_capture_that_dies_refuses_at_once(clips: Path, tmp_path: Path) -> None:
    """Who waits for a frame of a process that ends hears why, and does not wait on."""
    counter = FrameCounter()
    async with (
        opened(tmp_path, FileSource(clips / "h264.mp4")) as taking,
        taking.rig.camera.hub.attach(counter),
    ):
        await taking.show()
        taking.rig.children[0].signal(signal.SIGSTOP)
        await counter.until_quiet(0.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_kill_when_asked, taking.rig)
            refusal = await taking.refused(max_age=timedelta(0))
        assert refusal.kind.code == -32006
        await taking.show()  # of the process that was started anew


async def _kill_when_asked(rig: RealCamera) -> None:
    """Kill the capture's process as soon as a picture is waited for, beside what counts."""
    await rig.camera.hub.demand.wait_until(lambda demand: demand.consumers > 1)
    rig.children[0].signal(signal.SIGKILL)


# --- the past -----------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
async def test_the_frame_of_a_past_instant(clips: Path, tmp_path: Path, codec: str) -> None:
    """By number, in growing and sealed files, across rotations."""
    source = FileSource(clips / f"{codec}.mp4")
    recording = attrs.evolve(EVERY_SECOND, rotation=timedelta(seconds=2))
    async with opened(tmp_path, source, recording) as taking:
        started = await taking.rig.camera.start_recording(REQUEST)
        await taking.rig.grow(FPS + 10)
        growing = taking.rig.camera.status.session
        assert growing is not None
        first = growing.segments[0].start
        for number in (0, 1, FPS - 1, FPS, FPS + 7):
            assert await taking.number(at=first + number * FRAME + FRAME / 2) == number
        await taking.rig.camera.published.wait_until(
            lambda status: status.session is not None and len(status.session.segments) >= 3
        )
        session = await taking.rig.camera.stop_recording()
        assert session.session_id == started.session_id
        begun = 0
        for segment in session.segments:
            whole = segment is not session.segments[-1]  # a stop may cut between B-frames
            for number in (0, segment.frames // 2, *([segment.frames - 1] if whole else [])):
                still = await taking.show(at=segment.start + number * FRAME + FRAME / 2)
                assert number_in(PROGRAM, still.picture) == begun + number
                assert abs(still.time - (segment.start + number * FRAME)) < FRAME / 10
            begun += segment.frames
            assert (await taking.show(at=segment.end - FRAME / 2)).width == 256
        assert begun == session.frames_written


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
async def test_the_frame_of_a_past_instant_in_an_mkv(
    clips: Path, tmp_path: Path, codec: str
) -> None:
    """By number, from what FFmpeg copies out of the file; its times are whole milliseconds."""
    recording = attrs.evolve(EVERY_SECOND, rotation=timedelta(seconds=3), format="mkv")
    async with opened(tmp_path, FileSource(clips / f"{codec}.mp4"), recording) as taking:
        await taking.rig.camera.start_recording(REQUEST)
        await taking.rig.camera.published.wait_until(
            lambda status: status.session is not None and len(status.session.segments) >= 2
        )
        await taking.rig.grow(FPS)
        await taking.rig.camera.stop_recording()
        begun = 0
        for segment in await converted(taking):
            middle = segment.frames // 2
            for number in (0, 1, middle, segment.frames - REORDERED):
                still = await taking.show(at=segment.start + number * FRAME + FRAME / 2)
                assert number_in(PROGRAM, still.picture) == begun + number
                assert abs(still.time - (segment.start + number * FRAME)) < FRAME / 10
            assert await taking.number(at=segment.start + middle * FRAME) == begun + middle
            begun += segment.frames
        refusal = await taking.refused(at=segment.end + timedelta(milliseconds=2))
        assert refusal.kind.code == -1005


async def converted(taking: SnapshotRig) -> list[Segment]:
    """Wait until all segments are MKV files; return them in order."""
    while True:
        page = await taking.rig.storage.list_recordings(RecordingQuery())
        if page.segments and all(each.filename.endswith(".mkv") for each in page.segments):
            return sorted(page.segments, key=lambda each: each.start)
        await trio.sleep(0.05)


async def test_an_mkv_that_is_damaged_is_a_refusal(clips: Path, tmp_path: Path) -> None:
    """−1003 with its cause: FFmpeg reads nothing of it."""
    recording = attrs.evolve(LONG, format="mkv")
    async with opened(tmp_path, FileSource(clips / "h264.mp4"), recording) as taking:
        await taking.rig.camera.start_recording(REQUEST)
        await taking.rig.grow(FPS)
        await taking.rig.camera.stop_recording()
        (segment,) = await converted(taking)
        (tmp_path / "recordings" / segment.filename).write_bytes(b"\x1a\x45\xdf\xa3" + bytes(2000))
        refusal = await taking.refused(at=segment.start + FRAME)
        assert (refusal.kind.code, refusal.details["cause"]) == (-1003, "unreadable")


async def test_an_instant_without_footage(clips: Path, tmp_path: Path) -> None:
    """The refusal has the cause of the gap, or that nothing was recorded, and what is nearest."""
    async with opened(tmp_path, FileSource(clips / "h264.mp4")) as taking:
        await taking.rig.camera.start_recording(REQUEST)
        await taking.rig.grow(15)
        taking.rig.children[0].signal(signal.SIGKILL)
        await taking.rig.camera.published.wait_until(
            lambda status: (
                status.session is not None
                and len(status.session.segments) > 1
                and status.session.gaps != ()
            )
        )
        await taking.rig.grow(5)
        session = await taking.rig.camera.stop_recording()
        gap = next(gap for gap in session.gaps if gap.cause.value == "encoder_exit")
        refusal = await taking.refused(at=gap.start + (gap.end - gap.start) / 2)
        assert (refusal.kind.code, refusal.details["cause"]) == (-1005, "encoder_exit")
        before, after = session.segments[0].end, session.segments[1].start
        assert refusal.details["nearest_before"] == before
        assert refusal.details["nearest_after"] == after
        refusal = await taking.refused(at=session.segments[0].start - timedelta(seconds=60))
        assert refusal.details["cause"] == "not_recorded"
        assert refusal.details["nearest_before"] is None
        assert refusal.details["nearest_after"] == session.segments[0].start
        behind = session.segments[-1].end + timedelta(milliseconds=1)
        # Its last picture is shown for a while after the stop.
        await trio.sleep(max(0.0, (behind - datetime.now(UTC)).total_seconds()) + 0.01)
        refusal = await taking.refused(at=behind)
        assert refusal.details["nearest_before"] == session.segments[-1].end
        assert refusal.details["nearest_after"] is None
        counters, camera_id = taking.snapshots.counters, taking.rig.camera.camera_id
        assert counters.failed == {(camera_id, "encoder_exit"): 1, (camera_id, "not_recorded"): 2}
        assert counters.shown[camera_id] == 0
        future = datetime.now(UTC) + timedelta(hours=1)
        assert (await taking.refused(at=future)).kind.code == -32602


async def test_a_frame_before_missing_ones_is_not_shown(clips: Path, tmp_path: Path) -> None:
    """Where the source dropped frames for seconds, the ledger's cause is the answer, though the
    file shows the frame before them all the time."""
    lacking = tmp_path / "lacking.mp4"
    await trio.to_thread.run_sync(make_coded_clip, PROGRAM, lacking, "mjpeg", 8, (60, 150))
    async with opened(tmp_path, FileSource(lacking, loop=False)) as taking:
        await taking.rig.camera.start_recording(REQUEST)
        session = await taking.rig.ended()
        gap = next(gap for gap in session.gaps if gap.cause.value == "frames_dropped_by_source")
        first = session.segments[0].start
        assert await taking.number(at=first + 59 * FRAME + FRAME / 2) == 59
        refusal = await taking.refused(at=gap.start + (gap.end - gap.start) * 0.7)
        assert refusal.details["cause"] == "frames_dropped_by_source"
        assert await taking.number(at=first + 151 * FRAME + FRAME / 2) == 151


async def test_a_file_that_is_damaged_or_gone(clips: Path, tmp_path: Path) -> None:
    """Garbage in a recording is a typed error; a file that went is no footage."""
    async with opened(tmp_path, FileSource(clips / "h264.mp4", speed=4)) as taking:
        await taking.rig.camera.start_recording(REQUEST)
        await taking.rig.grow(30)
        session = await taking.rig.camera.stop_recording()
        path = tmp_path / "recordings" / session.segments[0].filename
        at = session.segments[0].start + 5 * FRAME
        await taking.show(at=at)
        data = path.read_bytes()
        path.write_bytes(data[:48] + bytes(len(data) - 48))
        assert (await taking.refused(at=at)).kind.code == -1003
        path.unlink()
        assert (await taking.refused(at=at)).kind.code == -1005


# --- beside a recording -------------------------------------------------------------------


async def test_a_recording_notices_nothing(clips: Path, tmp_path: Path) -> None:
    """Bit for bit the source's packets, while eight clients take pictures without a pause, of now
    and of the past, and decoders are killed in the middle."""
    source = FileSource(clips / "h264.mp4", speed=3)
    outcomes: list[str] = []
    async with opened(tmp_path, source, EVERY_SECOND) as taking:
        await taking.rig.camera.start_recording(REQUEST)
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(_take_pictures, taking, number, outcomes)
            nursery.start_soon(_kill_decoders, taking.decoders, outcomes)
            await taking.rig.camera.published.wait_until(
                lambda status: (
                    status.session is not None
                    and len(status.session.segments) > 10
                    and outcomes.count("picture") > 10
                    and "decoder_ended" in outcomes
                )
            )
            session = await taking.rig.camera.stop_recording()
            nursery.cancel_scope.cancel()
    assert session.gaps == ()
    assert session.frames_captured == session.frames_written
    paths = [tmp_path / "recordings" / segment.filename for segment in session.segments]
    recorded = joined(PROGRAM, paths)["video"]
    known = packets(PROGRAM, clips / "h264.mp4")["video"]
    assert recorded == (known * (len(recorded) // len(known) + 1))[: len(recorded)]
    assert set(outcomes) <= {"picture", "decoder_ended", "timed_out", "-32002", "-1005"}


async def _take_pictures(taking: SnapshotRig, number: int, outcomes: list[str]) -> None:
    began = datetime.now(UTC)
    requests = ({}, {"max_age": timedelta(seconds=1)}, {"quality": 50 + number}, {"at": began})
    while True:
        request = requests[(number + len(outcomes)) % len(requests)]
        try:
            await taking.snapshots.take(taking.source, PictureRequest(**request))  # type: ignore[arg-type]
            outcomes.append("picture")
        except Refusal as refusal:
            cause = refusal.details.get("cause") if refusal.kind.code == -1003 else None
            outcomes.append(str(cause or refusal.kind.code))


async def _kill_decoders(decoders: list[ChildProcess], outcomes: list[str]) -> None:
    """Kill one in the middle of its work after every third picture: others can make theirs."""
    for killed in itertools.count(1):
        while outcomes.count("picture") < 3 * killed:  # noqa: ASYNC110 - nothing tells it
            await trio.sleep(0.02)
        while outcomes.count("decoder_ended") < killed:
            decoders[-1].signal(signal.SIGKILL)
            await trio.sleep(0.05)
