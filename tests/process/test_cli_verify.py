"""The output and the exit codes of `camd verify`."""

from __future__ import annotations

import ctypes
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.recordings_folder import Recordings, damage, session

from camd.cli import main
from camd.cli.folder_commands import finding_line, verify_progress
from camd.cli.terminal import ProgressMeter, printable
from camd.clock import Clock
from camd.runtime import priority
from camd.storage.verify.folder import VerifyProgress
from camd.storage.verify.rules.findings import Finding, FindingKind


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    """Return the folder that a configuration names, with one session of one file."""
    made = Recordings(tmp_path / "recordings")
    (tmp_path / "camd.toml").touch()
    made.put(0)
    made.note(session())
    return made


def run_with_priorities(recordings: Recordings, *arguments: str) -> tuple[Result, int, int]:
    """Run the command in a thread, whose priority it lowers; return the ones before and after."""
    command = ["verify", "-c", str(recordings.folder.parent / "camd.toml"), *arguments]
    with ThreadPoolExecutor(1) as thread:
        before = thread.submit(os.getpriority, os.PRIO_PROCESS, 0)
        result = thread.submit(CliRunner().invoke, main, command)
        after = thread.submit(os.getpriority, os.PRIO_PROCESS, 0)
    return result.result(), before.result(), after.result()


def run(recordings: Recordings, *arguments: str) -> Result:
    """Run the command; it must end by an exit."""
    result, _, _ = run_with_priorities(recordings, *arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_clean_folder_ends_with_zero(recordings: Recordings) -> None:
    """One line says so; progress goes only to stderr."""
    result = run(recordings)
    assert (result.exit_code, result.stdout) == (0, "1 files checked, no problems.\n")
    assert "1 of 1 files" in result.stderr


def test_a_problem_is_one_line_and_ends_with_one(recordings: Recordings) -> None:
    """The line has the file, what is wrong with it, and what to do; a warning is no failure."""
    (recordings.folder / "notes [1].txt").touch()
    assert run(recordings).exit_code == 0
    name = next(recordings.folder.glob("*.mp4")).name
    damage(recordings.folder / name)
    result = run(recordings)
    first, second, last = result.stdout.splitlines()
    assert first.startswith(f"✗ {name} is not what was recorded: its SHA-256 differs")
    assert "Put it back" in first
    assert second.startswith("! notes [1].txt is no recording")
    assert (result.exit_code, last) == (1, "2 files checked, 1 problem.")


def test_json_has_everything(recordings: Recordings) -> None:
    """Programs get whether the folder is clean, and each finding with its parts."""
    assert json.loads(run(recordings, "--json", "--fast").stdout)["clean"] is True
    (recordings.folder / "caf\udce9.mp4").touch()
    next(recordings.folder.glob("camera*.mp4")).unlink()
    result = run(recordings, "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["clean"], said["files"]) == (0, True, 2)
    assert [(f["fault"], f["harmless"]) for f in said["findings"]] == [
        ("foreign", True),
        ("removed", True),
    ]
    assert said["findings"][0]["subject"] == r"caf\udce9.mp4"


def test_files_are_named_or_given_as_paths(recordings: Recordings, tmp_path: Path) -> None:
    """A path has to lead into the folder; a file that is not there is a finding."""
    name = next(recordings.folder.glob("*.mp4")).name
    recordings.index.write_bytes(b"garbage" * 100)
    assert run(recordings, name).exit_code == 0
    assert run(recordings, str(recordings.folder / name)).exit_code == 0
    elsewhere = run(recordings, str(tmp_path / name))
    assert (elsewhere.exit_code, "is not in" in elsewhere.stderr) == (2, True)
    assert run(recordings, "nothing.mp4").exit_code == 1


def test_a_folder_that_is_not_there_is_a_failure(recordings: Recordings) -> None:
    """A message says so, and the folder is not created."""
    recordings.folder.rename(recordings.folder.with_name("away"))
    result = run(recordings)
    assert (result.exit_code, "cannot be listed" in result.stderr) == (1, True)
    assert not recordings.folder.exists()


def test_names_of_any_bytes_are_printable() -> None:
    """No byte of a name reaches the terminal as a control sequence or causes an error."""
    assert printable("caf\udce9\x1b[2J\n.mp4") == r"caf\udce9\x1b[2J\n.mp4"
    line = finding_line(Finding("a[b].mp4", FindingKind.SIZE, "has [1] bytes", "Look."))
    assert r"a\[b].mp4" in line


def test_progress_is_files_bytes_and_rate() -> None:
    """The rate is left out until it is known; bytes that are read twice count once."""
    at = VerifyProgress(3, 10, 2_000_000, 4_000_000, "a.mp4")
    assert verify_progress(at, 4.0) == "3 of 10 files  2.0 MB of 4.0 MB  500.0 kB/s  a.mp4"
    assert verify_progress(VerifyProgress(0, 1, 9, 5), 0) == "0 of 1 files  5 B of 5 B"


def test_progress_is_shown_no_more_often_than_it_can_be_read() -> None:
    """The first one is shown at once, the next one after a fifth of a second."""
    moments, lines = iter([5.0, 5.0, 5.125, 5.1875, 5.25, 5.375, 5.5]), list[str]()
    meter = ProgressMeter(verify_progress, lines.append, Clock(monotonic=lambda: next(moments)))
    for done in range(6):
        meter.take(VerifyProgress(0, 1, done, 1000))
    shown = [line.split("  ")[1] for line in lines]
    assert shown == ["0 B of 1.0 kB", "3 B of 1.0 kB", "5 B of 1.0 kB"]
    assert meter.latest == VerifyProgress(0, 1, 5, 1000)


def test_it_has_the_lowest_cpu_priority(recordings: Recordings) -> None:
    """The thread that runs the command has niceness 19 afterwards."""
    _, before, after = run_with_priorities(recordings)
    assert before < 19
    assert after == 19


def test_an_unknown_machine_has_no_io_priority() -> None:
    """Where the number of the system call is not known, nothing is done."""
    with priority.idle_io(partial(priority.set_io_priority, machine="vax")) as agreed:
        assert not agreed


@pytest.mark.skipif(os.uname().machine not in priority._SYSCALL, reason="no number for this one")
def test_idle_io_ends_with_the_block() -> None:
    """By ioprio_get(2) the class of this thread is idle in the block, and not after it."""
    number = {251: 252, 30: 31, 314: 315, 289: 290}[priority._SYSCALL[os.uname().machine]]
    syscall = ctypes.CDLL(None).syscall
    with priority.idle_io() as agreed:
        if not agreed:
            pytest.skip("this kernel or sandbox has no I/O priorities")
        assert syscall(number, 1, 0) >> 13 == 3
    assert syscall(number, 1, 0) >> 13 != 3
