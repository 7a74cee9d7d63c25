"""`file:`: a media file, read at `speed` times real time, repeatedly with `loop`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import unquote

import attrs

from camd.ffmpeg.text.args import CaptureOptions, StreamAccess, pace
from camd.ffmpeg.text.encoder_table import Arguments
from camd.model import Problem, ProblemKind
from camd.model.notation import absolute_path
from camd.model.problems import (
    DISK_HANGS,
    EMPTY_FILE,
    FILE_ENDED,
    FILE_NOT_READABLE,
    FILE_RESTARTED,
    NOT_A_FILE,
    NOT_FOUND,
)
from camd.runtime.path_lookup import BoundedFileCalls
from camd.runtime.small_files import kind_of_path
from camd.sources.query_options import read_flag, read_number, read_options
from camd.sources.source import FileStamp, Source, SourceFinding

SPEED_LIMITS = (0.1, 100.0)  # times real time
_SUFFIXES_WITH_CODEC_HEADERS = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm"))


@attrs.frozen
class FileSource(Source):
    """A file of this machine."""

    path: Path
    loop: bool = True
    speed: float = 1.0

    schemes = ("file",)
    beginnings = ("file:/…",)
    form = (
        "file:/path.mp4",
        "over and over in real time; `?loop=false` once; `?speed=10` ten times as fast",
    )
    live = False
    foreign_clock = False
    is_remote = False

    @classmethod
    def parse(cls, text: str, folder: Path, home: Path | None) -> Self:
        """Read a path, percent-encoded where it has to be (RFC 8089): %3F for ?, %25 for %."""
        name, _, query = text.partition(":")[2].partition("?")
        name = _file_name(name)
        options = read_options(query, ("loop", "speed"))
        return cls(
            path=absolute_path(name, folder, home),
            loop=read_flag("loop", options.get("loop", "true")),
            speed=read_number("speed", options.get("speed", "1"), SPEED_LIMITS),
        )

    @property
    def loops(self) -> bool:
        """As its text says."""
        return self.loop

    @property
    def may_end(self) -> bool:
        """Whether it is played once."""
        return not self.loop

    @property
    def has_audio_header(self) -> bool:
        """Containers that keep it apart from the packets have it."""
        return self.path.suffix.lower() in _SUFFIXES_WITH_CODEC_HEADERS

    async def look(self, looks: BoundedFileCalls) -> FileStamp | Problem:
        """Say what is at the path; never opens it, as a FIFO's writer would notice."""
        return await looks.ask(partial(_look, self.path), otherwise=DISK_HANGS)

    def input(self, options: CaptureOptions) -> Arguments:
        """Read it at its speed."""
        repeat = ("-stream_loop", "-1") if self.loop else ()
        return (*pace(self.speed, options.version), *repeat, "-i", f"file:{self.path}")

    def probe_input(self, version: tuple[int, int], access: StreamAccess) -> Arguments:
        """Read it as fast as it goes."""
        return ("-i", f"file:{self.path}")

    def cache_name(self, facts: FileStamp | None) -> str:
        """A file of another size or time of change is another one."""
        return f"file {self.path} {facts.size_bytes} {facts.changed_ns}" if facts else ""

    async def explain(self, problem: Problem, *, delivered: bool) -> Problem:
        """FFmpeg says "Operation not permitted" of a file that it cannot begin again."""
        ended = problem.kind == ProblemKind.ENDED
        if not delivered:
            return FILE_ENDED if ended else problem
        ended = ended or problem.kind == ProblemKind.NO_PERMISSION
        return FILE_RESTARTED if self.loop and ended else problem

    async def check(self) -> SourceFinding:
        """Look whether it is a file that can be read."""
        found = await self.look(BoundedFileCalls())
        if not isinstance(found, Problem):
            return SourceFinding(str(self.path))
        if found == NOT_FOUND:
            return SourceFinding(f"there is no file {self.path}", "Correct its source.", True)
        text = f"{found.message[:1].lower()}{found.message[1:]}: {self.path}"
        return SourceFinding(text, found.suggestion, blocks=True)


def _file_name(name: str) -> str:
    if name.startswith("//"):
        name = name[2:]
        if not name.startswith("/"):
            raise ValueError('write a file as "file:/path.mp4", with one slash or with three')
    try:
        name = unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a file's name is percent-encoded UTF-8: %C3%A9 stands for é") from None
    if any(character < " " or character == "\x7f" for character in name):
        raise ValueError("a file's name must not have control characters")
    if not name:
        raise ValueError('a file source names a file, such as "file:/srv/clip.mp4"')
    return name


def _look(path: Path) -> FileStamp | Problem:
    """Inspect the file. Blocks; on a mount that hangs, without end."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return NOT_FOUND
    except PermissionError:
        return FILE_NOT_READABLE
    except OSError as error:
        return attrs.evolve(NOT_A_FILE, message=f"The source's path is no file: {error.strerror}")
    if words := kind_of_path(status.st_mode):
        return attrs.evolve(NOT_A_FILE, message=f"The source's path {words}")
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return FILE_NOT_READABLE
    if not status.st_size:
        return EMPTY_FILE
    return FileStamp(status.st_size, status.st_mtime_ns)
