"""Read recordings for an export: samples and bytes. Everything here may block: call it in threads.

A file is known by its identity, so that bytes of another one that took its name are never sent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import attrs

from camd.export.rules.export_plan import (
    ExportFile,
    FramesAround,
    ShownSpan,
    later_by,
    window,
)
from camd.model import ReadableRecording, SegmentState
from camd.mp4.boxes import MediaError
from camd.mp4.inspect import sealed_moov_offset
from camd.mp4.movies.cut_frames import choose_frames, choose_lead_in, needs_earlier_file
from camd.mp4.movies.cut_movie import CutBuilder, CutMovie, FileCut
from camd.mp4.movies.decode_begin import Recovery, recovery_of
from camd.mp4.movies.frame_movie import presentation_times
from camd.mp4.movies.recorded_tracks import RecordedTracks, read_recorded
from camd.mp4.segment import HASHED_FROM
from camd.storage.disk import PosixFile
from camd.storage.file_identity import FileIdentity, identity_of

_FAR = Fraction(10**7)  # seconds; further than any file reaches


class ForeignFileError(Exception):
    """A file that camd has not recorded: it has another layout."""


class SourceVanishedError(OSError):
    """A file was removed or replaced, or has become shorter."""


@attrs.frozen
class OpenSource:
    """A recording that is open for reading."""

    file: PosixFile
    identity: FileIdentity

    @classmethod
    def open(cls, path: os.PathLike[str]) -> OpenSource:
        """Open a file; never follows a link. Raises OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return cls(PosixFile(descriptor), identity_of(descriptor))

    def read(self, offset: int, size: int) -> bytes:
        """Read exactly so many bytes. Raises SourceVanishedError when the file is shorter."""
        data = self.file.read(offset, size)
        if len(data) != size:
            raise SourceVanishedError("the file has become shorter")
        return data

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def read_block(path: os.PathLike[str], identity: FileIdentity, offset: int, size: int) -> bytes:
    """Read exactly so many bytes of a file that is still the same one.

    Raises SourceVanishedError when it is another one or shorter, and OSError.
    """
    source = OpenSource.open(path)
    try:
        if source.identity != identity:
            raise SourceVanishedError("another file has taken its name")
        return source.read(offset, size)
    finally:
        source.close()


@attrs.frozen
class FoundCut:
    """What an export takes of one file."""

    planned: ExportFile
    identity: FileIdentity
    piece: FileCut
    span: ShownSpan


@contextmanager
def _read(
    planned: ExportFile, stored: ReadableRecording
) -> Iterator[tuple[OpenSource, RecordedTracks, Recovery]]:
    """Read the tables of a file, which stays open while the block runs."""
    source = OpenSource.open(stored.path)
    try:
        head = source.file.read(0, HASHED_FROM)
        try:
            sealed_moov_offset(head)
        except MediaError as error:
            raise ForeignFileError(str(error)) from error
        begin = Fraction(0) if planned.begin is None else planned.begin
        end = _FAR if planned.end is None else planned.end
        found = read_recorded(source.file.read, stored.size_bytes, begin, end)
        yield source, found, recovery_of(found.init, found.video.samples, source.file.read)
    finally:
        source.close()


def needs_lead_in(planned: ExportFile, stored: ReadableRecording) -> bool:
    """Whether the first frame that is wanted of a file needs the file before.

    Raises ForeignFileError, MediaError and OSError.
    """
    with _read(planned, stored) as (_, found, recovery):
        if found.video.begin:
            return False  # of a growing file, which is not read from its beginning
        begin, end = _window(planned, found)
        return needs_earlier_file(found.video.samples, begin, end, recovery)


def holds_frames(planned: ExportFile, stored: ReadableRecording) -> bool:
    """Whether a file has a frame that is wanted. Raises as `find_piece` does."""
    with _read(planned, stored) as (_, found, _):
        samples = found.video.samples
        begin, end = _window(planned, found)
        times = presentation_times(samples.durations, samples.composition)
        return any(begin <= time < end for time in times)


def find_piece(
    planned: ExportFile, stored: ReadableRecording, *, continued: bool
) -> FoundCut | FramesAround:
    """Read what an export takes of a file; what is around it when none of its frames is wanted.

    `continued`: the export has the frames just before. Raises ForeignFileError, MediaError and
    OSError.
    """
    with _read(planned, stored) as (source, found, recovery):
        piece = _choose(planned, found, recovery, continued=continued)
    if piece is None:
        return _around(planned, found)
    return FoundCut(planned, source.identity, piece, _span(planned, piece))


def _choose(
    planned: ExportFile, found: RecordedTracks, recovery: Recovery, *, continued: bool
) -> FileCut | None:
    video = found.video
    begin, end = _window(planned, found)
    frames = choose_frames(
        video.samples,
        begin,
        end,
        continued=continued,
        decodable_start=planned.segment.leading_frames == 0,
        recovery=recovery,
    )
    if frames is None and planned.leads_in:
        frames = choose_lead_in(video.samples, recovery=recovery)
    return None if frames is None else FileCut(found, frames, continued)


def _window(planned: ExportFile, found: RecordedTracks) -> tuple[int, int]:
    """Return what is wanted of a file, in ticks of its video track."""
    return window(planned, _zero(found), found.video.track.timescale)


def _zero(found: RecordedTracks) -> Fraction:
    """Return when a file's first frame is shown, in seconds from when its video begins here."""
    video = found.video
    return found.zero - video.track.delay - Fraction(video.begin, video.track.timescale)


def _around(planned: ExportFile, found: RecordedTracks) -> FramesAround:
    samples, zero, scale = found.video.samples, _zero(found), found.video.track.timescale
    begin, end = _window(planned, found)
    times = presentation_times(samples.durations, samples.composition)
    before = max((time for time in times if time < begin), default=None)
    after = min((time for time in times if time >= end), default=None)
    if planned.segment.state is SegmentState.OPEN and end > sum(samples.durations):
        after = None  # another one may come that is shown before
    start = planned.segment.start
    return FramesAround(
        None if before is None else later_by(start, Fraction(before, scale) - zero),
        None if after is None else later_by(start, Fraction(after, scale) - zero),
    )


def _span(planned: ExportFile, piece: FileCut) -> ShownSpan:
    start, zero = planned.segment.start, _zero(piece.file)
    scale = piece.file.video.track.timescale
    return ShownSpan(
        later_by(start, Fraction(piece.frames.shown_from, scale) - zero),
        later_by(start, Fraction(piece.frames.shown_until, scale) - zero),
    )


def finish_movie(builder: CutBuilder, start_micros: int, names: bytes) -> tuple[CutMovie, str]:
    """Build a movie and its strong ETag: over its head, its ranges and the names of its files."""
    movie = builder.finish(start_micros)
    digest = hashlib.sha256(movie.head)
    digest.update(repr([(each.begin, each.end) for each in movie.ranges]).encode())
    digest.update(names)
    return movie, f'"{digest.hexdigest()[:32]}"'
