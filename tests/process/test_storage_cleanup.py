"""Cleanups on a real folder: what goes, what stays, what is left behind to read."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from support.fake_disk import MemoryDisk, roomy_disk
from support.recordings import NOON, WHO, footage, segment, session

from camd.clock import SYSTEM_CLOCK, Clock, boot_id, monotonic, now
from camd.config.schema import RetentionConfig, StorageConfig
from camd.errors import Refusal
from camd.model import (
    CleanupEnded,
    CleanupReceipt,
    Event,
    RecordingQuery,
    Segment,
    SessionId,
)
from camd.mp4.segment import SegmentLayout
from camd.runtime.broadcast import Fanout
from camd.storage.disk import PosixDisk
from camd.storage.removal import Pin
from camd.storage.retention.cleanup import (
    BATCHES,
    POLICY_FILE,
    RECEIPTS,
    CleanupBatchSizes,
    Retention,
    _CleanupCounts,
    append_receipt,
    load_policy,
    open_retention,
    save_policy,
)
from camd.storage.retention.trusted_clock import ClockTrustStore
from camd.storage.rules.retention_plan import KeptReason, PolicyType, RetentionPolicy
from camd.storage.segment_file import SegmentFile
from camd.storage.storage import Storage, open_storage

AGE = RetentionPolicy(PolicyType.AGE, True, max_age_days=30)
SIZE = RetentionPolicy(PolicyType.SIZE, True, max_size_gb=8e-6)  # 8000 bytes
ALL = RecordingQuery(limit=1000)
RECEIPT = CleanupReceipt(
    *(NOON, NOON, "ann", "age", "older than 30 days", 1, 1, 5, ("a.mp4",), 0, 0, 0),
    stopped_by_limit=False,
    complete=True,
    message="1 of 1 files removed",
)


@attrs.define(eq=False)
class CleanupSetup:
    """Storage with recordings, retention over it, and what was announced."""

    folder: Path
    storage: Storage
    retention: Retention
    in_use: dict[str, int]
    announced: list[CleanupReceipt]

    async def names(self) -> list[str]:
        """Name what is listed, oldest first; the files are the same."""
        page = await self.storage.list_recordings(ALL)
        names = [s.filename for s in reversed(page.segments)]
        assert sorted(names) == sorted(p.name for p in self.folder.glob("*.mp4"))
        return names

    def receipts(self) -> list[dict[str, Any]]:
        """Read the lines that cleanups left."""
        path = self.folder / ".camd" / RECEIPTS
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def recorded_segment(days_ago: int, size: int = 1000) -> Segment:
    """Describe a recording that ended so many days ago."""
    end = now() - timedelta(days=days_ago, hours=1)
    return segment(
        f"camera0_{days_ago:03}.mp4",
        start=end - timedelta(minutes=1),
        end=end,
        size_bytes=size,
        number=days_ago,
    )


@asynccontextmanager
async def opened(
    tmp_path: Path,
    policy: RetentionPolicy,
    segments: list[Segment],
    max_delete_percent: float = 100,
    *,
    clock: Clock = SYSTEM_CLOCK,
    batches: CleanupBatchSizes = BATCHES,
) -> AsyncIterator[CleanupSetup]:
    """Run retention over a folder with some recordings."""
    folder, state, in_use = tmp_path / "recordings", tmp_path / "state", dict[str, int]()
    config, events = RetentionConfig(max_delete_percent=max_delete_percent), Fanout[Event]()
    announced: list[CleanupReceipt] = []

    def note(event: Event) -> None:
        if isinstance(event, CleanupEnded):
            announced.append(event.receipt)

    save_policy(state, policy)
    with trio.fail_after(300), events.subscribed(note):
        async with (
            open_storage(
                StorageConfig(folder, state_dir=folder / ".state"),
                events,
                roomy_disk(),
                clock=SYSTEM_CLOCK,
            ) as storage,
            open_retention(
                config, state, storage, events, lambda: in_use, clock=clock, batches=batches
            ) as retention,
        ):
            await storage.unfinished_sessions()
            for each in segments:
                (folder / each.filename).write_bytes(bytes(each.size_bytes))
                await storage.note_segment(each)
                storage.space.stored_bytes += each.size_bytes
            yield CleanupSetup(folder, storage, retention, in_use, announced)


OLD, YOUNG = (
    [recorded_segment(day) for day in (40, 35, 31)],
    [recorded_segment(day) for day in (20, 10)],
)


def named(*segments: Segment) -> list[str]:
    """Name recordings."""
    return [each.filename for each in segments]


ONE_FILE = CleanupBatchSizes(remove=1)


@attrs.define(eq=False)
class SteppedWall:
    """A wall clock that is `ahead` of the machine's."""

    ahead: timedelta = timedelta(0)

    @property
    def clock(self) -> Clock:
        """The machine's clocks with this wall clock."""
        return Clock(now=lambda: now() + self.ahead)


async def test_what_is_too_old_goes_and_a_receipt_stays(tmp_path: Path) -> None:
    """Files, entries and bytes go; the receipt is answered, announced and written."""
    async with opened(tmp_path, AGE, OLD + YOUNG) as setup:
        preview = await setup.retention.preview()
        assert await setup.names() == named(*OLD, *YOUNG)
        done = await setup.retention.clean_up("ann")
        assert done.plan.to_delete == preview.to_delete
        assert done.executed
        assert await setup.names() == named(*YOUNG)
        assert setup.storage.space.stored_bytes == 2000
        receipt = done.receipt
        assert (receipt.files_deleted, receipt.space_freed, receipt.asked_by) == (3, 3000, "ann")
        assert (receipt.complete, receipt.stopped_by_limit, receipt.files_kept) == (True, False, 0)
        assert list(receipt.files) == named(*OLD)
        assert setup.announced == [receipt]
        (line,) = setup.receipts()
        assert (line["message"], line["files"]) == (receipt.message, named(*OLD))
        assert "older than 30 days" in next((setup.folder / ".camd").glob("journal-*")).read_text()


async def test_the_largest_size_is_kept_to(tmp_path: Path) -> None:
    """The oldest go until it fits, however the index is read; a growing file counts as it is."""
    segments = [recorded_segment(day) for day in range(12, 0, -1)]
    async with opened(tmp_path, SIZE, segments, batches=CleanupBatchSizes(2, 2)) as setup:
        setup.in_use[segments[-1].filename] = 3000
        done = await setup.retention.clean_up("ann")
        assert (done.plan.total_bytes, done.receipt.files_deleted) == (14_000, 6)
        assert await setup.names() == named(*segments[6:])
        assert (await setup.retention.clean_up("ann")).receipt.files_deleted == 0


async def test_what_is_pinned_or_in_use_stays(tmp_path: Path) -> None:
    """I5: neither goes, and the receipt counts them; so with what became busy after the plan."""
    segments = [recorded_segment(day) for day in range(50, 40, -1)]
    async with opened(tmp_path, AGE, segments) as setup:
        await setup.storage.pin(segments[0].filename, Pin("evidence"))
        (setup.folder / ".camd" / "pins" / segments[1].filename).touch()  # by hand
        setup.in_use[segments[2].filename] = 1000
        setup.storage.growing(segments[3], 0)
        with setup.storage.leased(segments[4].filename):
            done = await setup.retention.clean_up("ann")
        assert await setup.names() == named(*segments[:5])
        assert (done.receipt.files_kept, done.receipt.files_deleted) == (5, 5)


async def test_what_becomes_busy_after_the_plan_is_skipped(tmp_path: Path) -> None:
    """The plan is not trusted: every file is looked at again when its turn comes."""
    async with opened(tmp_path, AGE, OLD) as setup:
        made = await setup.retention.preview()
        assert len(made.to_delete) == 3
        await setup.storage.pin(OLD[0].filename, Pin())
        setup.in_use[OLD[1].filename] = 1000
        tally = _CleanupCounts()
        with setup.storage.leased(OLD[2].filename):
            await setup.retention._carry_out(made, tally)
        assert (tally.removed, tally.skipped, tally.problem) == (0, 3, "")
        assert await setup.names() == named(*OLD)


async def test_a_run_over_the_limit_removes_nothing(tmp_path: Path) -> None:
    """Nothing goes, and the log, the event and the receipt say why; force does it."""
    async with opened(tmp_path, AGE, OLD + YOUNG, max_delete_percent=20) as setup:
        for asked_by in ("schedule", "ann"):
            done = await setup.retention.clean_up(asked_by)
            assert (done.executed, done.receipt.stopped_by_limit, done.receipt.files_deleted) == (
                *(False, True),
                0,
            )
            assert "60.0 %" in done.receipt.message
        assert await setup.names() == named(*OLD, *YOUNG)
        assert [r.stopped_by_limit for r in setup.announced] == [True, True]
        assert [line["stopped_by_limit"] for line in setup.receipts()] == [True, True]
        assert (await setup.retention.clean_up("ann", force=True)).executed
        assert await setup.names() == named(*YOUNG)


def arrived(folder: Path, number: int, **metadata: Any) -> Segment:
    """Write a recording that arrived just now in this boot, and describe it."""
    init, fragments = footage(1)
    told = {"number": number, "boot_id": boot_id(), "monotonic_start": monotonic()} | metadata
    who = attrs.evolve(WHO, **told)
    index = SegmentLayout(init, fragments[0], who)
    name = f"camera0_now{number}.mp4"
    file = SegmentFile.create(PosixDisk(), folder, repeat(name), index, fragments[0])
    file.seal()
    file.close()
    made = attrs.evolve(recorded_segment(0), filename=name, number=number, start=now(), end=now())
    return attrs.evolve(made, size_bytes=file.size_bytes)


async def test_a_step_of_the_clock_removes_nothing_that_is_young(tmp_path: Path) -> None:
    """With the clock set 400 days ahead, what was recorded in this boot and before stays; preview,
    policy and receipt say why. Somebody who forces it believes the clock for what came before;
    what arrived in this boot is young for certain."""
    wall = SteppedWall()
    async with opened(tmp_path, AGE, [*OLD, *YOUNG], clock=wall.clock) as setup:
        mine = arrived(setup.folder, 1)
        await setup.storage.note_segment(mine)
        os.utime(setup.folder / mine.filename, (0, 0))  # what a file's dates say is nothing
        wall.ahead = timedelta(days=400)
        preview = await setup.retention.preview()
        assert [each.filename for each in preview.to_delete] == named(*OLD)
        assert {each.filename: each.reason for each in preview.kept} == {
            each.filename: KeptReason.CLOCK for each in (*YOUNG, mine)
        }
        assert "set while the machine was running" in preview.clock
        assert setup.retention.doubt == preview.clock
        receipt = (await setup.retention.clean_up("schedule")).receipt
        assert await setup.names() == named(*YOUNG, mine)
        assert "3 wait, as they are not that old: the clock was set" in receipt.message
        forced = await setup.retention.clean_up("ann", force=True)
        assert await setup.names() == named(mine)
        assert (forced.plan.clock, forced.plan.waiting_files) == ("", 1)
        assert json.loads((tmp_path / "state" / "clock.json").read_text())["stepped_at"]


async def test_a_step_that_is_taken_back_leaves_no_doubt(tmp_path: Path) -> None:
    """Then everything is as before; and a restart of the service remembers either."""
    wall = SteppedWall()
    async with opened(tmp_path, AGE, OLD, clock=wall.clock) as setup:
        wall.ahead = timedelta(days=400)
        assert (await setup.retention.preview()).clock
        again = ClockTrustStore.open(tmp_path / "state", clock=wall.clock)
        assert again.trust.doubt
        wall.ahead = timedelta(0)
        assert not (await setup.retention.preview()).clock
        assert ClockTrustStore.open(tmp_path / "state", clock=SYSTEM_CLOCK).trust.doubt == ""


async def test_a_file_with_the_date_of_a_clock_without_battery_is_young(tmp_path: Path) -> None:
    """Recorded in this boot before the clock was right, an MP4 tells itself when it arrived, and a
    Matroska file by its session."""
    async with opened(tmp_path, AGE, []) as setup:
        long_ago = {"start": NOON - timedelta(days=9000), "end": NOON - timedelta(days=9000)}
        mine = attrs.evolve(arrived(setup.folder, 1), **long_ago)
        mkv = attrs.evolve(mine, filename="camera0_then.mkv", number=2)
        (setup.folder / mkv.filename).write_bytes(bytes(1000))
        foreign = attrs.evolve(mkv, filename="camera0_other.mkv", session_id=SessionId("other"))
        (setup.folder / foreign.filename).write_bytes(bytes(1000))
        for each in (mine, mkv, foreign):
            await setup.storage.note_segment(each)
        begun = session(
            session_id=mine.session_id,
            start=mine.start,
            boot_id=boot_id(),
            monotonic_start=monotonic(),
        )
        await setup.storage.note_session(begun)
        preview = await setup.retention.preview()
        assert {each.filename for each in preview.kept} == set(named(mine, mkv))
        assert preview.clock == ""
        assert "recorded while the clock was wrong" in preview.waits
        assert [each.filename for each in preview.to_delete] == named(
            foreign
        )  # nothing is known of it


@pytest.mark.parametrize("policy", [RetentionPolicy(), attrs.evolve(AGE, enabled=False)])
async def test_without_a_policy_nothing_goes(tmp_path: Path, policy: RetentionPolicy) -> None:
    """Who asks is told so; force makes no difference."""
    async with opened(tmp_path, policy, OLD) as setup:
        done = await setup.retention.clean_up("ann", force=True)
        assert (done.executed, done.receipt.files_deleted) == (False, 0)
        assert "nothing is removed" in done.receipt.message
        assert await setup.names() == named(*OLD)


async def test_the_clock_finding_nothing_is_no_news(tmp_path: Path) -> None:
    """A scheduled run without anything to do leaves no line; one that is asked for does."""
    async with opened(tmp_path, AGE, YOUNG) as setup:
        await setup.retention.clean_up("schedule")
        assert (setup.receipts(), setup.announced) == ([], [])
        await setup.retention.clean_up("ann")
        assert [line["files_deleted"] for line in setup.receipts()] == [0]


async def test_a_run_that_is_cancelled_ends_between_files(tmp_path: Path) -> None:
    """What is removed is removed, the rest is whole, and the receipt says that it was stopped."""
    async with opened(tmp_path, AGE, OLD, batches=ONE_FILE) as setup:
        with trio.CancelScope() as scope:
            gone = setup.retention.in_use

            def stop_at_the_second() -> dict[str, int]:
                if len(list(setup.folder.glob("*.mp4"))) < len(OLD):
                    scope.cancel()
                return dict(gone())

            setup.retention.in_use = stop_at_the_second
            await setup.retention.clean_up("ann")
        assert scope.cancelled_caught
        assert await setup.names() == named(*OLD[1:])
        (line,) = setup.receipts()
        assert (line["files_deleted"], line["complete"]) == (1, False)
        assert "stopped before the end" in line["message"]


async def test_a_new_policy_stops_a_run_by_the_old_one(tmp_path: Path) -> None:
    """Whoever switches it off does not have to wait for it."""
    async with opened(tmp_path, AGE, OLD, batches=ONE_FILE) as setup:

        def switch_off_at_the_second() -> dict[str, int]:
            if len(list(setup.folder.glob("*.mp4"))) < len(OLD):
                setup.retention.policy = RetentionPolicy()
            return {}

        setup.retention.in_use = switch_off_at_the_second
        receipt = (await setup.retention.clean_up("ann")).receipt
        assert (receipt.files_deleted, receipt.complete) == (2, False)
        assert "the policy was changed" in receipt.message


async def test_others_have_their_turn_during_a_cleanup(tmp_path: Path) -> None:
    """A listing that is asked for in the middle is answered before the cleanup is over."""
    segments = [recorded_segment(day) for day in range(80, 40, -1)]
    async with (
        opened(tmp_path, AGE, segments, batches=ONE_FILE) as setup,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(setup.retention.clean_up, "ann")
        totals = []
        while setup.retention.last is None:
            totals.append((await setup.storage.list_recordings(ALL)).total)
        assert len(set(totals)) > 5


async def test_one_run_at_a_time(tmp_path: Path) -> None:
    """A second run waits for the first, and finds its work done."""
    async with opened(tmp_path, AGE, OLD) as setup:
        async with trio.open_nursery() as nursery:
            for name in ("ann", "bob"):
                nursery.start_soon(setup.retention.clean_up, name)
        assert sorted(line["files_deleted"] for line in setup.receipts()) == [0, 3]
        assert all(line["files_skipped"] == 0 for line in setup.receipts())


# --- what is kept on disk ---


async def test_a_policy_survives_a_restart(tmp_path: Path) -> None:
    """It is in force again, to the last number."""
    async with opened(tmp_path, RetentionPolicy(), []) as setup:
        await setup.retention.set_policy(SIZE)
        assert setup.retention.policy == SIZE
    assert load_policy(tmp_path / "state") == SIZE


async def test_a_policy_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    """The old one stays in force."""
    async with opened(tmp_path, AGE, []) as setup:
        (tmp_path / "file").touch()
        setup.retention.state_dir = tmp_path / "file"
        with pytest.raises(Refusal, match="cannot be stored"):
            await setup.retention.set_policy(SIZE)
        assert setup.retention.policy == AGE


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "{}", '{"policy_type": "age", "enabled": true}', "\xff"),
        '{"policy_type": "age", "enabled": true, "max_age_days": 0}',
        '{"policy_type": "age", "enabled": "true", "max_age_days": 5}',
        '{"policy_type": "all", "enabled": true}',
        '{"policy_type": "age", "enabled": true, "max_age_days": 5, "max_age": 1}',
    ],
)
def test_a_policy_that_is_not_understood_removes_nothing(tmp_path: Path, text: str) -> None:
    """Whatever stands there, a doubt is no reason to delete."""
    (tmp_path / POLICY_FILE).write_text(text, encoding="latin-1")
    assert load_policy(tmp_path) == RetentionPolicy()
    (tmp_path / POLICY_FILE).unlink()
    assert load_policy(tmp_path) == RetentionPolicy()


def test_receipts_are_appended_as_whole_lines(tmp_path: Path) -> None:
    """What a crash has torn stays as it is, and the next line begins behind it."""
    disk = PosixDisk()
    append_receipt(disk, tmp_path, RECEIPT)
    with (tmp_path / RECEIPTS).open("ab") as file:
        file.write(b'{"began": "20')
    append_receipt(disk, tmp_path, RECEIPT)
    first, torn, last, end = (tmp_path / RECEIPTS).read_bytes().split(b"\n")
    assert (first, torn, end) == (last, b'{"began": "20', b"")
    assert json.loads(first)["began"] == "2026-01-15T12:00:00Z"


def test_a_receipt_that_cannot_be_written_spoils_no_other() -> None:
    """Whatever step fails, the next receipt is whole, and no file stays open."""
    folder = Path("/disk")
    for number in range(9):
        disk = MemoryDisk()
        disk.fail(number)
        for _ in range(3):
            try:
                append_receipt(disk, folder, RECEIPT)
            except OSError:
                disk.faults.clear()
        lines = bytes(disk.files[folder / RECEIPTS].data).split(b"\n")
        assert sum(b'"message"' in line and json.loads(line) is not None for line in lines) >= 2
        assert disk.open_files == 0
