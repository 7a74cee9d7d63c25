"""Recording: files, rotation, receipts, listings, downloads."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
import trio
from kill_rules import inspect_file
from running_daemon import (
    FRAGMENT_FRAMES,
    Daemon,
    NewDaemon,
    check_receipt,
    frames_in,
    listening,
    packets,
    small_camera,
)

CAMERAS = ("camera0", "camera1")
PROGRAMS = [
    pytest.param(
        shutil.which("ffmpeg"),
        id="system",
        marks=pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no FFmpeg is installed"),
    ),
    pytest.param(imageio_ffmpeg.get_ffmpeg_exe(), id="bundled"),
]


@pytest.mark.parametrize("program", PROGRAMS)
async def test_two_cameras_record_and_all_results_agree(
    new_daemon: NewDaemon, program: str
) -> None:
    """Receipts, listing, details and downloads agree with each other and with the files."""
    daemon = new_daemon()
    found = {"path": program, "encoder": "auto"}
    daemon.configure({"ffmpeg": found}, [small_camera(), small_camera(audio="")])
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            await both(client, "start_recording")
            shown = await client.call("get_camera_list")
            assert (shown["total"], shown["connected"]) == (2, 2)
            for camera in shown["cameras"]:
                assert camera["recording"]
                assert camera["status"] == "CONNECTED"
                assert camera["resolution"] == "160x120"
                assert (daemon.recordings / camera["current_file"]).exists()
            for camera in CAMERAS:
                await notified.recording("ROTATED", 2, camera_id=camera)
            stopped = await both(client, "stop_recording")
            for camera in CAMERAS:
                receipt = stopped[camera]["receipt"]
                assert len(receipt["files"]) >= 3
                assert receipt["gaps"] == []
                assert receipt["frames_captured"] == receipt["frames_written"]
                await check_receipt(daemon, receipt)
                await listing_agrees(client, stopped[camera])
                await download_agrees(daemon, receipt["files"][0])
            shown = await client.call("get_camera_list")
            assert not any(camera["recording"] for camera in shown["cameras"])
        await daemon.stop()
    names = {file["filename"] for answer in stopped.values() for file in answer["receipt"]["files"]}
    assert {path.name for path in daemon.recordings.glob("*.mp4")} == names


async def both(client: Any, method: str) -> dict[str, Any]:
    """Call a method for both cameras at the same time."""
    answers: dict[str, Any] = {}

    async def ask(camera: str) -> None:
        answers[camera] = await client.call(method, device=camera)

    async with trio.open_nursery() as nursery:
        for camera in CAMERAS:
            nursery.start_soon(ask, camera)
    return answers


async def listing_agrees(client: Any, stopped: dict[str, Any]) -> None:
    """Check that the listing and the details agree with the receipt."""
    receipt, session_id = stopped["receipt"], stopped["session_id"]
    page = await client.call("list_recordings", session_id=session_id)
    assert page["total"] == len(receipt["files"])
    for listed, file in zip(page["files"], reversed(receipt["files"]), strict=True):
        info = await client.call("get_recording_info", filename=file["filename"])
        assert info["sha256"] == file["sha256"]
        assert info["codec"] == "h264"
        for found in (listed, info):
            assert found["filename"] == file["filename"]
            assert found["file_size"] == file["size"]
            assert found["frames"] == file["frames"]
            assert found["duration"] == file["duration"]
            assert found["start_time"] == file["start_time"]
            assert found["status"] == "completed"
            assert found["session_id"] == session_id


async def download_agrees(daemon: Daemon, file: dict[str, Any]) -> None:
    """Check that the download is the file, byte for byte."""
    body = (daemon.recordings / file["filename"]).read_bytes()
    whole = await daemon.get(f"/files/recordings/{file['filename']}")
    assert (whole.status, whole.body) == (200, body)


def copying_daemon(new_daemon: NewDaemon, source: Path) -> Daemon:
    """Configure a daemon with one camera that copies a file once, with a new file every 2 s."""
    daemon = new_daemon()
    camera = {"source": f"file:{source}?loop=false&speed=4", "codec": "copy"}
    daemon.configure({"recording": {"rotation": "2s"}}, [camera])
    return daemon


async def test_consecutive_files_hold_the_source_bit_for_bit(
    new_daemon: NewDaemon, clip: tuple[Path, list[str]]
) -> None:
    """The packets of a copied source are in the files, in order, each once."""
    source, known = clip
    daemon = copying_daemon(new_daemon, source)
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED", 3)
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
        await check_receipt(daemon, receipt)
    found = [p for file in receipt["files"] for p in packets(daemon.recordings / file["filename"])]
    assert found == known[: len(found)]
    assert [file["frames"] for file in receipt["files"]][:3] == [60, 60, 60]


async def test_a_source_that_ends_ends_its_session(
    new_daemon: NewDaemon, short_clip: tuple[Path, list[str]]
) -> None:
    """A file without loop is recorded to its last frame; then the session ends."""
    source, known = short_clip
    daemon = copying_daemon(new_daemon, source)
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0")
            stopped = await notified.recording("STOPPED")
            assert stopped["session_id"] == started["session_id"]
            assert stopped["reason"] == "source_ended"
            page = await client.call("list_recordings")
    names = [file["filename"] for file in reversed(page["files"])]
    found = [p for name in names for p in packets(daemon.recordings / name)]
    assert found == known


async def test_a_timed_recording_ends_by_itself(shared_daemon: Daemon) -> None:
    """Its files hold what is reported; notifications come in order, each number once."""
    with trio.fail_after(300):
        async with shared_daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0", duration=2)
            assert started["duration"] == 2
            stopped = await notified.recording("STOPPED")
            assert stopped["reason"] == "duration"
            page = await client.call("list_recordings", session_id=started["session_id"])
            assert await client.call("get_recording_status", device="camera0") is None
    assert sum(file["frames"] for file in page["files"]) == stopped["frames_written"] > 0
    statuses = notified.statuses("camera0")
    assert statuses[0] == "STARTED"
    assert statuses[-1] == "STOPPED"
    assert set(statuses[1:-1]) == {"ROTATED"}
    numbers = [params["seq"] for _, params in notified.items]
    assert numbers == sorted(set(numbers))
    progress = [p for _, p in notified.items if p.get("status") == "PROGRESS"]
    frames = [params["frames_written"] for params in progress]
    assert frames
    assert frames == sorted(frames)


async def test_an_mkv_is_made_of_the_same_packets(shared_daemon: Daemon) -> None:
    """Asked for MKV, the session leaves MKV files that play, and no MP4 beside them."""
    with trio.fail_after(300):
        async with shared_daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0", format="mkv")
            assert started["filename"].endswith(".mkv")
            await notified.recording("ROTATED")
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
    for file in receipt["files"]:
        assert file["filename"].endswith(".mkv")
        made = shared_daemon.recordings / file["filename"]
        assert await frames_in(made) == file["frames"]
        assert not made.with_suffix(".mp4").exists()


async def test_files_are_served_as_http_requires(shared_daemon: Daemon) -> None:
    """Credentials, ranges, HEAD and conditions work; other paths are not found."""
    daemon = shared_daemon
    with trio.fail_after(300):
        async with daemon.client() as client:
            await client.call("start_recording", device="camera0")
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
        name = receipt["files"][0]["filename"]
        body = (daemon.recordings / name).read_bytes()
        path = f"/files/recordings/{name}"

        by_key = await daemon.get(path, headers={"X-API-Key": daemon.key}, anonymous=True)
        assert (by_key.status, by_key.body) == (200, body)
        assert by_key.headers["content-type"] == "video/mp4"
        assert by_key.headers["content-disposition"].startswith("attachment")
        head = await daemon.get(path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(body))

        part = await daemon.get(path, headers={"Range": "bytes=10-109"})
        assert (part.status, part.body) == (206, body[10:110])
        assert part.headers["content-range"] == f"bytes 10-109/{len(body)}"
        tail = await daemon.get(path, headers={"Range": "bytes=-7"})
        assert (tail.status, tail.body) == (206, body[-7:])
        beyond = await daemon.get(path, headers={"Range": f"bytes={len(body)}-"})
        assert beyond.status == 416
        assert beyond.headers["content-range"] == f"bytes */{len(body)}"

        for condition in (
            {"If-None-Match": head.headers["etag"]},
            {"If-Modified-Since": head.headers["last-modified"]},
        ):
            same = await daemon.get(path, headers=condition)
            assert (same.status, same.body) == (304, b"")
        other = await daemon.get(path, headers={"If-None-Match": '"another"'})
        assert (other.status, other.body) == (200, body)

        refused = await daemon.get(path, anonymous=True)
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        wrong = await daemon.get(path, headers={"Authorization": "Bearer nobody"})
        assert wrong.status == 401
        assert body not in wrong.body
        for unknown in (
            "none.mp4",
            "..",
            "../camd.toml",
            "..%2fcamd.toml",
            "%2e%2e%2fcamd.toml",
            "%2e%2e/state/admin.key",
            ".camd/index.sqlite",
            f"{name}/",
            f"{name}%00",
            "%2fetc%2fpasswd",
        ):
            answer = await daemon.get(f"/files/recordings/{unknown}")
            assert answer.status == 404, unknown
            assert daemon.key.encode() not in answer.body


async def test_the_durable_part_of_an_open_file_is_served_and_plays(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """A download during the recording ends at the last sync, and plays."""
    daemon = new_daemon()
    daemon.configure({"recording": {"rotation": "1h"}}, [small_camera()])
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0")
            name = started["filename"]
            for told in itertools.count(1):
                await notified.recording("PROGRESS", told)
                answer = await daemon.get(f"/files/recordings/{name}")
                if inspect_file(answer.body).frames >= FRAGMENT_FRAMES:
                    break
            before = (daemon.recordings / name).read_bytes()
            await client.call("stop_recording", device="camera0")
    assert answer.status == 200
    assert 0 < len(answer.body) <= len(before)
    part = tmp_path / "part.mp4"
    # Sealing changes the first bytes; the download has the earlier ones.
    assert answer.body == before[: len(answer.body)]
    part.write_bytes(answer.body)
    assert await frames_in(part) >= FRAGMENT_FRAMES


async def test_the_health_pages_need_no_credentials(shared_daemon: Daemon) -> None:
    """Monitoring sees without credentials that the service is live, ready and healthy."""
    with trio.fail_after(300):
        for page, word in (("live", b"alive"), ("ready", b"ready"), ("system", b"healthy")):
            answer = await shared_daemon.get(f"/health/{page}", anonymous=True)
            assert answer.status == 200
            assert word in answer.body
