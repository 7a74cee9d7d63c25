"""Sources of video: what each kind is, in one file per kind; and the table of all kinds.

Others use `Source` (every question that can be asked of a source), `parse_source`, and never ask
which kind it is. `source` has the questions and their defaults, `query_options` and `stream_url`
read what several kinds have in their texts.
"""

from __future__ import annotations

from pathlib import Path

from camd.sources.file import FileSource
from camd.sources.rtsp import RtspSource
from camd.sources.source import FileStamp, SoundPlace, Source, SourceFinding
from camd.sources.srt import SrtSource
from camd.sources.synthetic import SyntheticSource
from camd.sources.v4l2 import V4l2Source

# Every kind, in the order in which a message lists them.
SOURCES: tuple[type[Source], ...] = (V4l2Source, RtspSource, SrtSource, FileSource, SyntheticSource)
# The source of a camera whose entry names none: the device that is bound to its id.
BOUND_DEVICE: Source = V4l2Source()


def parse_source(text: str, folder: Path, home: Path | None = None) -> Source:
    """Read a camera's source; relative file paths start at `folder`. Raises ValueError."""
    scheme, colon, _ = text.strip().partition(":")
    for kind in SOURCES:
        if colon and scheme.lower() in kind.schemes:
            return kind.parse(text.strip(), folder, home)
    beginnings = _listed(*(each for kind in SOURCES for each in kind.beginnings))
    hint = "".join(kind.hint(text) for kind in SOURCES)
    raise ValueError(f"a source starts with {beginnings}{hint}")


def list_schemes() -> str:
    """List what a source may begin with, in words: "v4l2:, file: or test:"."""
    return _listed(*(f"{scheme}:" for kind in SOURCES for scheme in kind.schemes))


def _listed(*words: str) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


__all__ = [
    "BOUND_DEVICE",
    "SOURCES",
    "FileSource",
    "FileStamp",
    "RtspSource",
    "SoundPlace",
    "Source",
    "SourceFinding",
    "SrtSource",
    "SyntheticSource",
    "V4l2Source",
    "list_schemes",
    "parse_source",
]
