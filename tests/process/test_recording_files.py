"""Cameras that record with real FFmpegs into real files."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from shlex import split

import imageio_ffmpeg
import pytest
import trio
from real_camera import (
    REQUEST,
    FrameCounter,
    Packets,
    check_receipt,
    joined,
    open_real_camera,
    packets,
)
from support import ffmpeg_media as ffmpeg
from support.fake_disk import GaugedDisk

from camd import clock
from camd.config.schema import RecordingConfig
from camd.errors import Refusal
from camd.ffmpeg.binary import FFmpegBinary
from camd.model import CameraState, GapCause, RecordingQuery, SessionState, StorageLevel
from camd.sources import FileSource, SyntheticSource
from camd.storage.removal import Pin

RECENT = RecordingQuery()
BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()
SECONDS = 110
FPS = 10
SMALL = SyntheticSource(160, 90, FPS)
EVERY_SECOND = RecordingConfig(rotation=timedelta(seconds=1))


@pytest.fixture(params=ffmpeg.PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """One of the FFmpegs of this machine."""
    path: str = request.param
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a clip of 1100 frames with B-frames and sound, a key frame every second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    done = ffmpeg.run(
        BUNDLED,
        *split(f"-f lavfi -i testsrc2=size=160x90:rate={FPS}"),
        *split(f"-f lavfi -i sine=frequency=440:sample_rate=16000 -t {SECONDS}"),
        *split(f"-c:v libx264 -preset ultrafast -bf 2 -g {FPS} -sc_threshold 0"),
        *split("-pix_fmt yuv420p -c:a aac -b:a 32k"),
        str(path),
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="session")
def original(clip: Path) -> Packets:
    """Hash the clip's packets."""
    found = packets(BUNDLED, clip)
    assert len(found["video"]) == SECONDS * FPS
    return found


# --- rotation -----------------------------------------------------------------------------


async def test_a_hundred_rotations_lose_nothing(
    program: str, clip: Path, original: Packets, tmp_path: Path
) -> None:
    """All packets of all segments, joined, are the source's: in order, each once (I3)."""
    source = FileSource(clip, loop=False, speed=80)
    with trio.fail_after(300):
        async with open_real_camera(program, tmp_path, source, recording=EVERY_SECOND) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.ended()
    assert (session.state, session.reason, session.gaps) == (
        SessionState.ENDED,
        "source_ended",
        (),
    )
    assert len(session.segments) >= 100
    assert [segment.number for segment in session.segments] == list(range(len(session.segments)))
    assert session.frames_written == SECONDS * FPS
    assert sum(segment.duration_seconds for segment in session.segments) == pytest.approx(SECONDS)
    paths = list(check_receipt(tmp_path, session))
    found = joined(BUNDLED, paths)
    assert len(found["video"]) == SECONDS * FPS
    assert found == original
    for path in (paths[0], paths[50], paths[-1]):
        done = ffmpeg.run(program, "-ss", "0.5", "-i", str(path), "-an", "-f", "framemd5", "-")
        shown = [line for line in done.stdout.splitlines() if not line.startswith(b"#")]
        assert done.stderr == b""
        assert FPS // 2 <= len(shown) < FPS  # sound begins a little before the pictures


# --- pre-roll -----------------------------------------------------------------------------


async def test_a_recording_begins_with_preroll(program: str, tmp_path: Path) -> None:
    """The file holds frames from before the request, and decodes without an error."""
    recording = RecordingConfig(preroll=timedelta(seconds=2))
    with trio.fail_after(300):
        counter = FrameCounter(each_frame=False)
        async with open_real_camera(program, tmp_path, SMALL, recording=recording) as rig:
            async with rig.camera.hub.attach(counter):
                await counter.until(4 * FPS)  # so that there is a past
                asked, newest = clock.now(), counter.arrived
            session = await rig.camera.start_recording(REQUEST)
            answered, late = clock.now(), clock.monotonic() - newest
            assert rig.camera.status.state is CameraState.STREAMING
            session = await rig.camera.stop_recording()
            second = await rig.camera.start_recording(REQUEST)
            second = await rig.camera.stop_recording()
    assert 2 <= session.preroll_seconds < 3.7 + late  # that it waited for the answer
    past = (session.preroll_seconds - 0.1, session.preroll_seconds + 0.1)
    assert (asked - session.start).total_seconds() <= past[1]
    assert past[0] <= (answered - session.start).total_seconds()
    assert session.segments[0].duration_seconds >= session.preroll_seconds - 0.1
    same = timedelta(milliseconds=1)  # both begin with the same group, soon one after the other
    assert session.start - same < second.start < session.segments[-1].end
    for each in (session, second):
        assert each.gaps == ()
        paths = [tmp_path / segment.filename for segment in each.segments]
        assert len(joined(program, paths)["video"]) == each.frames_written
    assert len(rig.children) == 1


# --- dropped frames -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "sound"), [("auto", False), ("mjpeg", False), ("auto", True), ("mjpeg", True)]
)
async def test_frames_that_the_source_lacks(
    program: str, tmp_path: Path, codec: str, sound: bool
) -> None:
    """Copied with B-frames or encoded: the number of missing frames is estimated well."""
    clip = tmp_path / "drops.mp4"
    gone = "not(between(n,60,67)+eq(n,90)+between(n,120,269))"
    done = ffmpeg.run(
        BUNDLED,
        *split("-f lavfi -i"),
        f"testsrc2=size=160x90:rate=30,select='{gone}'",
        *(split("-f lavfi -i sine=sample_rate=48000 -c:a aac") if sound else ()),
        *split("-fps_mode passthrough -t 12 -c:v libx264 -preset ultrafast"),
        *split("-bf 2 -g 15 -pix_fmt yuv420p"),
        str(clip),
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "recordings"
    with trio.fail_after(300):
        async with open_real_camera(
            program, folder, FileSource(clip, loop=False, speed=20), codec=codec
        ) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.ended()
    (gap,) = session.gaps
    assert (gap.cause, gap.exact) == (GapCause.FRAMES_DROPPED_BY_SOURCE, False)
    assert gap.frames == 8 + 1 + 150
    assert gap.duration_seconds == pytest.approx(159 / 30, abs=0.01)
    assert session.frames_captured == session.frames_written == 12 * 30 - 159
    list(check_receipt(folder, session))


@pytest.mark.parametrize("audio", ["", "off"])
async def test_a_clip_in_a_loop_has_no_drop(program: str, tmp_path: Path, audio: str) -> None:
    """Between two rounds nothing is missing, though the sound is longer than the pictures."""
    clip = tmp_path / "short.mp4"
    done = ffmpeg.run(
        BUNDLED,
        *split("-f lavfi -i testsrc2=size=160x90:rate=30"),
        *split("-f lavfi -i sine=frequency=440:sample_rate=16000"),
        *split("-frames:v 60 -t 2.2 -c:v libx264 -preset ultrafast -bf 2 -g 15"),
        *split("-pix_fmt yuv420p -c:a aac"),
        str(clip),
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "recordings"
    source = FileSource(clip, loop=True, speed=20)
    with trio.fail_after(300):
        async with open_real_camera(program, folder, source, audio=audio) as rig:
            await rig.camera.start_recording(REQUEST)
            await rig.grow(600)
            session = await rig.camera.stop_recording()
    assert session.gaps == ()


# --- FFmpeg exits or hangs ----------------------------------------------------------------


async def test_a_killed_ffmpeg_does_not_end_the_session(program: str, tmp_path: Path) -> None:
    """The same session, another segment, and between them a gap that says why."""
    counter = FrameCounter(each_frame=False)
    with trio.fail_after(300):
        async with open_real_camera(program, tmp_path, SMALL) as rig:
            started = await rig.camera.start_recording(REQUEST)
            async with rig.camera.hub.attach(counter):
                await rig.grow(10)
                rig.children[0].signal(signal.SIGKILL)
                await rig.until_session(SessionState.WAITING)
                last = counter.arrived  # nothing more comes of this process
                await rig.until_session(SessionState.RECORDING)
                outage = clock.monotonic() - last
            await rig.grow(10)
            session = await rig.camera.stop_recording()
            ledger = (await rig.storage.gaps(RecordingQuery(session_id=session.session_id))).gaps
    assert session.session_id == started.session_id
    assert (len(session.segments), len(rig.children)) == (2, 2)
    (gap,) = session.gaps
    assert ledger == (gap,)
    assert (gap.cause, gap.exact) == (GapCause.ENCODER_EXIT, False)
    assert session.segments[0].end == gap.start < gap.end == session.segments[1].start
    assert gap.duration_seconds < outage + 1  # the times of arrival follow the time stamps
    assert gap.frames == round(gap.duration_seconds * FPS)
    found = joined(program, list(check_receipt(tmp_path, session)))
    assert len(found["video"]) == session.frames_written
    assert rig.events_told == [
        "STARTED",
        f"GAP {GapCause.ENCODER_EXIT.value}",
        "ROTATED",
        "STOPPED stopped",
    ]


async def test_a_stopped_ffmpeg_is_replaced(tmp_path: Path) -> None:
    """A process that hangs is noticed because it delivers nothing, and is killed."""
    counter = FrameCounter(each_frame=False)
    with trio.fail_after(300):
        async with open_real_camera(
            BUNDLED, tmp_path, SMALL, stall=4.0, terminate_seconds=0.3
        ) as rig:
            await rig.camera.start_recording(REQUEST)
            async with rig.camera.hub.attach(counter):
                await rig.grow(10)
                rig.children[0].signal(signal.SIGSTOP)
                await rig.until(CameraState.STOPPING)
                last = counter.arrived
                await rig.until(CameraState.STREAMING)
                await rig.until_session(SessionState.RECORDING)
                outage = clock.monotonic() - last
            session = await rig.camera.stop_recording()
    assert len(session.segments) == 2
    assert [gap.cause for gap in session.gaps] == [GapCause.CAMERA_STALLED]
    assert 1 < session.gaps[0].duration_seconds < outage + 1
    list(check_receipt(tmp_path, session))


# --- what cannot be recorded --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cause"),
    [("missing.mp4", "not_found"), ("text.mp4", "unreadable"), ("folder", "not_a_file")],
)
async def test_sources_that_hold_no_video(
    program: str, tmp_path: Path, name: str, cause: str
) -> None:
    """The refusal names the problem; no file and no process is left."""
    (tmp_path / "text.mp4").write_text("not a film\n" * 1000)
    (tmp_path / "folder").mkdir()
    folder = tmp_path / "recordings"
    refusal = await refused(program, folder, FileSource(tmp_path / name))
    assert (refusal.kind.code, refusal.data["cause"]) == (-32006, cause)


async def test_a_source_whose_name_cannot_exist(tmp_path: Path) -> None:
    """A path that the kernel refuses to look up is a refusal, not a crash."""
    refusal = await refused(BUNDLED, tmp_path, FileSource(Path("/tmp") / ("x" * 300)))
    assert refusal.kind.code == -32006


async def refused(
    program: str | Path,
    folder: Path,
    source: FileSource | SyntheticSource,
    found: FFmpegBinary | None = None,
) -> Refusal:
    """Start a recording that must be refused, and return why."""
    with trio.fail_after(300):
        async with open_real_camera(
            program, folder, source, found=found, terminate_seconds=0.3
        ) as rig:
            with pytest.raises(Refusal) as caught:
                await rig.camera.start_recording(REQUEST)
            await rig.until(CameraState.IDLE)
            assert rig.camera.status.session is None
            assert rig.camera.status.restarts == 0
    assert (files(folder), rig.events_told) == ([], [])
    return caught.value


def files(folder: Path) -> list[Path]:
    """List the files in a folder."""
    return [path for path in folder.iterdir() if path.is_file()]


def script(folder: Path, text: str) -> Path:
    """Write a program that answers as FFmpeg when asked for its version."""
    path = folder / "ffmpeg"
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *-version*) echo ffmpeg version 5.1.6; exit;; esac\n{text}\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("exit 1", "unknown"),
        ("echo '[error] Device or resource busy' >&2; exit 1", "busy"),
        ("exec yes garbage", "bad_stream"),
        ("trap '' TERM; echo garbage-garbage; while :; do sleep 0.05; done", "bad_stream"),
        ("exec /no/such/program", "ffmpeg_missing"),
        ("printf '\\000\\000\\000\\010free'; exit 0", "ended"),
    ],
)
async def test_programs_that_misbehave(tmp_path: Path, text: str, cause: str) -> None:
    """Whatever FFmpeg does: a refusal with its cause, and nothing is left."""
    refusal = await refused(script(tmp_path, text), tmp_path / "recordings", SMALL)
    assert (refusal.kind.code, refusal.data["cause"]) == (-32006, cause)


async def test_without_ffmpeg(tmp_path: Path) -> None:
    """The refusal says what to install or to set."""
    refusal = await refused(tmp_path / "nothing", tmp_path / "recordings", SMALL)
    assert (refusal.kind.code, refusal.data["cause"]) == (-32006, "ffmpeg_missing")
    assert "ffmpeg.path" in refusal.suggestion


@pytest.mark.parametrize("source", [SMALL, FileSource(Path(__file__))], ids=["test", "file"])
async def test_an_ffmpeg_that_was_removed(
    tmp_path: Path, source: SyntheticSource | FileSource
) -> None:
    """A program that was removed after it was found is a refusal, not a crash."""
    program = FFmpegBinary(tmp_path / "removed", (5, 1))
    refusal = await refused(tmp_path, tmp_path / "recordings", source, program)
    assert (refusal.kind.code, refusal.data["cause"]) == (-32006, "ffmpeg_missing")


# --- other formats ------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "entry"), [("mjpeg", "jpeg"), ("h265", "hvc1")])
async def test_other_codecs_are_recorded_and_rotated(
    program: str, codec: str, entry: str, tmp_path: Path
) -> None:
    """Each segment of MJPEG and H.265 is sealed, decodes, and matches the receipt."""
    with trio.fail_after(300):
        async with open_real_camera(
            program, tmp_path, SMALL, codec=codec, recording=EVERY_SECOND
        ) as rig:
            await rig.camera.start_recording(REQUEST)
            await rig.camera.published.wait_until(
                lambda status: status.session is not None and len(status.session.segments) == 2
            )
            session = await rig.camera.stop_recording()
    assert session.gaps == ()
    assert {segment.codec for segment in session.segments} == {entry}
    found = joined(program, list(check_receipt(tmp_path, session)))
    assert len(found["video"]) == session.frames_written


async def test_matroska(program: str, clip: Path, original: Packets, tmp_path: Path) -> None:
    """The receipt names Matroska files that hold every packet; no MP4 is left."""
    recording = RecordingConfig(rotation=timedelta(seconds=20), format="mkv")
    source = FileSource(clip, loop=False, speed=100)
    with trio.fail_after(300):
        async with open_real_camera(program, tmp_path, source, recording=recording) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.ended()
            page = await rig.storage.list_recordings(RECENT)
    assert (session.format, len(session.segments)) == ("mkv", 6)
    assert {Path(segment.filename).suffix for segment in session.segments} == {".mkv"}
    assert {each.filename for each in page.segments} == {s.filename for s in session.segments}
    assert joined(program, list(check_receipt(tmp_path, session))) == original


@pytest.mark.parametrize(
    "trick",
    [
        'case "$*" in *matroska*) exit 1;; esac',
        'case "$*" in *matroska*) for last; do :; done; : > "${last#file:}"; exit 0;; esac',
        'case "$*" in *streamhash*) exit 0;; esac',
        'case "$*" in *.part*streamhash*) echo 0,v,SHA256=00; exit 0;; esac',
    ],
    ids=["fails", "writes nothing", "hashes nothing", "hashes differ"],
)
async def test_a_conversion_that_cannot_be_trusted(tmp_path: Path, trick: str) -> None:
    """The MP4 stays, the receipt names it, and clients get an error event."""
    folder = tmp_path / "recordings"
    program = script(tmp_path, f'{trick}\nexec {BUNDLED} "$@"')
    recording = RecordingConfig(format="mkv")
    with trio.fail_after(300):
        async with open_real_camera(program, folder, SMALL, recording=recording) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.camera.stop_recording()
    (path,) = check_receipt(folder, session)
    assert path.suffix == ".mp4"
    assert len(packets(BUNDLED, path)["video"]) == session.frames_written
    assert rig.events_told == [
        "STARTED",
        "ERROR conversion failed; the MP4 stays",
        "STOPPED stopped",
    ]


async def test_a_conversion_leases_its_segment(tmp_path: Path) -> None:
    """During it the MP4 cannot be removed; then the folder is synced, and the MKV gets its pin."""
    steps: list[str] = []

    class Watched(GaugedDisk):
        def unlink(self, path: Path) -> None:
            (known,) = rig.storage.leased_files
            assert known == path.name
            steps.append(path.suffix)
            super().unlink(path)

        def sync_directory(self, path: Path) -> None:
            steps.append("sync")
            super().sync_directory(path)

    disk = Watched()
    disk.fill(50)
    recording = RecordingConfig(format="mkv")
    with trio.fail_after(300):
        async with open_real_camera(
            BUNDLED, tmp_path, SMALL, recording=recording, disk=disk
        ) as rig:
            started = await rig.camera.start_recording(REQUEST)
            await rig.storage.pin(started.segments[0].filename, Pin("evidence"))
            steps.clear()
            session = await rig.camera.stop_recording()
            (made,) = session.segments
            assert steps[-2:] == [".mp4", "sync"]
            pins = await rig.storage.pins([made.filename])
            assert pins[made.filename].reason == "evidence"
            assert rig.storage.busy(made) is None
    assert made.filename.endswith(".mkv")


async def test_a_foreign_file_is_never_replaced(tmp_path: Path) -> None:
    """A Matroska file that has the name already stays; the new one gets another name (I5)."""
    recording = RecordingConfig(format="mkv")
    with trio.fail_after(300):
        async with open_real_camera(BUNDLED, tmp_path, SMALL, recording=recording) as rig:
            started = await rig.camera.start_recording(REQUEST)
            foreign = (tmp_path / started.segments[0].filename).with_suffix(".mkv")
            foreign.write_text("mine")
            session = await rig.camera.stop_recording()
    assert foreign.read_text() == "mine"
    foreign.unlink()
    (path,) = check_receipt(tmp_path, session)
    assert path.name == f"{foreign.stem}_1.mkv"
    assert len(packets(BUNDLED, path)["video"]) == session.frames_written


# --- space --------------------------------------------------------------------------------


async def test_a_full_volume_pauses_the_recorder(tmp_path: Path) -> None:
    """Sealed at the critical line, resumed below the block line, and every frame is counted."""
    disk = GaugedDisk()
    disk.fill(50)
    with trio.fail_after(300):
        async with open_real_camera(BUNDLED, tmp_path, SMALL, disk=disk) as rig:
            level = rig.storage.published
            await rig.camera.start_recording(REQUEST)
            await rig.grow(10)
            disk.fill(96)
            rig.storage.space.suspect()
            await level.wait_until(lambda status: status.level is StorageLevel.CRITICAL)
            await rig.until_session(SessionState.WAITING)
            disk.fill(50)
            rig.storage.space.suspect()
            await level.wait_until(lambda status: status.level is StorageLevel.OK)
            await rig.until_session(SessionState.RECORDING)
            session = await rig.camera.stop_recording()
    assert len(session.segments) == 2
    (gap,) = session.gaps
    assert (gap.cause, gap.exact) == (GapCause.STORAGE_FULL, True)
    assert gap.frames > 0
    found = joined(BUNDLED, list(check_receipt(tmp_path, session)))
    assert len(found["video"]) == session.frames_written
    assert len(rig.children) == 1
