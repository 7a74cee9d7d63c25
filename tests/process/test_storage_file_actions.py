"""Pins and removals as clients ask for them, on real folders and files."""

from __future__ import annotations

import hashlib
import shutil
import threading
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from support.fake_disk import GaugedDisk
from support.recordings import NOON, WHO, footage, segment
from support.recordings_folder import searched_storage, session

from camd.clock import now
from camd.errors import FILE_LEASED, Refusal
from camd.model import RecordingQuery, Segment, SegmentState
from camd.mp4.segment import FTYP_SIZE, SegmentLayout
from camd.storage.disk import PosixFile
from camd.storage.removal import Pin
from camd.storage.storage import Storage

INIT, FRAGMENTS = footage(3)
NAME = "camera0_2026-01-15_14-30-00.mp4"


class StubbornDisk(GaugedDisk):
    """A disk from which nothing can be removed."""

    def unlink(self, path: Path) -> None:
        """Refuse."""
        raise PermissionError(1, "Operation not permitted", str(path))


def sealed_recording(session: str) -> bytes:
    """Make a sealed recording of a session."""
    index = SegmentLayout(INIT, FRAGMENTS[0], attrs.evolve(WHO, session_id=session))
    data = index.header + b"".join(b"".join(index.append(each)) for each in FRAGMENTS)
    header = index.seal_header(len(data))
    return data[:FTYP_SIZE] + header + data[FTYP_SIZE + len(header) :] + index.final_moov()


CONTENT = sealed_recording(NAME)


def put(folder: Path, name: str = NAME) -> Path:
    """Put a real recording there, of a session of its own, before anybody knows it."""
    path = folder / name
    path.write_bytes(sealed_recording(name))
    return path


async def refused(attempt, *arguments: object) -> int:
    """Return the code of the refusal that a call ends with."""
    with pytest.raises(Refusal) as refusal:
        await attempt(*arguments)
    return refusal.value.kind.code


async def listed(storage: Storage) -> list[str]:
    """Name what is listed."""
    return [s.filename for s in (await storage.list_recordings(RecordingQuery())).segments]


async def test_a_removed_recording_is_gone_for_good(tmp_path: Path) -> None:
    """File, entry and bytes go; they stay away with a new index, and the name is unknown."""
    path = put(tmp_path)
    async with searched_storage(tmp_path) as storage:
        assert storage.space.stored_bytes == len(CONTENT)
        removal = await storage.remove_one(NAME, "ann asked for it")
        assert (removal.freed_bytes, storage.space.stored_bytes) == (len(CONTENT), 0)
        assert not path.exists()
        assert await listed(storage) == []
        assert await refused(storage.remove_one, NAME, "again") == -1005
        assert await refused(storage.remove_one, "../x", "why") == -32602
    (tmp_path / ".camd" / "index.sqlite").unlink()
    async with searched_storage(tmp_path) as storage:
        assert await listed(storage) == []


async def test_a_file_that_cannot_be_removed_stays_known(tmp_path: Path) -> None:
    """The refusal says why, and file and entry are as before."""
    path = put(tmp_path)
    async with searched_storage(tmp_path, StubbornDisk()) as storage:
        with pytest.raises(Refusal, match="not permitted") as refusal:
            await storage.remove_one(NAME, "why")
        assert refusal.value.kind.code == -1019
        assert refusal.value.data["filename"] == NAME
        assert (path.exists(), await listed(storage)) == (True, [NAME])
        assert storage.space.stored_bytes == len(CONTENT)


async def test_what_is_recorded_read_or_pinned_stays(tmp_path: Path) -> None:
    """I5: each has its own refusal, and when it is over the file can go."""
    path = put(tmp_path)
    async with searched_storage(tmp_path) as storage:
        known = await storage.find(NAME)
        storage.growing(known, 100)
        assert await refused(storage.remove_one, NAME, "why") == -1011
        await storage.note_segment(known)
        with storage.leased(NAME), storage.leased(NAME):
            assert await refused(storage.remove_one, NAME, "why") == -1013
        await storage.pin(NAME, Pin("evidence", "ann"))
        assert await refused(storage.remove_one, NAME, "why") == -1012
        await storage.unpin(NAME)
        await storage.note_segment(attrs.evolve(known, state=SegmentState.OPEN))
        assert await refused(storage.remove_one, NAME, "why") == -1011
        await storage.note_segment(attrs.evolve(known, state=SegmentState.INTERRUPTED))
        assert path.exists()
        await storage.remove_one(NAME, "why")  # the search is over, and left it as it is
        assert not path.exists()


async def test_a_lease_taken_before_the_look_up_is_safe(tmp_path: Path) -> None:
    """Of a reader and a removal that come at the same time, one is refused: whoever leases and
    finds the file can open it."""
    for number in range(10, 30):
        put(tmp_path, f"camera{number}_2026-01-15_14-30-00.mp4")
    outcomes = set()

    async def read(name: str) -> None:
        with storage.leased(name):
            try:
                file = await storage.stored_file(name)
            except Refusal:
                outcomes.add("removed")
                return
            await trio.lowlevel.checkpoint()
            assert file.path.stat().st_size == file.size_bytes
            outcomes.add("read")

    async with searched_storage(tmp_path) as storage:
        names = await listed(storage)
        assert len(names) == 20
        for name in names:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(storage.remove, [name], "why")
                nursery.start_soon(read, name)
    assert {"read"} <= outcomes <= {"read", "removed"}


async def test_pins_hold_without_index_and_journal(tmp_path: Path) -> None:
    """With everything else lost, the marker still keeps its recording; a pin of a file that is
    gone hurts nobody."""
    put(tmp_path)
    put(tmp_path, "camera1_2026-01-15_14-30-00.mp4")
    until = now() + timedelta(days=1)
    async with searched_storage(tmp_path) as storage:
        names = await listed(storage)
        assert len(names) == 2
        for name in names:
            await storage.pin(name, Pin("evidence", "ann", NOON, until))
        (tmp_path / "camera1_2026-01-15_14-30-00.mp4").unlink()
    for file in (tmp_path / ".camd").iterdir():
        if file.is_file():
            file.unlink()
    async with searched_storage(tmp_path) as storage:
        assert await storage.pins(await listed(storage)) == {
            NAME: Pin("evidence", "ann", NOON, until)
        }
        assert await refused(storage.remove_one, NAME, "why") == -1012
        assert await refused(storage.pin, "camera1_2026-01-15_14-30-00.mp4", Pin()) == -1005
        assert await refused(storage.pin, "../x", Pin()) == -32602
        shutil.rmtree(tmp_path / ".camd" / "pins")
        await storage.unpin(NAME)
        await storage.remove_one(NAME, "why")


async def test_a_pin_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """With something else in the markers' place everything counts as pinned."""
    put(tmp_path)
    async with searched_storage(tmp_path) as storage:
        (tmp_path / ".camd" / "pins").touch()
        assert await refused(storage.pin, NAME, Pin()) == -1016
        assert await refused(storage.unpin, NAME) == -1016
        assert await refused(storage.remove_one, NAME, "why") == -1012
        assert list(await storage.pins([NAME])) == [NAME]


async def test_a_pin_goes_over_to_what_replaces_the_file(tmp_path: Path) -> None:
    """The MKV of a pinned MP4 is pinned."""
    put(tmp_path)
    mkv: Segment = segment("camera0_2026-01-15_14-30-00.mkv")
    async with searched_storage(tmp_path) as storage:
        await storage.pin(NAME, Pin("evidence"))
        await storage.note_replaced(NAME, mkv)
        assert await listed(storage) == [mkv.filename]
        assert await refused(storage.remove_one, mkv.filename, "why") == -1012


async def test_a_name_always_answers_while_an_mkv_takes_the_place_of_its_mp4(
    tmp_path: Path,
) -> None:
    """Also when that happens between the questions for the one and for the other."""
    put(tmp_path)
    mkv: Segment = segment(NAME.replace("mp4", "mkv"))
    asked, replaced = threading.Event(), threading.Event()

    def hold(statement: str) -> None:
        if "FROM segments WHERE filename" in statement and not asked.is_set():
            asked.set()
            replaced.wait(300)

    async with searched_storage(tmp_path) as storage:
        known = await storage.find(NAME)
        await storage.note_session(session(known.session_id, format="mkv"))
        assert await storage.find(mkv.filename) == known
        found: list[Segment] = []

        async def find() -> None:
            found.append(await storage.find(mkv.filename))

        await storage.index_worker.run(lambda index: index.database._db.set_trace_callback(hold))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(find)
            await trio.to_thread.run_sync(asked.wait, 300)
            nursery.start_soon(storage.note_replaced, NAME, mkv)
            await trio.testing.wait_all_tasks_blocked()
            replaced.set()
        assert found == [known]
        assert (await storage.find(mkv.filename)).filename == mkv.filename


async def test_files_that_are_being_recovered_stay(tmp_path: Path) -> None:
    """While the folder is searched an interrupted file is in use; sealed ones can go."""
    async with searched_storage(tmp_path) as storage:
        put(tmp_path)
        broken = segment(NAME, state=SegmentState.INTERRUPTED)
        await storage.note_segment(broken)
        difference = storage._reconcile
        assert difference.report is not None
        difference.report = attrs.evolve(difference.report, ended=None)
        assert await refused(storage.remove_one, NAME, "why") == -1011
        difference.report = attrs.evolve(difference.report, ended=NOON)
        await storage.remove_one(NAME, "why")


async def test_a_file_is_leased_while_it_is_hashed(tmp_path: Path) -> None:
    """What is recovered without a hash is read whole, and cannot be removed meanwhile."""
    reasons = []

    class Watched(GaugedDisk):
        def open(self, path: Path) -> PosixFile:
            if path.suffix == ".mp4":
                reasons.append(storage.busy(known))
            return super().open(path)

    async with searched_storage(tmp_path, Watched()) as storage:
        put(tmp_path)
        known = segment(NAME, sha256=None)
        await storage.note_segment(known)
        await storage._reconcile._hash_all()
        assert reasons == [FILE_LEASED]
        assert (await storage.find(NAME)).sha256 == hashlib.sha256(CONTENT[48:]).hexdigest()
        assert storage.busy(known) is None
