"""The event log on a real disk: kept over restarts, bounded, and never waited for."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio
import trio.testing
from structlog.testing import capture_logs

from camd.clock import SYSTEM_CLOCK
from camd.events import event_log
from camd.events.event_files import FILE_EVENTS, MOST_FILES, EventFiles
from camd.events.event_log import EventLog, open_event_log
from camd.events.rules.numbering import BLOCK
from camd.rpc.registry import Notification

MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
MOMENT_MS = int(MOMENT.timestamp() * 1000)
CLOCK = attrs.evolve(SYSTEM_CLOCK, now=lambda: MOMENT)


def publish(log: EventLog, count: int = 1, **params: object) -> list[Notification]:
    """Publish some events."""
    return [
        log.publish("update", {"n": n, **params}, about=("camera a",), topics=("camera",))
        for n in range(count)
    ]


def kept(log: EventLog) -> list[int]:
    """List the numbers that are kept."""
    return [each.number for each in log.history.after(0, 100_000)]


def params_of(notification: Notification) -> Any:
    """Decode the parameters of a notification."""
    return msgspec.json.decode(bytes(notification.params))


def _have(files: Path, text: bytes) -> bool:
    for path in files.glob("*.log"):
        with suppress(FileNotFoundError):  # the oldest may be deleted at this moment
            if text in path.read_bytes():
                return True
    return False


async def written(log: EventLog, files: Path, text: bytes) -> None:
    """Wait until the files hold `text`; the writer's thread tells nobody."""
    with trio.fail_after(300):
        while not _have(files, text):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_events_have_a_number_and_a_time_and_are_there_after_a_restart(
    tmp_path: Path,
) -> None:
    """Numbers begin at 1, go on behind an orderly stop, and nothing is missing."""
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        (first, *_, last) = publish(log, 3, camera_id="a")
        assert params_of(first) == {
            "n": 0,
            "camera_id": "a",
            "seq": 1,
            "time": "2026-05-04T03:02:01Z",
        }
        assert (first.seq, last.seq) == (1, 3)
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        assert kept(log) == [1, 2, 3]
        restored = log.history.page(0, limit=9).events[0]
        assert params_of(restored) == params_of(first)
        assert attrs.evolve(restored, params=first.params) == first
        publish(log)
        assert kept(log) == [1, 2, 3, 4]
        assert log.history.missed(0) == 0


async def test_a_block_that_is_cancelled_writes_the_rest_too(tmp_path: Path) -> None:
    """However the daemon ends in order, nothing is missing afterwards."""
    with trio.CancelScope() as scope:
        async with open_event_log(tmp_path, clock=CLOCK) as log:
            publish(log, 3)
            scope.cancel()
            await trio.sleep_forever()
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        assert (kept(log), log.history.newest) == ([1, 2, 3], 3)


async def test_names_that_are_no_text_are_published(tmp_path: Path) -> None:
    """A file name with bytes outside UTF-8 does not stop whoever publishes."""
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        (event,) = publish(log, 1, filename="a\udcff.mp4", gaps=[{"cause": "\udc80"}])
        sent = params_of(event)
        assert (sent["filename"], sent["gaps"]) == ("a?.mp4", [{"cause": "?"}])


async def test_a_run_that_is_killed_uses_no_number_twice_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    """The next run begins behind all reserved numbers; those that are not there are missed."""
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        publish(log, 5)
        await written(log, tmp_path / "events", b'"n":4')
        copy = tmp_path / "killed"
        shutil.copytree(tmp_path / "events", copy / "events")  # as in the middle of the run
    async with open_event_log(copy, clock=CLOCK) as log:
        assert kept(log) == [1, 2, 3, 4, 5]
        assert log.history.newest == BLOCK
        publish(log)
        assert kept(log)[-1] == BLOCK + 1
        assert log.history.missed(5) == BLOCK - 5
        assert log.history.missed(BLOCK) == 0


async def test_a_power_cut_that_takes_the_files_is_said(tmp_path: Path) -> None:
    """Numbers are durable, events are not: all of them are missed, none is hidden."""
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        publish(log, 30)
    for path in (tmp_path / "events").glob("*.log"):
        path.unlink()
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        assert (log.history.newest, log.history.oldest, log.history.missed(4)) == (30, None, 26)
        assert [each.seq for each in publish(log)] == [31]


async def test_damaged_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    """A torn end and a damaged line take themselves alone; what is written next is read."""
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        publish(log, 5)
    (path,) = (tmp_path / "events").glob("*.log")
    content = path.read_bytes().replace(b'"n":1', b'"n":7')
    path.write_bytes(content[:-20])
    with capture_logs() as logs:
        async with open_event_log(tmp_path, clock=CLOCK) as log:
            assert kept(log) == [1, 3, 4]
            assert log.history.missed(0) == 2
            publish(log)
    assert [line["lines"] for line in logs if line["event"] == "event_lines_damaged"] == [2]
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        assert kept(log) == [1, 3, 4, 6]


async def test_numbers_that_cannot_be_read_come_from_a_clock(tmp_path: Path) -> None:
    """A damaged file of numbers is set aside, and no number is used again."""
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        publish(log, 2)
    numbers = tmp_path / "events" / "numbers.json"
    numbers.write_text("{")
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        assert [each.seq for each in publish(log)] == [MOMENT_MS]
    assert numbers.with_name("numbers.json.damaged").exists()
    later = attrs.evolve(CLOCK, now=lambda: MOMENT + timedelta(days=1))
    async with open_event_log(tmp_path, clock=later) as log:
        assert kept(log) == [1, 2, MOMENT_MS]
        assert [each.seq for each in publish(log)] == [MOMENT_MS + 1]


async def test_a_disk_that_refuses_is_nobodys_problem(tmp_path: Path) -> None:
    """Events are numbered by a clock and kept in memory; one line of the log says it."""
    (tmp_path / "events").write_text("a file where the folder should be")
    with capture_logs() as logs:
        async with open_event_log(tmp_path, clock=CLOCK) as log:
            assert [each.seq for each in publish(log, 3)] == [
                MOMENT_MS,
                MOMENT_MS + 1,
                MOMENT_MS + 2,
            ]
            assert kept(log) == [MOMENT_MS, MOMENT_MS + 1, MOMENT_MS + 2]
            await trio.testing.wait_all_tasks_blocked(0.05)
            publish(log)
    assert [line["event"] for line in logs].count("event_log_not_written") == 1


async def test_a_disk_that_works_again_gets_what_is_still_kept(tmp_path: Path) -> None:
    """The log tries again by itself, and then the next run has the events."""
    obstacle = tmp_path / "events"
    obstacle.write_text("")
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        publish(log, 3)
        obstacle.unlink()
        obstacle.mkdir()
        await written(log, obstacle, b'"n":2')
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        assert kept(log) == [MOMENT_MS, MOMENT_MS + 1, MOMENT_MS + 2]


async def test_a_disk_that_hangs_holds_up_neither_start_nor_events_nor_stop(
    tmp_path: Path,
) -> None:
    """Reading a FIFO nobody writes to waits for ever, as a dead disk does."""
    folder = tmp_path / "events"
    folder.mkdir()
    os.mkfifo(folder / "numbers.json")
    with trio.fail_after(300):
        async with open_event_log(tmp_path, clock=CLOCK) as log:
            publish(log, 1000)
            assert len(kept(log)) == 1000
    with suppress(OSError):  # let the thread go
        os.close(os.open(folder / "numbers.json", os.O_WRONLY | os.O_NONBLOCK))


async def test_the_files_are_bounded(tmp_path: Path) -> None:
    """The oldest file is deleted, and what memory keeps is in the others."""
    async with open_event_log(tmp_path, clock=CLOCK) as log:
        for _ in range(3 * MOST_FILES):
            publish(log, FILE_EVENTS // 2 - 7)
            await written(log, tmp_path / "events", b'"seq":%d,' % log.history.newest)
    files = sorted((tmp_path / "events").glob("*.log"))
    assert len(files) == MOST_FILES
    async with open_event_log(tmp_path, clock=CLOCK, load_seconds=300) as log:
        assert len(kept(log)) == 10_000
        assert kept(log)[-1] == log.history.newest


def test_large_events_fill_a_file_by_bytes(tmp_path: Path) -> None:
    """A file is full at its bytes, too, so that the folder stays within some 10 MiB."""
    log = EventLog(CLOCK, event_log.EventHistory(), event_log.EventNumbers(limit=10**6))
    files = EventFiles(tmp_path / "events")
    files.load()
    for _ in range(40):
        publish(log, 1, text="x" * 500_000)
        files.append(log.history.after(log.history.newest - 1, 1))
    paths = list((tmp_path / "events").glob("*.log"))
    assert len(paths) == MOST_FILES
    assert sum(path.stat().st_size for path in paths) < MOST_FILES * 2.6 * 2**20
    assert all(path.stat().st_mode & 0o777 == 0o640 for path in paths)


async def test_events_are_kept_in_the_turn_in_which_they_are_published(tmp_path: Path) -> None:
    """Who publishes does not wait for the disk that writes."""
    async with open_event_log(tmp_path, clock=SYSTEM_CLOCK) as log:
        publish(log, 500)
        assert kept(log) == list(range(1, 501))
