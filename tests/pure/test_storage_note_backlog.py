"""Notes that wait for the disk: their order, and what goes when there are too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from camd.storage.rules.note_backlog import NoteBacklog


def in_files(note: str) -> bool:
    """Notes in capital letters can be found out again."""
    return note.isupper()


def test_what_files_tell_goes_first_then_the_oldest() -> None:
    """Past the bound those go that can be found out again, oldest first, and all are counted."""
    waiting = NoteBacklog[str](4, in_files)
    waiting.add("a", "B", "c", "D")
    waiting.add("e")
    assert (waiting.all(), waiting.lost) == (["a", "c", "D", "e"], 0)
    waiting.add("f", "g")
    assert (waiting.all(), waiting.lost) == (["c", "e", "f", "g"], 1)
    assert (waiting.take_dropped(), waiting.take_dropped()) == (2, 0)


@given(
    st.integers(1, 6),
    st.lists(st.one_of(st.text("abAB", min_size=1, max_size=1), st.integers(0, 3)), max_size=60),
)
def test_order_is_kept_and_nothing_vanishes_untold(most: int, plan: list[str | int]) -> None:
    """Whatever comes and is written in between: what waits is in order, never more than the
    bound, and everything is waiting, written, or counted as given up."""
    waiting = NoteBacklog[str](most, in_files)
    came, written, dropped = list[str](), 0, 0
    for number, step in enumerate(plan):
        if isinstance(step, str):
            came.append(f"{step}{number}".upper() if step.isupper() else f"{step}{number}")
            waiting.add(came[-1])
        else:
            first = waiting.all()[:step]
            assert waiting.first == (waiting.all() or [None])[0]
            waiting.remove(first)
            written += len(first)
        dropped += waiting.take_dropped()
        assert len(waiting) <= most
        left = waiting.all()
        assert left == [note for note in came if note in left]
        assert len(came) == len(waiting) + written + waiting.lost + dropped
