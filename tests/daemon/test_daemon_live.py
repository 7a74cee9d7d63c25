"""Live view of a real daemon: recordings do not notice it, viewers come back, plain clients."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
from live_viewer import SMALL_BUFFER, LiveViewer, closed_with, watching
from running_daemon import (
    FFMPEG,
    Daemon,
    NewDaemon,
    check_receipt,
    listening,
    packets,
    small_camera,
)
from test_daemon_metrics import samples

VIEWERS = 30
SECONDS = 300  # a machine may be busy


@pytest.fixture(scope="module")
def noisy_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return ten seconds of about 8 Mbit/s with a key frame each half second, and its packets."""
    path = tmp_path_factory.mktemp("clip") / "noisy.mp4"
    subprocess.run(
        [
            *(FFMPEG, "-hide_banner", "-nostdin", "-v", "error", "-f", "lavfi"),
            *("-i", "testsrc2=size=320x180:rate=30,noise=alls=40:allf=t", "-t", "10"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "8M", "-g", "15"),
            *("-pix_fmt", "yuv420p", str(path)),
        ],
        check=True,
        timeout=300,
    )
    return path, packets(path)


def make_clip_with_sound(path: Path) -> None:
    """Make four seconds with a key frame each second, and a tone."""
    subprocess.run(
        [
            *(FFMPEG, "-hide_banner", "-nostdin", "-v", "error", "-f", "lavfi"),
            *("-i", "testsrc2=size=160x120:rate=20", "-f", "lavfi", "-i", "sine=400", "-t", "4"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-pix_fmt", "yuv420p"),
            *("-c:a", "aac", str(path)),
        ],
        check=True,
        timeout=300,
    )


def is_part(found: list[str], known: list[str]) -> bool:
    """Whether `found` are consecutive packets of a loop over `known`."""
    first = known.index(found[0])
    return found == [known[(first + number) % len(known)] for number in range(len(found))]


async def pause_until_skipped(viewer: LiveViewer) -> dict[str, Any]:
    """Read nothing for some seconds, again and again, until the viewer has missed something.

    Who does not read for longer is disconnected.
    """
    while True:
        await trio.sleep(5)
        with trio.move_on_after(30):
            return await viewer.until_told("skipped")


async def test_a_recording_does_not_notice_thirty_viewers(
    new_daemon: NewDaemon, noisy_clip: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """One of them pauses. The recording has every packet of the camera, each viewer that reads on
    has them too, and the one that did not read is told what it missed, and is live again."""
    source, known = noisy_clip
    daemon = new_daemon()
    daemon.configure(cameras=[{"source": f"file:{source}?speed=2", "codec": "copy"}])
    viewers: list[LiveViewer] = []

    async def view(task_status: trio.TaskStatus[None]) -> None:
        async with watching(daemon, "camera0") as viewer:
            viewers.append(viewer)
            await viewer.until_binaries(2)
            task_status.started()
            await viewer.read_on()

    with trio.fail_after(SECONDS):
        await daemon.start()
        async with (
            trio.open_nursery() as nursery,
            daemon.client() as client,
            listening(client) as notified,
        ):
            for _ in range(VIEWERS - 1):
                await nursery.start(view)
            await client.call("start_recording", device="camera0")
            async with watching(daemon, "camera0", buffer=SMALL_BUFFER) as stopped:
                skipped = await pause_until_skipped(stopped)
                assert skipped["frames"] > 0
                await stopped.until_binaries(len(stopped.binaries) + 2)
                found = await samples(daemon)
            await notified.recording("ROTATED", 3)
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
            nursery.cancel_scope.cancel()
        await check_receipt(daemon, receipt)
    assert receipt["gaps"] == []
    here = (("camera", "camera0"),)
    assert found["camd_viewers", here] == VIEWERS
    assert found["camd_viewer_skipped_frames_total", here] >= skipped["frames"]
    assert found["camd_viewer_sent_bytes_total", here] > sum(map(len, stopped.binaries))
    recorded = [
        each for file in receipt["files"] for each in packets(daemon.recordings / file["filename"])
    ]
    assert is_part(recorded, known)
    for viewer in viewers[:: VIEWERS // 3]:  # on a busy machine, some of them may be too slow
        assert {each["type"] for each in viewer.told} <= {"init", "skipped"}
        assert is_part(packets(viewer.write(tmp_path / "seen.mp4")), known)
    assert stopped.binaries[-1][4:8] == b"moof"


async def test_a_viewer_may_leave_out_the_sound(new_daemon: NewDaemon, tmp_path: Path) -> None:
    """It gets the same pictures in a stream of one track; `init` says what it does not get."""
    clip = tmp_path / "heard.mp4"
    await trio.to_thread.run_sync(make_clip_with_sound, clip)
    known = await trio.to_thread.run_sync(packets, clip)
    daemon = new_daemon()
    daemon.configure(cameras=[{"source": f"file:{clip}", "codec": "copy"}])
    seen: dict[str, LiveViewer] = {}

    async def view(query: str) -> None:
        async with watching(daemon, f"camera0{query}") as viewer:
            seen[query] = viewer
            await viewer.until_binaries(40)

    with trio.fail_after(SECONDS):
        await daemon.start()
        async with trio.open_nursery() as nursery:
            for query in ("", "?sound=off", "?sound=on"):
                nursery.start_soon(view, query)
    sounds = {query: viewer.told[0]["sound"] for query, viewer in seen.items()}
    assert sounds == {"": "sent", "?sound=off": "left_out", "?sound=on": "sent"}
    for query, viewer in seen.items():
        path = viewer.write(tmp_path / "seen.mp4")
        assert is_part(packets(path), known)
        heard = query != "?sound=off"
        assert viewer.binaries[0].count(b"trak") == (2 if heard else 1)
        assert ("mp4a" in viewer.told[0]["mime"]) == heard


async def test_a_camera_that_dies_comes_back_on_the_same_socket(daemon: Daemon) -> None:
    """With the reason in between, and a new header."""
    with trio.fail_after(SECONDS):
        async with watching(daemon, "camera0") as viewer:
            await viewer.until_binaries(2)
            (pid,) = daemon.processes()
            os.kill(pid, signal.SIGKILL)
            ended = await viewer.until_told("ended")
            assert ended["cause"] == "killed"
            assert ended["suggestion"]
            await viewer.until_told("init")
            held = len(viewer.binaries)
            await viewer.until_binaries(held + 2)
            assert viewer.binaries[held][4:8] == b"ftyp"


async def test_who_may_watch(daemon: Daemon) -> None:
    """A key in a header or in the first message; no wrong key, no page of another origin."""
    with trio.fail_after(SECONDS):
        bearer = [("Authorization", f"Bearer {daemon.key}")]
        async with watching(daemon, "camera0", headers=bearer) as viewer:
            assert (await viewer.next())["type"] == "init"
        async with watching(daemon, "camera0", key="camd_" + "w" * 43) as viewer:
            code, reason = await closed_with(viewer)
            assert (code, reason) == (1008, "Authentication failed: unknown key")
            assert (viewer.told, viewer.binaries) == ([], [])
        for origin in ("https://example.org", "null", "http://127.0.0.1.example.org"):
            upgrade = {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
                "Sec-WebSocket-Protocol": "camd.live.1",
                "Origin": origin,
            }
            assert (await daemon.get("/live/camera0", headers=upgrade)).status == 403
    assert daemon.key not in daemon.log
    assert "camd_www" not in daemon.log


def play(daemon: Daemon, path: str, *options: str) -> tuple[list[str], str]:
    """Let FFmpeg read an endless answer; return its lines and its errors."""
    address = daemon.url.replace("ws://", "http://").replace("/ws", path)
    done = subprocess.run(
        [
            *(FFMPEG, "-hide_banner", "-nostdin", "-v", "error"),
            *("-headers", f"Authorization: Bearer {daemon.key}\r\n", *options, "-i", address),
            *("-frames:v", "8", "-c", "copy", "-f", "framehash", "-hash", "md5", "-"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    return lines, done.stderr


async def test_plain_clients_play_the_endless_answers(new_daemon: NewDaemon) -> None:
    """MP4 of both kinds of cameras, and JPEGs of both, an MJPEG camera's own and stills."""
    daemon = new_daemon()
    mjpeg = {"source": "test:?size=160x120&rate=10", "codec": "mjpeg"}
    daemon.configure(cameras=[small_camera(), mjpeg])
    with trio.fail_after(SECONDS):
        await daemon.start()
        for name, kind in (("camera0.mp4", "video/mp4"), ("camera1.mjpeg", "multipart/x-mixed")):
            head = await daemon.get(f"/live/{name}", "HEAD")
            assert (head.status, head.body) == (200, b"")
            assert head.headers["content-type"].startswith(kind)
        assert "state=STARTING" not in daemon.log
        seen: dict[str, Any] = {}
        async with trio.open_nursery() as nursery:
            for name, options in {
                "camera0.mp4": (),
                "camera1.mp4": (),
                "camera1.mjpeg": ("-f", "mpjpeg"),
                "camera0.mjpeg": ("-f", "mpjpeg"),
            }.items():

                async def one(name: str, options: tuple[str, ...]) -> None:
                    seen[name] = await trio.to_thread.run_sync(
                        play, daemon, f"/live/{name}", *options
                    )

                nursery.start_soon(one, name, options)
    assert {name: (len(lines), errors) for name, (lines, errors) in seen.items()} == dict.fromkeys(
        seen, (8, "")
    )


async def test_endless_answers_are_refused_in_words(new_daemon: NewDaemon) -> None:
    """Without a key, of no camera, of a camera that cannot be reached, or without an upgrade."""
    daemon = new_daemon()
    daemon.configure(cameras=[{"source": "rtsp://127.0.0.1:1/x"}])
    with trio.fail_after(SECONDS):
        await daemon.start()
        assert (await daemon.get("/live/camera0.mp4", anonymous=True)).status == 401
        assert (await daemon.get("/live/camera0.mjpeg", anonymous=True)).status == 401
        for path, status, words in (
            ("/live/camera9.mp4", 404, b"Camera not found"),
            ("/live/..%2f..%2fetc%2fpasswd.mp4", 404, b"Camera not found"),
            ("/live/camera0.mp4", 503, b'"cause":"connection_refused"'),
            ("/live/camera0.mjpeg", 503, b'"cause":"connection_refused"'),
            ("/live/camera0", 426, b"WebSocket"),
            ("/live/", 426, b"WebSocket"),
        ):
            answer = await daemon.get(path)
            assert (answer.status, words in answer.body) == (status, True), (path, answer)


@pytest.fixture(scope="module")
def h265_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return five seconds of H.265."""
    path = tmp_path_factory.mktemp("clip") / "h265.mp4"
    subprocess.run(
        [
            *(FFMPEG, "-hide_banner", "-nostdin", "-v", "error", "-f", "lavfi"),
            *("-i", "testsrc2=size=160x120:rate=15", "-t", "5", "-c:v", "libx265", "-g", "15"),
            *("-preset", "ultrafast", "-x265-params", "log-level=error:open-gop=0"),
            *("-tag:v", "hvc1", "-pix_fmt", "yuv420p", str(path)),
        ],
        check=True,
        timeout=300,
    )
    return path


async def test_h265_is_transcoded_once_for_all_who_need_it(
    new_daemon: NewDaemon, h265_clip: Path, tmp_path: Path
) -> None:
    """While somebody watches; of one camera at a time by default; it comes again after a crash."""
    daemon = new_daemon()
    camera = {"source": f"file:{h265_clip}", "codec": "copy"}
    daemon.configure(cameras=[camera, camera])
    with trio.fail_after(SECONDS):
        await daemon.start()
        async with watching(daemon, "camera0") as own:
            init = await own.until_told("init")
            assert init["codec"] == "hvc1"
            assert [each["kind"] for each in init["supported_as"]] == ["transcode", "stills"]
            way = init["supported_as"][0]["path"].removeprefix("/live/")
            async with watching(daemon, way) as one, watching(daemon, way) as other:
                for viewer in (one, other):
                    assert (await viewer.until_told("init"))["codec"] == "avc1"
                    await viewer.until_binaries(10)
                assert len(packets(one.write(tmp_path / "seen.mp4"))) >= 5
                assert len(daemon.processes()) == 2
                transcoder = daemon.newest_process()
                async with watching(daemon, "camera1?as=transcode") as late:
                    assert await closed_with(late) == (1013, "1 cameras are transcoded already")
                os.kill(transcoder, signal.SIGKILL)
                await one.until_told("init")
                await one.until_binaries(len(one.binaries) + 5)
                assert one.told[-1]["codec"] == "avc1"
            while len(daemon.processes()) > 1:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.05)
            await own.until_binaries(len(own.binaries) + 5)
    assert [each["type"] for each in own.told] == ["init"]


async def test_a_transcoder_that_always_fails_is_given_up(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """The viewer is told, and may take another way; the camera itself goes on."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *ultrafast*pipe:1) echo broken >&2; exit 1;; esac\n'
        f'exec {FFMPEG} "$@"\n'
    )
    program.chmod(0o755)
    daemon = new_daemon()
    daemon.configure({"ffmpeg": {"path": str(program)}}, [small_camera()])
    with trio.fail_after(SECONDS):
        await daemon.start()
        async with (
            watching(daemon, "camera0") as own,
            watching(daemon, "camera0?as=transcode") as viewer,
        ):
            assert await closed_with(viewer) == (1013, "not_transcoded")
            assert viewer.told[-1]["cause"] == "not_transcoded"
            await own.until_binaries(len(own.binaries) + 3)
    assert "broken" in daemon.log
