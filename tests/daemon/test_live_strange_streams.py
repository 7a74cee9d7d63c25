"""Streams that change or lack something, in a real browser: what is shown, and what is said."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio
from chromium_thread import ChromiumThread
from live_viewer import watching
from running_daemon import FFMPEG, Daemon, NewDaemon
from test_live_player import Player, drive

SECONDS = 300  # a machine may be busy
PICTURES = "testsrc2=size=160x120:rate=20"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-pix_fmt", "yuv420p")
SIZE = "(({videoWidth, videoHeight}) => [videoWidth, videoHeight])(document.querySelector('video'))"


async def make(path: Path, *arguments: Sequence[str]) -> Path:
    """Make a file with FFmpeg."""
    command = [FFMPEG, "-hide_banner", "-nostdin", "-v", "error"]
    for group in arguments:
        command += group
    await trio.run_process([*command, str(path)])
    return path


def lavfi(*sources: str) -> list[str]:
    return [word for source in sources for word in ("-f", "lavfi", "-i", source)]


async def serving(new_daemon: NewDaemon, *files: Path) -> Daemon:
    """Run a daemon whose cameras send these files as they are, over and over."""
    daemon = new_daemon()
    daemon.configure(cameras=[{"source": f"file:{file}", "codec": "copy"} for file in files])
    await daemon.start()
    return daemon


async def half_silent(path: Path) -> Path:
    """Make four seconds of sound in nine seconds of pictures."""
    tone = ("-filter_complex", "sine=400:duration=4[a]", "-map", "0:v", "-map", "[a]")
    return await make(path, lavfi(PICTURES), tone, ("-t", "9"), H264, ("-c:a", "aac"))


async def test_a_viewer_gets_pictures_while_no_sound_comes(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """`init` says so, each time with a key frame behind it; who wants no sound is told once."""
    daemon = await serving(new_daemon, await half_silent(tmp_path / "half.mp4"))
    told: list[dict[str, Any]] = []
    with trio.fail_after(SECONDS):
        async with watching(daemon, "camera0") as viewer:
            while [each["sound"] for each in told][-2:] != ["silent", "sent"]:
                told.append(await viewer.until_told("init"))
                header = await viewer.next()
                tracks = 2 if told[-1]["sound"] == "sent" else 1
                assert header.count(b"trak") == tracks
                assert ("mp4a" in told[-1]["mime"]) == (tracks == 2)
        async with watching(daemon, "camera0?sound=off") as viewer:
            await viewer.until_binaries(240)
            assert [each["sound"] for each in viewer.told] == ["left_out"]


async def test_sound_that_stops_does_not_stop_the_picture(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """The player says that none comes; it is heard when it comes again."""
    daemon = await serving(new_daemon, await half_silent(tmp_path / "half.mp4"))

    def use(player: Player) -> None:
        player.page.mouse.click(5, 5)
        player.page.evaluate("document.querySelector('video').muted = false")
        player.start("camera0")
        for silent in ("true", "false", "true"):
            player.until(f"window.states.at(-1)?.isSilent === {silent}")
            player.until_moving()
        assert player.page.evaluate("window.states.every((each) => each.hasSound)") is False
        assert not player.page.evaluate("document.querySelector('video').muted")
        assert {each["phase"] for each in player.states()} == {"connecting", "playing"}

    await drive(chromium, daemon, use)


async def test_pictures_that_change_their_size_and_their_profile(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """Each size is shown in its turn, a wide and a tall one; nothing is said, for nothing is
    wrong."""
    parts = [
        await make(tmp_path / f"{number}.ts", lavfi(f"testsrc2=size={size}:rate=20"), H264, more)
        for number, (size, more) in enumerate(
            (("320x180", ("-t", "3")), ("120x160", ("-t", "3", "-profile:v", "baseline")))
        )
    ]
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    daemon = await serving(new_daemon, whole)

    def use(player: Player) -> None:
        player.start("camera0")
        for size in ([320, 180], [120, 160], [320, 180]):
            player.until(f"String({SIZE}) === '{size[0]},{size[1]}'")
            player.until_moving()
        assert {each["phase"] for each in player.states()} <= {"connecting", "playing", "ended"}

    await drive(chromium, daemon, use)


async def test_pictures_in_another_order_and_rare_ones(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """B-frames, and five pictures a second with a key frame every ten: both move on."""
    reordered = await make(
        tmp_path / "b.mp4", lavfi(PICTURES), ("-t", "5"), H264[:2], ("-bf", "3", "-g", "20")
    )
    rare = await make(
        tmp_path / "rare.mp4", lavfi("testsrc2=size=160x120:rate=5"), ("-t", "10"), H264[:4],
        ("-g", "50", "-pix_fmt", "yuv420p"),
    )  # fmt: skip
    daemon = await serving(new_daemon, reordered, rare)

    def use(player: Player) -> None:
        for name in ("camera0", "camera1"):
            player.start(name)
            for _ in range(3):
                player.until_moving()
            behind = player.page.evaluate("Date.now() - window.player.wallMs()")
            assert behind < 60_000
            assert {each["phase"] for each in player.states()} == {"connecting", "playing"}
            player.page.evaluate("window.player.close()")

    await drive(chromium, daemon, use)


async def test_sound_that_the_browser_does_not_play_does_not_cost_the_picture(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """The camera's own pictures go on when sound is wanted; a sentence says why there is none."""
    tone = ("-shortest", "-t", "6", "-c:a", "alac")
    clip = await make(tmp_path / "alac.mp4", lavfi(PICTURES, "sine"), H264, tone)
    daemon = await serving(new_daemon, clip)

    def use(player: Player) -> None:
        player.start("camera0")
        player.until_moving()
        player.page.mouse.click(5, 5)
        player.page.evaluate("document.querySelector('video').muted = false")
        player.until("window.phase() === 'playing' && window.states.at(-1).message !== ''")
        for _ in range(2):
            player.until_moving()
        state = player.states()[-1]
        assert state["message"] == "This browser cannot play the sound of this camera (alac)"
        assert (state["shownAs"], state["hasSound"]) == ("", False)
        assert {each["phase"] for each in player.states()} == {"connecting", "playing"}

    await drive(chromium, daemon, use)


async def test_sound_that_the_browser_plays_later_is_heard(
    chromium: ChromiumThread, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """When the stream of the camera begins again with sound of another codec; by itself."""
    tone = ("-shortest", "-t", "6", "-c:a")
    alac, aac = [
        await make(tmp_path / f"{codec}.mp4", lavfi(PICTURES, "sine"), H264, (*tone, codec))
        for codec in ("alac", "aac")
    ]
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(alac.read_bytes())
    daemon = await serving(new_daemon, clip)

    def use(player: Player) -> None:
        player.page.mouse.click(5, 5)
        player.page.evaluate("document.querySelector('video').muted = false")
        player.start("camera0")
        player.until("window.phase() === 'playing' && window.states.at(-1).message !== ''")
        player.until_moving()
        assert player.page.evaluate("window.states.at(-1).hasSound") is False
        aac.replace(clip)
        (pid,) = daemon.processes()
        os.kill(pid, signal.SIGKILL)
        player.until("window.tracks() === 2 && window.states.at(-1).hasSound")
        player.until("window.phase() === 'playing' && window.states.at(-1).message === ''")
        player.until_moving()

    await drive(chromium, daemon, use)
