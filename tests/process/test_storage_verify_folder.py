"""A whole folder is checked: every mess of a real one is named, and nothing in it is touched."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from support.recordings_folder import MATROSKA, Recordings, damage, gap, session

from camd.model import Segment, SegmentState
from camd.storage.index.memory_index import InMemoryIndex
from camd.storage.read_only_disk import ReadOnlyDisk
from camd.storage.rules.journal_records import SegmentNoted, SegmentRemovalNoted
from camd.storage.verify.folder import FolderVerification, VerifyProgress, VerifyResult
from camd.storage.verify.recording_file import inspect_recording
from camd.storage.verify.rules.findings import FileKind, Finding, FindingKind


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    """Return a folder with one session of two whole files."""
    made = Recordings(tmp_path / "recordings")
    made.put(0)
    made.put(1)
    made.note(session(files=2))
    return made


def check(recordings: Recordings, *names: str, fast: bool = False) -> VerifyResult:
    """Check the folder; everything in it stays as it is, times and all."""
    before = recordings.state()
    told: list[Finding] = []
    progress: list[VerifyProgress] = []
    verdict = FolderVerification(recordings.folder, fast, progress.append, told.append).run(names)
    assert recordings.state() == before
    assert tuple(told) == verdict.findings
    if progress:
        assert progress[-1].files == progress[-1].files_total == verdict.files
    return verdict


def found(recordings: Recordings, *names: str, fast: bool = False) -> dict[str, FindingKind]:
    """Check the folder, and say what is wrong with what."""
    return {c.subject: c.fault for c in check(recordings, *names, fast=fast).findings}


def test_a_folder_that_is_as_it_should_be_is_clean(recordings: Recordings) -> None:
    """All files are read whole, and there is nothing to say."""
    verdict = check(recordings)
    assert (verdict.files, verdict.findings, verdict.busy, verdict.clean) == (2, (), (), True)
    assert verdict.read_bytes >= sum(
        path.stat().st_size for path in recordings.folder.glob("*.mp4")
    )


def test_an_empty_folder_and_one_without_an_archive_are_clean(tmp_path: Path) -> None:
    """Nothing is made in them either."""
    assert check(Recordings(tmp_path)).clean
    Recordings(tmp_path / "made").folder.mkdir()
    assert check(Recordings(tmp_path / "made")).clean


def test_what_camd_removed_itself_is_no_finding(recordings: Recordings) -> None:
    """Files that a person or a policy had removed, first, in the middle, last or all of a session:
    its sums and seams are as they should be without them; one that is only gone is a warning."""
    made = {}
    for session_id in ("first", "middle", "last", "all", "outside"):
        made[session_id] = [recordings.put(number, session_id) for number in range(4)]
        recordings.note(session(session_id, files=4))
    to_delete = [*made["first"][:1], *made["middle"][1:3], *made["last"][3:], *made["all"]]
    with recordings.open_index() as index:
        for each in to_delete:
            (recordings.folder / each.filename).unlink()
            index.note(SegmentRemovalNoted.of(each, "retention: older than 30 days"))
    files = made["outside"]
    assert check(recordings).findings == ()
    (recordings.folder / files[2].filename).unlink()
    verdict = check(recordings)
    assert [(c.subject, c.fault) for c in verdict.findings] == [
        (files[2].filename, FindingKind.REMOVED)
    ]
    assert "removed outside of camd" in verdict.findings[0].text
    assert verdict.clean
    assert not check(recordings, files[2].filename).clean  # nothing is left to be checked


def test_a_file_that_only_the_index_lost_is_a_hole(recordings: Recordings) -> None:
    """Unless camd has removed it, a file between two others is missed, and so are its frames."""
    files = [recordings.put(number, "s1", apart=0.3 if number < 2 else 3.0) for number in range(3)]
    recordings.note(session("s1", files=3))
    with recordings.open_index() as index:
        index.database.apply([SegmentRemovalNoted(files[1].filename, "")])
        (recordings.folder / files[1].filename).unlink()
    assert {c.fault for c in check(recordings).findings} == {
        FindingKind.UNCOVERED,
        FindingKind.SUMS,
    }


def test_what_older_versions_noted_of_removals_is_understood(recordings: Recordings) -> None:
    """A removal that names the file alone is that of the segment which was noted by this name."""
    files = [recordings.put(number, "s1", apart=0.3) for number in range(3)]
    recordings.note(session("s1", files=3))
    with recordings.open_index() as index:
        (recordings.folder / files[1].filename).unlink()
        index.note(SegmentRemovalNoted(files[1].filename, "asked for"))
    assert check(recordings).findings == ()


FURNITURE = ("lost+found", ".Trash-1000", "System Volume Information", ".snapshot", "$RECYCLE.BIN")


def test_what_file_systems_put_there_is_left_alone(recordings: Recordings) -> None:
    """Folders and unreadable files that can be no footage are no findings, or harmless ones."""
    for name in FURNITURE:
        (recordings.folder / name).mkdir(mode=0)
    (recordings.folder / "aquota.user").write_text("x")
    (recordings.folder / "aquota.user").chmod(0)
    os.mkfifo(recordings.folder / "pipe")
    (recordings.folder / "link").symlink_to("lost+found")
    verdict = check(recordings)
    assert verdict.clean
    assert {c.subject for c in verdict.findings} <= {"aquota.user"}


def test_every_kind_of_file_gets_its_finding(recordings: Recordings) -> None:
    """Foreign, truncated, empty, unreadable, renamed, copied, unknown, missing: one line each."""
    a, b = (recordings.put(number, f"s{number}") for number in (2, 3))
    cut, gone, moved, empty = (recordings.put(number, f"s{number}") for number in (4, 5, 6, 7))
    unknown = recordings.put(8, "s8", noted=False)
    unsealed = recordings.put(9, "s9", sealed=False)
    movie, wrong = recordings.put_mkv(10, "s10"), recordings.put_mkv(11, "s11")
    folder = recordings.folder
    (folder / "copy.mp4").write_bytes((folder / a.filename).read_bytes())
    damage(folder / b.filename)
    os.truncate(folder / cut.filename, cut.size_bytes - 100)
    (folder / gone.filename).unlink()
    (folder / moved.filename).rename(folder / "moved.mp4")
    os.truncate(folder / empty.filename, 0)
    damage(folder / wrong.filename, 100)
    (folder / "notes.txt").write_text("mine")
    (folder / "movie.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    (folder / "camera0_2026-01-15_13-00-00.mp4").touch()
    (folder / "camera0_2026-01-15_14-00-00.mkv").write_bytes(MATROSKA)
    (folder / "folder.mp4").mkdir()
    (folder / "link.mp4").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "caf\udce9.mp4").write_bytes(b"x")
    files = found(recordings)
    sessions = {name: files.pop(name) for name in list(files) if name.startswith("session ")}
    assert files == {
        "copy.mp4": FindingKind.COPY,
        b.filename: FindingKind.HASH,
        cut.filename: FindingKind.DAMAGED,
        gone.filename: FindingKind.REMOVED,
        moved.filename: FindingKind.REMOVED,
        "moved.mp4": FindingKind.RENAMED,
        empty.filename: FindingKind.DAMAGED,
        unknown.filename: FindingKind.UNKNOWN,
        unsealed.filename: FindingKind.INTERRUPTED,
        wrong.filename: FindingKind.HASH,
        "notes.txt": FindingKind.FOREIGN,
        "movie.mp4": FindingKind.FOREIGN,
        "camera0_2026-01-15_13-00-00.mp4": FindingKind.EMPTY,
        "camera0_2026-01-15_14-00-00.mkv": FindingKind.UNKNOWN,
        "folder.mp4": FindingKind.UNREADABLE,
        "link.mp4": FindingKind.UNREADABLE,
        "pipe.mp4": FindingKind.UNREADABLE,
        "caf\udce9.mp4": FindingKind.FOREIGN,
    }
    assert movie.filename not in files
    assert set(sessions.values()) == {FindingKind.UNACCOUNTED}


def test_damage_anywhere_in_a_file_is_found(recordings: Recordings) -> None:
    """Whatever byte behind the first 48 changes, in the media, between, or in the index."""
    name = next(path.name for path in recordings.folder.glob("*.mp4"))
    path = recordings.folder / name
    whole = path.read_bytes()
    for at in range(48, len(whole), 97):
        damage(path, at)
        assert name in found(recordings, name), at
        path.write_bytes(whole)
    assert found(recordings, name) == {}


def test_fast_trusts_the_media_and_still_reads_the_structure(recordings: Recordings) -> None:
    """A bit in a picture is not seen, a lost end is."""
    name = sorted(path.name for path in recordings.folder.glob("*.mp4"))[0]
    path = recordings.folder / name
    damage(path)
    assert found(recordings, fast=True) == {}
    assert found(recordings) == {name: FindingKind.HASH}
    os.truncate(path, path.stat().st_size - 9)
    assert found(recordings, fast=True) == {name: FindingKind.DAMAGED}


def test_a_recording_without_a_hash_is_held_against_its_checksums(
    recordings: Recordings,
) -> None:
    """RecoveredFile files have no hash at first: damage is seen all the same, and where."""
    made = recordings.put(2, "s2", sha256=None)
    assert found(recordings, made.filename) == {made.filename: FindingKind.UNHASHED}
    path = recordings.folder / made.filename
    damage(path, path.read_bytes().rindex(b"mdat") + 30)
    (finding,) = check(recordings, made.filename).findings
    assert finding.fault is FindingKind.DAMAGED
    assert "from byte" in finding.text
    damage(path, path.read_bytes().rindex(b"mdat") + 30)
    assert found(recordings, made.filename) == {made.filename: FindingKind.UNHASHED}
    damage(path)  # in what had been synced, which recovery would not read
    assert found(recordings, made.filename) == {made.filename: FindingKind.DAMAGED}


def test_a_file_that_is_asked_for_and_not_there(recordings: Recordings) -> None:
    """Only what was asked for is checked, and a name that does not exist is said."""
    (recordings.folder / "notes.txt").touch()
    assert found(recordings, "nothing.mp4") == {"nothing.mp4": FindingKind.MISSING}


def test_files_that_are_recorded_are_left_out(recordings: Recordings) -> None:
    """Their creator has them locked; the session around them is no finding either."""
    growing = recordings.put(2, sealed=False)
    data = (recordings.folder / growing.filename).read_bytes()
    (recordings.folder / growing.filename).unlink()
    file = recordings.disk.create(recordings.folder / growing.filename)
    file.append([data])
    verdict = check(recordings)
    file.close()
    assert verdict.busy == (growing.filename,)
    assert [c.fault for c in verdict.findings] == [FindingKind.SUMS]  # it is in an ended session


def test_holes_that_nobody_accounts_for_are_found(tmp_path: Path) -> None:
    """Files with time between them need an entry of the ledger that covers it."""
    recordings = Recordings(tmp_path)
    recordings.put(0, apart=5.0)
    recordings.put(1, apart=5.0)
    recordings.note(session(files=2))
    assert found(recordings) == {"session s0": FindingKind.UNCOVERED}
    recordings.note(gap(0.3, 5.0))
    assert found(recordings) == {}


# --- the index and the journal ---


def test_it_works_while_the_service_has_the_index(recordings: Recordings) -> None:
    """Beside the one writer, without waiting for it, and with what it wrote last."""
    with recordings.open_index() as index:
        made = recordings.put(2, "s2", noted=False)
        index.note_open(made)
        assert recordings.index.with_name(f"{recordings.index.name}-wal").stat().st_size > 0
        assert found(recordings) == {"session s2": FindingKind.UNACCOUNTED}


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_an_index_of_garbage_is_one_finding(recordings: Recordings, content: bytes) -> None:
    """The journal alone is enough to judge everything else."""
    recordings.index.write_bytes(content)
    assert found(recordings) == {"index": FindingKind.INDEX}


def test_rows_of_garbage_are_an_index_of_garbage(recordings: Recordings) -> None:
    """A database that is whole and holds nonsense is no better."""
    db = sqlite3.connect(recordings.index)
    with db:
        db.execute("UPDATE segments SET state = 'melted'")
    db.close()
    assert found(recordings) == {"index": FindingKind.INDEX}


def test_an_index_that_is_gone_is_one_finding(recordings: Recordings) -> None:
    """Nothing is made in its place."""
    recordings.index.unlink()
    assert found(recordings) == {"index": FindingKind.INDEX}


def test_an_index_that_lags_behind_is_no_finding(recordings: Recordings) -> None:
    """What only the journal has is known: the service catches up in the same way."""
    before = recordings.index.read_bytes()
    recordings.put(2)
    recordings.note(session(files=3))
    recordings.index.write_bytes(before)
    assert found(recordings) == {}


def test_a_journal_that_is_gone_or_damaged_is_found(recordings: Recordings) -> None:
    """Without it the index could not be rebuilt."""
    whole = recordings.journal.read_bytes()
    recordings.journal.write_bytes(whole.replace(b"camera0", b"camera1", 1))
    assert found(recordings) == {"journal": FindingKind.JOURNAL}
    recordings.journal.write_bytes(whole[:-30])
    assert {c.fault for c in check(recordings).findings} == {FindingKind.JOURNAL, FindingKind.TORN}
    recordings.journal.unlink()
    assert found(recordings) == {"journal": FindingKind.JOURNAL}
    recordings.index.unlink()
    assert set(found(recordings).values()) == {
        FindingKind.INDEX,
        FindingKind.JOURNAL,
        FindingKind.UNKNOWN,
    }


def crashed(recordings: Recordings) -> Segment:
    """Leave the index as a kill does, with a log that alone knows one segment; return that."""
    suffixes = ("", "-wal", "-shm")
    with recordings.open_index() as index:
        made = recordings.put(2, "s2", noted=False)
        index.note_open(made)
        parts = [recordings.index.with_name(recordings.index.name + suffix) for suffix in suffixes]
        kept = [part.read_bytes() for part in parts]
    for part, data in zip(parts, kept, strict=True):
        part.write_bytes(data)
    return made


def test_a_log_that_a_crash_left_is_read(recordings: Recordings) -> None:
    """The index with the log beside it is what the daemon had when it was killed."""
    made = crashed(recordings)
    snapshot = InMemoryIndex.open(recordings.folder)
    assert (snapshot.index_problem, snapshot.database.segment(made.filename)) == ("", made)
    snapshot.close()


@contextmanager
def somebody() -> Iterator[None]:
    """Be a user who may write nowhere, while the block runs."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def readable() -> Iterator[Path]:
    """Return a folder that everybody may look into, and only we may change."""
    folder = Path(tempfile.mkdtemp(prefix="camd-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def open_up(folder: Path) -> None:
    """Let everybody read what is there."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@AS_ROOT
@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_that_may_only_be_read_is_checked(readable: Path, killed: bool) -> None:
    """After an orderly end and after a kill; nothing is missed, and nothing tried."""
    recordings = Recordings(readable)
    recordings.put(0)
    recordings.note(session())
    made = crashed(recordings) if killed else None
    open_up(readable)
    with somebody():
        assert found(recordings) == ({"session s2": FindingKind.UNACCOUNTED} if made else {})
    for part in ("-shm", "-wal"):
        recordings.index.with_name(recordings.index.name + part).unlink(missing_ok=True)


@AS_ROOT
def test_what_may_not_be_read_is_a_finding(readable: Path) -> None:
    """A file, the journal, the whole index: each is reported, and the rest is checked."""
    recordings = Recordings(readable)
    name = recordings.put(0).filename
    recordings.note(session())

    def faults(forbidden: Path) -> list[FindingKind]:
        open_up(readable)
        forbidden.chmod(0)
        with somebody():
            verdict = FolderVerification(readable, False, lambda _: None, lambda _: None).run()
        return [finding.fault for finding in verdict.findings]

    assert faults(readable / name) == [FindingKind.UNREADABLE]
    assert faults(recordings.journal) == [FindingKind.JOURNAL]
    assert faults(recordings.index.parent) == [
        FindingKind.INDEX,
        FindingKind.JOURNAL,
        FindingKind.UNKNOWN,
    ]


def test_what_changes_meanwhile_is_looked_at_again(recordings: Recordings) -> None:
    """A file that is adopted between the copy of the index and the inspection is no finding."""
    made = recordings.put(2, "s2", noted=False)
    told: list[Finding] = []
    looked: list[str] = []

    def examined(disk, path: Path, **options: object):
        if path.name == made.filename and not looked:
            looked.append(path.name)
            recordings.know(made)
        return inspect_recording(disk, path, **options)  # type: ignore[arg-type]

    check = FolderVerification(
        recordings.folder, False, lambda _: None, told.append, inspect=examined
    )
    check.run([made.filename])
    assert (looked, told) == ([made.filename], [])


# --- reading ---


def test_the_reading_disk_cannot_write(tmp_path: Path) -> None:
    """Neither make nor remove nor change a file."""
    (tmp_path / "a").write_bytes(b"abc")
    disk = ReadOnlyDisk()
    file = disk.open(tmp_path / "a")
    for change in (
        lambda: file.append([b"x"]),
        lambda: file.truncate(0),
        lambda: file.overwrite(0, b"x"),
        lambda: disk.create(tmp_path / "b"),
        lambda: disk.unlink(tmp_path / "a"),
    ):
        with pytest.raises(OSError, match=r"file descriptor|Read-only|Invalid"):
            change()
    file.close()
    assert (tmp_path / "a").read_bytes() == b"abc"


def test_every_read_is_told_and_may_be_ended(recordings: Recordings) -> None:
    """What raises there ends the look, and leaves no file open."""

    class EnoughError(Exception):
        pass

    def enough(size_bytes: int, seconds: float) -> None:
        raise EnoughError

    gc.collect()  # what other tests have left closes its files now
    before = len(os.listdir("/proc/self/fd"))
    path = next(recordings.folder.glob("*.mp4"))
    with pytest.raises(EnoughError):
        inspect_recording(ReadOnlyDisk(enough), path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_error_of_the_disk_is_a_finding(recordings: Recordings) -> None:
    """What cannot be read is said, and stays with that file."""

    def broken(size_bytes: int, seconds: float) -> None:
        raise OSError(5, "Input/output error")

    seen = inspect_recording(ReadOnlyDisk(broken), next(recordings.folder.glob("*.mp4")))
    assert (seen.shape, seen.broken) == (FileKind.UNREADABLE, "Input/output error")


def test_states_of_the_index_that_files_contradict(recordings: Recordings) -> None:
    """A file that is sealed and listed as interrupted or missing is said to be so."""
    one, two = recordings.put(2, "s2"), recordings.put(3, "s3")
    with recordings.open_index() as index:
        index.note_open(attrs.evolve(one, state=SegmentState.INTERRUPTED))
        index.database.apply([SegmentNoted(attrs.evolve(two, state=SegmentState.MISSING))])
    files = found(recordings, one.filename, two.filename)
    assert files == {one.filename: FindingKind.STATE, two.filename: FindingKind.STATE}
