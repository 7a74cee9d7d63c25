"""Playback from a real daemon: time lines, pieces, playlists and strips of what was recorded."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from running_daemon import (
    FFMPEG,
    Daemon,
    NewDaemon,
    fast_camera,
    listening,
    packets,
    small_camera,
)
from stored_footage import FootageFolder

from camd.client import RemoteError
from camd.snapshots.rules.pictures import picture_end, picture_size

Clip = tuple[Path, list[str]]


def written(moment: datetime) -> str:
    """Write a time for the query of an address."""
    return quote(moment.isoformat())


def moment(text: str) -> datetime:
    """Read a time of an answer."""
    return datetime.fromisoformat(text)


async def record(daemon: Daemon, files: int) -> Any:
    """Record until so many files were begun; return the answer to the stop."""
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        if files > 1:
            await notified.recording("ROTATED", files - 1)
        return await client.call("stop_recording", device="camera0")


async def played(daemon: Daemon, clip: Path, files: int = 3) -> dict[str, Any]:
    """Start a daemon with a camera that copies a clip, and record so many files."""
    daemon.configure({"recording": {"rotation": "1s"}}, cameras=[fast_camera(clip)])
    await daemon.start()
    stopped: dict[str, Any] = await record(daemon, files)
    return stopped


def in_order(*stopped: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files of recordings by their starts: those of a fast camera overlap."""
    files = [file for each in stopped for file in each["receipt"]["files"]]
    return sorted(files, key=lambda file: (moment(file["start_time"]), file["filename"]))


def around(stopped: dict[str, Any], seconds: float = 1.0) -> str:
    """Return the query of a range that holds a recording."""
    margin = timedelta(seconds=seconds)
    since, until = moment(stopped["start_time"]), moment(stopped["end_time"])
    return f"from={written(since - margin)}&to={written(until + margin)}"


async def index_of(daemon: Daemon, query: str) -> Any:
    """Get the index of a range."""
    answer = await daemon.get(f"/play/camera0/index.json?{query}")
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def test_pieces_are_the_bytes_of_the_files(new_daemon: NewDaemon, short_clip: Clip) -> None:
    """Init and pieces of a file, joined, have every packet of it; they say that they never change,
    and what lies outside is refused."""
    daemon = new_daemon()
    stopped = await played(daemon, short_clip[0])
    index = await index_of(daemon, around(stopped))
    assert [file["filename"] for file in index["files"]] == [
        file["filename"] for file in in_order(stopped)
    ]
    for file, sealed in zip(index["files"], in_order(stopped), strict=True):
        name, pieces = file["filename"], file["pieces"]
        assert file["duration"] == pytest.approx(sealed["duration"], abs=1e-5)
        assert moment(file["start"]) == moment(sealed["start_time"])
        assert file["mime"].startswith('video/mp4; codecs="avc1.')
        assert (file["width"], file["height"], file["growing"]) == (160, 120, False)
        init = await daemon.get(f"/play/init/{name}")
        whole, data = init.body, (daemon.recordings / name).read_bytes()
        for piece in pieces:
            path = f"/play/{name}/{piece['begin']}-{piece['end']}.m4s"
            answer = await daemon.get(path)
            assert answer.status == 200
            assert answer.body == data[piece["begin"] : piece["end"]]
            assert "immutable" in answer.headers["cache-control"]
            whole += answer.body
        head = await daemon.get(path, "HEAD")
        assert (head.body, int(head.headers["content-length"])) == (b"", len(answer.body))
        same = await daemon.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert same.status == 304
        joined = daemon.folder / f"joined-{name}"
        joined.write_bytes(whole)
        assert packets(joined) == packets(daemon.recordings / name)
        begin, end = pieces[0]["begin"], pieces[-1]["end"]
        for wrong in (f"{begin - 1}-{end}", f"{begin}-{end + 1}", f"{end}-{begin}", "0-48"):
            assert (await daemon.get(f"/play/{name}/{wrong}.m4s")).status == 416
        for wrong in ("0x10-0x20", "1-2-3", "-1-5", "9" * 30 + "-" + "9" * 31, "1 - 2"):
            assert (await daemon.get(f"/play/{name}/{quote(wrong)}.m4s")).status == 404
    assert (await daemon.get(path, anonymous=True)).status == 401
    for strange in ("/play/init/nothing.mp4", "/play/nothing.mp4/0-9.m4s", "/play/init/..%2fx"):
        assert (await daemon.get(strange)).status in (400, 404)


async def test_ffmpeg_plays_the_playlist(new_daemon: NewDaemon, short_clip: Clip) -> None:
    """Over files and a gap: every packet of the files, in order."""
    daemon = new_daemon()
    first = await played(daemon, short_clip[0], 2)
    second = await record(daemon, 2)
    query = around({"start_time": first["start_time"], "end_time": second["end_time"]})
    answer = await daemon.get(f"/play/camera0/index.m3u8?{query}")
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("application/vnd.apple.mpegurl")
    files = [file["filename"] for file in in_order(first, second)]
    assert re.findall(r'#EXT-X-MAP:URI="../init/(.*)"', text) == files
    assert text.count("#EXT-X-DISCONTINUITY") == len(files) - 1
    assert text.count("#EXT-X-PROGRAM-DATE-TIME:") == text.count("#EXTINF:") >= len(files)
    assert text.endswith("#EXT-X-ENDLIST\n")
    longest = max(float(each) for each in re.findall(r"#EXTINF:([\d.]+)", text))
    (target,) = re.findall(r"#EXT-X-TARGETDURATION:(\d+)", text)
    assert longest <= int(target)
    expected = [each for name in files for each in packets(daemon.recordings / name)]
    assert await hls_packets(daemon, query) == expected


async def hls_packets(daemon: Daemon, query: str, into: Path | None = None) -> list[str]:
    """Play a playlist with FFmpeg to its end; return the hash of each packet.

    `into`: a file that has them as soon as they are read.
    """
    host = daemon.url.replace("ws://", "http://").removesuffix("/ws")
    command = [
        *(FFMPEG, "-hide_banner", "-nostdin", "-v", "error"),
        *("-headers", f"Authorization: Bearer {daemon.key}\r\n"),
        *("-i", f"{host}/play/camera0/index.m3u8?{query}", "-map", "0:v:0", "-c", "copy"),
        *("-flush_packets", "1", "-f", "framehash", "-hash", "md5", str(into or "pipe:1")),
    ]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr
    return hashes_in(done.stdout.decode()) if into is None else hashes_of(into)


def hashes_of(path: Path) -> list[str]:
    """Return the hashes of FFmpeg's framehash that are in a file, if there is one."""
    return hashes_in(path.read_text()) if path.exists() else []


def hashes_in(text: str) -> list[str]:
    """Return the hashes of FFmpeg's framehash."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [line.rpartition(",")[2].strip() for line in lines]


async def test_ffmpeg_follows_a_recording_to_its_end(new_daemon: NewDaemon) -> None:
    """Over files, and while the camera is away for a while: the playlist has no end before the
    recording has, and the player gets every packet of it."""
    daemon = new_daemon()
    daemon.configure({"recording": {"rotation": "2s"}}, cameras=[small_camera()])
    await daemon.start()
    seen: list[list[str]] = []
    async with daemon.client() as client, listening(client) as notified:
        started = await client.call("start_recording", device="camera0")
        since = moment(started["start_time"])
        query = f"from={written(since)}&to={written(since + timedelta(hours=1))}"

        async def follow() -> None:
            seen.append(await hls_packets(daemon, query))

        async def ends() -> bool:
            answer = await daemon.get(f"/play/camera0/index.m3u8?{query}")
            index = await index_of(daemon, query)
            ended = b"#EXT-X-ENDLIST" in answer.body
            assert index["complete"] == ended
            return ended

        def is_away(method: str, params: dict[str, Any]) -> bool:
            return method == "camera_status_update" and params["state"] == "RESTING"

        await notified.recording("ROTATED")
        (capture,) = daemon.processes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            assert not await ends()
            os.kill(capture, signal.SIGKILL)
            await notified.wait(is_away)
            assert not await ends()  # no file grows meanwhile
            await notified.recording("ROTATED", 3)
            assert not await ends()
            stopped = await client.call("stop_recording", device="camera0")
            assert await ends()
    names = [file["filename"] for file in stopped["receipt"]["files"]]
    assert len(names) >= 4
    assert seen == [[each for name in names for each in packets(daemon.recordings / name)]]
    past = f"from={written(since)}&to={written(moment(stopped['end_time']))}"
    assert (await index_of(daemon, past))["complete"]


async def test_ffmpeg_follows_a_recording_whose_first_files_are_removed(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """It misses nothing: pieces keep their numbers."""
    daemon = new_daemon()
    daemon.configure({"recording": {"rotation": "2s"}}, cameras=[small_camera()])
    await daemon.start()
    path = tmp_path / "seen.txt"
    async with daemon.client() as client, listening(client) as notified:
        started = await client.call("start_recording", device="camera0")
        since = moment(started["start_time"])
        query = f"from={written(since)}&to={written(since + timedelta(hours=1))}"

        async def follow() -> None:
            await hls_packets(daemon, query, path)

        await notified.recording("ROTATED", 3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            address = f"/play/camera0/index.m3u8?{query}"
            before = (await daemon.get(address)).body.decode()
            assert "#EXT-X-PLAYLIST-TYPE:EVENT\n" in before
            first, second = re.findall(r"/init/(.+)\"", before)[:2]
            removed = len(re.findall(f"^../({first}|{second})/", before, re.MULTILINE))
            known = [each for name in (first, second) for each in packets(daemon.recordings / name)]
            while len(hashes_of(path)) <= len(known):  # noqa: ASYNC110 - FFmpeg writes it
                await trio.sleep(0.05)
            for name in (first, second):
                await client.call("delete_recording", filename=name)
            after = (await daemon.get(address)).body.decode()
            assert f"#EXT-X-MEDIA-SEQUENCE:{removed}\n" in after
            assert "PLAYLIST-TYPE" not in after
            assert first not in after
            await notified.recording("ROTATED", 6)
            stopped = await client.call("stop_recording", device="camera0")
    names = [file["filename"] for file in stopped["receipt"]["files"]]
    left = [name for name in names if name not in (first, second)]
    assert len(left) >= 4
    known += [each for name in left for each in packets(daemon.recordings / name)]
    assert hashes_of(path) == known


async def test_pictures_shown_in_another_order_come_without_an_edit_list(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """The playlist names heads and pieces of that kind; every packet is there, in order, and only
    what begins with a fragment is sent that way."""
    clip = tmp_path / "reordered.mp4"
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10:d=3"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "5", str(clip)]
    await trio.to_thread.run_sync(partial(subprocess.run, command, check=True, timeout=300))
    daemon = new_daemon()
    stopped = await played(daemon, clip)
    answer = await daemon.get(f"/play/camera0/index.m3u8?{around(stopped)}")
    text = answer.body.decode()
    names = [file["filename"] for file in in_order(stopped)]
    heads = re.findall(r'#EXT-X-MAP:URI="../init/(.*)"', text)
    assert heads == [f"{name}?edits=applied" for name in names]
    pieces = [line for line in text.splitlines() if line.endswith(".m4s?edits=applied")]
    assert len(pieces) == text.count("#EXTINF:")
    for name in names:
        whole = (await daemon.get(f"/play/init/{name}?edits=applied")).body
        for piece in (each for each in pieces if name in each):
            path = f"/play/{piece.removeprefix('../')}"
            answer = await daemon.get(path)
            assert (answer.status, answer.headers.get("content-length")) == (200, None)
            whole += answer.body
        joined = daemon.folder / f"applied-{name}"
        joined.write_bytes(whole)
        assert packets(joined) == packets(daemon.recordings / name)
        times = await times_in(joined)
        # FFmpeg is late by as much as the smallest offset is negative.
        assert [time - times[0] for time in times] == await times_in(daemon.recordings / name)
    plain = await daemon.get(path.removesuffix("?edits=applied"))
    assert plain.headers["etag"] != answer.headers["etag"]
    same = await daemon.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert same.status == 304
    begin = re.findall(r"/(\d+)-\d+\.m4s", path)[0]
    inside = path.replace(f"{begin}-", f"{int(begin) + 1}-")
    assert (await daemon.get(inside)).status == 416
    assert (await daemon.get(inside.removesuffix("?edits=applied"))).status == 200


async def test_sound_before_the_first_picture_comes_without_an_edit_list(
    new_daemon: NewDaemon,
) -> None:
    """Where an encoder has begun with sound that is not heard: for Firefox, which leaves out
    pictures beside such an edit list. In a growing file a player goes on from any fragment."""
    daemon = new_daemon()
    source = {"source": "test:?size=160x120&rate=10&audio=true"}
    daemon.configure({"recording": {"rotation": "2s"}}, cameras=[source])
    await daemon.start()
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED")
        stopped = await client.call("stop_recording", device="camera0")
    file = (await index_of(daemon, around(stopped)))["files"][0]
    begin, end = file["pieces"][0]["begin"], file["pieces"][-1]["end"]
    query = "?edits=applied"
    head = (await daemon.get(f"/play/init/{file['filename']}{query}")).body
    assert b"elst" not in head
    assert file["edits_offset"] > file["offset"]
    path = f"/play/{file['filename']}"
    joined = daemon.folder / "applied.mp4"
    joined.write_bytes(head + (await daemon.get(f"{path}/{begin}-{end}.m4s{query}")).body)
    assert packets(joined) == packets(daemon.recordings / file["filename"])
    plain = (await daemon.get(f"{path}/{begin}-{end}.m4s")).body
    moofs = [each.start() - 4 for each in re.finditer(b"moof....mfhd", plain, re.DOTALL)]
    assert len(moofs) > len(file["pieces"])
    for at in moofs:
        part = await daemon.get(f"{path}/{begin + at}-{end}.m4s{query}")
        assert (part.status, part.body[4:8]) == (200, b"moof")
        assert (await daemon.get(f"{path}/{begin + at + 1}-{end}.m4s{query}")).status == 416


async def times_in(path: Path) -> list[int]:
    """Return when each frame of a file is shown, in ticks of 90 kHz, as FFmpeg decodes it."""
    command = [FFMPEG, "-v", "error", "-copyts", "-i", f"file:{path}", "-fps_mode", "passthrough"]
    command += ["-enc_time_base", "1/90000", "-f", "framecrc", "pipe:1"]
    done = await trio.to_thread.run_sync(
        partial(subprocess.run, command, check=True, capture_output=True, timeout=300)
    )
    lines = [line for line in done.stdout.decode().splitlines() if not line.startswith("#")]
    return [int(line.split(",")[2]) for line in lines]


async def test_a_growing_file_is_played_while_it_is_recorded(
    new_daemon: NewDaemon, short_clip: Clip
) -> None:
    """Its pieces are those that it has when it is sealed; a playlist of it has no end yet."""
    daemon = new_daemon()
    daemon.configure({"recording": {"rotation": "1h"}}, cameras=[fast_camera(short_clip[0])])
    await daemon.start()
    async with daemon.client() as client, listening(client) as notified:
        started = await client.call("start_recording", device="camera0")
        since = moment(started["start_time"]) - timedelta(seconds=1)
        query = f"from={written(since)}&to={written(since + timedelta(hours=1))}"
        seen = []
        for _ in range(3):
            count = len(notified.items)
            await notified.recording("PROGRESS", 1 + count)
            index = await index_of(daemon, query)
            if index["files"]:
                (file,) = index["files"]
                assert file["growing"]
                seen.append(file["pieces"])
        timeline = await client.call("get_timeline", camera="camera0")
        (span,) = timeline["spans"]
        assert (span["growing"], span["playable"], span["merged"]) == (True, True, 1)
        assert span["filename"] == started["filename"]
        playlist = (await daemon.get(f"/play/camera0/index.m3u8?{query}")).body.decode()
        assert "#EXT-X-ENDLIST" not in playlist
        piece = seen[-1][0]
        path = f"/play/{started['filename']}/{piece['begin']}-{piece['end']}.m4s"
        answer = await daemon.get(path)
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
        stopped = await client.call("stop_recording", device="camera0")
    (sealed,) = (await index_of(daemon, query))["files"]
    assert not sealed["growing"]
    assert len(seen) >= 2
    for pieces in seen:
        assert pieces[:-1] == sealed["pieces"][: len(pieces) - 1]
        assert pieces[-1]["begin"] == sealed["pieces"][len(pieces) - 1]["begin"]
    assert sealed["duration"] == pytest.approx(stopped["receipt"]["files"][0]["duration"])
    whole = (daemon.recordings / started["filename"]).read_bytes()
    assert answer.body == whole[piece["begin"] : piece["end"]]


async def test_a_timeline_has_what_was_recorded_and_what_is_missing(
    new_daemon: NewDaemon, short_clip: Clip
) -> None:
    """Spans are the files; a file that somebody removed is a gap with its cause; camera and range
    are checked."""
    daemon = new_daemon()
    stopped = await played(daemon, short_clip[0])
    timeline = await daemon.call("get_timeline", camera="camera0")
    files = in_order(stopped)
    assert [span["filename"] for span in timeline["spans"]] == [f["filename"] for f in files]
    assert [span["start"] for span in timeline["spans"]] == [f["start_time"] for f in files]
    assert {span["session"] for span in timeline["spans"]} == {stopped["session_id"]}
    assert [gap["cause"] for gap in timeline["gaps"]] == []
    later = await daemon.call(
        "get_timeline",
        camera="camera0",
        **{"from": "2090-01-01T00:00:00Z", "to": "2090-01-02T00:00:00Z"},
    )
    assert (later["spans"], later["gaps"], later["after"]) == ([], [], None)
    assert later["before"] in [file["end_time"] for file in files]
    century = await daemon.call(
        "get_timeline", camera="camera0", **{"from": "1990-01-01", "to": "2090-01-01"}
    )
    assert len(century["spans"]) == len(files)
    for params, code in (
        ({"camera": "camera9"}, -32004),
        ({}, -32602),
        ({"camera": "camera0", "from": "2026-01-02", "to": "2026-01-01"}, -32602),
        ({"camera": "camera0", "from": "2026-01-02", "to": "2026-01-02"}, -32602),
        ({"camera": "camera0", "from": "yesterday"}, -32602),
        ({"camera": "camera0", "to": "0001-01-01T00:00:00Z"}, -32602),
    ):
        with pytest.raises(RemoteError) as refused:
            await daemon.call("get_timeline", **params)
        assert refused.value.code == code, params
    (daemon.recordings / files[1]["filename"]).unlink()
    name = files[1]["filename"]
    assert (await daemon.get(f"/play/{name}/900-1000.m4s")).status == 404
    for path, status, code in (
        (f"index.json?{around(stopped, 50_000)}", 400, -32602),
        ("index.json?from=2026-01-02&to=2026-01-01", 400, -32602),
        ("index.m3u8?from=now", 400, -32602),
        ("strip.jpg?count=0", 400, -32602),
        ("strip.jpg?count=61", 400, -32602),
        ("strip.jpg?width=9999999999999", 400, -32602),
        ("strip.jpg?from=2020-01-01&to=2020-01-02", 404, -1005),
    ):
        answer = await daemon.get(f"/play/camera0/{path}")
        assert (answer.status, json.loads(answer.body)["code"]) == (status, code), path
    assert (await daemon.get("/play/camera9/index.json")).status == 404
    index = await index_of(daemon, around(stopped))
    (gap,) = (await daemon.call("get_timeline", camera="camera0"))["gaps"]
    assert (gap["cause"], gap["from"]) == ("file_removed", files[1]["start_time"])
    assert files[0]["filename"] in [file["filename"] for file in index["files"]]


async def test_a_strip_is_a_row_of_key_frames(new_daemon: NewDaemon, short_clip: Clip) -> None:
    """Over several files: as many tiles as times, each once, and the same answer again at once."""
    daemon = new_daemon()
    stopped = await played(daemon, short_clip[0])
    query = around(stopped, 0)
    strip = await daemon.get(f"/play/camera0/strip.jpg?{query}&count=12&width=64")
    assert (strip.status, strip.headers["content-type"]) == (200, "image/jpeg"), strip.body
    times = [moment(text) for text in strip.headers["x-tile-times"].split(",")]
    assert picture_end(strip.body) == len(strip.body)
    assert picture_size(strip.body) == (64 * len(times), 48)
    assert times == sorted(set(times))
    assert 1 <= len(times) <= 12  # as many as there are key frames in what was recorded
    index = await index_of(daemon, query)
    keys = {
        round((moment(file["start"]).timestamp() + piece["time"]) * 1000)
        for file in index["files"]
        for piece in file["pieces"]
    }
    assert all(
        any(abs(round(time.timestamp() * 1000) - key) <= 1 for key in keys) for time in times
    )
    again = await daemon.get(f"/play/camera0/strip.jpg?{query}&count=12&width=64")
    assert again.body == strip.body


async def test_pieces_are_had_without_their_sound(new_daemon: NewDaemon, tmp_path: Path) -> None:
    """All pictures at the times that `muted` says, and no track of sound; a file without sound has
    no `muted`, and the query changes nothing of it."""
    start = datetime(2026, 5, 4, 12, tzinfo=UTC)
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    folder = FootageFolder(daemon.recordings)
    pictures = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=20", "-t", "3", "-g", "10")
    tone = ("-itsoffset", "0.4", "-f", "lavfi", "-i", "sine")
    end = start
    for name, arguments in (("sound.mp4", (*tone, *pictures)), ("none.mp4", pictures)):
        path = tmp_path / name
        command = [FFMPEG, "-v", "error", *arguments, "-c:a", "alac", "-bf", "0"]
        command += ["-pix_fmt", "yuv420p", str(path)]
        await trio.run_process(command)
        end = folder.put(end, path, 3)
    await daemon.start()
    index = await index_of(daemon, f"from={written(start)}&to={written(end)}")
    heard, none = index["files"]
    assert none["muted"] is None
    assert "alac" in heard["mime"]
    assert heard["muted"]["mime"] == none["mime"]
    for file in (heard, none):
        path = tmp_path / f"muted-{file['filename']}"
        begin, end_byte = file["pieces"][0]["begin"], file["pieces"][-1]["end"]
        data = b""
        for address in (f"init/{file['filename']}", f"{file['filename']}/{begin}-{end_byte}.m4s"):
            page = await daemon.get(f"/play/{address}?sound=off")
            assert page.status == 200
            data += page.body
        assert b"soun" not in data[: len(data) // 2]
        path.write_bytes(data)
        assert len(packets(path)) == 60
    query = f"from={written(start)}&to={written(end)}&sound=off"
    listed = (await daemon.get(f"/play/camera0/index.m3u8?{query}")).body.decode()
    for file in (heard, none):
        named = [line for line in listed.splitlines() if file["filename"] in line]
        assert len(named) == 2  # a head and a piece
        assert all(("?sound=off" in line) is (file is heard) for line in named)
    first = await first_time(tmp_path / f"muted-{heard['filename']}")
    assert first == pytest.approx(heard["muted"]["offset"], abs=0.001)
    plain = await daemon.get(f"/play/init/{none['filename']}")
    assert (await daemon.get(f"/play/init/{none['filename']}?sound=off")).body == plain.body


async def first_time(path: Path) -> float:
    """Return when the first picture is shown, without any edit list."""
    command = [FFMPEG, "-v", "error", "-ignore_editlist", "1", "-i", str(path), "-map", "0:v"]
    command += ["-c", "copy", "-copyts", "-avoid_negative_ts", "disabled", "-f", "framehash", "-"]
    done = await trio.run_process(command, capture_stdout=True)
    lines = done.stdout.decode().splitlines()
    base = next(line.split()[-1] for line in lines if line.startswith("#tb 0"))
    numerator, denominator = map(int, base.split("/"))
    rows = [line.split(",") for line in lines if not line.startswith("#")]
    return min(int(row[2]) for row in rows) * numerator / denominator
