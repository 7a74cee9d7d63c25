"""Lines of the event files: read again as written; whatever is damaged is left out."""

from __future__ import annotations

import attrs
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from camd.events.rules.event_lines import HEADER, decode_file, decode_line, encode_line
from camd.events.rules.history import KeptEvent
from camd.rpc.registry import Notification

names = st.text(max_size=20)


@st.composite
def events(draw: st.DrawFn) -> KeptEvent:
    """Make any event."""
    number = draw(st.integers(1, 2**53))
    params = msgspec.Raw(msgspec.json.encode(draw(st.dictionaries(names, names, max_size=4))))
    notification = Notification(
        draw(names),
        params,
        draw(st.none() | names),
        tuple(draw(st.lists(names, max_size=3))),
        number,
        tuple(draw(st.lists(names, max_size=3))),
    )
    return KeptEvent(notification, number, draw(st.integers(0, number - 1)), len(bytes(params)))


def same(one: KeptEvent | None, other: KeptEvent) -> bool:
    """Compare two events, their parameters as text."""
    assert one is not None
    plain = [
        attrs.evolve(e.notification, params=bytes(e.notification.params)) for e in (one, other)
    ]
    numbers = [(e.number, e.before, e.size) for e in (one, other)]
    return plain[0] == plain[1] and numbers[0] == numbers[1]


@given(events())
def test_an_event_is_read_as_it_was_written(event: KeptEvent) -> None:
    """Nothing of an event is lost, and its line has no line break inside."""
    line = encode_line(event)
    assert line.count(b"\n") == 1
    assert same(decode_line(line), event)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_event_and_no_error(data: bytes) -> None:
    """Garbage is damage."""
    assert decode_line(data) is None
    read = decode_file(HEADER + data)
    assert read is not None
    assert read.events == ()


@given(st.lists(events(), min_size=1, max_size=5), st.data())
def test_wherever_a_file_is_torn_or_damaged_the_other_lines_are_read(
    written: list[KeptEvent], data: st.DataObject
) -> None:
    """A cut takes its line alone, and so does a flipped bit; each is counted."""
    written = sorted({event.number: event for event in written}.values(), key=lambda e: e.number)
    lines = [encode_line(event) for event in written]
    index = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[index]) - 2))
    damaged = bytearray(lines[index])
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    whole = HEADER + b"".join([*lines[:index], bytes(damaged), *lines[index + 1 :]])
    read = decode_file(whole)
    assert read is not None
    others = [event for event in written if event is not written[index]]
    assert [event.number for event in read.events] == [event.number for event in others]
    torn = decode_file(HEADER + b"".join(lines[:index]) + lines[index][:at] + b"\n" + lines[0])
    assert torn is not None
    assert [e.number for e in torn.events[:index]] == [e.number for e in written[:index]]


def test_an_event_that_was_written_twice_is_one() -> None:
    """A write that failed half-way is made again as a whole."""
    event = KeptEvent(Notification("a", msgspec.Raw(b"{}"), seq=3), 3, 2, 2)
    later = KeptEvent(Notification("a", msgspec.Raw(b"{}"), seq=4), 4, 3, 2)
    content = HEADER + encode_line(event) + b"\n" + encode_line(event) + encode_line(later)
    read = decode_file(content)
    assert read is not None
    assert ([each.number for each in read.events], read.damaged) == ([3, 4], 0)


def test_a_file_of_another_format_is_not_read() -> None:
    """Nothing is guessed from what a newer version wrote."""
    assert decode_file(b"camd events 2\nabc\n") is None
    assert decode_file(b"") is None
