"""The encoder is chosen by one trial, with reasons why others were not."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from support import ffmpeg_media as ffmpeg

from camd.devices.query import find_converters
from camd.ffmpeg import encoder_trial as module
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError, find_ffmpeg
from camd.ffmpeg.encoder_trial import EncoderChoice, EncoderTrials, TrialResult
from camd.ffmpeg.text.encoder_table import TABLE, encoder_named


def fake_ffmpeg(tmp_path: Path, built_in: str, script: str) -> FFmpegBinary:
    """Write a program that lists its encoders, counts its starts, and runs `script`."""
    path = tmp_path / "ffmpeg"
    listing = "".join(f"echo ' V....D {name} x'; " for name in built_in.split())
    path.write_text(
        f"""#!/bin/sh
case "$*" in *-encoders*) {listing} exit 0;; esac
echo started >>{tmp_path}/starts
{script}
"""
    )
    path.chmod(0o755)
    return FFmpegBinary(path, (5, 1))


def starts(tmp_path: Path) -> int:
    """Count the trials."""
    noted = tmp_path / "starts"
    return len(noted.read_text().splitlines()) if noted.exists() else 0


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("program", ffmpeg.PROGRAMS)
async def test_this_machines_encoder_is_found_by_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, codec: str
) -> None:
    """Without hardware the software encoder passes, and each other one has a reason."""
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 200.0)  # a machine may be busy
    with trio.fail_after(300):
        found = await find_ffmpeg(Path(program))
        choice = await EncoderTrials(find_converters, dev=tmp_path).find(found, codec)
    assert choice.encoder is not None
    assert choice.encoder.name == {"h264": "libx264", "h265": "libx265"}[codec]
    names = [trial.name for trial in choice.trials]
    in_order = [each.name for each in TABLE if each.codec == codec]
    assert names == in_order[: len(names)]
    assert all(v.why in ("no such hardware", "not in this FFmpeg") for v in choice.trials[:-1])
    assert choice.trials[-1].seconds


async def test_hardware_that_is_there_is_tried_and_may_fail(tmp_path: Path) -> None:
    """A node alone is no encoder: FFmpeg's first error is the reason."""
    (tmp_path / "dri").mkdir()
    (tmp_path / "dri" / "renderD128").touch()
    (tmp_path / "video10").touch()
    with trio.fail_after(300):
        found = await find_ffmpeg(Path(ffmpeg.PROGRAMS[1].values[0]))
        choice = await EncoderTrials(find_converters, dev=tmp_path).find(found, "h264")
    said = {trial.name: trial.why for trial in choice.trials}
    assert said["h264_v4l2m2m"] == "no such hardware"
    assert said["h264_vaapi"] not in ("", "no such hardware")
    assert "libx264 (h264_v4l2m2m: no such hardware; h264_vaapi: " in choice.summary


def test_an_encoder_that_is_taken_although_slow_is_named_once() -> None:
    """It is not listed among those that were not chosen."""
    trials = (TrialResult("h264_qsv", "no such hardware"), TrialResult("libx264", "slow", 3.0))
    slow = EncoderChoice("h264", encoder_named("libx264"), trials)
    assert slow.summary == "libx264 (h264_qsv: no such hardware), slow"
    assert attrs.evolve(slow, encoder=None).summary.startswith("none works (h264_qsv: ")
    assert attrs.evolve(slow, trials=()).summary == "libx264"


async def test_cameras_that_start_together_share_a_search(tmp_path: Path) -> None:
    """An encoder is tried once for all of them."""
    program = fake_ffmpeg(tmp_path, "libx264", "exit 3")
    trials = EncoderTrials(find_converters, dev=tmp_path)
    found: list[EncoderChoice] = []

    async def ask() -> None:
        found.append(await trials.find(program, "h264"))

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask)
    assert starts(tmp_path) == 1
    assert len({id(choice) for choice in found}) == 1
    assert found[0].encoder is None
    assert "libx264: exit status 3" in found[0].summary


async def test_a_search_that_is_cancelled_is_taken_over(tmp_path: Path) -> None:
    """A waiting call searches itself."""
    marker = tmp_path / "marker"
    program = fake_ffmpeg(
        tmp_path, "libx264", f"[ -e {marker} ] && exit 3; touch {marker}; sleep 1000"
    )
    trials = EncoderTrials(find_converters, dev=tmp_path)
    scope = trio.CancelScope()

    async def give_up() -> None:
        with scope:
            await trials.find(program, "h264")

    found: list[EncoderChoice] = []

    async def wait() -> None:
        found.append(await trials.find(program, "h264"))

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            while not marker.exists():  # noqa: ASYNC110 - another process makes it
                await trio.sleep(0.01)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert found[0].trials[-2].why == "exit status 3"
    assert starts(tmp_path) == 2


async def test_where_none_works_they_are_tried_again(tmp_path: Path) -> None:
    """The next call searches again, because the machine may have been busy."""
    program = fake_ffmpeg(tmp_path, "libx264", "exit 3")
    trials = EncoderTrials(find_converters, dev=tmp_path)
    with trio.fail_after(300):
        for _ in range(2):
            assert (await trials.find(program, "h264")).encoder is None
    assert trials.known == ()
    assert starts(tmp_path) == 2


async def test_an_encoder_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial has a time limit; an encoder without output is not chosen."""
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.3)
    program = fake_ffmpeg(tmp_path, "libx264", "exec sleep 1000")
    with trio.fail_after(300):
        choice = await EncoderTrials(find_converters, dev=tmp_path).find(program, "h264")
    assert choice.encoder is None
    assert choice.trials[-2].why == "not done within 0.3 s"


async def test_where_all_are_slow_the_fastest_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow machine the fastest encoder is used."""
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 3.0)  # a shell has begun by then
    program = fake_ffmpeg(tmp_path, "libx264", "echo something; exec sleep 1000")
    with trio.fail_after(300):
        trials = EncoderTrials(find_converters, dev=tmp_path)
        choice = await trials.find(program, "h264")
        assert await trials.find(program, "h264") is choice  # and not tried again
    assert choice.encoder == encoder_named("libx264")
    assert (trials.known, starts(tmp_path)) == ((choice,), 1)


async def test_a_configured_encoder_is_not_tried(tmp_path: Path) -> None:
    """It is used for its own codec; for the other one there is a search."""
    program = fake_ffmpeg(tmp_path, "libx265", "exit 3")
    trials = EncoderTrials(find_converters, "h264_vaapi", tmp_path)
    (tmp_path / "dri").mkdir()
    (tmp_path / "dri" / "renderD129").touch()
    with trio.fail_after(300):
        choice = await trials.find(program, "h264")
        other = await trials.find(program, "h265")
    assert choice.encoder is not None
    assert (choice.encoder.name, choice.encoder.node) == (
        "h264_vaapi",
        str(tmp_path / "dri" / "renderD129"),
    )
    assert other.trials[-1].why == "exit status 3"
    assert starts(tmp_path) == 1


async def test_a_program_that_is_gone_raises(tmp_path: Path) -> None:
    """The search ends with the error, and the next call searches again."""
    trials = EncoderTrials(find_converters, dev=tmp_path)
    gone = FFmpegBinary(tmp_path / "gone", (5, 1))
    with trio.fail_after(300):
        for _ in range(2):
            with pytest.raises(FfmpegMissingError):
                await trials.find(gone, "h264")
    assert trials.known == ()


@pytest.mark.parametrize("program", ffmpeg.PROGRAMS)
async def test_inputs_are_asked_once(program: str) -> None:
    """Every FFmpeg on Linux captures from V4L2; the answer is kept."""
    with trio.fail_after(300):
        found = await find_ffmpeg(Path(program))
        trials = EncoderTrials(find_converters)
        inputs = await trials.inputs(found)
        assert await trials.inputs(found) is inputs
    assert {"v4l2", "lavfi"} <= inputs
    assert "xv" not in inputs  # it only shows
