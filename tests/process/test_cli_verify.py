"""What `camd verify` prints, and how it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.recordings_folder import RecordingsFolder, damage, session

from camd.cli import main
from camd.cli.folder_commands import finding_line, verify_progress
from camd.cli.terminal import ProgressMeter, printable
from camd.runtime import priority
from camd.storage.check.folder import CheckProgress
from camd.storage.check.rules.findings import Finding, FindingKind


@pytest.fixture(autouse=True)
def urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the test process as it is."""
    monkeypatch.setattr(priority, "be_nice", lambda: None)


@pytest.fixture
def shelf(tmp_path: Path) -> RecordingsFolder:
    """Return the folder that a configuration names, with one session of one file."""
    made = RecordingsFolder(tmp_path / "recordings")
    (tmp_path / "camd.toml").touch()
    made.put(0)
    made.note(session())
    return made


def run(shelf: RecordingsFolder, *arguments: str) -> Result:
    """Run the command; nothing but an exit leaves it."""
    config = str(shelf.folder.parent / "camd.toml")
    result = CliRunner().invoke(main, ["verify", "-c", config, *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_clean_folder_ends_with_zero(shelf: RecordingsFolder) -> None:
    """One line says so, and progress is on stderr alone."""
    result = run(shelf)
    assert (result.exit_code, result.stdout) == (0, "1 files checked, all is well.\n")
    assert "1 of 1 files" in result.stderr


def test_a_problem_is_one_line_and_ends_with_one(shelf: RecordingsFolder) -> None:
    """The line has the file, what is wrong with it, and what to do; a note alone is no failure."""
    (shelf.folder / "notes [1].txt").touch()
    assert run(shelf).exit_code == 0
    name = next(shelf.folder.glob("*.mp4")).name
    damage(shelf.folder / name)
    result = run(shelf)
    first, second, last = result.stdout.splitlines()
    assert first.startswith(f"✗ {name} is not what was recorded: its SHA-256 differs")
    assert "Put it back" in first
    assert second.startswith("! notes [1].txt is no recording")
    assert (result.exit_code, last) == (1, "2 files checked, 1 to look after.")


def test_json_has_everything(shelf: RecordingsFolder) -> None:
    """For programs: whether all is well, and each finding with its parts."""
    assert json.loads(run(shelf, "--json", "--fast").stdout)["clean"] is True
    (shelf.folder / "caf\udce9.mp4").touch()
    next(shelf.folder.glob("camera*.mp4")).unlink()
    result = run(shelf, "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["clean"], said["files"]) == (0, True, 2)
    assert [(f["fault"], f["harmless"]) for f in said["findings"]] == [
        ("foreign", True),
        ("removed", True),
    ]
    assert said["findings"][0]["subject"] == r"caf\udce9.mp4"


def test_files_are_named_or_given_as_paths(shelf: RecordingsFolder, tmp_path: Path) -> None:
    """A path has to lead into the folder; a file that is not there is a finding."""
    name = next(shelf.folder.glob("*.mp4")).name
    shelf.index.write_bytes(b"garbage" * 100)
    assert run(shelf, name).exit_code == 0
    assert run(shelf, str(shelf.folder / name)).exit_code == 0
    elsewhere = run(shelf, str(tmp_path / name))
    assert (elsewhere.exit_code, "is not in" in elsewhere.stderr) == (2, True)
    assert run(shelf, "nothing.mp4").exit_code == 1


def test_a_folder_that_is_not_there_is_a_failure(shelf: RecordingsFolder) -> None:
    """It is said in a sentence, and not made."""
    shelf.folder.rename(shelf.folder.with_name("away"))
    result = run(shelf)
    assert (result.exit_code, "cannot be listed" in result.stderr) == (1, True)
    assert not shelf.folder.exists()


def test_names_of_any_bytes_are_printable() -> None:
    """Nothing that a name holds reaches the terminal as a command, or fails there."""
    assert printable("caf\udce9\x1b[2J\n.mp4") == r"caf\udce9\x1b[2J\n.mp4"
    line = finding_line(Finding("a[b].mp4", FindingKind.SIZE, "has [1] bytes", "Look."))
    assert r"a\[b].mp4" in line


def test_progress_is_files_bytes_and_rate() -> None:
    """As far as it is known; structure that is read beside does not count twice."""
    at = CheckProgress(3, 10, 2_000_000, 4_000_000, "a.mp4")
    assert verify_progress(at, 4.0) == "3 of 10 files  2.0 MB of 4.0 MB  500.0 kB/s  a.mp4"
    assert verify_progress(CheckProgress(0, 1, 9, 5), 0) == "0 of 1 files  5 B of 5 B"


def test_progress_is_shown_no_more_often_than_it_can_be_read() -> None:
    """A thousand small reads in a moment are one line."""
    lines: list[str] = []
    meter = ProgressMeter(verify_progress)
    meter.show = lines.append
    for done in range(1000):
        meter.take(CheckProgress(0, 1, done, 1000))
    assert 1 <= len(lines) < 100
    assert meter.latest == CheckProgress(0, 1, 999, 1000)


def test_idle_io_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class is idle inside and the usual one afterwards; where it is unknown, nothing is
    done."""
    calls: list[int] = []
    monkeypatch.setattr(priority, "_set_io_priority", lambda value: calls.append(value) or True)
    with priority.idle_io() as agreed:
        assert (agreed, calls) == (True, [3 << 13])
    assert calls == [3 << 13, 0]
    monkeypatch.undo()
    monkeypatch.setattr(priority.platform, "machine", lambda: "vax")
    with priority.idle_io() as agreed:
        assert not agreed


@pytest.mark.skipif(os.uname().machine not in priority._SYSCALL, reason="no number for this one")
def test_the_kernel_takes_the_priority() -> None:
    """It is the right call: ioprio_get(2) of this thread reads back what was set."""
    import ctypes

    number = {251: 252, 30: 31, 314: 315, 289: 290}[priority._SYSCALL[os.uname().machine]]
    with priority.idle_io() as agreed:
        if not agreed:
            pytest.skip("this kernel or sandbox has no I/O priorities")
        assert ctypes.CDLL(None).syscall(number, 1, 0) >> 13 == 3
