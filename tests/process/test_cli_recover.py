"""`camd recover` repairs a damaged folder, shows it before with --dry-run, and loses nothing."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result
from support.recordings_folder import MATROSKA, Recordings, gap, session, signature

from camd.cli import main
from camd.model import SegmentState
from camd.storage.index.recording_index import FOLDER, INDEX
from camd.storage.read_only_disk import ReadOnlyFile
from camd.storage.verify.folder import FolderVerification


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    """Return the folder that a configuration names, with one session of two files."""
    made = Recordings(tmp_path / "recordings")
    (tmp_path / "camd.toml").touch()
    made.put(0)
    made.put(1)
    made.note(session(files=2), gap(0.6, 0.7))
    return made


def run(recordings: Recordings, *arguments: str) -> Result:
    """Run the command; it must end by an exit."""
    config = str(recordings.folder.parent / "camd.toml")
    result = CliRunner().invoke(main, ["recover", "-c", config, *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def dry(recordings: Recordings, *arguments: str) -> Result:
    """Run with --dry-run; check that no file is changed, created or removed."""
    before, names = recordings.state(), sorted(recordings.folder.rglob("*"))
    result = run(recordings, "--dry-run", *arguments)
    assert (recordings.state(), sorted(recordings.folder.rglob("*"))) == (before, names)
    return result


def outcomes(result: Result) -> dict[str, str]:
    """Return the outcome of each file."""
    said = json.loads(result.stdout)
    found = {finding["filename"]: finding["outcome"] for finding in said["findings"]}
    assert sum(said["counts"].values()) == said["files"] == len(found)
    return found


def findings(recordings: Recordings) -> set[str]:
    """Check the folder; return the kinds of findings."""
    verdict = FolderVerification(recordings.folder, False, lambda _: None, lambda _: None).run()
    return {finding.fault.value for finding in verdict.findings}


def mess(recordings: Recordings) -> dict[str, str]:
    """Damage a folder as crashes and users do; return the expected outcome of each file."""
    folder = recordings.folder
    torn = recordings.put(2, "s2", sealed=False)
    os.truncate(folder / torn.filename, torn.size_bytes - 10)
    unknown, copied, moved, gone = (
        recordings.put(number, f"s{number}", noted=number != 3) for number in (3, 4, 5, 6)
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


def test_a_folder_without_damage_stays_as_it_is(recordings: Recordings) -> None:
    """Nothing has to be done; the exit code is 0."""
    assert (dry(recordings).exit_code, dry(recordings).stdout) == (0, "Nothing has to be done.\n")
    assert (run(recordings).exit_code, run(recordings).stdout) == (0, "Nothing has to be done.\n")


def test_files_and_journal_of_another_machine_get_an_index(recordings: Recordings) -> None:
    """What a backup has need not have the index; that one is made is said."""
    index = recordings.folder / FOLDER / INDEX
    for file in (index, index.with_name(f"{INDEX}-wal"), index.with_name(f"{INDEX}-shm")):
        file.unlink(missing_ok=True)
    assert findings(recordings) == {"index"}
    for arguments in ((), ("--reindex",)):
        planned = dry(recordings, *arguments)
        assert (planned.exit_code, planned.stdout) == (1, "A new index would be made.\n")
    done = run(recordings)
    assert (done.exit_code, done.stdout) == (0, "A new index was made.\n")
    assert findings(recordings) == set()
    assert run(recordings).stdout == "Nothing has to be done.\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the files of another user")
def test_root_is_told_the_whole_command(recordings: Recordings) -> None:
    """With the configuration: without it the command would repair another folder."""
    os.chown(recordings.folder / FOLDER, 1, 1)
    result = run(recordings)
    assert result.exit_code == 1
    config = recordings.folder.parent / "camd.toml"
    assert f"Run: sudo -u {pwd.getpwuid(1).pw_name} camd recover --config {config}\n" in (
        result.stderr
    )


def test_a_dry_run_shows_what_a_real_run_does(recordings: Recordings) -> None:
    """The same outcome for every file, also for copies that the index does not know."""
    expected = mess(recordings)
    assert outcomes(dry(recordings, "--json")) == expected
    assert outcomes(run(recordings, "--json")) == expected
    again = outcomes(run(recordings, "--json"))
    left = ("copy", "empty", "foreign", "unreadable")
    assert again == {name: outcome for name, outcome in expected.items() if outcome in left}


def test_repaired_files_pass_the_check(recordings: Recordings) -> None:
    """Files are sealed, hashed and in the index; a check finds only the rest."""
    expected = mess(recordings)
    (recordings.folder / "link.mp4").unlink()
    (recordings.folder / "folder.mp4").rmdir()
    assert run(recordings).exit_code == 0
    with recordings.open_index() as index:
        assert index.database.unhashed() == ()
        torn = index.database.segment(next(n for n, o in expected.items() if o == "sealed"))
    assert torn is not None
    assert (torn.state, torn.frames) == (SegmentState.SEALED, 6)
    assert torn.sha256 == signature((recordings.folder / torn.filename).read_bytes())
    assert findings(recordings) == {"copy", "removed", "foreign", "empty", "unaccounted"}


def test_each_file_has_a_line(recordings: Recordings) -> None:
    """A line for each file, then the table; with a file that cannot be read, the exit code is 1."""
    expected = mess(recordings)
    for result, words in (
        (dry(recordings), "would be sealed in place"),
        (run(recordings), "sealed in place"),
    ):
        lines = result.stdout.splitlines()
        for name, outcome in expected.items():
            assert any(line.startswith(outcome) and name in line for line in lines)
        sealed = next(line for line in lines if line.startswith("sealed"))
        assert words in sealed
        assert "6 frames" in sealed
        assert "at its end are not whole" in sealed
        assert result.exit_code == 1


def test_a_dry_run_fails_while_there_is_something_to_do(recordings: Recordings) -> None:
    """The exit code is 1; a missing hash counts as something to do."""
    recordings.put(2, "s2", noted=False)
    assert (dry(recordings).exit_code, run(recordings).exit_code, dry(recordings).exit_code) == (
        1,
        0,
        0,
    )
    recordings.put(3, "s3", sha256=None)
    result = dry(recordings)
    assert (result.exit_code, "1 files to hash." in result.stdout) == (1, True)
    assert "1 files hashed." in run(recordings).stdout


def test_a_new_index_knows_all_that_the_old_one_did(recordings: Recordings) -> None:
    """Sessions, ledger, hashes and Matroska files come from the journal; the old index stays."""
    recordings.put_mkv(2, "s9")
    with recordings.open_index() as index:
        before = index.database
        names, known = before.filenames(), before.session("s0")  # type: ignore[arg-type]
        movie = before.segment(next(name for name in names if name.endswith("mkv")))
    assert dry(recordings, "--reindex").exit_code == 0
    old = recordings.index.read_bytes()
    assert run(recordings, "--reindex").exit_code == 0
    assert recordings.index.with_name("index.sqlite.unreadable").read_bytes() == old
    with recordings.open_index() as index:
        assert index.database.filenames() == names
        assert index.database.session("s0") == known  # type: ignore[arg-type]
        assert movie is not None
        assert index.database.segment(movie.filename) == movie
    assert movie.size_bytes == len(MATROSKA)
    assert findings(recordings) == {"unaccounted"}


@pytest.mark.parametrize("content", [b"garbage" * 1000, None])
def test_a_lost_index_is_built_again(recordings: Recordings, content: bytes | None) -> None:
    """Also without --reindex: garbage is set aside, and not deleted."""
    recordings.index.unlink()
    if content is not None:
        recordings.index.write_bytes(content)
    for arguments in ((), ("--reindex",)):
        planned = dry(recordings, *arguments)
        assert (planned.exit_code, planned.stdout) == (1, "A new index would be made.\n")
    done = run(recordings)
    assert (done.exit_code, done.stdout) == (0, "A new index was made.\n")
    aside = list(recordings.index.parent.glob("*.unreadable"))
    assert [path.read_bytes() for path in aside] == ([content] if content else [])
    assert findings(recordings) == set()


def test_an_index_that_breaks_when_it_is_read_leads_to_reindex(recordings: Recordings) -> None:
    """Damage after its first page is reported with --reindex as advice, which works."""
    with recordings.open_index() as index:
        index.database.interrupt()
    data = bytearray(recordings.index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    recordings.index.write_bytes(data)
    result = run(recordings)
    assert (result.exit_code, "--reindex" in result.stderr) == (1, True)
    assert run(recordings, "--reindex").exit_code == 0
    assert findings(recordings) == set()


def test_without_journal_and_index_the_files_are_read(recordings: Recordings) -> None:
    """Every MP4 is in the new index; what only the journal had is not."""
    recordings.put_mkv(2, "s9")
    recordings.index.unlink()
    recordings.journal.unlink()
    found = outcomes(run(recordings, "--json"))
    assert (len(found), set(found.values())) == (2, {"adopted"})
    assert findings(recordings) == {"unaccounted", "unknown"}


def test_a_folder_in_use_is_refused_except_for_a_dry_run(recordings: Recordings) -> None:
    """The message names the process and what to do; --dry-run works and skips open files."""
    growing = recordings.put(2, "s2", sealed=False)
    data = (recordings.folder / growing.filename).read_bytes()
    (recordings.folder / growing.filename).unlink()
    file = recordings.disk.create(recordings.folder / growing.filename)
    file.append([data])
    with recordings.open_index():
        result = run(recordings)
        assert result.exit_code == 1
        assert f"process {os.getpid()}" in result.stderr
        assert "systemctl stop" in result.stderr
        before = recordings.state()
        beside = run(recordings, "--dry-run")
        assert (beside.exit_code, beside.stdout) == (0, "Nothing has to be done.\n")
        assert recordings.state() == before
    file.close()
    assert outcomes(run(recordings, "--json")) == {growing.filename: "sealed"}


def test_a_missing_folder_is_not_created(recordings: Recordings) -> None:
    """A missing folder is an error, with and without --dry-run."""
    recordings.folder.rename(recordings.folder.with_name("away"))
    for arguments in ((), ("--dry-run",), ("--reindex",)):
        result = run(recordings, *arguments)
        assert (result.exit_code, "No such file" in result.stderr) == (1, True)
        assert not recordings.folder.exists()


def test_a_file_that_cannot_be_hashed_stays_without(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are hashed; the message names it; the exit code is 1."""
    bad, good = recordings.put(2, "s2", sha256=None), recordings.put(3, "s3", sha256=None)

    def read(self: ReadOnlyFile, offset: int, size: int) -> bytes:
        if bad.filename in Path(f"/proc/self/fd/{self._fd}").readlink().name:
            raise OSError(5, "Input/output error")
        return os.pread(self._fd, size, offset)

    # A disk that cannot read one file cannot be had, and a command opens the real disk.
    monkeypatch.setattr(ReadOnlyFile, "read", read)
    result = run(recordings)
    assert result.exit_code == 1
    assert f"{bad.filename} cannot be hashed: Input/output error" in result.stdout
    with recordings.open_index() as index:
        assert index.database.unhashed() == (bad,)
        assert index.database.segment(good.filename) == attrs.evolve(
            good, sha256=signature((recordings.folder / good.filename).read_bytes())
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_root_creates_no_files_in_the_folder_of_another_user(recordings: Recordings) -> None:
    """The message says which user to become; --dry-run is allowed."""
    os.chown(recordings.folder / FOLDER, 12345, 12345)
    before = recordings.state()
    result = run(recordings)
    assert (result.exit_code, "sudo -u '#12345' camd recover" in result.stderr) == (1, True)
    assert recordings.state() == before
    assert dry(recordings).exit_code == 0
