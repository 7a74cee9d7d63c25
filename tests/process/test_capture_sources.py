"""How a source is opened, and what is said when it cannot be: servers and paths of every kind."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trustme
from real_camera import REQUEST, open_real_camera
from support.fake_rtsp_server import open_rtsp_server
from support.ffmpeg_media import PROGRAMS, run
from test_capture_rtsp import recording_camera

from camd.capture import source_contents
from camd.capture.source_cache import SOURCES_FILE
from camd.errors import Refusal
from camd.model import CameraState, GapCause, Problem, ProblemKind, Session
from camd.model.problems import ENDED
from camd.sources import FileSource, rtsp

BUNDLED = PROGRAMS[1].values[0]
H264 = ("-c:v", "libx264", "-preset", "ultrafast")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "STEP_SECONDS", 1.0)
    monkeypatch.setattr(source_contents, "LOOK_AFTER_SECONDS", 2.0)


def make(path: Path, *arguments: str, rate: int = 20, seconds: int = 20) -> Path:
    """Make a small film without sound."""
    picture = f"testsrc2=size=160x90:rate={rate}"
    done = run(BUNDLED, "-f", "lavfi", "-i", picture, "-t", str(seconds), *arguments, str(path))
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with a key frame every half second."""
    return make(tmp_path_factory.mktemp("clip") / "film.mp4", *H264, "-g", "10")


async def recorded(folder: Path, program: str, url: str, **entry: object) -> Session:
    """Record a little of a stream."""
    with trio.fail_after(300):
        async with recording_camera(folder, program, url, **entry) as camera:
            await camera.start_recording(REQUEST)
            return await camera.stop_recording()


async def refused(folder: Path, url: str, program: str = BUNDLED, **entry: object) -> Refusal:
    """Ask for a recording that cannot begin, and return why."""
    with trio.fail_after(300):
        async with recording_camera(folder, program, url, **entry) as camera:
            with pytest.raises(Refusal) as caught:
                await camera.start_recording(REQUEST)
            status = await camera.published.wait_until(lambda s: s.state is CameraState.IDLE)
            assert status.problem is not None  # it is kept while nobody needs the camera
            assert status.problem.kind == caught.value.data["cause"]
    return caught.value


# --- what a user can say ------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "entry",
    [{}, {"transport": "udp"}, {"input_options": ("-rtsp_transport", "udp")}],
    ids=["auto", "transport", "option"],
)
async def test_a_camera_that_sends_by_udp_only_is_recorded(
    tmp_path: Path, clip: Path, program: str, entry: dict[str, object]
) -> None:
    """UDP is tried after a refusal by itself, and at once where it is asked for, in any way."""
    async with open_rtsp_server(BUNDLED, clip, tcp=False, udp=True) as server:
        ended = await recorded(tmp_path, program, server.url, **entry)
        assert ended.frames_written > 0
        assert server.transports == {"RTP/AVP/UDP"}
        assert server.refusals == (1 if not entry else 0)


async def test_a_transport_that_is_named_is_not_replaced(tmp_path: Path, clip: Path) -> None:
    """With transport = "tcp" a refusal of TCP is said, and UDP is not tried."""
    async with open_rtsp_server(BUNDLED, clip, tcp=False, udp=True) as server:
        refusal = await refused(tmp_path, server.url, transport="tcp")
        assert server.transports == set()
    assert refusal.data["cause"] == "unsupported_transport"
    assert "transport" in refusal.suggestion


@pytest.mark.parametrize(
    "entry",
    [{"tls_verify": False}, {"input_options": ("-tls_verify", "0")}],
    ids=["key", "option"],
)
async def test_a_certificate_of_its_own_is_taken_where_that_is_allowed(
    tmp_path: Path, clip: Path, entry: dict[str, object]
) -> None:
    """By default FFmpeg decides; the refusal names the key; the key and the option work."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with open_rtsp_server(BUNDLED, clip, tls=context) as server:
        if "tls_verify" in entry:
            refusal = await refused(tmp_path / "refused", server.url)
            assert refusal.data["cause"] == "tls_failed"
            assert "certificate is not trusted" in str(refusal)
            assert "tls_verify = false" in refusal.suggestion
        assert (await recorded(tmp_path, BUNDLED, server.url, **entry)).frames_written > 0


async def test_a_password_with_every_character_is_sent_as_it_is_meant(
    tmp_path: Path, clip: Path
) -> None:
    """Percent-encoded in the URL, the camera gets what it expects."""
    async with open_rtsp_server(BUNDLED, clip, credentials="eve:1#s/s?@:%") as server:
        url = f"rtsp://eve:1%23s%2Fs%3F%40%3A%25@127.0.0.1:{server.port}/film"
        assert (await recorded(tmp_path, BUNDLED, url)).frames_written > 0
        assert server.wrong_passwords == 0


async def test_a_server_that_takes_long_is_waited_for_as_configured(
    tmp_path: Path, clip: Path
) -> None:
    """A step may take as long as start_timeout says; more is a time-out, and the step is named."""
    async with open_rtsp_server(BUNDLED, clip, pauses={"SETUP": 1.5}) as server:
        refusal = await refused(tmp_path / "short", server.url, start=1.0, stall=1.0)
        assert refusal.data["cause"] == "timed_out"
        assert "answers DESCRIBE" in str(refusal)
        ended = await recorded(tmp_path, BUNDLED, server.url, start=60.0, stall=60.0)
        assert ended.frames_written > 0


# --- refusals -----------------------------------------------------------------------------


async def test_an_authentication_that_ffmpeg_lacks_is_told_from_a_wrong_password(
    tmp_path: Path, clip: Path
) -> None:
    """Digest with SHA-256 alone: nobody has to look for a mistake in the password."""
    challenge = 'Digest realm="clip", nonce="5f", algorithm="SHA-256"'
    async with open_rtsp_server(
        BUNDLED, clip, credentials="eve:hunter2", challenge=challenge
    ) as server:
        refusal = await refused(tmp_path, server.url)
    assert refusal.data["cause"] == "unsupported_authentication"
    assert "SHA-256" in str(refusal)
    assert "hunter2" not in repr((refusal, refusal.data))


async def test_a_url_without_a_password_is_told_so(tmp_path: Path, clip: Path) -> None:
    """Who wrote none is not told to correct it."""
    async with open_rtsp_server(BUNDLED, clip, credentials="eve:x") as server:
        refusal = await refused(tmp_path, f"rtsp://127.0.0.1:{server.port}/film")
    assert (refusal.data["cause"], "asks for" in str(refusal)) == ("unauthorised", True)


@asynccontextmanager
async def stranger(
    says: bytes, *, greets: bool = False, hangs_up: bool = False
) -> AsyncIterator[str]:
    """Serve something that is no RTSP; yield its URL as a user would write it."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if greets:
                await stream.send_all(says)
            while not hangs_up and await stream.receive_some(4096):
                if says:
                    await stream.send_all(says)

    async def quiet(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await serve(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, quiet, [listener])
        yield f"rtsp://127.0.0.1:{listener.socket.getsockname()[1]}/film"
        nursery.cancel_scope.cancel()


STRANGERS: dict[str, tuple[bytes, dict[str, bool], str, str]] = {
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n", {}, "no_rtsp", "HTTP"),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", {"greets": True}, "no_rtsp", "SSH"),
    "noise": (b"\0\xff" * 40, {}, "no_rtsp", "no RTSP"),
    "silence": (b"", {}, "timed_out", "does not answer OPTIONS"),
    "hangs up": (b"", {"hangs_up": True}, "closed", "closes the connection"),
}


@pytest.mark.parametrize("program", PROGRAMS)
async def test_who_speaks_no_rtsp_is_called_what_it_is(tmp_path: Path, program: str) -> None:
    """Each has its own cause and words, with every FFmpeg."""
    found: dict[str, Refusal] = {}

    async def ask(name: str) -> None:
        says, how, *_ = STRANGERS[name]
        seconds = 1.0 if name == "silence" else 100.0  # the others end it themselves
        async with stranger(says, **how) as url:
            found[name] = await refused(tmp_path / name, url, program, start=seconds, stall=seconds)

    async with trio.open_nursery() as nursery:
        for name in STRANGERS:
            nursery.start_soon(ask, name)
    for name, (_, _, cause, words) in STRANGERS.items():
        assert found[name].data["cause"] == cause
        assert words in str(found[name])


# --- pictures that are late ---------------------------------------------------------------


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of pictures with one key frame."""
    path = tmp_path_factory.mktemp("clip") / "rare.mp4"
    return make(path, *H264, "-g", "1000", rate=5, seconds=120)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_start_says_that_it_waits_for_a_key_frame(
    tmp_path: Path, rare: Path, program: str
) -> None:
    """Pictures show that the camera is alive; it is neither called silent nor ended for it."""
    async with open_rtsp_server(BUNDLED, rare) as server, trio.open_nursery() as nursery:
        with trio.fail_after(300):
            async with recording_camera(
                tmp_path, program, server.url, start=2.0, always_on=True
            ) as camera:
                with pytest.raises(Refusal) as caught:
                    await camera.start_recording(REQUEST)
                assert caught.value.data["cause"] == "waiting_for_key_frame"
                assert "start_timeout" in caught.value.suggestion
                assert camera.status.state is CameraState.STARTING  # and waits on
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("program", PROGRAMS)
async def test_rare_pictures_of_a_camera_that_declares_more_are_played_as_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """FFmpeg's look at seven pictures is not made again by the capture, which would spoil them."""
    monkeypatch.setattr(source_contents, "RARE_FPS", 4.0)
    steady, path = tmp_path / "steady.mp4", tmp_path / "rare.mp4"
    make(steady, *H264, "-g", "1", rate=25, seconds=4)
    done = run(BUNDLED, "-itsscale", "10", "-i", str(steady), "-c", "copy", str(path))
    assert done.returncode == 0, done.stderr
    with trio.fail_after(300):
        async with (
            open_rtsp_server(BUNDLED, path) as server,
            recording_camera(tmp_path / "r", program, server.url) as camera,
        ):
            await camera.start_recording(REQUEST)
            status = await camera.published.wait_until(
                lambda s: s.session is not None and s.session.frames_written >= 6
            )
            assert status.warnings == ()
            ended = await camera.stop_recording()
    assert ended.gaps == ()
    assert ended.frames_captured == ended.frames_written
    (segment,) = ended.segments
    assert segment.duration_seconds == pytest.approx(0.4 * segment.frames, abs=0.6)


async def test_a_start_is_answered_in_time_whatever_the_source_does(tmp_path: Path) -> None:
    """A source that is neither dead nor delivers keeps nobody waiting for ever."""
    program = tmp_path / "ffmpeg"
    says = "Stream #0:0: Video: h264, yuv420p, 64x64, 5 fps"
    program.write_text(
        '#!/bin/sh\ncase "$*" in\n*-version*) echo ffmpeg version 5.1;;\n'
        f"*pipe:1*) exec sleep 1000;;\n*) echo '{says}' >&2;;\nesac\n"
    )
    program.chmod(0o755)
    url = "rtsp://127.0.0.1:9/x"
    refusal = await refused(tmp_path / "r", url, str(program), start=1.0, answer=1.0)
    assert refusal.data["cause"] == "no_picture_yet"
    assert "answer_timeout" in refusal.suggestion


# --- what is remembered -------------------------------------------------------------------


async def test_a_known_source_is_asked_once_only(tmp_path: Path, clip: Path) -> None:
    """Neither a second start nor another life of the service connects twice; no secret is kept."""
    async with open_rtsp_server(BUNDLED, clip, credentials="eve:hunter2") as server:
        with trio.fail_after(300):
            async with recording_camera(tmp_path, BUNDLED, server.url) as camera:
                await camera.start_recording(REQUEST)
                await camera.stop_recording()
                assert server.connections == 2  # to see what there is, and to record it
                await camera.start_recording(REQUEST)
                await camera.stop_recording()
                assert server.connections == 3
                kept = tmp_path / SOURCES_FILE
                while not kept.exists():  # noqa: ASYNC110 - it is written a moment later
                    await trio.sleep(0.05)
            async with recording_camera(tmp_path, BUNDLED, server.url) as camera:
                await camera.start_recording(REQUEST)
                await camera.stop_recording()
                assert server.connections == 4
    text = kept.read_text()
    assert '"h264"' in text
    assert not any(word in text for word in ("hunter2", "eve", "127.0.0.1", "clip"))


async def test_what_is_remembered_and_not_true_any_more_costs_no_recording(
    tmp_path: Path, clip: Path
) -> None:
    """A camera that changed its codec is asked anew within the same start."""
    async with open_rtsp_server(BUNDLED, clip) as server:
        await recorded(tmp_path, BUNDLED, server.url)
        with trio.fail_after(300):
            async with recording_camera(tmp_path, BUNDLED, server.url) as camera:
                (key,) = camera.planner.memory._entries.value
                known = camera.planner.memory.find(key)
                assert known is not None
                false = type(known)("mjpeg", 16, 16, 5.0, "pcm_alaw")
                camera.planner.memory.learn(key, false)
                session = await camera.start_recording(REQUEST)
                assert session.segments[0].codec == "avc1"
                await camera.stop_recording()
                await camera.start_recording(REQUEST)
                await camera.stop_recording()


async def test_sound_that_a_camera_has_now_is_recorded(tmp_path: Path, clip: Path) -> None:
    """It had none when it was asked, such as before it was set up anew: its next capture knows."""
    sounding = tmp_path / "sounding.mp4"
    tone = ("-f", "lavfi", "-i", "sine", "-shortest", "-c:v", "copy", "-c:a", "aac")
    done = run(BUNDLED, "-i", str(clip), *tone, "-ar", "48000", str(sounding))
    assert done.returncode == 0, done.stderr
    async with open_rtsp_server(BUNDLED, sounding, audio=True) as server:
        described, files = server.sdp, tmp_path / "recordings"
        server.sdp = described.partition("m=audio")[0]
        with trio.fail_after(300):
            async with recording_camera(tmp_path, BUNDLED, server.url) as camera:
                session = await camera.start_recording(REQUEST)
                (first,) = session.segments
                server.sdp = described
                await server.hang_up()
                while not any(  # noqa: ASYNC110 - a file is all that there is to wait for
                    b"mp4a" in file.read_bytes() for file in files.glob("*.mp4")
                ):
                    await trio.sleep(0.05)
                session = await camera.stop_recording()
    with_sound = [b"mp4a" in (files / file.filename).read_bytes() for file in session.segments]
    assert (session.segments[0].filename, with_sound[0]) == (first.filename, False)
    assert with_sound[-1]
    assert sorted(with_sound) == with_sound
    assert {gap.cause for gap in session.gaps} == {GapCause.CAMERA_LOST}


# --- paths --------------------------------------------------------------------------------


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make_it", "cause", "words"),
    [
        (_fifo, "not_a_file", "FIFO"),
        (_socket, "not_a_file", "a socket"),
        (Path.mkdir, "not_a_file", "a directory"),
        (Path.touch, "unreadable", "empty"),
        (lambda path: path.symlink_to("/dev/zero"), "not_a_file", "a character device"),
        (lambda path: path.symlink_to(path), "not_a_file", "symbolic links"),
        (lambda path: None, "not_found", "not there"),
    ],
    ids=["fifo", "socket", "folder", "empty", "device", "circle", "nothing"],
)
async def test_a_path_is_called_what_it_is_at_once(
    tmp_path: Path, make_it: object, cause: str, words: str
) -> None:
    """Whatever is there: no FFmpeg waits for it, and the refusal says what it is."""
    path = tmp_path / "x.sock"
    make_it(path)  # type: ignore[operator]
    with trio.fail_after(300):
        async with open_real_camera(
            "/no/ffmpeg/is/needed", tmp_path / "r", FileSource(path)
        ) as rig:
            with pytest.raises(Refusal) as caught:
                await rig.camera.start_recording(REQUEST)
            await rig.until(CameraState.IDLE)
            assert isinstance(rig.camera.status.problem, Problem)
    assert (caught.value.data["cause"], words in str(caught.value)) == (cause, True)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_raw_file_is_played_again(tmp_path: Path, program: str) -> None:
    """FFmpeg cannot go back in it: it is begun anew, and nobody's permissions are blamed."""
    path = make(tmp_path / "raw%3F.h264", *H264, "-g", "10", "-f", "h264", seconds=2)
    with trio.fail_after(300):
        async with open_real_camera(program, tmp_path / "r", FileSource(path)) as rig:
            await rig.camera.start_recording(REQUEST)
            await rig.camera.published.wait_until(
                lambda s: s.session is not None and len(s.session.segments) > 1
            )
            ended = await rig.camera.stop_recording()
    assert {gap.cause for gap in ended.gaps} <= {GapCause.CAMERA_LOST}  # a short one is a seam
    assert ended.frames_captured == ended.frames_written


@pytest.mark.parametrize("loop", [True, False])
async def test_the_end_of_a_source_is_told_by_its_kind(tmp_path: Path, loop: bool) -> None:
    """A file without a picture is told from one that was played, and from a stream that ended."""
    file = FileSource(tmp_path / "film.mp4", loop=loop)
    assert (await file.explain(ENDED, delivered=False)).message.startswith("The source's file")
    played = await file.explain(ENDED, delivered=True)
    assert (played.kind is ProblemKind.BEGUN_ANEW) is loop
    stream = await rtsp.RtspSource("rtsp://camera/stream").explain(ENDED, delivered=True)
    assert "file" not in stream.message + stream.suggestion
