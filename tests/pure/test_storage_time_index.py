"""The timeline: it counts and finds like somebody who looks at every recording."""

from __future__ import annotations

from itertools import accumulate, chain

from hypothesis import given
from hypothesis import strategies as st

from camd.storage.rules.time_index import (
    NEVER,
    IndexPosition,
    TimeIndex,
    TimeSpan,
    begin_groups,
)

SPANS = st.builds(
    lambda camera, start, length: TimeSpan(camera, start, NEVER if length == 9 else start + length),
    st.sampled_from("ab"),
    st.integers(0, 20),
    st.integers(1, 9),
)
MOMENTS = st.none() | st.integers(-1, 30)


def begun(spans: list[TimeSpan], camera: str | None, until: int | None) -> list[TimeSpan]:
    """Look at every recording: which ones of the camera begin before `until`, newest first."""
    some = [
        s for s in spans if camera in (None, s.camera_id) and (until is None or s.start < until)
    ]
    return sorted(some, key=lambda span: -span.start)


@given(
    st.lists(SPANS),
    st.lists(SPANS),
    st.sampled_from(["a", "b", "c", None]),
    MOMENTS,
    MOMENTS,
    st.integers(0, 12),
)
def test_it_says_what_looking_at_all_would_say(
    at_once: list[TimeSpan],
    added: list[TimeSpan],
    camera: str | None,
    since: int | None,
    until: int | None,
    offset: int,
) -> None:
    """Made at once or bit by bit, with some taken out again: counts and positions are right."""
    time_index = TimeIndex.of(at_once)
    for span in added:
        time_index.add(span)
    gone, kept = added[: len(added) // 2], at_once + added[len(added) // 2 :]
    for span in gone:
        time_index.remove(span)
    fitting = begun(kept, camera, until)
    if since is None or until is None or since <= until:
        found = [span for span in fitting if since is None or span.until > since]
        assert time_index.count(camera, since, until) == len(found)
    if since is not None:
        assert all(s.start >= time_index.earliest_start(since) for s in kept if s.until > since)
        inside = [span for span in fitting if span.start >= since]
        assert time_index.begin_between(camera, since, until) == len(inside)
    position = time_index.position(camera, until, offset)
    if offset >= len(fitting):
        assert position is None
    else:
        start = fitting[offset].start
        assert position == IndexPosition(start, offset - [s.start for s in fitting].index(start))


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, 2, 900]), max_size=300),
    st.integers(-50, 500),
    st.integers(1, 3000),
    st.integers(1, 40),
)
def test_groups_are_those_that_begin_in_each_part(
    pauses: list[int], since: int, length: int, most: int
) -> None:
    """Everything that begins in the range is in one group, and none reaches beyond its part."""
    starts, until, width = list(accumulate(pauses)), since + length, -(-length // most)
    groups = list(begin_groups(starts, since, until, most))
    inside = [at for at, start in enumerate(starts) if since <= start < until]
    assert [at for first, last in groups for at in range(first, last + 1)] == inside
    parts = [{(starts[at] - since) // width for at in range(a, b + 1)} for a, b in groups]
    assert all(len(part) == 1 for part in parts)
    assert len({*chain.from_iterable(parts)}) == len(groups) <= most


def test_strange_cameras_cost_no_memory() -> None:
    """Asking for cameras that never recorded leaves nothing behind."""
    time_index = TimeIndex.of([TimeSpan("a", 0, 1)])
    for number in range(100):
        assert time_index.count(f"x{number}", None, None) == 0
    assert list(time_index._cameras) == ["a"]
