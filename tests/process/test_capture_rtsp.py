"""RTSP cameras, with a real server on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
from support.fake_disk import roomy_disk
from support.fake_rtsp_server import RtspServer, open_rtsp_server
from support.ffmpeg_media import DECODED, PROGRAMS, run

from camd.camera.camera import Camera
from camd.camera.cameras import open_cameras
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import (
    CameraConfig,
    Config,
    FfmpegConfig,
    RecordingConfig,
    ServerConfig,
    StorageConfig,
)
from camd.errors import SOURCE_UNAVAILABLE, Refusal
from camd.ffmpeg.text.output import parse_probe
from camd.model import CameraId, CameraState, Event, GapCause, RecordingRequest, Session
from camd.runtime.broadcast import Fanout
from camd.sources import RtspSource, rtsp
from camd.storage.storage import open_storage

REQUEST = RecordingRequest("tester")
PROGRAM = PROGRAMS[1].values[0]


@asynccontextmanager
async def recording_camera(
    folder: Path,
    program: str,
    url: str,
    *,
    stall: float = 10.0,
    start: float = 20.0,
    answer: float = 60.0,
    **entry: Any,
) -> AsyncIterator[Camera]:
    """Run a camera that records `url` into `folder`."""
    storage_config = StorageConfig(folder / "recordings", state_dir=folder, block_percent=95)
    camera = CameraConfig(CameraId("gate"), RtspSource(url), **entry)
    ffmpeg = FfmpegConfig(
        Path(program),
        stall_timeout=timedelta(seconds=stall),
        start_timeout=timedelta(seconds=start),
    )
    server = ServerConfig(progress_interval=timedelta(seconds=1))
    recording = RecordingConfig(answer_timeout=timedelta(seconds=answer))
    config = Config(
        storage=storage_config,
        server=server,
        recording=recording,
        ffmpeg=ffmpeg,
        cameras=(camera,),
    )
    assert "s3cret" not in repr(config)
    events = Fanout[Event]()
    async with (
        open_storage(config.storage, events, roomy_disk(), clock=SYSTEM_CLOCK) as storage,
        open_cameras(config, storage=storage, events=events, clock=SYSTEM_CLOCK) as cameras,
    ):
        yield cameras.find("gate")


def _film(folder: Path, name: str, *arguments: str) -> Path:
    """Make a film with a key frame every half second."""
    path = folder / name
    picture = ("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=20")
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000")
    done = run(PROGRAM, *picture, *tone, "-t", "20", *arguments, str(path))
    assert done.returncode == 0, done.stderr
    return path


_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10")
_X265 = "keyint=10:bframes=0:log-level=error"  # RTP tells presentation times only
_H265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", _X265)
FILMS = {
    "h264-aac.mp4": ("h264", *_H264, "-c:a", "aac", "-ar", "48000"),
    "h264-alaw.mov": ("h264", *_H264, "-c:a", "pcm_alaw"),
    "h265-mulaw.mov": ("hevc", *_H265, "-tag:v", "hvc1", "-c:a", "pcm_mulaw"),
}


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All films."""
    folder = tmp_path_factory.mktemp("films")
    return {name: _film(folder, name, *arguments) for name, (_, *arguments) in FILMS.items()}


@pytest.fixture(scope="module")
def clip(streams: dict[str, Path]) -> Path:
    """A film of H.264 and AAC."""
    return streams["h264-aac.mp4"]


async def _begun(camera: Camera, files: int) -> Session:
    """Wait until the session has so many files, and return it."""
    status = await camera.published.wait_until(
        lambda s: s.session is not None and len(s.session.segments) >= files
    )
    assert status.session is not None
    return status.session


def _complaints(program: str, path: Path) -> bytes:
    """Return what FFmpeg has to say against a recording when it plays it."""
    played = run(program, "-i", str(path), *DECODED)
    assert played.returncode == 0, played.stderr
    return played.stderr


# --- what is delivered --------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [True, False], ids=["described", "in-band"])
async def test_pictures_are_copied_and_sound_is_kept(
    tmp_path: Path, streams: dict[str, Path], parameters: bool
) -> None:
    """H.264 and H.265 are copied, AAC too, telephone sound becomes AAC; whatever the SDP holds."""
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for name, clip in streams.items():
                place = tmp_path / name
                nursery.start_soon(_copied, place, clip, FILMS[name][0], parameters)


async def _copied(place: Path, clip: Path, codec: str, parameters: bool) -> None:
    """Record a camera that plays the film, and look at what is there."""
    await trio.Path(place).mkdir()
    async with (
        open_rtsp_server(PROGRAM, clip, codec=codec, audio=True, parameters=parameters) as server,
        recording_camera(place, PROGRAM, server.url) as camera,
    ):
        await camera.start_recording(REQUEST)
        await camera.published.wait_until(
            lambda s: s.session is not None and s.session.frames_written > 30
        )
        ended = await camera.stop_recording()
    (segment,) = ended.segments
    recorded = place / "recordings" / segment.filename
    found = parse_probe(run(PROGRAM, "-v", "info", "-i", str(recorded)).stderr.decode())
    assert (found.video_codec, found.width, found.height) == (codec, 160, 90)
    assert found.audio_codec == "aac"
    assert segment.frames > 30
    assert _complaints(PROGRAM, recorded) == b""
    assert server.transports == {"RTP/AVP/TCP"}


# --- interruptions ------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_stream_is_copied_and_survives_the_connection(
    tmp_path: Path, clip: Path, program: str
) -> None:
    """When the camera drops the connection, the session goes on in a new file, behind a gap."""
    with trio.fail_after(300):
        async with (
            open_rtsp_server(program, clip, credentials="user:s3cret") as server,
            recording_camera(tmp_path, program, server.url) as camera,
        ):
            begun = await camera.start_recording(REQUEST)
            await server.hang_up()
            await camera.published.wait_until(lambda s: s.state is CameraState.RESTING)
            await _begun(camera, 2)
            ended = await camera.stop_recording()
    assert ended.session_id == begun.session_id
    assert [segment.codec for segment in ended.segments] == ["avc1"] * len(ended.segments)
    outage = ended.gaps[0]
    assert outage.cause in (GapCause.CAMERA_LOST, GapCause.ENCODER_EXIT)
    assert not outage.exact
    _add_up(ended)
    for segment in ended.segments:
        recorded = tmp_path / "recordings" / segment.filename
        assert _complaints(program, recorded) == b""


def _add_up(session: Session) -> None:
    """See to it that every frame is in a file, or was counted while a key frame was waited for."""
    waited = sum(gap.frames for gap in session.gaps if gap.exact)
    assert session.frames_captured == session.frames_written + waited
    assert session.frames_written > 0


async def _reset(server: RtspServer) -> None:
    await trio.lowlevel.checkpoint()
    server.reset()


async def _freeze(server: RtspServer) -> None:
    await trio.lowlevel.checkpoint()
    server.frozen = True


async def _thaw(server: RtspServer) -> None:
    await trio.lowlevel.checkpoint()
    server.frozen = False


async def _nothing(server: RtspServer) -> None:
    await trio.lowlevel.checkpoint()


Deed = Callable[[RtspServer], Awaitable[None]]


@pytest.mark.parametrize(
    ("harm", "heal", "words", "cause", "stall"),
    [
        (_reset, _nothing, {"closed", "ended"}, GapCause.CAMERA_LOST, 20.0),
        (_freeze, _thaw, {"stalled"}, GapCause.CAMERA_STALLED, 4.0),
        (
            RtspServer.go_away,
            RtspServer.come_back,
            {"closed", "ended", "connection_refused"},
            GapCause.CAMERA_LOST,
            20.0,
        ),
    ],
    ids=["reset", "frozen", "gone"],
)
async def test_a_session_goes_on_behind_an_interruption(
    tmp_path: Path,
    clip: Path,
    harm: Deed,
    heal: Deed,
    words: set[str],
    cause: GapCause,
    stall: float,  # seconds; a busy machine makes FFmpeg wait, too
) -> None:
    """Each kind has its own trouble; the ledger has its cause, and the session one more file."""
    with trio.fail_after(300):
        async with (
            open_rtsp_server(PROGRAM, clip) as server,
            recording_camera(tmp_path, PROGRAM, server.url, stall=stall) as camera,
        ):
            begun = await camera.start_recording(REQUEST)
            await harm(server)
            status = await camera.published.wait_until(
                lambda s: s.session is not None and s.problem is not None
            )
            assert status.problem is not None
            assert status.problem.kind in words
            await heal(server)
            await _begun(camera, 2)
            ended = await camera.stop_recording()
    assert ended.session_id == begun.session_id
    assert {gap.cause for gap in ended.gaps} == {cause}
    assert [gap.exact for gap in ended.gaps].count(False) == 1
    _add_up(ended)


# --- refusals -----------------------------------------------------------------------------


async def _refused(folder: Path, url: str, **settings: Any) -> tuple[str, str]:
    """Ask for a recording that cannot begin; return the refusal's cause, and all that was said."""
    with structlog.testing.capture_logs() as said, trio.fail_after(300):
        async with recording_camera(folder, PROGRAM, url, **settings) as camera:
            with pytest.raises(Refusal) as refused:
                await camera.start_recording(REQUEST)
            assert refused.value.kind is SOURCE_UNAVAILABLE
            shown = repr((refused.value, refused.value.data, camera.status, said))
    return str(refused.value.data["cause"]), shown


@pytest.mark.parametrize(
    ("refusal", "cause"),
    [
        ("404 Not Found", "not_found"),
        ("454 Session Not Found", "server_error"),
        ("453 Not Enough Bandwidth", "server_busy"),
        ("500 Internal Server Error", "server_error"),
        ("503 Service Unavailable", "server_unavailable"),
        ("403 Forbidden", "unauthorised"),
    ],
)
async def test_what_the_server_answers_is_understood(
    tmp_path: Path, clip: Path, refusal: str, cause: str
) -> None:
    """A stream that is not there is told from a server that cannot serve it now."""
    async with open_rtsp_server(PROGRAM, clip) as server:
        server.refusal = refusal
        assert (await _refused(tmp_path, server.url))[0] == cause


async def test_a_server_that_never_answers_is_said(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection on which nothing comes is given up after the configured time."""
    monkeypatch.setattr(rtsp, "STEP_SECONDS", 0.3)
    async with open_rtsp_server(PROGRAM, clip) as server:
        server.mute = True
        cause, said = await _refused(tmp_path, server.url, start=1.0, stall=1.0)
        assert cause == "timed_out"
        assert "does not answer OPTIONS" in said


async def test_a_host_that_cannot_be_found_is_said(tmp_path: Path) -> None:
    """Names that end in .invalid never exist (RFC 6761)."""
    assert (await _refused(tmp_path, "rtsp://camera.invalid/x"))[0] == "unreachable"


async def test_a_port_where_nobody_listens_is_said(tmp_path: Path) -> None:
    """The host is there, the server is not."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"rtsp://127.0.0.1:{taken.getsockname()[1]}/x"
        assert (await _refused(tmp_path, url))[0] == "connection_refused"


@pytest.mark.parametrize(
    ("url", "credentials", "query"),
    [
        ("right", "user:right", "?token=s3cret-1"),
        ("right", "user:right", "?channel=1&password=s3cret%202"),
        ("s3cret%40%2F", "user:right", ""),
    ],
)
async def test_wrong_credentials_are_refused_and_never_told(
    tmp_path: Path, clip: Path, url: str, credentials: str, query: str
) -> None:
    """A camera that does not let us in is a refusal; no word, status or log line has a secret."""
    async with open_rtsp_server(PROGRAM, clip, credentials=credentials) as server:
        server.query = query
        server.credentials = "user:other"
        asked = server.url.replace("other", url)
        cause, shown = await _refused(tmp_path, asked)
        assert server.wrong_passwords == 1  # a camera may lock out who is wrong too often
    assert cause == "unauthorised"
    assert "s3cret" not in shown
    assert "right" not in shown
    assert "Refusal" in shown
