"""The form of a fragment of one frame: which of its bytes differ from frame to frame.

FFmpeg writes the boxes of each frame alike: only a few numbers differ. A `FrameForm` is made of a
fragment that the full reader has read, and knows where those numbers are. Bytes that differ from it
in nothing else are a fragment of that form, and mean what the full reader would find in them.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

import attrs

from camd.mp4.boxes import DEFAULT_LIMITS, BoxSpan, boxes_in, find
from camd.mp4.fragments import NTP_OFFSET_SECONDS, WRITTEN, Fragment, Init, SampleChunk, TrackRun

MDAT_HEADER_SIZE = 8
LONGEST_HEAD = 1024  # bytes before the samples
MOST_SAMPLES = 8  # of one frame and the sound beside it
_MDAT_LIMIT = DEFAULT_LIMITS[b"mdat"]
_PRFT = struct.Struct(">I4sBBHIQq")  # of version 1
_DEFAULT_BASE_IS_MOOF = 0x20000
_DURATION, _SIZE, _COMPOSITION = "duration", "size", "composition"
# Optional fields of 4 bytes, in order: of a tfhd (8.8.7), and of each sample of a trun (8.8.8).
_TFHD_FIELDS = {0x2: "", 0x8: _DURATION, 0x10: _SIZE, 0x20: ""}
_TRUN_FIELDS = {0x100: _DURATION, 0x200: _SIZE, 0x400: "", 0x800: _COMPOSITION}

FrameNumbers = tuple[int, ...]  # of one fragment: what differs, in the order in which it lies


@attrs.define(eq=False)
class _VariableFields:
    """The numbers that may differ, in the order in which they lie, and what unpacks them."""

    form: str = ">"
    end: int = 0
    count: int = 0
    spans: list[tuple[int, int]] = attrs.field(factory=list)

    def add(self, at: int, code: str) -> int:
        """Add the number at `at`, behind those before; return its place among them."""
        width = struct.calcsize(">" + code)
        self.form += f"{at - self.end}x{code}"
        self.end, self.count = at + width, self.count + 1
        self.spans.append((at, width))
        return self.count - 1

    def mask(self, size: int) -> int:
        """Return the bits of `size` bytes that are in none of the numbers."""
        mask = bytearray(b"\xff" * size)
        for at, width in self.spans:
            mask[at : at + width] = bytes(width)
        return int.from_bytes(mask, "big")


@attrs.frozen
class _FieldPlaces:
    """Where the numbers of one field of all samples are: one for each, or one for all of them."""

    places: slice
    repeated: int = 1

    @classmethod
    def of(cls, places: Sequence[int]) -> _FieldPlaces:
        step = places[1] - places[0] if len(places) > 1 else 1
        return cls(slice(places[0], places[-1] + 1, step))

    def within(self, values: FrameNumbers) -> FrameNumbers:
        return values[self.places] * self.repeated


@attrs.frozen(kw_only=True)
class _RunForm:
    """One track: the places of its numbers; None: as in `like`."""

    like: TrackRun
    decode_time: int
    offset: int
    durations: _FieldPlaces | None
    sizes: _FieldPlaces | None
    composition: _FieldPlaces | None

    def size_bytes(self, values: FrameNumbers) -> int:
        return sum(self.sizes.within(values) if self.sizes is not None else self.like.sizes)

    def run(self, values: FrameNumbers) -> TrackRun:
        like = self.like
        durations, sizes, composition = like.durations, like.sizes, like.composition
        if self.durations is not None:
            durations = array("I", self.durations.within(values))
        if self.sizes is not None:
            sizes = array("I", self.sizes.within(values))
        if self.composition is not None:
            offsets = self.composition.within(values)
            composition = array("i", offsets if any(offsets) else ())
        return TrackRun(
            like.track_id,
            like.timescale,
            values[self.decode_time],
            durations,
            sizes,
            like.sync,
            composition,
            (SampleChunk(like.count, values[self.offset]),),
            like.tfdt_at,
            like.tfdt_size,
            sum(durations),
        )


@attrs.frozen(eq=False, kw_only=True)
class FrameForm:
    """All before the samples of a fragment of one frame, but for the numbers that differ.

    `like` is these bytes as one number, `mask` the bits of it that must be the same.
    """

    head_size: int
    like: int = attrs.field(repr=False)
    mask: int = attrs.field(repr=False)
    moof_at: int
    runs: tuple[_RunForm, ...]
    video: int | None  # which of the runs
    about_video: bool  # the reference time is
    written: bool  # the reference time is when the fragment was written
    timescale: int  # of the video track
    numbers: struct.Struct
    mdat: int  # the place of its size

    @classmethod
    def of(cls, head: bytes, fragment: Fragment, init: Init) -> FrameForm | None:
        """Make the form of a fragment whose bytes before its samples are `head`; None: it has none.

        `head` begins with the reference time (`prft`) or, without one, with the `moof`.
        """
        samples = sum(run.count for run in fragment.runs)
        if not 0 < samples <= MOST_SAMPLES or fragment.frames > 1 or len(head) > LONGEST_HEAD:
            return None
        moof_at, video = len(head) - len(fragment.moof) - MDAT_HEADER_SIZE, init.video.track_id
        numbers, flags = _VariableFields(), 0
        if moof_at:
            if (reference := _reference(head[:moof_at])) is None or reference[0] != video:
                return None
            flags = reference[1]
            numbers.add(16, "Q")  # NTP time
            numbers.add(24, "q")  # media time
        runs = _read_layout(fragment, moof_at, numbers)
        if runs is None or (moof_at and fragment.video is None):
            return None
        mdat = numbers.add(moof_at + len(fragment.moof), "I")
        mask = numbers.mask(len(head))
        return cls(
            head_size=len(head),
            like=int.from_bytes(head, "big") & mask,
            mask=mask,
            moof_at=moof_at,
            runs=runs,
            video=next((n for n, run in enumerate(fragment.runs) if run is fragment.video), None),
            about_video=moof_at > 0,
            written=flags == WRITTEN,
            timescale=fragment.timescale,
            numbers=struct.Struct(numbers.form),
            mdat=mdat,
        )

    def is_begun_by(self, begin: bytes | bytearray | memoryview) -> bool:
        """Whether these bytes, `head_size` at most, can be the first ones of such a fragment."""
        missing = 8 * (self.head_size - len(begin))
        return int.from_bytes(begin, "big") & self.mask >> missing == self.like >> missing

    def numbers_at(self, data: bytearray | memoryview, at: int) -> FrameNumbers:
        """Return the numbers of the fragment at `at`, whose head is there and like this form."""
        return self.numbers.unpack_from(data, at)

    def size_of(self, numbers: FrameNumbers) -> int | None:
        """Return the size of a fragment with these numbers.

        None: its samples do not lie one behind the other and fill its `mdat`, or are too large.
        """
        end = first = self.head_size - self.moof_at
        for run in self.runs:
            if numbers[run.offset] != end:
                return None
            end += run.size_bytes(numbers)
        size = end - first + MDAT_HEADER_SIZE
        if size != numbers[self.mdat] or size > _MDAT_LIMIT:
            return None
        return self.moof_at + end

    def fragment(self, numbers: FrameNumbers, whole: memoryview) -> Fragment:
        """Return the fragment with these numbers; `whole` is all of its bytes, see `size_of`."""
        mdat_at = self.head_size - MDAT_HEADER_SIZE
        moof, mdat = bytes(whole[self.moof_at : mdat_at]), bytes(whole[mdat_at:])
        runs = tuple([form.run(numbers) for form in self.runs])
        video = None if self.video is None else runs[self.video]
        if not self.about_video or video is None:
            return Fragment(moof, mdat, runs, video, self.timescale)
        micros = _micros(numbers[0])
        if self.written:
            micros -= video.duration * 1_000_000 // video.timescale
        return Fragment(moof, mdat, runs, video, self.timescale, micros, numbers[1])


def _micros(ntp: int) -> int:
    seconds, fraction = divmod(ntp, 1 << 32)
    return (seconds - NTP_OFFSET_SECONDS) * 1_000_000 + (fraction * 1_000_000 >> 32)


def _reference(data: bytes) -> tuple[int, int] | None:
    """Return the track and the flags of a `prft` (8.16.5); None: it is something else."""
    if len(data) != _PRFT.size or data[4:8] != b"prft":
        return None
    size, _, version, high, low, track_id, _, _ = _PRFT.unpack(data)
    return (track_id, high << 16 | low) if size == _PRFT.size and version == 1 else None


def _read_layout(
    fragment: Fragment, base: int, numbers: _VariableFields
) -> tuple[_RunForm, ...] | None:
    """Find the numbers in a `moof` that may differ, `base` bytes behind the form's first byte.

    None unless its layout is the one that is known here.
    """
    moof = fragment.moof
    parts = _parts(moof, find(moof, b"moof"))
    kinds = [part.kind for part in parts]
    if kinds != [b"mfhd", *[b"traf"] * len(fragment.runs)]:
        return None
    numbers.add(base + parts[0].payload + 4, "I")  # the sequence number
    found = []
    for traf, run in zip(parts[1:], fragment.runs, strict=True):
        form = _read_run(moof, traf, run, base, numbers)
        if form is None:
            return None
        found.append(form)
    return tuple(found)


def _read_run(
    moof: bytes, traf: BoxSpan, run: TrackRun, base: int, numbers: _VariableFields
) -> _RunForm | None:
    inner = _parts(moof, traf)
    if [part.kind for part in inner] != [b"tfhd", b"tfdt", b"trun"]:
        return None
    tfhd, _, trun = inner
    defaults, fields = _word(moof, tfhd.payload), _word(moof, trun.payload)
    rows = trun.payload + 12 + (4 if fields & 0x4 else 0)  # behind the flags of the first sample
    if not (defaults & _DEFAULT_BASE_IS_MOOF and fields & 0x1):
        return None
    columns: dict[str, _FieldPlaces] = {}
    at = tfhd.payload + 8
    for bit, name in _TFHD_FIELDS.items():
        if defaults & bit:
            if name:
                place = numbers.add(base + at, "I")
                columns[name] = _FieldPlaces(slice(place, place + 1), run.count)
            at += 4
    decode_time = numbers.add(base + run.tfdt_at, "q" if run.tfdt_size == 8 else "I")
    offset = numbers.add(base + trun.payload + 8, "i")
    own: dict[str, list[int]] = {}
    end = rows
    for _ in range(run.count):
        for bit, name in _TRUN_FIELDS.items():
            if fields & bit:
                if name:
                    code = "i" if name == _COMPOSITION else "I"
                    own.setdefault(name, []).append(numbers.add(base + end, code))
                end += 4
    columns |= {name: _FieldPlaces.of(places) for name, places in own.items()}
    if at != tfhd.end or end != trun.end:
        return None
    return _RunForm(
        like=run,
        decode_time=decode_time,
        offset=offset,
        durations=columns.get(_DURATION),
        sizes=columns.get(_SIZE),
        composition=columns.get(_COMPOSITION),
    )


def _parts(data: bytes, parent: BoxSpan | None) -> list[BoxSpan]:
    return list(boxes_in(data, parent)) if parent is not None else []


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
