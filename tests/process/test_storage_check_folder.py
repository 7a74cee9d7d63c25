"""A whole folder is checked: every mess of a real one is named, and nothing in it is touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from support.recordings_folder import MATROSKA, RecordingsFolder, damage, gap, session

from camd.model import Segment, SegmentState
from camd.storage.check.folder import CheckProgress, CheckResult, FolderCheck
from camd.storage.check.recording_file import ReadOnlyDisk, inspect_recording
from camd.storage.check.rules.findings import FileShape, Finding, FindingKind
from camd.storage.index.snapshot import IndexSnapshot
from camd.storage.rules.journal_records import SegmentRemoved


@pytest.fixture
def shelf(tmp_path: Path) -> RecordingsFolder:
    """Return a folder with one session of two whole files."""
    made = RecordingsFolder(tmp_path / "recordings")
    made.put(0)
    made.put(1)
    made.note(session(files=2))
    return made


def check(shelf: RecordingsFolder, *names: str, fast: bool = False) -> CheckResult:
    """Check the folder; everything in it stays as it is, times and all."""
    before = shelf.state()
    told: list[Finding] = []
    progress: list[CheckProgress] = []
    verdict = FolderCheck(shelf.folder, fast, progress.append, told.append).run(names)
    assert shelf.state() == before
    assert tuple(told) == verdict.complaints
    if progress:
        assert progress[-1].files == progress[-1].files_total == verdict.files
    return verdict


def found(shelf: RecordingsFolder, *names: str, fast: bool = False) -> dict[str, FindingKind]:
    """Check the folder, and say what is wrong with what."""
    return {c.subject: c.fault for c in check(shelf, *names, fast=fast).complaints}


def test_a_folder_that_is_as_it_should_be_is_clean(shelf: RecordingsFolder) -> None:
    """All files are read whole, and there is nothing to say."""
    verdict = check(shelf)
    assert (verdict.files, verdict.complaints, verdict.busy, verdict.clean) == (2, (), (), True)
    assert verdict.read_bytes >= sum(path.stat().st_size for path in shelf.folder.glob("*.mp4"))


def test_an_empty_folder_and_one_without_an_archive_are_clean(tmp_path: Path) -> None:
    """Nothing is made in them either."""
    assert check(RecordingsFolder(tmp_path)).clean
    RecordingsFolder(tmp_path / "made").folder.mkdir()
    assert check(RecordingsFolder(tmp_path / "made")).clean


def test_what_camd_removed_itself_is_no_finding(shelf: RecordingsFolder) -> None:
    """Files that a person or a policy had removed, first, in the middle, last or all of a session:
    its sums and seams are as they should be without them; one that is only gone is a warning."""
    made = {}
    for session_id in ("first", "middle", "last", "all", "outside"):
        made[session_id] = [shelf.put(number, session_id) for number in range(4)]
        shelf.note(session(session_id, files=4))
    going = [*made["first"][:1], *made["middle"][1:3], *made["last"][3:], *made["all"]]
    with shelf.archive() as archive:
        for each in going:
            (shelf.folder / each.filename).unlink()
            archive.note(SegmentRemoved.of(each, "retention: older than 30 days"))
    files = made["outside"]
    assert check(shelf).complaints == ()
    (shelf.folder / files[2].filename).unlink()
    verdict = check(shelf)
    assert [(c.subject, c.fault) for c in verdict.complaints] == [
        (files[2].filename, FindingKind.REMOVED)
    ]
    assert "removed outside of camd" in verdict.complaints[0].text
    assert verdict.clean
    assert not check(shelf, files[2].filename).clean  # nothing is left to be checked


def test_a_file_that_only_the_index_lost_is_a_hole(shelf: RecordingsFolder) -> None:
    """Unless camd has removed it, a file between two others is missed, and so are its frames."""
    files = [shelf.put(number, "s1", apart=0.3 if number < 2 else 3.0) for number in range(3)]
    shelf.note(session("s1", files=3))
    with shelf.archive() as archive:
        archive.catalog.drop_segment(files[1].filename)
        (shelf.folder / files[1].filename).unlink()
    assert {c.fault for c in check(shelf).complaints} == {FindingKind.UNCOVERED, FindingKind.SUMS}


def test_what_older_versions_noted_of_removals_is_understood(shelf: RecordingsFolder) -> None:
    """A removal that names the file alone is that of the segment which was noted by this name."""
    files = [shelf.put(number, "s1", apart=0.3) for number in range(3)]
    shelf.note(session("s1", files=3))
    with shelf.archive() as archive:
        (shelf.folder / files[1].filename).unlink()
        archive.note(SegmentRemoved(files[1].filename, "asked for"))
    assert check(shelf).complaints == ()


FURNITURE = ("lost+found", ".Trash-1000", "System Volume Information", ".snapshot", "$RECYCLE.BIN")


def test_what_file_systems_put_there_is_left_alone(shelf: RecordingsFolder) -> None:
    """Folders and unreadable files that can be no footage are no findings, or harmless ones."""
    for name in FURNITURE:
        (shelf.folder / name).mkdir(mode=0)
    (shelf.folder / "aquota.user").write_text("x")
    (shelf.folder / "aquota.user").chmod(0)
    os.mkfifo(shelf.folder / "pipe")
    (shelf.folder / "link").symlink_to("lost+found")
    verdict = check(shelf)
    assert verdict.clean
    assert {c.subject for c in verdict.complaints} <= {"aquota.user"}


def test_every_kind_of_file_gets_its_finding(shelf: RecordingsFolder) -> None:
    """Foreign, truncated, empty, unreadable, renamed, copied, unknown, missing: one line each."""
    a, b = (shelf.put(number, f"s{number}") for number in (2, 3))
    cut, gone, moved, empty = (shelf.put(number, f"s{number}") for number in (4, 5, 6, 7))
    unknown = shelf.put(8, "s8", noted=False)
    unsealed = shelf.put(9, "s9", sealed=False)
    movie, wrong = shelf.put_mkv(10, "s10"), shelf.put_mkv(11, "s11")
    folder = shelf.folder
    (folder / "copy.mp4").write_bytes((folder / a.filename).read_bytes())
    damage(folder / b.filename)
    os.truncate(folder / cut.filename, cut.size_bytes - 100)
    (folder / gone.filename).unlink()
    (folder / moved.filename).rename(folder / "moved.mp4")
    os.truncate(folder / empty.filename, 0)
    damage(folder / wrong.filename, 100)
    (folder / "notes.txt").write_text("mine")
    (folder / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    (folder / "camera0_2026-01-15_13-00-00.mp4").touch()
    (folder / "camera0_2026-01-15_14-00-00.mkv").write_bytes(MATROSKA)
    (folder / "folder.mp4").mkdir()
    (folder / "link.mp4").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "caf\udce9.mp4").write_bytes(b"x")
    files = found(shelf)
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
        "film.mp4": FindingKind.FOREIGN,
        "camera0_2026-01-15_13-00-00.mp4": FindingKind.EMPTY,
        "camera0_2026-01-15_14-00-00.mkv": FindingKind.UNKNOWN,
        "folder.mp4": FindingKind.UNREADABLE,
        "link.mp4": FindingKind.UNREADABLE,
        "pipe.mp4": FindingKind.UNREADABLE,
        "caf\udce9.mp4": FindingKind.FOREIGN,
    }
    assert movie.filename not in files
    assert set(sessions.values()) == {FindingKind.UNACCOUNTED}


def test_damage_anywhere_in_a_file_is_found(shelf: RecordingsFolder) -> None:
    """Whatever byte behind the first 48 changes, in the media, between, or in the index."""
    name = next(path.name for path in shelf.folder.glob("*.mp4"))
    path = shelf.folder / name
    whole = path.read_bytes()
    for at in range(48, len(whole), 97):
        damage(path, at)
        assert name in found(shelf, name), at
        path.write_bytes(whole)
    assert found(shelf, name) == {}


def test_fast_trusts_the_media_and_still_reads_the_structure(shelf: RecordingsFolder) -> None:
    """A bit in a picture is not seen, a lost end is."""
    name = sorted(path.name for path in shelf.folder.glob("*.mp4"))[0]
    path = shelf.folder / name
    damage(path)
    assert found(shelf, fast=True) == {}
    assert found(shelf) == {name: FindingKind.HASH}
    os.truncate(path, path.stat().st_size - 9)
    assert found(shelf, fast=True) == {name: FindingKind.DAMAGED}


def test_a_recording_without_a_hash_is_held_against_its_checksums(shelf: RecordingsFolder) -> None:
    """Recovered files have no hash at first: damage is seen all the same, and where."""
    made = shelf.put(2, "s2", sha256=None)
    assert found(shelf, made.filename) == {made.filename: FindingKind.UNHASHED}
    path = shelf.folder / made.filename
    damage(path, path.read_bytes().rindex(b"mdat") + 30)
    (complaint,) = check(shelf, made.filename).complaints
    assert complaint.fault is FindingKind.DAMAGED
    assert "from byte" in complaint.text
    damage(path, path.read_bytes().rindex(b"mdat") + 30)
    assert found(shelf, made.filename) == {made.filename: FindingKind.UNHASHED}
    damage(path)  # in what had been synced, which recovery would not read
    assert found(shelf, made.filename) == {made.filename: FindingKind.DAMAGED}


def test_a_file_that_is_asked_for_and_not_there(shelf: RecordingsFolder) -> None:
    """Only what was asked for is checked, and a name that does not exist is said."""
    (shelf.folder / "notes.txt").touch()
    assert found(shelf, "nothing.mp4") == {"nothing.mp4": FindingKind.MISSING}


def test_files_that_are_recorded_are_left_out(shelf: RecordingsFolder) -> None:
    """Their creator has them locked; the session around them is no finding either."""
    growing = shelf.put(2, sealed=False)
    data = (shelf.folder / growing.filename).read_bytes()
    (shelf.folder / growing.filename).unlink()
    file = shelf.disk.create(shelf.folder / growing.filename)
    file.append([data])
    verdict = check(shelf)
    file.close()
    assert verdict.busy == (growing.filename,)
    assert [c.fault for c in verdict.complaints] == [FindingKind.SUMS]  # it is in an ended session


def test_holes_that_nobody_accounts_for_are_found(tmp_path: Path) -> None:
    """Files with time between them need an entry of the ledger that covers it."""
    shelf = RecordingsFolder(tmp_path)
    shelf.put(0, apart=5.0)
    shelf.put(1, apart=5.0)
    shelf.note(session(files=2))
    assert found(shelf) == {"session s0": FindingKind.UNCOVERED}
    shelf.note(gap(0.3, 5.0))
    assert found(shelf) == {}


# --- the index and the journal ---


def test_it_works_while_the_service_has_the_index(shelf: RecordingsFolder) -> None:
    """Beside the one writer, without waiting for it, and with what it wrote last."""
    with shelf.archive() as archive:
        made = shelf.put(2, "s2", noted=False)
        archive.note_open(made)
        assert shelf.index.with_name(f"{shelf.index.name}-wal").stat().st_size > 0
        assert found(shelf) == {"session s2": FindingKind.UNACCOUNTED}


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_an_index_of_garbage_is_one_finding(shelf: RecordingsFolder, content: bytes) -> None:
    """The journal alone is enough to judge everything else."""
    shelf.index.write_bytes(content)
    assert found(shelf) == {"index": FindingKind.INDEX}


def test_rows_of_garbage_are_an_index_of_garbage(shelf: RecordingsFolder) -> None:
    """A database that is whole and holds nonsense is no better."""
    db = sqlite3.connect(shelf.index)
    with db:
        db.execute("UPDATE segments SET state = 'melted'")
    db.close()
    assert found(shelf) == {"index": FindingKind.INDEX}


def test_an_index_that_is_gone_is_one_finding(shelf: RecordingsFolder) -> None:
    """Nothing is made in its place."""
    shelf.index.unlink()
    assert found(shelf) == {"index": FindingKind.INDEX}


def test_an_index_that_lags_behind_is_no_finding(shelf: RecordingsFolder) -> None:
    """What only the journal has is known: the service catches up in the same way."""
    before = shelf.index.read_bytes()
    shelf.put(2)
    shelf.note(session(files=3))
    shelf.index.write_bytes(before)
    assert found(shelf) == {}


def test_a_journal_that_is_gone_or_damaged_is_found(shelf: RecordingsFolder) -> None:
    """Without it the index could not be rebuilt."""
    whole = shelf.journal.read_bytes()
    shelf.journal.write_bytes(whole.replace(b"camera0", b"camera1", 1))
    assert found(shelf) == {"journal": FindingKind.JOURNAL}
    shelf.journal.write_bytes(whole[:-30])
    assert {c.fault for c in check(shelf).complaints} == {FindingKind.JOURNAL, FindingKind.TORN}
    shelf.journal.unlink()
    assert found(shelf) == {"journal": FindingKind.JOURNAL}
    shelf.index.unlink()
    assert set(found(shelf).values()) == {
        FindingKind.INDEX,
        FindingKind.JOURNAL,
        FindingKind.UNKNOWN,
    }


def crashed(shelf: RecordingsFolder) -> Segment:
    """Leave the index as a kill does, with a log that alone knows one segment; return that."""
    suffixes = ("", "-wal", "-shm")
    with shelf.archive() as archive:
        made = shelf.put(2, "s2", noted=False)
        archive.note_open(made)
        parts = [shelf.index.with_name(shelf.index.name + suffix) for suffix in suffixes]
        kept = [part.read_bytes() for part in parts]
    for part, data in zip(parts, kept, strict=True):
        part.write_bytes(data)
    return made


def test_a_log_that_a_crash_left_is_read(shelf: RecordingsFolder) -> None:
    """The index with the log beside it is what the daemon had when it was killed."""
    made = crashed(shelf)
    glance = IndexSnapshot.open(shelf.folder)
    assert (glance.index_problem, glance.catalog.segment(made.filename)) == ("", made)
    glance.close()


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
    shelf = RecordingsFolder(readable)
    shelf.put(0)
    shelf.note(session())
    made = crashed(shelf) if killed else None
    open_up(readable)
    with somebody():
        assert found(shelf) == ({"session s2": FindingKind.UNACCOUNTED} if made else {})
    for part in ("-shm", "-wal"):
        shelf.index.with_name(shelf.index.name + part).unlink(missing_ok=True)


@AS_ROOT
def test_what_may_not_be_read_is_a_finding(readable: Path) -> None:
    """A file, the journal, the whole archive: each is said, and the rest is checked."""
    shelf = RecordingsFolder(readable)
    name = shelf.put(0).filename
    shelf.note(session())

    def faults(forbidden: Path) -> list[FindingKind]:
        open_up(readable)
        forbidden.chmod(0)
        with somebody():
            verdict = FolderCheck(readable, False, lambda _: None, lambda _: None).run()
        return [complaint.fault for complaint in verdict.complaints]

    assert faults(readable / name) == [FindingKind.UNREADABLE]
    assert faults(shelf.journal) == [FindingKind.JOURNAL]
    assert faults(shelf.index.parent) == [
        FindingKind.INDEX,
        FindingKind.JOURNAL,
        FindingKind.UNKNOWN,
    ]


def test_what_changes_meanwhile_is_looked_at_again(
    shelf: RecordingsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is adopted between the copy of the index and the look is no trouble."""
    made = shelf.put(2, "s2", noted=False)
    told: list[Finding] = []
    looked: list[str] = []

    def examined(disk, path: Path, **options: object):
        if path.name == made.filename and not looked:
            looked.append(path.name)
            shelf.know(made)
        return inspect_recording(disk, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("camd.storage.check.folder.examine", examined)
    FolderCheck(shelf.folder, False, lambda _: None, told.append).run([made.filename])
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


def test_every_read_is_told_and_may_be_ended(shelf: RecordingsFolder) -> None:
    """What raises there ends the look, and leaves no file open."""

    class EnoughError(Exception):
        pass

    def enough(size_bytes: int, seconds: float) -> None:
        raise EnoughError

    before = len(os.listdir("/proc/self/fd"))
    path = next(shelf.folder.glob("*.mp4"))
    with pytest.raises(EnoughError):
        inspect_recording(ReadOnlyDisk(enough), path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_error_of_the_disk_is_a_finding(shelf: RecordingsFolder) -> None:
    """What cannot be read is said, and stays with that file."""

    def broken(size_bytes: int, seconds: float) -> None:
        raise OSError(5, "Input/output error")

    seen = inspect_recording(ReadOnlyDisk(broken), next(shelf.folder.glob("*.mp4")))
    assert (seen.shape, seen.broken) == (FileShape.UNREADABLE, "Input/output error")


def test_states_of_the_index_that_files_contradict(shelf: RecordingsFolder) -> None:
    """A file that is sealed and listed as interrupted or missing is said to be so."""
    one, two = shelf.put(2, "s2"), shelf.put(3, "s3")
    with shelf.archive() as archive:
        archive.note_open(attrs.evolve(one, state=SegmentState.INTERRUPTED))
        archive.catalog.put_segment(attrs.evolve(two, state=SegmentState.MISSING))
    files = found(shelf, one.filename, two.filename)
    assert files == {one.filename: FindingKind.STATE, two.filename: FindingKind.STATE}
