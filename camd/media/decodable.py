"""Whether a finished file's pictures can be decoded with what its own header says.

Nothing is decoded: the header's parameter sets are compared with those that key frames carry.
"""

from __future__ import annotations

from camd.media.boxes import MediaError, children
from camd.media.nal_units import NalError, Read
from camd.media.parameter_sets import sets_within
from camd.media.samples import sync_samples
from camd.media.tracks import need, read_init
from camd.media.video_header import contradiction, header_trouble, video_header


def undecodable(read: Read, moov: bytes, *, every: bool) -> str:
    """Say why the video of a sealed file cannot be decoded with its header; "" when it can.

    Looks at the first key frame, with `every` at each one, and reads little more of them than
    their parameter sets. The text completes "the file …". Raises what `read` raises.
    """
    try:
        return _undecodable(read, moov, every)
    except MediaError as error:
        return f"has a header that cannot be read: {error}"


def _undecodable(read: Read, moov: bytes, every: bool) -> str:
    init = read_init(b"", moov)
    header = video_header(init)
    top = need(moov, b"moov")
    traks = [span for span in children(moov, top.payload, top.end) if span.kind == b"trak"]
    stbl = need(moov, b"mdia", b"minf", b"stbl", within=traks[init.tracks.index(init.video)])
    if header is not None and (wrong := header_trouble(header)):
        return _told(wrong)
    first = True
    for place in sync_samples(moov, stbl):
        if first and place.number > 1:
            return f"begins with {place.number - 1} frames before its first key frame"
        if header is None or not (first or every):
            return ""
        try:
            sets = sets_within(read, place.offset, place.size, header.nal_length, header.codec)
        except NalError as error:
            return _told(f"{error}, frame {place.number}")
        if wrong := contradiction(header, sets):
            return _told(f"{wrong}, from frame {place.number} on")
        first = False
    return "has no key frame" if first else ""


def _told(wrong: str) -> str:
    return f"cannot be decoded with its own header: {wrong}"
