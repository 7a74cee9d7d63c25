"""`camd recover`: a mess is made right, said before with --dry-run, and nothing is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result
from support.recordings_folder import MATROSKA, RecordingsFolder, gap, session, signature

from camd.cli import main
from camd.model import SegmentState
from camd.storage.check.folder import FolderCheck
from camd.storage.check.recording_file import ReadOnlyFile
from camd.storage.index.recording_index import FOLDER


@pytest.fixture
def shelf(tmp_path: Path) -> RecordingsFolder:
    """Return the folder that a configuration names, with one session of two files."""
    made = RecordingsFolder(tmp_path / "recordings")
    (tmp_path / "camd.toml").touch()
    made.put(0)
    made.put(1)
    made.note(session(files=2), gap(0.6, 0.7))
    return made


def run(shelf: RecordingsFolder, *arguments: str) -> Result:
    """Run the command; nothing but an exit leaves it."""
    config = str(shelf.folder.parent / "camd.toml")
    result = CliRunner().invoke(main, ["recover", "-c", config, *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def dry(shelf: RecordingsFolder, *arguments: str) -> Result:
    """Run it dry: nothing changes, and no file is made or goes."""
    before, names = shelf.state(), sorted(shelf.folder.rglob("*"))
    result = run(shelf, "--dry-run", *arguments)
    assert (shelf.state(), sorted(shelf.folder.rglob("*"))) == (before, names)
    return result


def outcomes(result: Result) -> dict[str, str]:
    """Read which file had which outcome."""
    said = json.loads(result.stdout)
    found = {finding["filename"]: finding["outcome"] for finding in said["findings"]}
    assert sum(said["counts"].values()) == said["files"] == len(found)
    return found


def complaints(shelf: RecordingsFolder) -> set[str]:
    """Check the folder, and name what is wrong."""
    verdict = FolderCheck(shelf.folder, False, lambda _: None, lambda _: None).run()
    return {complaint.fault.value for complaint in verdict.complaints}


def mess(shelf: RecordingsFolder) -> dict[str, str]:
    """Do to a folder what crashes and hands do; return what each file should become."""
    folder = shelf.folder
    torn = shelf.put(2, "s2", sealed=False)
    os.truncate(folder / torn.filename, torn.size_bytes - 10)
    unknown, copied, moved, gone = (
        shelf.put(number, f"s{number}", noted=number != 3) for number in (3, 4, 5, 6)
    )
    (folder / "zz copy.mp4").write_bytes((folder / unknown.filename).read_bytes())
    (folder / "copy.mp4").write_bytes((folder / copied.filename).read_bytes())
    (folder / moved.filename).rename(folder / "moved.mp4")
    (folder / gone.filename).unlink()
    (folder / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    (folder / "notes.txt").write_text("mine")
    (folder / "camera0_2026-01-15_13-00-00.mp4").touch()
    (folder / "folder.mp4").mkdir()
    (folder / "link.mp4").symlink_to("nowhere")
    (folder / "caf\udce9.mp4").write_bytes(b"x")
    return {
        torn.filename: "sealed",
        unknown.filename: "adopted",
        "zz copy.mp4": "copy",
        "copy.mp4": "copy",
        "moved.mp4": "renamed",
        gone.filename: "missing",
        "film.mp4": "foreign",
        "camera0_2026-01-15_13-00-00.mp4": "empty",
        "folder.mp4": "unreadable",
        "link.mp4": "unreadable",
    }


def test_a_folder_that_is_right_stays_as_it_is(shelf: RecordingsFolder) -> None:
    """Nothing is to be done, and that is success."""
    assert (dry(shelf).exit_code, dry(shelf).stdout) == (0, "Nothing is to be done.\n")
    assert (run(shelf).exit_code, run(shelf).stdout) == (0, "Nothing is to be done.\n")


def test_a_dry_run_says_what_a_real_one_then_does(shelf: RecordingsFolder) -> None:
    """The same finding for every file, copies of files included that the index does not know."""
    expected = mess(shelf)
    assert outcomes(dry(shelf, "--json")) == expected
    assert outcomes(run(shelf, "--json")) == expected
    again = outcomes(run(shelf, "--json"))
    left = ("copy", "empty", "foreign", "unreadable")
    assert again == {name: outcome for name, outcome in expected.items() if outcome in left}


def test_what_was_made_right_is_right(shelf: RecordingsFolder) -> None:
    """Files are sealed and hashed, the index knows them, and a check finds the rest alone."""
    expected = mess(shelf)
    (shelf.folder / "link.mp4").unlink()
    (shelf.folder / "folder.mp4").rmdir()
    assert run(shelf).exit_code == 0
    with shelf.archive() as archive:
        assert archive.catalog.unhashed() == ()
        torn = archive.catalog.segment(next(n for n, o in expected.items() if o == "sealed"))
    assert torn is not None
    assert (torn.state, torn.frames) == (SegmentState.SEALED, 6)
    assert torn.sha256 == signature((shelf.folder / torn.filename).read_bytes())
    assert complaints(shelf) == {"copy", "removed", "foreign", "empty", "unaccounted"}


def test_people_read_what_is_done_file_by_file(shelf: RecordingsFolder) -> None:
    """A line for each, then the table, and a file that cannot be read ends with 1."""
    expected = mess(shelf)
    for result, words in (
        (dry(shelf), "would be sealed in place"),
        (run(shelf), "sealed in place"),
    ):
        lines = result.stdout.splitlines()
        for name, outcome in expected.items():
            assert any(line.startswith(outcome) and name in line for line in lines)
        sealed = next(line for line in lines if line.startswith("sealed"))
        assert words in sealed
        assert "6 frames" in sealed
        assert "at its end are not whole" in sealed
        assert result.exit_code == 1


def test_a_dry_run_fails_while_there_is_something_to_do(shelf: RecordingsFolder) -> None:
    """So that a script can ask; a hash that is missing is something to do."""
    shelf.put(2, "s2", noted=False)
    assert (dry(shelf).exit_code, run(shelf).exit_code, dry(shelf).exit_code) == (1, 0, 0)
    shelf.put(3, "s3", sha256=None)
    result = dry(shelf)
    assert (result.exit_code, "1 files to hash." in result.stdout) == (1, True)
    assert "1 files hashed." in run(shelf).stdout


def test_a_new_index_knows_all_that_the_old_one_did(shelf: RecordingsFolder) -> None:
    """Sessions, ledger, hashes and Matroska files come from the journal; the old index stays."""
    shelf.put_mkv(2, "s9")
    with shelf.archive() as archive:
        before = archive.catalog
        names, known = before.filenames(), before.session("s0")  # type: ignore[arg-type]
        movie = before.segment(next(name for name in names if name.endswith("mkv")))
    assert dry(shelf, "--reindex").exit_code == 0
    old = shelf.index.read_bytes()
    assert run(shelf, "--reindex").exit_code == 0
    assert shelf.index.with_name("index.sqlite.unreadable").read_bytes() == old
    with shelf.archive() as archive:
        assert archive.catalog.filenames() == names
        assert archive.catalog.session("s0") == known  # type: ignore[arg-type]
        assert movie is not None
        assert archive.catalog.segment(movie.filename) == movie
    assert movie.size_bytes == len(MATROSKA)
    assert complaints(shelf) == {"unaccounted"}


@pytest.mark.parametrize("content", [b"garbage" * 1000, None])
def test_an_index_that_is_lost_is_made_anew(shelf: RecordingsFolder, content: bytes | None) -> None:
    """Without being asked for: garbage is put aside, and nothing of it is deleted."""
    shelf.index.unlink()
    if content is not None:
        shelf.index.write_bytes(content)
    assert dry(shelf).exit_code == 0
    assert run(shelf).exit_code == 0
    aside = list(shelf.index.parent.glob("*.unreadable"))
    assert [path.read_bytes() for path in aside] == ([content] if content else [])
    assert complaints(shelf) == set()


def test_an_index_that_breaks_when_it_is_read_leads_to_reindex(shelf: RecordingsFolder) -> None:
    """Damage behind its first page is said, with the way out, which works."""
    with shelf.archive() as archive:
        archive.catalog.interrupt()
    data = bytearray(shelf.index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    shelf.index.write_bytes(data)
    result = run(shelf)
    assert (result.exit_code, "--reindex" in result.stderr) == (1, True)
    assert run(shelf, "--reindex").exit_code == 0
    assert complaints(shelf) == set()


def test_without_journal_and_index_the_files_tell(shelf: RecordingsFolder) -> None:
    """Every MP4 is known again; what only the journal knew is not."""
    shelf.put_mkv(2, "s9")
    shelf.index.unlink()
    shelf.journal.unlink()
    found = outcomes(run(shelf, "--json"))
    assert (len(found), set(found.values())) == (2, {"adopted"})
    assert complaints(shelf) == {"unaccounted", "unknown"}


def test_a_folder_in_use_is_left_alone_and_may_be_asked(shelf: RecordingsFolder) -> None:
    """Another process is named, with what to do; a dry run works beside it and skips what grows."""
    growing = shelf.put(2, "s2", sealed=False)
    data = (shelf.folder / growing.filename).read_bytes()
    (shelf.folder / growing.filename).unlink()
    file = shelf.disk.create(shelf.folder / growing.filename)
    file.append([data])
    with shelf.archive():
        result = run(shelf)
        assert result.exit_code == 1
        assert f"process {os.getpid()}" in result.stderr
        assert "systemctl stop" in result.stderr
        before = shelf.state()
        beside = run(shelf, "--dry-run")
        assert (beside.exit_code, beside.stdout) == (0, "Nothing is to be done.\n")
        assert shelf.state() == before
    file.close()
    assert outcomes(run(shelf, "--json")) == {growing.filename: "sealed"}


def test_no_folder_is_made(shelf: RecordingsFolder) -> None:
    """A folder that is not there is an error, wet or dry."""
    shelf.folder.rename(shelf.folder.with_name("away"))
    for arguments in ((), ("--dry-run",), ("--reindex",)):
        result = run(shelf, *arguments)
        assert (result.exit_code, "No such file" in result.stderr) == (1, True)
        assert not shelf.folder.exists()


def test_a_file_that_cannot_be_hashed_stays_without(
    shelf: RecordingsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are hashed, the command says which one, and ends with 1."""
    bad, good = shelf.put(2, "s2", sha256=None), shelf.put(3, "s3", sha256=None)

    def read(self: ReadOnlyFile, offset: int, size: int) -> bytes:
        if bad.filename in Path(f"/proc/self/fd/{self._fd}").readlink().name:
            raise OSError(5, "Input/output error")
        return os.pread(self._fd, size, offset)

    monkeypatch.setattr(ReadOnlyFile, "read", read)
    result = run(shelf)
    assert result.exit_code == 1
    assert f"{bad.filename} cannot be hashed: Input/output error" in result.stdout
    with shelf.archive() as archive:
        assert archive.catalog.unhashed() == (bad,)
        assert archive.catalog.segment(good.filename) == attrs.evolve(
            good, sha256=signature((shelf.folder / good.filename).read_bytes())
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_root_leaves_no_files_behind_for_another_user(shelf: RecordingsFolder) -> None:
    """It is told to become that user; looking is allowed."""
    os.chown(shelf.folder / FOLDER, 12345, 12345)
    before = shelf.state()
    result = run(shelf)
    assert (result.exit_code, "sudo -u '#12345' camd recover" in result.stderr) == (1, True)
    assert shelf.state() == before
    assert dry(shelf).exit_code == 0
