"""Those who watch and those who try to, over real sockets: bounds, removed cameras, wrong keys."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from live_viewer import closed_with, watching
from running_daemon import Daemon, NewDaemon, check_receipt, listening, small_camera
from test_daemon_metrics import samples

from camd.client import RemoteError
from camd.devices.binding_store import KNOWN_FILE, save_known
from camd.devices.matching.identity import DeviceIdentity, RememberedCamera
from camd.live.viewer_counts import MAX_VIEWERS_OF_CAMERA
from camd.model import CameraId

SECONDS = 300  # a machine may be busy
YARD, BARN = (("camera", "yard"),), (("camera", "barn"),)
WRONG = "camd_" + "w" * 43


def utc(moment: datetime) -> str:
    """Write a time for an address or a call."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


async def started(new_daemon: NewDaemon, *names: str) -> Daemon:
    """Run a daemon with small cameras of these names."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(id=name) for name in names])
    await daemon.start()
    return daemon


def open_stream(daemon: Daemon, name: str) -> tuple[socket.socket, bytes]:
    """Ask for an endless answer; return its socket and the beginning. Blocks."""
    where = urlsplit(daemon.url)
    sock = socket.create_connection((where.hostname, where.port), timeout=300)
    sock.sendall(
        f"GET /live/{name} HTTP/1.1\r\nHost: {where.netloc}\r\n"
        f"Authorization: Bearer {daemon.key}\r\nConnection: close\r\n\r\n".encode()
    )
    return sock, sock.recv(4096)


async def read_on(stream: trio.SocketStream) -> None:
    """Read what a viewer gets until it is closed: the service ends one that does not read."""
    with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
        while await stream.receive_some(65536):
            pass


async def test_the_65th_viewer_of_a_camera_is_refused(new_daemon: NewDaemon) -> None:
    """In words, over WebSocket and HTTP; the metrics tell how many watch and were refused; who
    leaves makes room, and the recording has every frame."""
    with trio.fail_after(SECONDS):
        daemon = await started(new_daemon, "yard", "barn")
        async with daemon.client() as client, listening(client) as notified:
            await client.call("start_recording", device="yard")
            async with trio.open_nursery() as nursery:
                streams = []
                for _ in range(MAX_VIEWERS_OF_CAMERA):
                    sock, head = await trio.to_thread.run_sync(open_stream, daemon, "yard.mp4")
                    assert head.startswith(b"HTTP/1.1 200")
                    streams.append(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
                    nursery.start_soon(read_on, streams[-1])
                async with watching(daemon, "yard") as late:
                    assert await closed_with(late) == (
                        1013,
                        "the camera has 64 viewers already",
                    )
                    assert late.told[-1]["cause"] == "rate_limited"
                    assert late.told[-1]["suggestion"]
                refused = await daemon.get("/live/yard.mjpeg")
                assert (refused.status, refused.headers["retry-after"]) == (429, "1")
                async with watching(daemon, "barn") as other:
                    await other.until_binaries(2)
                    found = await samples(daemon)
                assert (found["camd_viewers", YARD], found["camd_viewers", BARN]) == (64, 1)
                assert found["camd_viewers_refused_total", YARD] == 2
                assert found["camd_viewer_sent_bytes_total", YARD] > 64 * 500
                assert found["camd_viewer_sent_bytes_total", BARN] > 500
                await streams[0].aclose()
                await until_viewers(daemon, 63)
                async with watching(daemon, "yard") as again:
                    await again.until_binaries(2)
                for stream in streams:
                    await stream.aclose()
            await until_viewers(daemon, 0)
            await notified.recording("ROTATED", 1)
            receipt = (await client.call("stop_recording", device="yard"))["receipt"]
        assert receipt["gaps"] == []
        await check_receipt(daemon, receipt)


async def until_viewers(daemon: Daemon, count: int) -> None:
    """Wait until so many watch the yard, as the metrics say."""
    while (await samples(daemon))["camd_viewers", YARD] != count:  # noqa: ASYNC110
        await trio.sleep(0.05)


async def test_a_camera_that_is_forgotten_ends_its_viewers(new_daemon: NewDaemon) -> None:
    """First they are told that it is not plugged in; then that it was removed, and their sockets
    are closed in order. The viewer of another camera gets its pictures all the while."""
    daemon = new_daemon()
    daemon.configure({"discovery": {"v4l2": True}}, [small_camera(id="barn")])
    entrance = RememberedCamera(CameraId("entrance"), DeviceIdentity("Cam", bus_info="usb-none-1"))
    save_known(daemon.folder / "state" / KNOWN_FILE, (entrance,))
    with trio.fail_after(SECONDS):
        await daemon.start()
        async with watching(daemon, "entrance") as viewer, watching(daemon, "barn") as other:
            told = await viewer.until_told("ended")
            assert told["cause"] not in ("camera_removed", "ended")
            assert told["suggestion"]
            await other.until_binaries(2)
            await daemon.call("forget_camera", device="entrance")
            assert await closed_with(viewer) == (1000, "camera_removed")
            assert viewer.told[-1]["cause"] == "camera_removed"
            await other.until_binaries(len(other.binaries) + 3)
            async with watching(daemon, "entrance") as late:
                assert (await closed_with(late))[0] == 1008
                assert late.told[-1]["cause"] == "camera_unknown"
        found = await samples(daemon)
    assert ("camd_viewers", (("camera", "entrance"),)) not in found
    assert "Traceback" not in daemon.log


async def test_a_camera_that_left_the_configuration_ends_its_viewers(
    new_daemon: NewDaemon,
) -> None:
    """A restart closes every viewer's socket and ends every body; then there is no such camera,
    and another one is watched as before."""
    with trio.fail_after(SECONDS):
        daemon = await started(new_daemon, "yard", "barn")
        async with watching(daemon, "yard") as viewer:
            await viewer.until_binaries(2)
            sock, head = await trio.to_thread.run_sync(open_stream, daemon, "yard.mp4")
            assert head.startswith(b"HTTP/1.1 200")
            daemon.configure(cameras=[small_camera(id="barn")])
            daemon.signal(signal.SIGTERM)
            assert (await closed_with(viewer))[0] == 1001  # going away (RFC 6455, 7.4.1)
            with sock, sock.makefile("rb") as rest:
                await trio.to_thread.run_sync(rest.read)
        assert await daemon.wait_end() == 0
        await daemon.start()
        async with watching(daemon, "yard") as late, watching(daemon, "barn") as other:
            assert (await closed_with(late))[0] == 1008
            assert late.told[-1]["cause"] == "camera_unknown"
            await other.until_binaries(2)
        assert (await daemon.get("/live/yard.mp4")).status == 404


async def test_a_hundred_wrong_keys_sign_nobody_in(new_daemon: NewDaemon) -> None:
    """Five are answered, then the address waits, also with the right key; who is connected is not
    disturbed, a link works all the same, and no key is in the log."""
    with trio.fail_after(SECONDS):
        daemon = await started(new_daemon, "yard")
        async with watching(daemon, "yard") as viewer, daemon.client() as client:
            await viewer.until_binaries(2)
            statuses, last = await trio.to_thread.run_sync(sign_in_wrongly, daemon, 100)
            assert statuses == Counter({401: 5, 429: 95})
            assert 1 <= int(last["retry-after"]) <= 60
            right = await trio.to_thread.run_sync(sign_in, daemon, {"auth_token": daemon.key})
            assert right.status == 429
            assert await client.call("ping") == "pong"
            await viewer.until_binaries(len(viewer.binaries) + 2)
            code = (await client.call("create_sign_in_code"))["code"]
            linked = await trio.to_thread.run_sync(sign_in, daemon, {"code": code})
            assert linked.status == 200
    assert WRONG not in daemon.log
    assert daemon.key not in daemon.log
    assert daemon.log.count("\n") < 100


def sign_in_wrongly(daemon: Daemon, times: int) -> tuple[Counter[int], Any]:
    """Try to sign in; count the answers' statuses; return the headers of the last one. Blocks."""
    found: Counter[int] = Counter()
    connection = http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=300)
    for number in range(times):
        answer = sign_in(daemon, {"auth_token": f"{WRONG}{number}"}, connection)
        found[answer.status] += 1
    connection.close()
    return found, answer.headers


def sign_in(
    daemon: Daemon, body: dict[str, str], connection: http.client.HTTPConnection | None = None
) -> http.client.HTTPResponse:
    """Sign in as the page does. Blocks."""
    origin = f"http://{urlsplit(daemon.url).netloc}"
    used = connection or http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=300)
    used.request("POST", "/session", json.dumps(body), {"Origin": origin})
    answer = used.getresponse()
    answer.read()
    if connection is None:
        used.close()
    return answer


async def test_a_foreign_page_opens_no_socket_of_ours(daemon: Daemon) -> None:
    """Not with the cookie that the browser sends along, and not with a key; nor a page without an
    origin. Our own page may."""
    link = (await daemon.call("create_sign_in_code"))["code"]
    signed_in = await trio.to_thread.run_sync(sign_in, daemon, {"code": link})
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    own = f"http://{urlsplit(daemon.url).netloc}"
    for path in ("/ws", "/live/camera0"):
        for origin, credentials, status in (
            ("https://example.org", {"Cookie": cookie}, 403),
            ("https://example.org", {"Authorization": f"Bearer {daemon.key}"}, 403),
            ("null", {"Cookie": cookie}, 403),
            (own.replace("127.0.0.1", "127.0.0.1.example.org"), {"Cookie": cookie}, 403),
            (own, {"Cookie": cookie}, 101),
        ):
            sent = {"Origin": origin, **credentials}
            found = await trio.to_thread.run_sync(upgrade_status, daemon, path, sent)
            assert found == status, (path, sent)


def upgrade_status(daemon: Daemon, path: str, headers: dict[str, str]) -> int:
    """Ask for a WebSocket; return the status of the answer. Blocks."""
    where = urlsplit(daemon.url)
    upgrade = {
        "Host": where.netloc,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        **headers,
    }
    if path.startswith("/live/"):
        upgrade["Sec-WebSocket-Protocol"] = "camd.live.1"
    lines = "".join(f"{name}: {value}\r\n" for name, value in upgrade.items())
    with socket.create_connection((where.hostname, where.port), timeout=300) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        return int(sock.recv(12).split()[1])


async def test_ranges_that_make_no_sense_are_answered_in_words(daemon: Daemon) -> None:
    """Of ten years, backwards, and in the future: a bounded answer or a typed refusal, from the
    time line, the pieces, the strip and the still."""
    with trio.fail_after(SECONDS):
        async with daemon.client() as client, listening(client) as notified:
            await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED", 1)
            await client.call("stop_recording", device="camera0")
            now, year = datetime.now(UTC), timedelta(days=365)
            long = {"camera": "camera0", "from": utc(now - 10 * year), "to": utc(now)}
            future = {"camera": "camera0", "from": utc(now + year), "to": utc(now + 2 * year)}
            found = await client.call("get_timeline", **long)
            assert 1 <= len(found["spans"]) <= 2000
            ahead = await client.call("get_timeline", **future)
            assert (ahead["spans"], ahead["gaps"], ahead["after"]) == ([], [], None)
            with pytest.raises(RemoteError, match="later than from"):
                await client.call("get_timeline", **long | {"from": long["to"], "to": long["from"]})
        for kind in ("index.json", "index.m3u8", "strip.jpg"):
            for begin, end, statuses in (
                (now - 10 * year, now, (400,)),
                (now, now - 10 * year, (400,)),
                (now + year, now + year + timedelta(hours=1), (200, 404)),
            ):
                query = f"from={utc(begin)}&to={utc(end)}"
                answer = await daemon.get(f"/play/camera0/{kind}?{query}")
                assert answer.status in statuses, (kind, query, answer.body)
                if answer.status != 200:
                    refused = json.loads(answer.body)
                    assert refused["code"] in (-32602, -1005)
                    assert refused["error"]
        for at in (now + year, now - 10 * year):
            answer = await daemon.get(f"/still/camera0.jpg?at={utc(at)}")
            assert (answer.status, json.loads(answer.body)["code"]) in ((404, -1005), (400, -32602))
