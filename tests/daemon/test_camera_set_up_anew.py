"""A network camera that delivers something else when it is back: watched, recorded, played."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trio
from live_viewer import watching
from running_daemon import FFMPEG, NewDaemon, packets
from support.fake_rtsp_server import open_rtsp_server

from camd.snapshots.rules.pictures import picture_size

SECONDS = 300  # a machine may be busy
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-bf", "0", "-pix_fmt", "yuv420p")
H265 = (
    *("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
    *("-x265-params", "keyint=20:bframes=0:log-level=error"),
)
AAC = ("-c:a", "aac", "-ar", "48000")


async def make_clip(path: Path, size: str, *codecs: str) -> Path:
    """Make a clip, with sound where a codec for it is named."""
    sources = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=20"]
    if "-c:a" in codecs:
        sources += ["-f", "lavfi", "-i", "sine"]
    command = [FFMPEG, "-v", "error", "-nostdin", *sources, "-t", "20", *codecs, str(path)]
    await trio.run_process(command)
    return path


@pytest.mark.parametrize(
    ("size", "codecs", "mime"),
    [
        ("160x90", H265, '"hvc1.'),
        ("320x180", H264, '"avc1.'),
        ("160x90", (*H264, *AAC), ',mp4a.40.2"'),
    ],
    ids=["another codec", "another size", "with sound"],
)
async def test_what_it_delivers_now_is_shown_and_recorded_in_files_of_its_own(
    new_daemon: NewDaemon, tmp_path: Path, size: str, codecs: tuple[str, ...], mime: str
) -> None:
    """Viewers stay and are told; the gap is in the ledger; an export has a part for each."""
    before = await make_clip(tmp_path / "before.mp4", "160x90", *H264)
    after = await make_clip(tmp_path / "after.mp4", size, *codecs)
    kind, sound = "hevc" if codecs == H265 else "h264", "-c:a" in codecs
    width, height = map(int, size.split("x"))
    daemon = new_daemon()
    with trio.fail_after(SECONDS):
        async with (
            open_rtsp_server(FFMPEG, before) as old,
            open_rtsp_server(FFMPEG, after, codec=kind, audio=sound) as new,
        ):
            daemon.configure({"recording": {"rotation": "1h"}}, cameras=[{"source": old.url}])
            await daemon.start()
            async with (
                daemon.client() as client,
                watching(daemon, "camera0") as viewer,
            ):
                await client.call("start_recording", device="camera0")
                await viewer.until_told("init")
                await viewer.until_binaries(40)
                await old.go_away()
                new._serve(await trio.open_tcp_listeners(old.port, host="127.0.0.1"))
                assert "loop" not in (await viewer.until_told("ended"))["suggestion"]
                while mime not in (told := await viewer.until_told("init"))["mime"]:
                    pass
                assert (told["width"], told["height"]) == (width, height)
                await viewer.until_binaries(len(viewer.binaries) + 60)
                still = await daemon.get("/still/camera0.jpg")
                assert picture_size(still.body) == (width, height)
                stopped = await client.call("stop_recording", device="camera0")
    receipt = stopped["receipt"]
    assert receipt["gaps"]
    files = receipt["files"]
    for file in files:
        packets(daemon.recordings / file["filename"])  # all can be decoded
    begin = datetime.fromisoformat(files[0]["start_time"])
    end = datetime.fromisoformat(files[-1]["end_time"])
    query = urlencode({"from": begin.isoformat(), "to": (end + timedelta(seconds=1)).isoformat()})
    index = json.loads((await daemon.get(f"/play/camera0/index.json?{query}")).body)
    assert [each["filename"] for each in index["files"]] == [each["filename"] for each in files]
    assert mime not in index["files"][0]["mime"] or size != "160x90"
    assert mime in index["files"][-1]["mime"]
    assert (index["files"][-1]["width"], index["files"][-1]["height"]) == (width, height)
    playlist = (await daemon.get(f"/play/camera0/index.m3u8?{query}")).body.decode()
    assert playlist.count("#EXT-X-MAP") == len(files)
    assert playlist.count("#EXT-X-DISCONTINUITY\n") == len(files) - 1
    export = await daemon.get(f"/export/camera0.mp4?{query}")
    assert (export.status, export.headers["x-export-parts"]) == (200, "2")
