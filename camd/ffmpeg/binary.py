"""Find and query the FFmpeg program: the configured one, else the system's, else the bundled one.

A program counts only after it has run once.
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import attrs
import trio

from camd.ffmpeg.text.output import parse_encoders, parse_inputs, parse_protocols, parse_version
from camd.model.problems import FFMPEG_MISSING
from camd.runtime.child_process import NOT_EXECUTED
from camd.runtime.query_process import run_program

_TIMEOUT_SECONDS = 15  # the first run of a 170 MB program from a slow SD card


class FfmpegMissingError(Exception):
    """There is no FFmpeg that runs; `problem` says what was tried and what to do."""

    def __init__(self, message: str, suggestion: str = FFMPEG_MISSING.suggestion) -> None:
        super().__init__(f"{message}. {suggestion}")
        self.problem = attrs.evolve(FFMPEG_MISSING, message=message, suggestion=suggestion)


@attrs.frozen
class FFmpegBinary:
    """An FFmpeg that has run at least once."""

    path: Path
    version: tuple[int, int]
    bundled: bool = False


@attrs.frozen
class KnownBinary:
    """An FFmpeg that has run, and its file's size and time: unchanged, it need not run again."""

    program: FFmpegBinary
    size_bytes: int
    changed_ns: int


def look_at_program(program: FFmpegBinary) -> KnownBinary | None:
    """Return a program with the state of its file; None when the file is gone. Blocks."""
    try:
        status = program.path.stat()
    except OSError:
        return None
    return KnownBinary(program, status.st_size, status.st_mtime_ns)


def is_unchanged_program(known: KnownBinary, configured: Path | None) -> bool:
    """Tell whether a search would find this program again, unchanged. Blocks."""
    wanted, program = configured or _system_path(), known.program
    same = program.bundled if wanted is None else wanted == program.path
    return same and look_at_program(program) == known


async def find_ffmpeg(configured: Path | None = None) -> FFmpegBinary:
    """Return the FFmpeg to use, after running `ffmpeg -version`; bounded in time.

    A configured program is used or refused, never replaced by another one. Raises
    FfmpegMissingError.
    """
    if configured is not None:
        try:
            return FFmpegBinary(configured, await _version(configured))
        except _UnusableError as error:
            raise FfmpegMissingError(
                f"ffmpeg.path: {configured} {error}",
                "Correct ffmpeg.path, or remove it to have FFmpeg found.",
            ) from error
    tried = []
    for bundled, find in ((False, _system_path), (True, _bundled_path)):
        path = await trio.to_thread.run_sync(find, abandon_on_cancel=True)
        if path is None:
            continue
        try:
            return FFmpegBinary(path, await _version(path), bundled)
        except _UnusableError as error:
            tried.append(f" ({path} {error})")
    raise FfmpegMissingError(f"There is no FFmpeg{''.join(tried)}")


async def encoders(program: FFmpegBinary) -> frozenset[str]:
    """Return the names of the encoders that `program` was built with, such as libx264.

    Raises FfmpegMissingError when it does not run any more.
    """
    return parse_encoders(await _ask(program, "-encoders"))


async def inputs(program: FFmpegBinary) -> frozenset[str]:
    """Return the devices that `program` can capture from, such as alsa and v4l2.

    Raises FfmpegMissingError when it does not run any more.
    """
    return parse_inputs(await _ask(program, "-devices"))


async def protocols(program: FFmpegBinary) -> frozenset[str]:
    """Return the protocols that `program` can read and write, such as srt.

    Raises FfmpegMissingError when it does not run any more.
    """
    return parse_protocols(await _ask(program, "-protocols"))


async def knows_tls_verify(program: FFmpegBinary) -> bool:
    """Tell whether `program` has the option to verify an rtsps server's certificate.

    Raises FfmpegMissingError when it does not run any more.
    """
    return "-tls_verify" in await _ask(program, "-h", "demuxer=rtsp")


async def _ask(program: FFmpegBinary, *options: str) -> str:
    """Run a program that has run before. Raises FfmpegMissingError."""
    try:
        return await _output(program.path, *options)
    except _UnusableError as error:
        raise FfmpegMissingError(f"{program.path} {error}") from error


class _UnusableError(Exception):
    """A program that cannot be used; the text completes "PATH …"."""


async def _version(path: Path) -> tuple[int, int]:
    version = parse_version(await _output(path, "-version"))
    if version == (0, 0):
        raise _UnusableError("does not say that it is FFmpeg")
    return version


async def _output(path: Path, *options: str) -> str:
    command = [str(path), "-hide_banner", *options]
    try:
        answer = await run_program(command, _TIMEOUT_SECONDS)
    except OSError as error:
        raise _UnusableError(f"cannot be run: {error.strerror}") from error
    if answer.flooded:
        raise _UnusableError(f"answers {' '.join(options)} without end")
    if answer.status is None:
        raise _UnusableError(f"did not answer within {_TIMEOUT_SECONDS} s")
    if answer.status in NOT_EXECUTED and answer.errors:
        why = answer.errors.decode(errors="replace").splitlines()[-1].rpartition(": ")[2]
        raise _UnusableError(f"cannot be run: {why}")
    if answer.status != 0:
        raise _UnusableError(f"ended with exit status {answer.status}")
    return answer.output.decode(errors="replace")


def _system_path() -> Path | None:
    found = shutil.which("ffmpeg")
    return Path(found) if found else None


def _bundled_path() -> Path | None:
    """Return the program inside the optional package imageio-ffmpeg; runs it, so it may block."""
    try:
        path = Path(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError, OSError):
        return None
    return path if path.is_absolute() else None  # a bare name is the system's FFmpeg
