"""What sources were found to hold, kept over restarts: so that none is asked twice at a start.

A hint that may be wrong: its user compares it with what comes, and forgets it if that differs. The
file holds no URL and no path, but a hash of each, made without user name, password and values
that are named like secrets.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import attrs
import msgspec
import structlog
import trio

from camd.ffmpeg.binary import FFmpegBinary, KnownBinary
from camd.ffmpeg.text.output import ProbeResult
from camd.runtime.broadcast import LatestValue
from camd.runtime.state_file import StateFile, from_json
from camd.sources import FileStamp, Source

log = structlog.get_logger("camd.cameras")

SOURCES_FILE = "sources.json"
VERSION = 1
TIMEOUT_SECONDS = 2.0
GATHER_SECONDS = 1.0  # what many cameras learn at a start is written at once
AGAIN_SECONDS = 60.0
_MOST_ENTRIES = 1000


@attrs.frozen
class SourceFacts:
    """What was found the last time that a source delivered."""

    video_codec: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    audio_codec: str = ""
    transport: Annotated[str, msgspec.Meta(pattern=r"\A(tcp|udp)\Z")] = "tcp"

    @property
    def probe(self) -> ProbeResult:
        """The same as a probe would say it."""
        sound = bool(self.audio_codec)
        return ProbeResult(
            self.video_codec,
            self.width,
            self.height,
            self.fps,
            audio_codec=self.audio_codec,
            streams=1 + sound,
        )


_Entries = dict[str, SourceFacts]
_Found = tuple[_Entries, KnownBinary | None]


@attrs.define(eq=False)
class SourceCache:
    """What is known of all sources; shared by all cameras. `file` None: it is kept nowhere."""

    file: Path | None = None
    program: KnownBinary | None = attrs.field(default=None, init=False)  # FFmpeg, the last time
    _saved: _Entries = attrs.field(factory=dict, init=False)
    _entries: LatestValue[_Entries] = attrs.field(
        default=attrs.Factory(lambda known: LatestValue(known._saved), takes_self=True), init=False
    )

    def find(self, cache_key: str) -> SourceFacts | None:
        """Look a source up."""
        return self._entries.value.get(cache_key)

    def learn(self, cache_key: str, known: SourceFacts) -> None:
        """Keep what a source delivers; the oldest entry goes when there are too many."""
        if cache_key and self.find(cache_key) != known:
            kept = list(self._without(cache_key).items())[-(_MOST_ENTRIES - 1) :]
            self._entries.publish({**dict(kept), cache_key: known})

    def learn_program(self, seen: KnownBinary | None) -> None:
        """Keep which FFmpeg was found."""
        if seen is not None and seen != self.program:
            self.program = seen
            self._entries.publish(dict(self._entries.value))

    def forget(self, cache_key: str) -> None:
        """Ask the source anew the next time."""
        if cache_key in self._entries.value:
            self._entries.publish(self._without(cache_key))

    def _without(self, cache_key: str) -> _Entries:
        return {name: each for name, each in self._entries.value.items() if name != cache_key}

    async def load(self) -> None:
        """Read the file; nothing is known when there is none, or it cannot be understood."""
        if self.file is None:
            return
        with trio.move_on_after(TIMEOUT_SECONDS):
            file = StateFile(self.file, parse_cache, render_cache)
            found = await trio.to_thread.run_sync(file.load, abandon_on_cancel=True)
            self._saved, self.program = found or ({}, None)
            self._entries.publish(self._saved)

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what is learned, the latest only, until cancelled; after an error, later again."""
        task_status.started()
        while self.file is not None:
            await self._entries.wait_until(lambda latest: latest is not self._saved)
            await trio.sleep(GATHER_SECONDS)
            if not await self.save():
                await trio.sleep(AGAIN_SECONDS)

    async def save(self) -> bool:
        """Write what is not written yet; False when that cannot be done. Waits for the disk."""
        latest = self._entries.value
        if self.file is None or latest is self._saved:
            return True
        try:
            file = StateFile(self.file, parse_cache, render_cache)
            await trio.to_thread.run_sync(file.save, (latest, self.program), abandon_on_cancel=True)
        except OSError as error:
            log.warning("source_cache_not_saved", error=str(error))
            return False
        self._saved = latest
        return True


def cache_key_of(source: Source, facts: FileStamp | None = None) -> str:
    """Name a source by a hash; "" for one of which nothing has to be known beforehand."""
    name = source.cache_name(facts)
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32] if name else ""


class _StoredCache(msgspec.Struct, forbid_unknown_fields=True):
    """The file's content; `ffmpeg` is a `KnownBinary`: path, version, bundled, size, time."""

    version: int
    ffmpeg: tuple[str, int, int, bool, int, int] | None
    sources: Annotated[_Entries, msgspec.Meta(max_length=_MOST_ENTRIES)]


def render_cache(found: _Found) -> str:
    """Write the file's text; `parse_cache` reads it back."""
    entries, seen = found
    program = None
    if seen is not None:
        (major, minor), bundled = seen.program.version, seen.program.bundled
        file = seen.size_bytes, seen.changed_ns
        program = (str(seen.program.path), major, minor, bundled, *file)
    text = msgspec.json.encode(_StoredCache(VERSION, program, entries))
    return msgspec.json.format(text, indent=1).decode() + "\n"


def parse_cache(text: str) -> _Found:
    """Read the file's text; raises ValueError for anything that `render_cache` does not write."""
    found = from_json(text, _StoredCache, version=VERSION)
    if found.ffmpeg is None:
        return found.sources, None
    path, major, minor, bundled, size, changed = found.ffmpeg
    program = FFmpegBinary(Path(path), (major, minor), bundled)
    return found.sources, KnownBinary(program, size, changed)
