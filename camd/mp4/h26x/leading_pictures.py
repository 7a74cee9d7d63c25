"""Count the frames at the beginning of a file that refer to frames before it.

A file may begin where a decoder recovers only after some frames: at an open group of pictures, or
at a recovery point of a stream that is refreshed gradually and has no other key frames (ITU-T H.264
clause D.2.8, ITU-T H.265 clauses 3.111 and 7.4.2.2).
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, Init
from camd.mp4.h26x.parameter_sets import (
    BitFields,
    NalError,
    NalUnit,
    Read,
    VideoCodec,
    nal_units_in,
    reader_of_bytes,
)
from camd.mp4.h26x.sample_entry import VideoHeader, video_header

_IDR, _SEI = 5, 6  # H.264 NAL unit types
_RADL, _RASL = (6, 7), (8, 9)  # H.265 leading pictures that can be decoded, and that cannot
_CRA_OR_BLA = (16, 17, 18, 21)
_RESETS = {VideoCodec.H264: (_IDR,), VideoCodec.H265: (16, 17, 18, 19, 20)}  # all IRAP but CRA
_RECOVERY_POINT = 6
_SEI_SIZE = 512  # bytes searched for a recovery point


@attrs.frozen
class _Sample:
    units: tuple[NalUnit, ...]
    shown: int  # presentation time

    def kinds(self, codec: VideoCodec) -> set[int]:
        if codec is VideoCodec.H264:
            return {unit.header & 0x1F for unit in self.units}
        return {unit.header >> 1 & 0x3F for unit in self.units}


def leading_frames(init: Init, first: Fragment) -> int | None:
    """Count the frames that cannot be shown at the beginning of a file that starts with `first`.

    Only frames of that fragment are counted. None when its samples are missing or damaged.
    """
    if first.video is None or len(first.mdat) <= 8:
        return None
    try:
        header = video_header(init)
        if header is None:
            return 0
        samples = _samples(first, header)
        return _h264(first, samples) if header.codec is VideoCodec.H264 else _h265(samples)
    except MediaError:
        return None


def begins_anew(init: Init, sample: bytes) -> bool:
    """Whether a decoder that gets this key frame forgets what it had before.

    Behind any other one it goes on counting, and the pictures of key frames that did not follow
    each other are put into a wrong order, or left out. Raises MediaError.
    """
    header = video_header(init)
    if header is None:
        return True
    units = tuple(nal_units_in(reader_of_bytes(sample), 0, len(sample), header.nal_length))
    return not _Sample(units, 0).kinds(header.codec).isdisjoint(_RESETS[header.codec])


def frames_to_recovery(init: Init, read: Read, at: int, size: int) -> int | None:
    """Return after how many frames all is right, for a decoder that begins with a key frame.

    None where it needs nothing from before: behind its leading pictures all is right. A key frame
    of H.264 that is no IDR picture needs some frames, or none; even so, frames behind it tell the
    decoder to forget frames from before it. It lies at `at` of what `read` reads. None, too, where
    it cannot be read.
    """
    try:
        header = video_header(init)
        if header is None or header.codec is not VideoCodec.H264:
            return None
        sample = _Sample(tuple(nal_units_in(read, at, size, header.nal_length)), 0)
        if _IDR in sample.kinds(header.codec):
            return None
        return _frames_to_recovery(sample, read)
    except MediaError:
        return None


def _samples(fragment: Fragment, header: VideoHeader) -> Iterator[_Sample]:
    assert fragment.video is not None
    run, time = fragment.video, 0
    read = reader_of_bytes(fragment.mdat)
    for number, (at, size) in enumerate(fragment.video_samples()):
        offset = run.composition[number] if run.composition else 0
        yield _Sample(tuple(nal_units_in(read, at, size, header.nal_length)), time + offset)
        time += run.durations[number]


def _h264(fragment: Fragment, samples: Iterator[_Sample]) -> int:
    first = next(samples)
    if _IDR in first.kinds(VideoCodec.H264):
        return 0
    refreshed = _frames_to_recovery(first, reader_of_bytes(fragment.mdat))
    early = 0
    for sample in samples:
        if sample.shown > first.shown:
            break
        early += 1
    return max(early, refreshed)


def _h265(samples: Iterator[_Sample]) -> int:
    if not next(samples).kinds(VideoCodec.H265).intersection(_CRA_OR_BLA):
        return 0
    count = 0
    for sample in samples:
        kinds = sample.kinds(VideoCodec.H265)
        if kinds.intersection(_RASL):
            count += 1
        elif not kinds.intersection(_RADL):
            break
    return count


def _frames_to_recovery(sample: _Sample, read: Read) -> int:
    """Return how many frames a recovery point takes; 0 without one."""
    for unit in sample.units:
        if unit.header & 0x1F != _SEI:
            continue
        data = read(unit.start + 1, min(unit.size - 1, _SEI_SIZE))
        try:
            for kind, payload in _messages(data.replace(b"\x00\x00\x03", b"\x00\x00")):
                if kind == _RECOVERY_POINT:
                    return BitFields(payload).number()
        except NalError:
            continue
    return 0


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and payload of the messages in an SEI NAL unit without header (7.3.2.3.1)."""
    at = 0
    while at + 2 < len(data):
        kind, at = _extended(data, at)
        size, at = _extended(data, at)
        yield kind, data[at : at + size]
        at += size


def _extended(data: bytes, at: int) -> tuple[int, int]:
    """Return a number coded as bytes of 255 and a last byte, and where it ends."""
    number = 0
    while data[at : at + 1] == b"\xff":
        number, at = number + 255, at + 1
    return number + int.from_bytes(data[at : at + 1], "big"), at + 1
