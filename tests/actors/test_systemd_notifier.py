"""What systemd is told: the watchdog while all parts answer, the status when it changes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import trio
from structlog.testing import capture_logs
from support.camera_rig import REQUEST, open_camera_rig
from support.fake_ffmpeg import streams
from trio.testing import MockClock

from camd.systemd_notifier import (
    AskPart,
    feed_watchdog,
    show_status,
    silent_parts,
    status_line,
)

PERIOD = 30.0


async def answers() -> None:
    """Answer at once."""


async def never_answers() -> None:
    """Answer never, as a task does that waits for itself."""
    await trio.sleep_forever()


async def fed_until(seconds: float, pings: Mapping[str, AskPart]) -> list[float]:
    """Feed a watchdog for some time; return the moments of its notifications."""
    fed: list[float] = []
    with trio.move_on_after(seconds):
        await feed_watchdog(lambda: pings, PERIOD, lambda text: fed.append(trio.current_time()))
    return fed


async def test_the_watchdog_is_fed_four_times_in_its_period(autojump_clock: MockClock) -> None:
    """All parts answer: each quarter of the period has its notification."""
    assert await fed_until(29, {"storage": answers, "camera camera0": answers}) == [
        0,
        7.5,
        15,
        22.5,
    ]


async def test_a_part_that_does_not_answer_lets_the_watchdog_starve(
    autojump_clock: MockClock,
) -> None:
    """No notification is sent, and the log names the part and no other."""
    with capture_logs() as logs:
        assert not await fed_until(20, {"storage": answers, "camera camera0": never_answers})
    assert {tuple(entry["parts"]) for entry in logs} == {("camera camera0",)}


async def test_a_part_that_is_late_once_misses_no_deadline(autojump_clock: MockClock) -> None:
    """An answer after more than a quarter costs a round; the next comes within the period."""
    delays = iter([8.0])

    async def late_once() -> None:
        await trio.sleep(next(delays, 0.0))

    fed = await fed_until(60, {"storage": late_once})
    assert fed[0] < PERIOD
    assert all(later - earlier < PERIOD for earlier, later in pairwise(fed))


async def test_a_part_that_is_late_twice_in_a_row_misses_no_deadline(
    autojump_clock: MockClock,
) -> None:
    """A round without an answer has taken its quarter; the next one begins at once."""
    delays = iter((0.0, 20.0, 20.0, 7.0))

    async def late_twice() -> None:
        await trio.sleep(next(delays, 0.0))

    assert (await fed_until(40, {"storage": late_twice}))[:2] == [0, 29.5]


async def test_without_a_watchdog_nothing_is_sent(autojump_clock: MockClock) -> None:
    """It returns at once."""
    sent: list[str] = []
    await feed_watchdog(dict, None, sent.append)
    assert sent == []
    assert trio.current_time() == 0


async def test_a_camera_that_records_shows_life(clock: MockClock) -> None:
    """Its actor answers between fragments, and while it ends its session."""
    async with open_camera_rig(streams(60)) as rig:
        await rig.camera.start_recording(REQUEST)
        assert await silent_parts({"camera": rig.camera.ping}, 1.0) == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.camera.stop_recording)
            assert await silent_parts({"camera": rig.camera.ping}, 1.0) == []


async def test_a_camera_that_was_closed_is_not_missed(clock: MockClock) -> None:
    """A removed camera between the round's list and its question is no silent part."""
    async with open_camera_rig(streams(5)) as rig:
        await rig.camera.close()
        assert await silent_parts({"camera": rig.camera.ping}, 1.0) == []


async def test_the_status_is_sent_when_it_changes(autojump_clock: MockClock) -> None:
    """The first line at once, then each change within two seconds, and no line twice."""
    line, sent = "idle", list[tuple[float, str]]()
    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                show_status, lambda: line, lambda text: sent.append((trio.current_time(), text))
            )
            await trio.sleep(5)
            line = "recording"
    assert sent == [(0, "STATUS=idle"), (6, "STATUS=recording")]


def test_the_status_line_names_what_an_operator_asks_for() -> None:
    """Cameras, problems, recordings, the storage's level, and addresses."""
    assert status_line(["127.0.0.1:8002"], cameras=1, recording=0, problems=0, level="ok") == (
        "1 camera, 0 recording; storage ok; serving on 127.0.0.1:8002"
    )
    assert status_line(
        ["[::1]:1", "unix:/run/s"], cameras=3, recording=2, problems=1, level="low"
    ) == ("3 cameras (1 with a problem), 2 recording; storage low; serving on [::1]:1, unix:/run/s")
