"""Where decoding has to begin, so that all is right when some frames of a file are shown.

That is the key frame before them, unless they are shown before it, or a decoder cannot begin anew
with it: behind the key frame of an open group of pictures, or where pictures are refreshed in
parts, it may show nothing, or damaged frames. Then it is an earlier one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from camd.mp4.h26x.leading_pictures import frames_to_recovery
from camd.mp4.h26x.parameter_sets import Read
from camd.mp4.init import Init
from camd.mp4.inspect import StoredSamples

# The number of a key frame -> after how many frames all is right that a decoder shows which begins
# with it; None where it needs nothing from before.
Recovery = Callable[[int], int | None]


def needs_nothing(_: int) -> int | None:
    """Say of any key frame that a decoder needs nothing from before it."""
    return None


def recovery_of(init: Init, samples: StoredSamples, read: Read) -> Recovery:
    """Return what says of the key frames of a file what a decoder needs that begins with them."""
    if samples.track.intra_only:
        return needs_nothing

    @functools.cache
    def recovery(number: int) -> int | None:
        return frames_to_recovery(init, read, samples.offsets[number], samples.sizes[number])

    return recovery


def first_needed(
    samples: StoredSamples, times: list[int], wanted: list[int], recovery: Recovery
) -> int:
    """Return the key frame with which the decoding of some frames has to begin.

    That is the one before them, unless some of them are shown before it, or a decoder needs what
    was before: then an earlier one, of which all that follows is right in time.
    """
    nearest = first = key_frame_before(samples, wanted[0] + 1)
    while first > 0:
        after = recovery(first)
        is_right = after is None or (first < nearest and wanted[0] - first >= after)
        if is_right and leading_of(samples, times, first).isdisjoint(wanted):
            break
        earlier = key_frame_before(samples, first)
        if earlier >= first:
            break
        first = earlier
    return first


def key_frame_before(samples: StoredSamples, before: int) -> int:
    """Return the last key frame before a number; the first of all when there is none."""
    if samples.track.intra_only:
        return before - 1
    found = samples.sync.rfind(b"\x01", 0, before)
    return found if found >= 0 else samples.sync.find(b"\x01") % (len(samples.sync) + 1)


def leading_of(samples: StoredSamples, times: list[int], key_frame: int) -> frozenset[int]:
    """Return the frames behind a key frame, up to the next one, that are shown before it."""
    until = samples.sync.find(b"\x01", key_frame + 1)
    numbers = range(key_frame + 1, until if until >= 0 else len(times))
    return frozenset(number for number in numbers if times[number] < times[key_frame])
