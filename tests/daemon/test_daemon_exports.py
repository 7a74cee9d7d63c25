"""Exports by a running daemon: over HTTP, on the command line, while files grow and vanish."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from running_daemon import FFMPEG, Daemon, NewDaemon, Notifications, fast_camera, listening
from test_daemon_metrics import Samples, samples

from camd.client import (
    ConnectionLostError,
    ExportChangedError,
    FileLeasedError,
    FileNotKnownError,
    RemoteError,
    connect,
)

MEGABYTE = 1024 * 1024
SMALL_BUFFER = 8192  # bytes that the kernel holds for a client that does not read


@attrs.frozen
class Recorded:
    """A session that has ended, in several files."""

    start: datetime
    end: datetime
    files: tuple[str, ...]
    frames: int

    def part(self, begin: float, end: float) -> tuple[datetime, datetime]:
        """Return instants so many seconds after its start and before its end."""
        return self.start + timedelta(seconds=begin), self.end - timedelta(seconds=end)


async def record_files(daemon: Daemon, files: int = 3) -> Recorded:
    """Record until so many files have been sealed."""
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await rotated(notified, files - 1)
        receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
    names = [each["filename"] for each in receipt["files"]]
    assert receipt["gaps"] == []
    return Recorded(
        datetime.fromisoformat(receipt["files"][0]["start_time"]),
        datetime.fromisoformat(receipt["files"][-1]["end_time"]),
        tuple(names),
        receipt["frames_written"],
    )


async def rotated(notified: Notifications, times: int) -> None:
    """Wait until the recording has begun so many further files."""
    await notified.wait(lambda method, params: params.get("status") == "ROTATED", times)


def utc(moment: datetime) -> str:
    """Write an instant for a request."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def address(begin: datetime, end: datetime, rest: str = "") -> str:
    """Return the address of an export of camera0."""
    return f"/export/camera0.mp4?from={utc(begin)}&to={utc(end)}{rest}"


async def decoded_frames(path: Path) -> int:
    """Count the frames that FFmpeg shows; it must not report an error."""
    command = [FFMPEG, "-nostdin", "-v", "error", "-i", str(path), "-map", "0:v"]
    command += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
    with trio.fail_after(300):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    assert done.stderr == b""
    return sum(not line.startswith(b"#") for line in done.stdout.splitlines())


async def test_an_export_over_several_files(daemon: Daemon, tmp_path: Path) -> None:
    """Described and downloaded: the length that was said, exactly these frames, conditional
    requests, and the same bytes when it is taken in two pieces, after a restart too."""
    made = await record_files(daemon)
    begin, end = made.part(0.5, 0.5)
    async with daemon.client() as client:
        found = await client.get_export("camera0", begin, end)
    (part,) = found.parts
    assert (part.size, part.frames, part.lead_in) == (found.size, found.frames, found.lead_in)
    files = tuple(each.file for each in found.sources)  # the last one may be too short for it
    assert files == made.files[: len(files)]
    assert len(files) >= 2
    assert found.gaps == ()
    assert begin <= found.start_time < begin + timedelta(seconds=0.1)
    assert end <= found.end_time < end + timedelta(seconds=0.1)
    page = await daemon.get(part.url)
    assert (page.status, page.headers["content-type"], len(page.body)) == (
        200,
        "video/mp4",
        part.size,
    )
    assert page.headers["etag"] == part.etag
    assert page.headers["content-disposition"].startswith('attachment; filename="camera0_2')
    assert (page.headers["x-export-parts"], page.headers["accept-ranges"]) == ("1", "bytes")
    path = tmp_path / "cut.mp4"
    path.write_bytes(page.body)
    assert await decoded_frames(path) == part.frames
    head = await daemon.get(part.url, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(part.size))
    same = await daemon.get(part.url, headers={"If-None-Match": part.etag})
    assert (same.status, same.body) == (304, b"")
    middle = part.size // 2
    daemon.signal(signal.SIGTERM)
    await daemon.wait_end()
    await daemon.start()
    resumed = await daemon.get(
        part.url, headers={"Range": f"bytes={middle}-", "If-Range": part.etag}
    )
    assert (resumed.status, resumed.body) == (206, page.body[middle:])
    assert resumed.headers["content-range"] == f"bytes {middle}-{part.size - 1}/{part.size}"


async def test_parts_of_an_export_are_sent_as_the_standard_says(daemon: Daemon) -> None:
    """One range, from the end too; several ranges and other versions get everything; a range
    behind the end is 416."""
    made = await record_files(daemon, 2)
    url = address(*made.part(0, 0))
    whole = (await daemon.get(url)).body
    for wanted, status, body in (
        ("bytes=0-0", 206, whole[:1]),
        ("bytes=3-70000", 206, whole[3:70001]),
        ("bytes=-17", 206, whole[-17:]),
        (f"bytes=5-{10**12}", 206, whole[5:]),
        ("bytes=0-1,4-5", 200, whole),
        ("bytes=9-4", 200, whole),
        ("bites=0-1", 200, whole),
        (f"bytes={len(whole)}-", 416, b""),
        ("bytes=-0", 416, b""),
    ):
        found = await daemon.get(url, headers={"Range": wanted})
        assert (found.status, found.body) == (status, body), wanted
        if status == 416:
            assert found.headers["content-range"] == f"bytes */{len(whole)}"
    for version in ('"another"', "Thu, 01 Jan 2026 00:00:00 GMT"):
        other = await daemon.get(url, headers={"Range": "bytes=0-1", "If-Range": version})
        assert (other.status, other.body) == (200, whole)


async def test_what_cannot_be_exported_is_a_typed_error(daemon: Daemon) -> None:
    """Ranges that are backwards, too long, in the future, without footage, and unknown cameras: the
    same refusal by HTTP and by a call, and the service goes on."""
    made = await record_files(daemon, 2)
    day, now = timedelta(days=1), datetime.now(UTC)
    old = datetime(1, 1, 1, tzinfo=UTC)
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for camera, begin, end, code, status in (
        ("camera0", made.end, made.start, -32602, 400),
        ("camera0", made.start, made.start, -32602, 400),
        ("camera0", made.end - day, made.end + timedelta(seconds=1), -32602, 400),
        ("camera0", now - 3650 * day, now, -32602, 400),
        ("camera0", now + day, now + day + timedelta(hours=1), -32602, 400),
        ("camera0", last - day, last, -32602, 400),
        ("camera0", old, old + day, -1005, 404),
        ("camera0", made.start - day, made.start, -1005, 404),
        ("camera1", made.start, made.end, -1005, 404),
        ("camera9", made.start, made.end, -32004, 404),
        ("<img onerror>", made.start, made.end, -32004, 404),
        ("../camera0", made.start, made.end, -32004, 404),
    ):
        params: dict[str, Any] = {"device": camera, "from": utc(begin), "to": utc(end)}
        with pytest.raises(RemoteError) as refused:
            await daemon.call("get_export", **params)
        assert refused.value.code == code, params
        url = address(begin, end).replace("camera0", camera.replace(" ", "%20").replace("<", "%3C"))
        page = await daemon.get(url)
        assert (page.status, json.loads(page.body)["code"]) == (status, code), url
    for rest, status in (("&part=0", 400), ("&part=2", 400), ("&part=x", 400), ("&part=1", 200)):
        assert (await daemon.get(address(made.start, made.end, rest))).status == status
    for path, status in (
        ("/export/camera0.mp4", 400),
        ("/export/camera0.mp4?from=yesterday&to=now", 400),
        (address(made.start, made.end).replace(".mp4", ".mkv"), 422),
        (address(made.start, made.end).replace(".mp4", ""), 404),
    ):
        assert (await daemon.get(path)).status == status, path
    assert (await daemon.get(address(made.start, made.end), anonymous=True)).status == 401
    nothing = json.loads((await daemon.get(address(made.start - day, made.start))).body)["data"]
    assert (nothing["cause"], nothing["nearest_before"]) == ("not_recorded", None)
    assert datetime.fromisoformat(nothing["nearest_after"]) == made.start


async def test_an_export_of_a_running_recording_stays_the_same(daemon: Daemon) -> None:
    """The address that is returned gives the same bytes while the file grows and once it is sealed;
    the end that is not durable yet is listed."""
    async with daemon.client() as client, listening(client) as notified:
        started = await client.call("start_recording", device="camera0")
        await notified.wait(lambda _, params: params.get("frames_written", 0) >= 15)
        begin = datetime.fromisoformat(started["start_time"])
        found = await client.get_export("camera0", begin, begin + timedelta(hours=1))
        assert [gap.cause for gap in found.gaps] == ["not_durable_yet"] or not found.gaps
        before = await daemon.get(found.url)
        assert (before.status, len(before.body)) == (200, found.size)
        await rotated(notified, 1)
        assert (await daemon.get(found.url)).body == before.body
        await client.call("stop_recording", device="camera0")
    after = await daemon.get(found.url)
    assert (after.headers["etag"], after.body) == (before.headers["etag"], before.body)


async def test_the_command_writes_a_file_and_its_receipt(daemon: Daemon, tmp_path: Path) -> None:
    """The receipt's hash is that of the file; nothing is overwritten; what an interrupted download
    has left is continued; errors have their exit codes."""
    made = await record_files(daemon)
    target = tmp_path / "yard.mp4"
    times = ("--from", utc(made.start), "--to", utc(made.end))
    done = await daemon.camd("export", "camera0", str(target), *times, "--json")
    assert done.returncode == 0, done.stderr
    (printed,) = json.loads(done.stdout)
    receipt = json.loads((tmp_path / "yard.mp4.json").read_text())
    assert printed == receipt | {"receipt": str(target) + ".json"}
    data = target.read_bytes()
    assert receipt["sha256"] == hashlib.sha256(data).hexdigest()
    assert (receipt["size"], receipt["frames"], receipt["lead_in"]) == (len(data), made.frames, 0)
    assert [each["file"] for each in receipt["sources"]] == list(made.files)
    assert await decoded_frames(target) == made.frames
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]
    again = await daemon.camd("export", "camera0", str(target), *times)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    assert target.read_bytes() == data
    second = tmp_path / "again.mp4"
    shown = await daemon.camd("export", "camera0", str(second), *times, "--utc")
    assert (shown.returncode, second.read_bytes() == data) == (0, True), shown.stderr
    assert f"{made.frames} frames" in shown.stdout
    assert "100 %" in shown.stderr
    for camera, rest, code, words in (
        ("camera0", ("--from", times[3], "--to", times[1]), 4, "later than from"),
        ("camera0", ("--from", "2020-01-01", "--to", "2020-01-02"), 4, "Nothing was recorded"),
        ("camera9", times, 4, "Camera not found"),
        ("camera0", ("--from", "soon", "--to", "later"), 2, "is no time"),
    ):
        failed = await daemon.camd("export", camera, str(tmp_path / "x.mp4"), *rest)
        assert (failed.returncode, words in failed.stderr) == (code, True), failed.stderr
    nowhere = await daemon.camd("export", "camera0", str(tmp_path / "no" / "x.mp4"), *times)
    assert (nowhere.returncode, "cannot be written" in nowhere.stderr) == (1, True)
    assert not (tmp_path / "x.mp4").exists()


async def test_a_download_that_was_cut_off_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    """A partial file is completed by Range to the same bytes; one of another version is not
    touched; a complete one needs only its name."""
    made = await record_files(daemon)
    async with daemon.client() as client:
        (part,) = (await client.get_export("camera0", made.start, made.end)).parts
        whole = await client.download_export(part, tmp_path / "whole.mp4")
        data = whole.path.read_bytes()
        assert (whole.size, whole.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        for there in (1, len(data) // 2, len(data)):
            target = tmp_path / f"cut{there}.mp4"
            seen: list[int] = []
            left = next_partial(target, part.etag)
            left.write_bytes(data[:there])
            resumed = await client.download_export(part, target, progress=seen.append)
            assert target.read_bytes() == data
            assert (resumed.resumed_at, resumed.sha256) == (there, whole.sha256)
            assert (seen[0], seen[-1], left.exists()) == (there, len(data), False)
        with pytest.raises(FileExistsError):
            await client.download_export(part, whole.path)
        with next_partial(tmp_path / "two.mp4", part.etag).open("wb") as busy:
            fcntl.flock(busy, fcntl.LOCK_EX)
            with pytest.raises(BlockingIOError, match="another download"):
                await client.download_export(part, tmp_path / "two.mp4")
        other = attrs.evolve(part, etag='"another"')
        with pytest.raises(ExportChangedError):
            await client.download_export(other, tmp_path / "other.mp4")
        assert not (tmp_path / "other.mp4").exists()


def next_partial(path: Path, etag: str) -> Path:
    """Return the partial file of a download."""
    return path.with_name(f"{path.name}.{hashlib.sha256(etag.encode()).hexdigest()[:12]}.part")


def make_large_clip(path: Path) -> None:
    """Encode two seconds of noise, a megabyte in a few frames: more than sockets can hold."""
    command = [FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi"]
    command += ["-i", "testsrc2=size=640x480:rate=30,noise=alls=100:allf=t", "-t", "2"]
    subprocess.run([*command, "-c:v", "mjpeg", "-q:v", "2", "-y", str(path)], check=True)


async def test_a_file_that_vanishes_ends_the_transfer(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """A lease keeps retention and deletions off; what another program removes, or replaces by
    something else, ends the download short, and nothing else is sent in its place."""
    clip = tmp_path / "noise.mkv"
    await trio.to_thread.run_sync(make_large_clip, clip)
    daemon = new_daemon()
    daemon.configure(cameras=[fast_camera(clip)])
    await daemon.start()
    made = await record_files(daemon)
    url = address(made.start, made.end)
    whole = await daemon.get(url)
    assert len(whole.body) > 12 * MEGABYTE  # what the kernel may hold of it for the service is 4
    last = daemon.recordings / made.files[-1]
    content = last.read_bytes()
    for harm in ("removed", "replaced"):
        with await trio.to_thread.run_sync(begin_download, daemon, url) as sock:
            with pytest.raises(FileLeasedError):
                await daemon.call("delete_recording", filename=made.files[0])
            await exports_running(daemon, 1)  # the one before may be about to end
            last.unlink()
            if harm == "replaced":
                last.write_bytes(bytes(len(content)))
            received = await trio.to_thread.run_sync(read_rest, sock)
        assert len(received) < len(whole.body)
        assert whole.body.startswith(received)
        last.write_bytes(content)
    await daemon.wait_log("export_ended_early")
    found = await exports_running(daemon, 0)
    assert found["camd_exports_ended_early_total", ()] == 2
    assert found["camd_export_sent_bytes_total", ()] > len(whole.body)
    last.unlink()
    async with daemon.client() as client:
        left = await client.get_export("camera0", made.start, made.end)
    assert [each.file for each in left.sources] == list(made.files[:-1])
    assert [gap.cause for gap in left.gaps] == ["missing"]


async def exports_running(daemon: Daemon, count: int) -> Samples:
    """Wait until so many exports are sent; return the metrics of that moment."""
    while (found := await samples(daemon))["camd_exports_running", ()] != count:  # noqa: ASYNC110
        await trio.sleep(0.05)
    return found


def begin_download(daemon: Daemon, url: str) -> socket.socket:
    """Ask for an export; read no more than its first bytes.

    Without a limit the kernel would take as much of it as `net.ipv4.tcp_rmem` allows.
    """
    host, _, port = daemon.url.removeprefix("ws://").removesuffix("/ws").rpartition(":")
    sock = socket.socket()
    sock.settimeout(300)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)  # before it connects: tcp(7)
    sock.connect((host, int(port)))
    sock.sendall(
        f"GET {url} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {daemon.key}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    assert sock.recv(12) == b"HTTP/1.1 200"
    return sock


def read_rest(sock: socket.socket) -> bytes:
    """Read the body to the end of the connection, without the head of the answer."""
    with sock.makefile("rb") as file:
        data = file.read()
    return data.partition(b"\r\n\r\n")[2]


async def test_the_client_says_that_a_download_ended_early(daemon: Daemon, tmp_path: Path) -> None:
    """The connection ends before the last byte: an error, a partial file, and no whole one."""
    made = await record_files(daemon, 2)
    async with connect(daemon.url, daemon.key) as client:
        (part,) = (await client.get_export("camera0", made.start, made.end)).parts
        longer = attrs.evolve(part, size=part.size + 1)
        with pytest.raises(ConnectionLostError, match="ended after"):
            await client.download_export(longer, tmp_path / "x.mp4")
        assert not (tmp_path / "x.mp4").exists()
        with pytest.raises(FileNotKnownError):
            await client.get_export("camera1", made.start, made.end)
