"""A daemon that ends while it converts to MKV: FFmpeg ends with it; the next run converts."""

from __future__ import annotations

import signal
from pathlib import Path

import imageio_ffmpeg
import trio
from running_daemon import Daemon, NewDaemon, frames_in, listening, small_camera

BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()


async def test_a_conversion_that_was_cut_short_is_done_in_the_next_run(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """After SIGKILL and after SIGTERM: the name of the MKV file always answers, no partial file and
    no process is left, and file modes are kept."""
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            for number in (signal.SIGKILL, signal.SIGTERM):
                place = tmp_path / number.name
                place.mkdir()
                nursery.start_soon(is_done_in_the_next_run, new_daemon(), place, number)


async def is_done_in_the_next_run(daemon: Daemon, place: Path, number: signal.Signals) -> None:
    """End a daemon while it converts, and wait for the file of the next run."""
    program, lazy = place / "ffmpeg", place / "lazy"
    lazy.touch()
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *matroska*) [ -e {lazy} ] && for last; do :; done && '
        f'echo half > "${{last#file:}}" && exec sleep 1000;; esac\nexec {BUNDLED} "$@"\n'
    )
    program.chmod(0o755)
    daemon.configure({"ffmpeg": {"path": str(program)}}, [small_camera()])
    part_folder = daemon.recordings / ".camd"
    await daemon.start()
    async with daemon.client() as client, listening(client) as notified:
        started = await client.call("start_recording", device="camera0", format="mkv")
        await notified.recording("ROTATED")
        while not list(part_folder.glob("*.part")):  # noqa: ASYNC110 - FFmpeg writes it
            await trio.sleep(0.02)
    daemon.signal(number)
    await daemon.wait_end()
    assert await trio.to_thread.run_sync(daemon.wait_no_processes) == []
    lazy.unlink()
    await daemon.start()
    while daemon.log.count("recovery_over") < 2:  # noqa: ASYNC110 - another process writes it
        await trio.sleep(0.05)
    async with daemon.client() as client:
        name = started["filename"]
        assert name.endswith(".mkv")
        info = await client.call("get_recording_info", filename=name)
        while not info["filename"].endswith(".mkv"):
            await trio.sleep(0.05)
            info = await client.call("get_recording_info", filename=name)
        while list(daemon.recordings.glob("*.mp4")):  # noqa: ASYNC110 - one after the other
            await trio.sleep(0.05)
    await daemon.stop()
    made = daemon.recordings / name
    assert await frames_in(made) == info["frames"]
    assert made.stat().st_mode & 0o777 == 0o640
    assert list(part_folder.glob("*.part")) == []
    verified = await daemon.camd("verify", "--config", str(daemon.config_file))
    assert verified.returncode == 0, verified.stdout
