"""Recorded files that a real FFmpeg encoded, movies cut of them, and what players make of those."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import attrs
from support import ffmpeg_media as ffmpeg
from support import recordings

from camd.clock import to_unix_micros
from camd.export.rules.export_plan import (
    ExportFile,
    ExportRange,
    FramesAround,
    ended_by_itself,
    later_by,
    plan_files,
)
from camd.export.source_files import find_piece, holds_frames, needs_lead_in
from camd.model import CameraId, Gap, ReadableRecording, Segment, SegmentState
from camd.mp4.fragments import Fragment, Init
from camd.mp4.movies.cut_movie import CutBuilder, CutMovie, begins_movie
from camd.mp4.segment import SegmentLayout

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
RATE = 30


@attrs.frozen
class Footage:
    """Files of one session in a folder, and the hashes of all frames of the stream, as shown."""

    folder: Path
    segments: tuple[Segment, ...]
    frames: tuple[bytes, ...]

    def stored(self, segment: Segment) -> ReadableRecording:
        """Return a file as the storage does."""
        path = self.folder / segment.filename
        return ReadableRecording(
            path, segment.filename, segment.size_bytes, segment.sha256 is not None, NOON
        )


def shown(program: str, path: Path, *options: str, words: bytes = b"") -> tuple[bytes, ...]:
    """Decode the video of a file, and hash its frames in the order in which they are shown.

    Fails when FFmpeg reports an error, but for one that has these words.
    """
    done = ffmpeg.run(
        *(program, "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", *options),
        *("-f", "framemd5", "-"),
    )
    said = [line for line in done.stderr.splitlines() if not words or words not in line]
    assert (done.returncode, said) == (0, [])
    lines = [line.split(b",") for line in done.stdout.splitlines() if not line.startswith(b"#")]
    return tuple(line[-1].strip() for line in sorted(lines, key=lambda line: int(line[2])))


def record(
    folder: Path, stream: bytes, *, seconds: float = 2, growing: bool = False, first: float = 0.0
) -> list[Segment]:
    """Write a stream as files of so many seconds, the last one growing where that is wanted.

    The stream's first frame was taken `first` seconds after noon.
    """
    init, fragments = ffmpeg.events(stream)
    parts = ffmpeg.cut(fragments, seconds)
    origin = _first_shown(init, fragments[0])
    made = []
    for number, part in enumerate(parts):
        at = Fraction(first).limit_denominator(10**6) + _first_shown(init, part[0]) - origin
        is_open = growing and number == len(parts) - 1
        made.append(_write(folder, init, part, number, later_by(NOON, at), is_open=is_open))
    return made


def record_frames(folder: Path, stream: bytes, count: int) -> tuple[Segment, list[int]]:
    """Write the first `count` frames of a stream of fragments of one frame as a sealed file.

    Return it with the places of its frames in the order in which all frames are shown.
    """
    init, fragments = ffmpeg.events(stream)
    part, origin = fragments[:count], _first_shown(init, fragments[0])
    assert all(each.frames == 1 for each in part)
    places = sorted(round((_first_shown(init, each) - origin) * RATE) for each in part)
    return _write(folder, init, part, 0, NOON, is_open=False), places


def _first_shown(init: Init, fragment: Fragment) -> Fraction:
    run = fragment.video
    assert run is not None
    return Fraction(run.decode_time + (run.composition[0] if run.composition else 0), run.timescale)


def _write(
    folder: Path, init: Init, part: list[Fragment], number: int, start: datetime, *, is_open: bool
) -> Segment:
    metadata = attrs.evolve(ffmpeg.identity(number), start_micros=to_unix_micros(start))
    index = SegmentLayout(init, part[0], metadata)
    grown = index.header + b"".join(piece for each in part for piece in index.append(each))
    data = grown if is_open else ffmpeg.seal(index, grown)
    name = f"camera0_{start:%Y-%m-%d_%H-%M-%S}_{number}.mp4"
    (folder / name).write_bytes(data)
    return recordings.segment(
        name,
        session_id="s0",
        number=number,
        start=start,
        end=start + timedelta(seconds=index.duration_seconds),
        duration_seconds=index.duration_seconds,
        frames=index.frames,
        size_bytes=len(data),
        sha256=None if is_open else "ab" * 32,
        state=SegmentState.OPEN if is_open else SegmentState.SEALED,
        leading_frames=index.leading_frames,
    )


def cut(
    footage: Footage, begin: datetime, end: datetime, gaps: Sequence[Gap] = ()
) -> list[tuple[CutMovie, bytes]]:
    """Cut movies of files, as an export does; return each with its bytes."""
    wanted = ExportRange(CameraId("camera0"), begin, end)
    movies: list[tuple[CutMovie, bytes]] = []
    builder, taken, before = None, [], None
    for planned in _with_lead_ins(footage, plan_files(footage.segments, gaps, wanted)):
        continued = before is not None and planned.continues(before.planned)
        found = find_piece(planned, footage.stored(planned.segment), continued=continued)
        if isinstance(found, FramesAround):
            continue
        if builder is not None and before is not None:
            new = begins_movie(before.piece, found.piece)
            builder.add(before.piece, goes_on=continued and not new)
            if new:
                movies.append(_whole(footage, builder, taken))
                builder, taken = None, []
        builder = builder or CutBuilder(found.piece)
        taken.append(found.planned.segment)
        before = found
    if builder is not None and before is not None:
        builder.add(before.piece)
        movies.append(_whole(footage, builder, taken))
    return movies


def _with_lead_ins(footage: Footage, plan: Sequence[ExportFile]) -> list[ExportFile]:
    found: list[ExportFile] = []
    for number, planned in enumerate(plan, 1):
        behind = plan[number] if number < len(plan) else None
        lead_in, stored = planned.lead_in, footage.stored(planned.segment)
        if lead_in is not None and not found and needs_lead_in(planned, stored):
            found.append(lead_in)
        ends = planned.goes_on and planned.own_end is not None and behind is not None
        if ends and behind and not holds_frames(behind, footage.stored(behind.segment)):
            planned = ended_by_itself(planned)
        found.append(planned)
    return found


def _whole(
    footage: Footage, builder: CutBuilder, taken: Sequence[Segment]
) -> tuple[CutMovie, bytes]:
    movie = builder.finish(to_unix_micros(NOON))
    data = movie.head
    for segment, part in zip(taken, movie.ranges, strict=True):
        data += (footage.folder / segment.filename).read_bytes()[part.begin : part.end]
    assert len(data) == movie.size_bytes
    return movie, data


def between(first: Fraction, begin: Fraction, end: Fraction, count: int) -> range:
    """Return the numbers of the frames of a stream that lie in a range of seconds after noon."""
    low = max(0, -(-(begin - first) * RATE // 1))
    return range(low, max(low, min(count, -(-(end - first) * RATE // 1))))
