"""Choose the frames that a cut takes of a file: those asked for, and what they need to be decoded.

A cut begins with a key frame, so up to a group of pictures is in it and hidden. Where a decoder
cannot begin anew with that key frame (an open group of pictures, or a picture that is refreshed in
parts), the cut begins with an earlier one. Frames are decoded in another order than they are shown
in: behind the last frame asked for, later ones may be needed.
"""

from __future__ import annotations

import attrs

from camd.mp4.init import VIDEO
from camd.mp4.inspect import StoredSamples
from camd.mp4.movies.decode_begin import (
    Recovery,
    first_needed,
    key_frame_before,
    leading_of,
    needs_nothing,
)
from camd.mp4.movies.frame_movie import presentation_times

EVER = 1 << 80  # ticks; later than any frame
UNKNOWN_SHARE = 0.25  # of the shortest duration before it: a shorter one is none
_COMPARED = 8  # pictures before the last one


@attrs.frozen
class FrameCut:
    """Which samples of a file's video track are in a cut, by their numbers in decode order.

    `left_out` are leading pictures between them, which cannot be decoded or are not shown.
    `dependent` are hidden key frames behind which a decoder may show nothing if it begins there:
    players must not. Times are in ticks from the decode time of the file's first sample: when the
    first frame is shown, and when the last one's time ends. `frames` are shown; the others are
    hidden, before or behind.
    """

    first: int
    end: int
    left_out: frozenset[int]
    shown_from: int
    shown_until: int
    frames: int
    hidden_before: int
    hidden_behind: int
    dependent: frozenset[int] = frozenset()


def choose_frames(
    samples: StoredSamples,
    begin: int,
    end: int,
    *,
    continued: bool = False,
    decodable_start: bool = True,
    recovery: Recovery = needs_nothing,
) -> FrameCut | None:
    """Choose the frames that are shown from `begin` to before `end`; None when there is none.

    `begin` and `end` are in ticks from the decode time of the first sample; `end` may be EVER, and
    all samples to the last one are in the cut then, so that another file can follow. `continued`:
    the cut holds what came before the file, so nothing has to be left out. `decodable_start`: the
    file's first frames need nothing from before the file.
    """
    times = presentation_times(samples.durations, samples.composition)
    wanted = [number for number, time in enumerate(times) if begin <= time < end]
    if not wanted:
        return None
    until = len(times) if end >= EVER else wanted[-1] + 1
    if continued:
        cut = _cut(samples, times, wanted, (0, until), frozenset())
        return _with_dependent(cut, samples, times, -1, recovery)
    first = first_needed(samples, times, wanted, recovery)
    leading = leading_of(samples, times, first)
    if first == 0 and decodable_start:
        leading -= frozenset(wanted)
    right = first + (recovery(first) or 0)
    kept = [number for number in wanted if number >= right and number not in leading]
    if not kept:
        return None
    cut = _cut(samples, times, kept, (first, until), leading)
    return _with_dependent(cut, samples, times, first, recovery)


def needs_earlier_file(samples: StoredSamples, begin: int, end: int, recovery: Recovery) -> bool:
    """Whether a decoder that begins with a file does not show all of its frames of a range."""
    times = presentation_times(samples.durations, samples.composition)
    wanted = [number for number, time in enumerate(times) if begin <= time < end]
    if not wanted or first_needed(samples, times, wanted, recovery) > 0:
        return False
    after = recovery(0)
    in_first_group = key_frame_before(samples, wanted[0] + 1) == 0
    return after is not None and (in_first_group or wanted[0] < after)


def choose_lead_in(
    samples: StoredSamples, *, recovery: Recovery = needs_nothing
) -> FrameCut | None:
    """Choose the last group of pictures of a file, all hidden: the next file's begin needs it.

    Several groups, where all is right only after more frames.
    """
    times = presentation_times(samples.durations, samples.composition)
    if not times:
        return None
    end = len(times)
    first = key_frame_before(samples, end)
    while end - first < (recovery(first) or 0):
        if (earlier := key_frame_before(samples, first)) >= first:
            break
        first = earlier
    leading = leading_of(samples, times, first)
    last = max(range(first, end), key=times.__getitem__)
    until = times[last] + shown_ticks(samples, last)
    cut = FrameCut(first, end, leading, until, until, 0, end - first - len(leading), 0)
    return _with_dependent(cut, samples, times, first, recovery)


def _with_dependent(
    cut: FrameCut, samples: StoredSamples, times: list[int], behind: int, recovery: Recovery
) -> FrameCut:
    """Note which hidden key frames behind a number need what was before them."""
    numbers, at = [], samples.sync.find(b"\x01", behind + 1, cut.end)
    while at >= 0 and times[at] <= cut.shown_from:
        if recovery(at) is not None:
            numbers.append(at)
        at = samples.sync.find(b"\x01", at + 1, cut.end)
    return attrs.evolve(cut, dependent=frozenset(numbers))


def _cut(
    samples: StoredSamples,
    times: list[int],
    shown: list[int],
    span: tuple[int, int],
    left_out: frozenset[int],
) -> FrameCut:
    first, end = span
    left_out = frozenset(number for number in left_out if number < end)
    earliest = min(times[number] for number in shown)
    last = max(shown, key=times.__getitem__)
    held = [times[number] for number in range(first, end) if number not in left_out]
    behind = [time for time in held if time > times[last]]
    before = sum(time < earliest for time in held)
    until = min([times[last] + shown_ticks(samples, last), *behind])
    return FrameCut(
        first, end, left_out, earliest, until, len(shown), before, len(held) - before - len(shown)
    )


def shown_ticks(samples: StoredSamples, number: int) -> int:
    """Return how long a sample lasts, in ticks; at least a millisecond: else none would see it.

    The last picture of a copied stream has a single tick where the next one had not come when it
    was written: it lasts as long as those before it.
    """
    lasts = samples.durations[number]
    before = samples.durations[max(0, number - _COMPARED) : number]
    is_last = number == len(samples.durations) - 1 and samples.track.handler == VIDEO
    if is_last and before and lasts < UNKNOWN_SHARE * min(before):
        return min(before)
    return max(lasts, -(-samples.track.timescale // 1000))
