"""The layout of a segment file: what is written while it grows, and what seals it.

    growing:  ftyp  free               moov(init)  uuid  moof mdat free  moof mdat free …
    sealed:   ftyp  mdat(everything up to the final moov)            moov(final)

Sealing appends the final `moov`, then overwrites the 16 bytes of `free` with the header of an
`mdat` that contains everything between. The file is valid before and after, and there is no state
in between (I1).

The `free` box after each fragment holds its checksum, and how many bytes of the file were known to
be on stable storage when it was written: after a power cut, only later bytes are in doubt (I2).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction

import attrs

from camd.mp4.boxes import box
from camd.mp4.fragments import Fragment, Init, TrackRun
from camd.mp4.h26x.leading_pictures import leading_frames
from camd.mp4.init import required_box
from camd.mp4.moov import Edit, final_moov, growing_moov
from camd.mp4.sample_tables import MAX_OFFSET_SECONDS, SampleTable, SegmentError
from camd.mp4.segment_metadata import SegmentMetadata

__all__ = ["FTYP_SIZE", "HASHED_FROM", "SegmentError", "SegmentLayout"]

FTYP_SIZE = 32
HASHED_FROM = 48  # a segment's hash covers the bytes from here on, which sealing does not change
LATE_MARGIN_SECONDS = 1
_TRACK_SIZE = 256  # more than a track's headers and edit list grow by in the final moov

CHECKSUM_BOX_SIZE = 24
_CHECKSUM_BOX = struct.Struct(">I4s4sIQ")  # size, "free", mark, CRC-32, synced bytes
_CHECKSUM_MARK = b"cmd1"

_FTYP = box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso5iso6mp41")
_FREE = box(b"free", bytes(8))


@attrs.frozen
class FragmentChecksum:
    """The checksum box of a fragment: its CRC-32, and the bytes that were durable by then."""

    checksum: int
    synced_bytes: int


def checksum_of(pieces: Iterable[bytes], synced_bytes: int) -> int:
    """Compute the CRC-32 of a checksum box: over the fragment's bytes, then `synced_bytes`."""
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return zlib.crc32(synced_bytes.to_bytes(8, "big"), checksum)


def read_checksum_box(data: bytes) -> FragmentChecksum | None:
    """Parse a checksum box; None when the bytes are something else."""
    if len(data) != CHECKSUM_BOX_SIZE:
        return None
    size, kind, mark, checksum, synced = _CHECKSUM_BOX.unpack(data)
    if (size, kind, mark) != (CHECKSUM_BOX_SIZE, b"free", _CHECKSUM_MARK):
        return None
    return FragmentChecksum(checksum, synced)


class SegmentLayout:
    """The layout of one segment: the bytes to write, and the position of every sample.

    Write `header`, then the result of `append` for each fragment, `first` included; to seal,
    append `final_moov()` and overwrite the 16 bytes at FTYP_SIZE with `seal_header` of its offset.
    Fragments read back from a growing file rebuild the same index.
    """

    def __init__(
        self,
        init: Init,
        first: Fragment,
        metadata: SegmentMetadata,
        *,
        header_size: int | None = None,
    ) -> None:
        """Plan a segment that begins with `first`.

        `header_size` is the offset of the first fragment in an existing file; by default it
        follows `header`. Raises SegmentError when no segment can begin with it.
        """
        if not first.starts_with_sync:
            raise SegmentError("a segment begins with a key frame")
        self.init = init
        self.metadata = metadata
        self.leading_frames = leading_frames(init, first)
        self._tables, edits = _plan(init, first)
        self._video = self._tables[init.video.track_id]
        moov = growing_moov(init, edits, metadata.start_micros)
        self.header = b"".join((_FTYP, _FREE, moov, metadata.encode()))
        self._size = len(self.header) if header_size is None else header_size
        self._sequence = 0

    @property
    def size_bytes(self) -> int:
        """Size of the file with everything appended so far, without a final moov."""
        return self._size

    @property
    def frames(self) -> int:
        """Number of video samples appended."""
        return self._video.samples

    @property
    def duration(self) -> Fraction:
        """Exact duration of the video in seconds, from the first frame: see `shown_length`."""
        return Fraction(self._video.shown_ticks, self._video.track.timescale)

    @property
    def decoded_seconds(self) -> float:
        """How long its frames take to be decoded; longer pictures may be shown."""
        return float(Fraction(self._video.end - self._video.begin, self._video.track.timescale))

    @property
    def duration_seconds(self) -> float:
        """Duration of the video."""
        return float(self.duration)

    @property
    def start(self) -> datetime:
        """Wall time of the first frame, UTC."""
        return self.metadata.start

    @property
    def end(self) -> datetime:
        """Wall time at the end of the last frame: start plus duration, whatever the clock did."""
        return self.start + timedelta(seconds=self.duration_seconds)

    @property
    def most_moov_bytes(self) -> int:
        """Largest possible size of the final `moov`."""
        tables = self._tables.values()
        return len(self.init.moov) + sum(table.most_bytes + _TRACK_SIZE for table in tables)

    def in_stream(self, run: TrackRun) -> TrackRun:
        """Convert a run's decode time in the file back to that of the stream."""
        return attrs.evolve(run, decode_time=run.decode_time + self._tables[run.track_id].base)

    def append(self, fragment: Fragment) -> list[bytes]:
        """Render a fragment, and record it as written."""
        pieces = self.render(fragment)
        self.record(fragment.runs, fragment.size_bytes)
        return pieces

    def validate(self, runs: Iterable[TrackRun]) -> None:
        """Raise SegmentError when a fragment with these runs cannot be appended."""
        for run in runs:
            if run.track_id not in self._tables:
                raise SegmentError(f"the segment has no track {run.track_id}")
            self._tables[run.track_id].validate(run, self._place(run))

    def _place(self, run: TrackRun) -> int:
        """Return the decode time of a run in the file; a first run may follow other tracks."""
        table = self._tables[run.track_id]
        if table.samples:
            return table.place(run)
        ends = [each.end_seconds for each in self._tables.values() if each.samples]
        return table.place(run, max(ends, default=table.zero))

    def render(self, fragment: Fragment, synced_bytes: int = 0) -> list[bytes]:
        """Return the bytes to write: the moof with its times in the file, mdat, checksum box.

        `synced_bytes` of the file are on stable storage. Records nothing, so that a failed write
        leaves the index as it was. Raises SegmentError: see `validate`.
        """
        self.validate(fragment.runs)
        moved = bytearray(fragment.moof)
        header = required_box(fragment.moof, b"moof", b"mfhd")
        struct.pack_into(">I", moved, header.payload + 4, self._sequence + 1)
        for run in fragment.runs:
            form = ">Q" if run.tfdt_size == 8 else ">I"
            struct.pack_into(form, moved, run.tfdt_at, self._place(run))
        moof = bytes(moved)
        checksum = checksum_of((moof, fragment.mdat), synced_bytes)
        checksum_box = _CHECKSUM_BOX.pack(
            CHECKSUM_BOX_SIZE, b"free", _CHECKSUM_MARK, checksum, synced_bytes
        )
        return [moof, fragment.mdat, checksum_box]

    def record(self, runs: Iterable[TrackRun], size_bytes: int) -> None:
        """Record that a fragment, moof and mdat of `size_bytes`, was appended."""
        self._sequence += 1
        for run, begin in [(run, self._place(run)) for run in runs]:
            self._tables[run.track_id].add(run, self._size, begin)
        self._size += size_bytes + CHECKSUM_BOX_SIZE

    def final_moov(self) -> bytes:
        """Build the `moov` of the sealed file. Tracks without samples are left out."""
        present = [table for table in self._tables.values() if table.samples]
        zero = min(table.start_seconds for table in present)
        edits = {
            table.track.track_id: Edit(
                table.start_seconds - zero, table.media_time, table.presented_seconds
            )
            for table in present
        }
        return final_moov(self.init, present, edits, self.metadata.start_micros)

    def seal_header(self, moov_offset: int) -> bytes:
        """Build the 16 bytes that make everything up to `moov_offset` an `mdat`."""
        return struct.pack(">I4sQ", 1, b"mdat", moov_offset - FTYP_SIZE)


def _plan(init: Init, first: Fragment) -> tuple[dict[int, SampleTable], dict[int, Edit]]:
    """Choose the decode time of the stream that becomes zero in each track, and each track's edit.

    A track with samples in the first fragment starts with them. One whose samples come later
    starts where the file does; as they may begin slightly earlier (FFmpeg moves the first sample of
    a late track), its media time has a margin, which its edit removes.
    """
    tracks = {track.track_id: track for track in init.tracks}
    begun = {}
    for run in first.runs:
        begun[run.track_id] = SampleTable(tracks[run.track_id], run.decode_time)
        begun[run.track_id].add(run, 0, 0)
    pictures = begun[init.video.track_id].start_seconds
    for table in begun.values():
        if abs(table.start_seconds - pictures) > MAX_OFFSET_SECONDS:
            table.zero += pictures - table.start_seconds
    zero = min(table.start_seconds for table in begun.values())
    edits = {
        track_id: Edit(table.start_seconds - zero, table.media_time)
        for track_id, table in begun.items()
    }
    tables = {}
    for track_id, track in tracks.items():
        if track_id in begun:
            tables[track_id] = SampleTable(track, begun[track_id].base, begun[track_id].zero)
        else:
            base = round((zero - track.delay - LATE_MARGIN_SECONDS) * track.timescale)
            tables[track_id] = SampleTable(track, base)
            edits[track_id] = Edit(Fraction(0), LATE_MARGIN_SECONDS * track.timescale)
    return tables, edits
