"""Snapshots by a running daemon: its methods, its pages, its command line, across restarts."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
from running_daemon import Daemon, NewDaemon, small_camera
from websockets.sync.client import connect

from camd.client import RemoteError
from camd.snapshots.rules.pictures import picture_end, picture_size, read_note

TAKEN = {
    *("device", "camera_id", "filename", "status", "timestamp", "file_size", "size_bytes"),
    *("file_path", "frame_age_ms", "width", "height", "success"),
}


def content(path: Path) -> bytes:
    """Return what a file holds; nothing when it is not there."""
    return path.read_bytes() if path.exists() else b""


async def refusal_of(daemon: Daemon, method: str, **params: object) -> RemoteError:
    """Return the error that a call ends with."""
    with pytest.raises(RemoteError) as refused:
        await daemon.call(method, **params)
    return refused.value


async def test_a_conversation_about_snapshots(daemon: Daemon) -> None:
    """Taken, listed, described, downloaded, deleted: all fields that clients know, and one file."""
    taken = await daemon.call("take_snapshot", device="camera0")
    assert taken.keys() >= TAKEN
    assert (taken["status"], taken["success"], taken["camera_id"]) == ("completed", True, "camera0")
    assert (taken["width"], taken["height"]) == (160, 120)
    path = Path(taken["file_path"])
    data = content(path)
    assert taken["file_size"] == taken["size_bytes"] == len(data)
    assert (picture_size(data), picture_end(data)) == ((160, 120), len(data))
    note = read_note(data)
    assert note is not None
    assert note.time == datetime.fromisoformat(taken["timestamp"])

    second = await daemon.call("take_snapshot", camera_id="camera1", format="png", filename="b")
    assert second["filename"] == "b.png"
    listed = await daemon.call("list_snapshots")
    assert [each["filename"] for each in listed["files"]] == ["b.png", taken["filename"]]
    assert (listed["total"], listed["limit"], listed["offset"]) == (2, 100, 0)
    one = await daemon.call("list_snapshots", camera="camera0", limit=1)
    assert [each["filename"] for each in one["files"]] == [taken["filename"]]
    info = await daemon.call("get_snapshot_info", filename=taken["filename"])
    assert info == one["files"][0]
    assert info.keys() >= {
        *("filename", "file_size", "resolution", "created_time", "modified_time", "download_url"),
    }
    assert (await daemon.call("get_storage_info"))["snapshots_size"] == sum(
        each["file_size"] for each in listed["files"]
    )

    page = await daemon.get(info["download_url"])
    assert (page.status, page.body) == (200, data)
    assert page.headers["content-type"] == "image/jpeg"
    part = await daemon.get(info["download_url"], headers={"Range": "bytes=2-9"})
    assert (part.status, part.body) == (206, data[2:10])
    same = await daemon.get(info["download_url"], headers={"If-None-Match": page.headers["etag"]})
    assert same.status == 304

    deleted = await daemon.call("delete_snapshot", filename=taken["filename"])
    assert (deleted["filename"], deleted["deleted"]) == (taken["filename"], True)
    assert content(path) == b""
    assert (await daemon.get(info["download_url"])).status == 404
    assert (await refusal_of(daemon, "get_snapshot_info", filename=path.name)).code == -1005


async def test_bad_input_is_a_typed_error(daemon: Daemon) -> None:
    """Every wrong value is named, nothing is written, and the service goes on."""
    wrong = [
        ({"device": "camera9"}, -32004, None),
        ({"device": "/dev/video77"}, -32004, None),
        ({}, -32602, "device"),
        ({"device": "camera0", "filename": "../../x.jpg"}, -32602, "filename"),
        ({"device": "camera0", "filename": ".."}, -32602, "filename"),
        ({"device": "camera0", "filename": "x.sh"}, -32602, "filename"),
        ({"device": "camera0", "filename": 5}, -32602, "filename"),
        ({"device": "camera0", "quality": 0}, -32602, "quality"),
        ({"device": "camera0", "quality": 101}, -32602, "quality"),
        ({"device": "camera0", "quality": "85"}, -32602, "quality"),
        ({"device": "camera0", "max_age_ms": -1}, -32602, "max_age_ms"),
        ({"device": "camera0", "width": 0}, -32602, "width"),
        ({"device": "camera0", "format": "gif"}, -32008, None),
        ({"device": "camera0", "at": "yesterday"}, -32602, "at"),
        ({"device": "camera0", "at": "2199-01-01T00:00:00Z"}, -32602, "at"),
        ({"device": "camera0", "at": "2020-01-01T00:00:00Z"}, -1005, None),
        ({"device": "camera0", "at": "0001-01-01T00:00:00Z"}, -1005, None),
    ]
    for params, code, path in wrong:
        error = await refusal_of(daemon, "take_snapshot", **params)  # type: ignore[arg-type]
        assert error.code == code, params
        assert {"retryable", "suggestion"} <= error.data.keys()
        if path is not None:
            assert [each["path"] for each in error.data["errors"]] == [path]
    for name in ("../state/admin.key", "/etc/passwd", "..%2fstate", "", "x\0.jpg"):
        for method in ("get_snapshot_info", "delete_snapshot"):
            assert (await refusal_of(daemon, method, filename=name)).code == -32602
        assert (await daemon.get("/files/snapshots/" + quote(name))).status == 404
    assert not (daemon.folder / "snapshots").exists() or not list(
        (daemon.folder / "snapshots").iterdir()
    )
    assert await daemon.call("ping") == "pong"


async def test_a_still_is_a_picture_that_is_not_stored(daemon: Daemon) -> None:
    """With its time and age; conditional; wrong addresses are answered in JSON; HEAD works."""
    asked = datetime.now(UTC)
    still = await daemon.get("/still/camera0.jpg?max_age_ms=1000&width=80&quality=50")
    assert (still.status, still.headers["content-type"]) == (200, "image/jpeg")
    assert picture_size(still.body) == (80, 60)
    taken = datetime.fromisoformat(still.headers["x-frame-time"])
    told = taken + timedelta(milliseconds=int(still.headers["x-frame-age-ms"]) + 1)
    assert asked - timedelta(seconds=1, milliseconds=1) <= taken < told
    assert asked <= told
    assert "private" in still.headers["cache-control"]
    png = await daemon.get("/still/camera0.png")
    assert (png.body[:4], png.headers["content-type"]) == (b"\x89PNG", "image/png")
    head = await daemon.get("/still/camera0.jpg", "HEAD")
    assert (head.status, head.body) == (200, b"")
    for path, status, code in (
        ("/still/camera9.jpg", 404, -32004),
        ("/still/camera0", 404, -32004),
        ("/still/camera0.gif", 422, -32008),
        ("/still/camera0.jpg?quality=0", 400, -32602),
        ("/still/camera0.jpg?quality=ten", 400, -32602),
        ("/still/camera0.jpg?width=99999999999999999999", 400, -32602),
        ("/still/camera0.jpg?at=2020-01-01T00:00:00Z", 404, -1005),
        ("/still/..%2f..%2fetc%2fpasswd.jpg", 404, -32004),
    ):
        refused = await daemon.get(path)
        assert (refused.status, json.loads(refused.body)["code"]) == (status, code), path
    assert (await daemon.get("/still/camera0.jpg", anonymous=True)).status == 401
    assert (await daemon.get("/files/snapshots/x.jpg", anonymous=True)).status == 401
    assert not (daemon.folder / "snapshots").exists()


async def test_roles_of_snapshots(daemon: Daemon) -> None:
    """A viewer sees and lists; taking and deleting is for operators."""
    await daemon.call("take_snapshot", device="camera0", filename="a.jpg")
    viewer = (await daemon.camd("token", "eve", "--for", "1h")).stdout.strip()
    async with daemon.client(viewer) as client:
        assert (await client.call("list_snapshots"))["total"] == 1
        for method, params in (
            ("take_snapshot", {"device": "camera0"}),
            ("delete_snapshot", {"filename": "a.jpg"}),
        ):
            with pytest.raises(RemoteError) as refused:
                await client.call(method, **params)
            assert refused.value.code == -32003
    authorised = {"Authorization": f"Bearer {viewer}"}
    assert (await daemon.get("/still/camera0.jpg", headers=authorised)).status == 200


def test_a_ping_behind_a_snapshot_answers_at_once(new_daemon: NewDaemon) -> None:
    """A snapshot that has to start its camera blocks no other call of its connection, and nothing
    about the camera comes before its answer: simple clients take the first message for it."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    trio.run(daemon.start)
    with connect(daemon.url) as socket:
        calls = [("authenticate", {"auth_token": daemon.key})]
        calls += [("take_snapshot", {"device": "camera0"}), ("ping", {})]
        for number, (method, params) in enumerate(calls):
            socket.send(
                json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            )
        ids = []
        while len(ids) < len(calls):
            answer = json.loads(socket.recv(timeout=300))
            if "id" in answer:
                assert "error" not in answer
                ids.append(answer["id"])
            elif 1 in ids or not ids:
                continue
            else:
                assert answer["params"].get("camera_id") != "camera0"
        while json.loads(socket.recv(timeout=300))["params"].get("camera_id") != "camera0":
            pass  # it comes, perhaps behind what is told of the disk
    assert ids == [0, 2, 1]


async def test_snapshots_survive_a_kill(daemon: Daemon) -> None:
    """What was answered is there after SIGKILL, half pictures are not, and the index is made anew
    from the folder when it is lost."""
    names = [(await daemon.call("take_snapshot", device="camera0"))["filename"] for _ in range(3)]
    daemon.signal(signal.SIGKILL)
    await daemon.wait_end()
    folder = daemon.folder / "snapshots"
    (folder / ".0123456789abcdef.part").write_bytes(b"\xff\xd8half")
    for path in (daemon.recordings / ".camd").glob("index*"):
        path.unlink()
    await daemon.start()
    listed = await daemon.call("list_snapshots")
    assert {each["filename"] for each in listed["files"]} == set(names)
    assert {each["camera_id"] for each in listed["files"]} == {"camera0"}
    assert sorted(os.listdir(folder)) == sorted(names)


async def test_limits_of_the_configuration(new_daemon: NewDaemon) -> None:
    """The folder never holds more snapshots than configured."""
    daemon = new_daemon()
    daemon.configure({"snapshots": {"max_count": 2}}, cameras=[small_camera()])
    await daemon.start()
    names = [(await daemon.call("take_snapshot", device="camera0"))["filename"] for _ in range(5)]
    kept = os.listdir(daemon.folder / "snapshots")
    assert len(kept) == 2
    assert names[-1] in kept


async def test_the_command_line_takes_pictures(daemon: Daemon, tmp_path: Path) -> None:
    """Into the service's folder, or into a file here; listed beside recordings; exit codes."""
    stored = await daemon.camd("snapshot", "camera0", "--name", "front", "--json")
    assert stored.returncode == 0, stored.stderr
    assert json.loads(stored.stdout)["filename"] == "front.jpg"
    listed = await daemon.camd("ls", "--snapshots")
    assert "front.jpg" in listed.stdout
    assert "160x120" in listed.stdout
    target = tmp_path / "here.png"
    written = await daemon.camd("snapshot", "camera0", "-o", str(target), "--width", "80")
    assert written.returncode == 0, written.stderr
    assert str(target) in written.stdout
    assert picture_size(target.read_bytes()) == (80, 60)
    assert (await daemon.call("list_snapshots"))["total"] == 1
    young = await daemon.camd("snapshot", "camera0", "--max-age", "2s")
    assert (young.returncode, "160x120" in young.stdout) == (0, True)
    unknown = await daemon.camd("snapshot", "camera9", "-o", str(tmp_path / "x.jpg"))
    assert (unknown.returncode, "Camera not found" in unknown.stderr) == (4, True)
    assert not (tmp_path / "x.jpg").exists()
    taken = await daemon.camd("snapshot", "camera0", "--name", "front")
    assert (taken.returncode, "exists already" in taken.stderr) == (4, True)
    assert (await daemon.camd("snapshot", "camera0", "--quality", "0")).returncode == 2
    past = await daemon.camd("snapshot", "camera0", "--at", "2020-01-01T00:00:00Z")
    assert (past.returncode, "no picture of that instant" in past.stderr) == (4, True)
    anonymous = await daemon.camd("snapshot", "camera0", "-o", "-", CAMD_TOKEN="x" * 40)
    assert anonymous.returncode == 5
