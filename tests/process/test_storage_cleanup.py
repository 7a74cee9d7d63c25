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

from camd.clock import boot_id, monotonic, now
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
from camd.mp4.segment import SegmentIndex
from camd.runtime.broadcast import Fanout
from camd.storage.disk import PosixDisk
from camd.storage.removal import Pin
from camd.storage.retention import cleanup, trusted_clock
from camd.storage.retention.cleanup import Retention, open_retention
from camd.storage.retention.cleanup_log import (
    POLICY_FILE,
    RECEIPTS,
    append_receipt,
    load_policy,
    save_policy,
)
from camd.storage.rules.retention_plan import KeptReason, PolicyType, RetentionPolicy
from camd.storage.segment_file import SegmentFile
from camd.storage.storage import FileActions, Storage, open_storage

AGE = RetentionPolicy(PolicyType.AGE, True, max_age_days=30)
SIZE = RetentionPolicy(PolicyType.SIZE, True, max_size_gb=8e-6)  # 8000 bytes
ALL = RecordingQuery(limit=1000)
RECEIPT = CleanupReceipt(
    *(NOON, NOON, "ann", "age", "older than 30 days", 1, 1, 5, ("a.mp4",), 0, 0, 0),
    braked=False,
    complete=True,
    message="1 of 1 files removed",
)


@attrs.define(eq=False)
class CameraRig:
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


def clip(days_ago: int, size: int = 1000) -> Segment:
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
    tmp_path: Path, policy: RetentionPolicy, streams: list[Segment], brake: float = 100
) -> AsyncIterator[CameraRig]:
    """Run retention over a folder with some recordings."""
    folder, state, in_use = tmp_path / "recordings", tmp_path / "state", dict[str, int]()
    config, events = RetentionConfig(brake_percent=brake), Fanout[Event]()
    announced: list[CleanupReceipt] = []

    def note(event: Event) -> None:
        if isinstance(event, CleanupEnded):
            announced.append(event.receipt)

    save_policy(state, policy)
    with trio.fail_after(30), events.subscribed(note):
        async with (
            open_storage(
                StorageConfig(folder, state_dir=folder / ".state"), events, roomy_disk()
            ) as storage,
            open_retention(config, state, storage, events, lambda: in_use) as retention,
        ):
            await storage.unfinished_sessions()
            for each in streams:
                (folder / each.filename).write_bytes(bytes(each.size_bytes))
                await storage.note_segment(each)
                storage.guard.stored_bytes += each.size_bytes
            yield CameraRig(folder, storage, retention, in_use, announced)


OLD, YOUNG = [clip(day) for day in (40, 35, 31)], [clip(day) for day in (20, 10)]


def named(*streams: Segment) -> list[str]:
    """Name recordings."""
    return [each.filename for each in streams]


async def test_what_is_too_old_goes_and_a_receipt_stays(tmp_path: Path) -> None:
    """Files, entries and bytes go; the receipt is answered, announced and written."""
    async with opened(tmp_path, AGE, OLD + YOUNG) as rig:
        preview = await rig.retention.preview()
        assert await rig.names() == named(*OLD, *YOUNG)
        done = await rig.retention.clean_up("ann")
        assert done.plan.going == preview.going
        assert done.executed
        assert await rig.names() == named(*YOUNG)
        assert rig.storage.guard.stored_bytes == 2000
        receipt = done.receipt
        assert (receipt.files_deleted, receipt.space_freed, receipt.asked_by) == (3, 3000, "ann")
        assert (receipt.complete, receipt.braked, receipt.files_kept) == (True, False, 0)
        assert list(receipt.files) == named(*OLD)
        assert rig.announced == [receipt]
        (line,) = rig.receipts()
        assert (line["message"], line["files"]) == (receipt.message, named(*OLD))
        assert "older than 30 days" in next((rig.folder / ".camd").glob("journal-*")).read_text()


async def test_the_largest_size_is_kept_to(tmp_path: Path, monkeypatch) -> None:
    """The oldest go until it fits, however the index is read; a growing file counts as it is."""
    monkeypatch.setattr(cleanup, "CHUNK", 2)
    monkeypatch.setattr(cleanup, "BATCH", 2)
    streams = [clip(day) for day in range(12, 0, -1)]
    async with opened(tmp_path, SIZE, streams) as rig:
        rig.in_use[streams[-1].filename] = 3000
        done = await rig.retention.clean_up("ann")
        assert (done.plan.total_bytes, done.receipt.files_deleted) == (14_000, 6)
        assert await rig.names() == named(*streams[6:])
        assert (await rig.retention.clean_up("ann")).receipt.files_deleted == 0


async def test_what_is_pinned_or_in_use_stays(tmp_path: Path) -> None:
    """I5: neither goes, and the receipt counts them; so with what became busy after the plan."""
    streams = [clip(day) for day in range(50, 40, -1)]
    async with opened(tmp_path, AGE, streams) as rig:
        await FileActions(rig.storage).pin(streams[0].filename, Pin("evidence"))
        (rig.folder / ".camd" / "pins" / streams[1].filename).touch()  # by hand
        rig.in_use[streams[2].filename] = 1000
        rig.storage.growing(streams[3], 0)
        with rig.storage.leased(streams[4].filename):
            done = await rig.retention.clean_up("ann")
        assert await rig.names() == named(*streams[:5])
        assert (done.receipt.files_kept, done.receipt.files_deleted) == (5, 5)


async def test_what_becomes_busy_after_the_plan_is_skipped(tmp_path: Path) -> None:
    """The plan is not trusted: every file is looked at again when its turn comes."""
    async with opened(tmp_path, AGE, OLD) as rig:
        made = await rig.retention.preview()
        assert len(made.going) == 3
        await FileActions(rig.storage).pin(OLD[0].filename, Pin())
        rig.in_use[OLD[1].filename] = 1000
        tally = cleanup._Tally()
        with rig.storage.leased(OLD[2].filename):
            await rig.retention._carry_out(made, tally)
        assert (tally.removed, tally.skipped, tally.problem) == (0, 3, "")
        assert await rig.names() == named(*OLD)


async def test_the_brake_stops_a_run_that_takes_too_much(tmp_path: Path) -> None:
    """Nothing goes, and the log, the event and the receipt say why; force does it."""
    async with opened(tmp_path, AGE, OLD + YOUNG, brake=20) as rig:
        for asked_by in ("schedule", "ann"):
            done = await rig.retention.clean_up(asked_by)
            assert (done.executed, done.receipt.braked, done.receipt.files_deleted) == (
                *(False, True),
                0,
            )
            assert "60.0 %" in done.receipt.message
        assert await rig.names() == named(*OLD, *YOUNG)
        assert [r.braked for r in rig.announced] == [True, True]
        assert [line["braked"] for line in rig.receipts()] == [True, True]
        assert (await rig.retention.clean_up("ann", force=True)).executed
        assert await rig.names() == named(*YOUNG)


def arrived(folder: Path, number: int, **story: Any) -> Segment:
    """Write a recording that arrived just now in this boot, and describe it."""
    init, fragments = footage(1)
    told = {"number": number, "boot_id": boot_id(), "monotonic_start": monotonic()} | story
    who = attrs.evolve(WHO, **told)
    index = SegmentIndex(init, fragments[0], who)
    name = f"camera0_now{number}.mp4"
    file = SegmentFile.create(PosixDisk(), folder, repeat(name), index, fragments[0])
    file.seal()
    file.close()
    made = attrs.evolve(clip(0), filename=name, number=number, start=now(), end=now())
    return attrs.evolve(made, size_bytes=file.size_bytes)


async def test_a_step_of_the_clock_removes_nothing_that_is_young(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the clock set 400 days ahead, what was recorded in this boot and before stays; preview,
    policy and receipt say why. Somebody who forces it believes the clock for what came before;
    what arrived in this boot is young for certain."""
    async with opened(tmp_path, AGE, [*OLD, *YOUNG]) as rig:
        mine = arrived(rig.folder, 1)
        await rig.storage.note_segment(mine)
        os.utime(rig.folder / mine.filename, (0, 0))  # what a file's dates say is nothing
        monkeypatch.setattr(trusted_clock, "now", lambda: now() + timedelta(days=400))
        preview = await rig.retention.preview()
        assert [each.filename for each in preview.going] == named(*OLD)
        assert {each.filename: each.reason for each in preview.staying} == {
            each.filename: KeptReason.CLOCK for each in (*YOUNG, mine)
        }
        assert "set while the machine was running" in preview.clock
        assert rig.retention.doubt == preview.clock
        receipt = (await rig.retention.clean_up("schedule")).receipt
        assert await rig.names() == named(*YOUNG, mine)
        assert "3 wait, as they are not that old: the clock was set" in receipt.message
        forced = await rig.retention.clean_up("ann", force=True)
        assert await rig.names() == named(mine)
        assert (forced.plan.clock, forced.plan.waiting_files) == ("", 1)
        assert json.loads((tmp_path / "state" / "clock.json").read_text())["stepped_at"]


async def test_a_step_that_is_taken_back_leaves_no_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then everything is as before; and a restart of the service remembers either."""
    async with opened(tmp_path, AGE, OLD) as rig:
        with monkeypatch.context() as patch:
            patch.setattr(trusted_clock, "now", lambda: now() + timedelta(days=400))
            assert (await rig.retention.preview()).clock
            again = trusted_clock.TrustedClock.open(tmp_path / "state")
            assert again.trust.doubt
        assert not (await rig.retention.preview()).clock
        assert trusted_clock.TrustedClock.open(tmp_path / "state").trust.doubt == ""


async def test_a_file_with_the_date_of_a_clock_without_battery_is_young(tmp_path: Path) -> None:
    """Recorded in this boot before the clock was right, an MP4 tells itself when it arrived, and a
    Matroska file by its session."""
    async with opened(tmp_path, AGE, []) as rig:
        long_ago = {"start": NOON - timedelta(days=9000), "end": NOON - timedelta(days=9000)}
        mine = attrs.evolve(arrived(rig.folder, 1), **long_ago)
        mkv = attrs.evolve(mine, filename="camera0_then.mkv", number=2)
        (rig.folder / mkv.filename).write_bytes(bytes(1000))
        foreign = attrs.evolve(mkv, filename="camera0_other.mkv", session_id=SessionId("other"))
        (rig.folder / foreign.filename).write_bytes(bytes(1000))
        for each in (mine, mkv, foreign):
            await rig.storage.note_segment(each)
        begun = session(
            session_id=mine.session_id,
            start=mine.start,
            boot_id=boot_id(),
            monotonic_start=monotonic(),
        )
        await rig.storage.note_session(begun)
        preview = await rig.retention.preview()
        assert {each.filename for each in preview.staying} == set(named(mine, mkv))
        assert preview.clock == ""
        assert "recorded while the clock was wrong" in preview.waits
        assert [each.filename for each in preview.going] == named(foreign)  # nothing is known of it


@pytest.mark.parametrize("policy", [RetentionPolicy(), attrs.evolve(AGE, enabled=False)])
async def test_without_a_policy_nothing_goes(tmp_path: Path, policy: RetentionPolicy) -> None:
    """Who asks is told so; force makes no difference."""
    async with opened(tmp_path, policy, OLD) as rig:
        done = await rig.retention.clean_up("ann", force=True)
        assert (done.executed, done.receipt.files_deleted) == (False, 0)
        assert "nothing is removed" in done.receipt.message
        assert await rig.names() == named(*OLD)


async def test_the_clock_finding_nothing_is_no_news(tmp_path: Path) -> None:
    """A scheduled run without anything to do leaves no line; one that is asked for does."""
    async with opened(tmp_path, AGE, YOUNG) as rig:
        await rig.retention.clean_up("schedule")
        assert (rig.receipts(), rig.announced) == ([], [])
        await rig.retention.clean_up("ann")
        assert [line["files_deleted"] for line in rig.receipts()] == [0]


async def test_a_run_that_is_cancelled_ends_between_files(tmp_path: Path, monkeypatch) -> None:
    """What is removed is removed, the rest is whole, and the receipt says that it was stopped."""
    monkeypatch.setattr(cleanup, "BATCH", 1)
    async with opened(tmp_path, AGE, OLD) as rig:
        with trio.CancelScope() as scope:
            gone = rig.retention.in_use

            def stop_at_the_second() -> dict[str, int]:
                if len(list(rig.folder.glob("*.mp4"))) < len(OLD):
                    scope.cancel()
                return dict(gone())

            rig.retention.in_use = stop_at_the_second
            await rig.retention.clean_up("ann")
        assert scope.cancelled_caught
        assert await rig.names() == named(*OLD[1:])
        (line,) = rig.receipts()
        assert (line["files_deleted"], line["complete"]) == (1, False)
        assert "stopped before the end" in line["message"]


async def test_a_new_policy_stops_a_run_by_the_old_one(tmp_path: Path, monkeypatch) -> None:
    """Whoever switches it off does not have to wait for it."""
    monkeypatch.setattr(cleanup, "BATCH", 1)
    async with opened(tmp_path, AGE, OLD) as rig:

        def switch_off_at_the_second() -> dict[str, int]:
            if len(list(rig.folder.glob("*.mp4"))) < len(OLD):
                rig.retention.policy = RetentionPolicy()
            return {}

        rig.retention.in_use = switch_off_at_the_second
        receipt = (await rig.retention.clean_up("ann")).receipt
        assert (receipt.files_deleted, receipt.complete) == (2, False)
        assert "the policy was changed" in receipt.message


async def test_others_have_their_turn_during_a_cleanup(tmp_path: Path, monkeypatch) -> None:
    """A listing that is asked for in the middle is answered before the cleanup is over."""
    monkeypatch.setattr(cleanup, "BATCH", 1)
    streams = [clip(day) for day in range(80, 40, -1)]
    async with opened(tmp_path, AGE, streams) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.retention.clean_up, "ann")
        totals = []
        while rig.retention.last is None:
            totals.append((await rig.storage.list_recordings(ALL)).total)
        assert len(set(totals)) > 5


async def test_one_run_at_a_time(tmp_path: Path) -> None:
    """A second run waits for the first, and finds its work done."""
    async with opened(tmp_path, AGE, OLD) as rig:
        async with trio.open_nursery() as nursery:
            for name in ("ann", "bob"):
                nursery.start_soon(rig.retention.clean_up, name)
        assert sorted(line["files_deleted"] for line in rig.receipts()) == [0, 3]
        assert all(line["files_skipped"] == 0 for line in rig.receipts())


# --- what is kept on disk ---


async def test_a_policy_survives_a_restart(tmp_path: Path) -> None:
    """It is in force again, to the last number."""
    async with opened(tmp_path, RetentionPolicy(), []) as rig:
        await rig.retention.set_policy(SIZE)
        assert rig.retention.policy == SIZE
    assert load_policy(tmp_path / "state") == SIZE


async def test_a_policy_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    """The old one stays in force."""
    async with opened(tmp_path, AGE, []) as rig:
        (tmp_path / "file").touch()
        rig.retention.state_dir = tmp_path / "file"
        with pytest.raises(Refusal, match="cannot be stored"):
            await rig.retention.set_policy(SIZE)
        assert rig.retention.policy == AGE


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
