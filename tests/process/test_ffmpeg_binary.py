"""Which FFmpeg is used, and the error when there is none; small scripts stand for FFmpeg."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest
import trio

from camd.ffmpeg.binary import (
    FFmpegBinary,
    FfmpegMissingError,
    encoders,
    find_ffmpeg,
    is_unchanged_program,
    look_at_program,
)

VERSION = "echo ffmpeg version 5.1.6-0+deb12u1"


def fake(folder: Path, script: str, name: str = "ffmpeg") -> Path:
    """Write a program that behaves as `script` says."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def nothing_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the optional package look absent."""

    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)


def test_a_program_that_is_the_same_file_still_needs_no_second_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only while a search would find it, and it is unchanged."""
    path = fake(tmp_path, VERSION)
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = look_at_program(FFmpegBinary(path, (5, 1)))
    assert seen is not None
    assert is_unchanged_program(seen, None)
    assert is_unchanged_program(seen, path)
    assert not is_unchanged_program(seen, tmp_path / "other")
    path.write_text("#!/bin/sh\necho another\n")
    assert not is_unchanged_program(seen, None)
    path.unlink()
    assert look_at_program(seen.program) is None
    assert not is_unchanged_program(seen, None)


async def test_the_configured_program_is_taken(tmp_path: Path) -> None:
    """It is used instead of the one on the PATH, and its version is read."""
    path = fake(tmp_path, "echo ffmpeg version n9.0.2 Copyright", "own")
    with trio.fail_after(300):
        program = await find_ffmpeg(path)
    assert program == FFmpegBinary(path, (9, 0), bundled=False)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "cannot be run: No such file or directory"),
        ("exit 3", "ended with exit status 3"),
        ("echo hello", "does not say that it is FFmpeg"),
    ],
)
async def test_a_configured_program_that_cannot_be_used_is_not_replaced(
    tmp_path: Path, script: str | None, words: str
) -> None:
    """The error says what is wrong with the configured program."""
    path = tmp_path / "own"
    if script is not None:
        fake(tmp_path, script, "own")
    with trio.fail_after(300), pytest.raises(FfmpegMissingError, match=words) as caught:
        await find_ffmpeg(path)
    assert str(caught.value).startswith(f"ffmpeg.path: {path}")


async def test_the_systems_program_is_taken_before_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The distribution's program is used when it runs."""
    path = fake(tmp_path / "bin", VERSION)
    monkeypatch.setenv("PATH", str(path.parent))
    with trio.fail_after(300):
        assert await find_ffmpeg() == FFmpegBinary(path, (5, 1), bundled=False)


async def test_the_bundled_program_stands_in_for_a_missing_or_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without FFmpeg records too, when the extra is installed."""
    pytest.importorskip("imageio_ffmpeg", reason="the extra ffmpeg is not installed")
    path = fake(tmp_path / "bin", "exit 127")
    monkeypatch.setenv("PATH", str(path.parent))
    with trio.fail_after(300):
        program = await find_ffmpeg()
        assert "libx264" in await encoders(program)
    assert program.bundled
    assert program.version >= (4, 0)


@pytest.mark.usefixtures("nothing_bundled")
async def test_without_any_program_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message contains both ways to install FFmpeg, and what was tried."""
    broken = fake(tmp_path / "bin", "exit 127")
    monkeypatch.setenv("PATH", str(broken.parent))
    with trio.fail_after(300), pytest.raises(FfmpegMissingError) as caught:
        await find_ffmpeg()
    text = str(caught.value)
    assert "apt install ffmpeg" in text
    assert "Python package imageio-ffmpeg" in text
    assert "camd[ffmpeg]" not in text  # a package index may have another program of that name
    assert f"({broken} ended with exit status 127)" in text


async def test_a_program_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for FFmpeg is bounded in time."""
    monkeypatch.setattr("camd.ffmpeg.binary._TIMEOUT_SECONDS", 0.2)
    path = fake(tmp_path, "exec sleep 1000")
    with trio.fail_after(300), pytest.raises(FfmpegMissingError, match=r"within 0\.2 s"):
        await find_ffmpeg(path)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="this machine has no FFmpeg")
async def test_the_machines_own_ffmpeg_is_found_with_its_encoders() -> None:
    """The real program has a version and a list of encoders."""
    with trio.fail_after(300):
        program = await find_ffmpeg()
        names = await encoders(program)
    assert str(program.path) == shutil.which("ffmpeg")
    assert "mjpeg" in names
    assert "=" not in names
