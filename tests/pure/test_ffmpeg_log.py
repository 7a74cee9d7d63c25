"""FFmpeg's log, as it is read in pieces."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from camd.ffmpeg.text.output import KEPT_LINES, LONGEST_LINE_BYTES, FFmpegLine, FFmpegLog

TEXT = b"[info] first\n\n[error] second \xff\nthird"
LINES = [FFmpegLine("info", "first"), FFmpegLine("error", "second �"), FFmpegLine("info", "third")]


@given(st.lists(st.integers(0, len(TEXT)), max_size=6))
def test_lines_are_the_same_wherever_the_log_is_cut(cuts: list[int]) -> None:
    """Empty lines are none; the last one needs no end."""
    ends = [0, *sorted(set(cuts) - {0, len(TEXT)}), len(TEXT)]
    log = FFmpegLog()
    given_lines = [
        line for begin, end in itertools.pairwise(ends) for line in log.take(TEXT[begin:end])
    ]
    assert [*given_lines, *log.take(b"")] == LINES == list(log.lines)


def test_only_the_last_lines_are_kept() -> None:
    """The last hundred lines are kept, each of a bounded length."""
    log = FFmpegLog()
    for number in range(3 * KEPT_LINES):
        log.take(b"[error] line %06d %s\n" % (number, b"y" * 20_000))
    wanted = [f"line {number:06}" for number in range(2 * KEPT_LINES, 3 * KEPT_LINES)]
    assert [line.text[:11] for line in log.lines] == wanted
    assert all(len(line.text) <= LONGEST_LINE_BYTES for line in log.lines)
