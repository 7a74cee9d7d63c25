"""A directory in place of a file is reported as a directory by every command."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from camd.capture.process import CaptureProcess, CaptureReport, CaptureTimeouts
from camd.cli import main
from camd.clock import SYSTEM_CLOCK
from camd.model.problems import NOT_FOUND
from camd.storage.disk import PosixDisk
from camd.storage.index.recording_index import FOLDER, RecordingIndex

FILES = ["index.sqlite", "lock", "journal-000001.jsonl"]
NOTE = "is a directory, not a file"


def camd(folder: Path, *command: str) -> Result:
    """Run a command with a configuration in `folder`."""
    file = folder / "camd.toml"
    text = f'[[camera]]\nid = "gate"\nsource = "file:{folder}"\n'
    file.write_text(text, encoding="utf-8")
    (folder / "recordings").mkdir(exist_ok=True)
    return CliRunner().invoke(main, [*command, "--config", str(file)])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", [["verify"], ["recover"], ["recover", "--dry-run"], ["check"]])
def test_a_directory_in_place_of_an_index_file_is_reported(
    tmp_path: Path, name: str, command: list[str]
) -> None:
    """The message names it and says that it has to be moved; nothing is reported as clean."""
    path = tmp_path / "recordings" / FOLDER / name
    path.mkdir(parents=True)
    result = camd(tmp_path, *command)
    assert result.exit_code == 1
    assert f"{path} {NOTE}" in result.output
    assert path.is_dir()


@pytest.mark.parametrize("name", FILES)
def test_the_service_names_the_directory(tmp_path: Path, name: str) -> None:
    """The service names the directory instead of a database that cannot be opened."""
    path = tmp_path / FOLDER / name
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=NOTE) as caught:
        RecordingIndex.open(PosixDisk(), tmp_path)
    assert caught.value.filename == str(path)


def test_reindex_sets_the_directory_aside(tmp_path: Path) -> None:
    """`--reindex` sets it aside like any other file that is no index."""
    path = tmp_path / "recordings" / FOLDER / "index.sqlite"
    path.mkdir(parents=True)
    assert camd(tmp_path, "recover", "--reindex").exit_code == 0
    assert path.is_file()


def test_check_reports_a_directory_as_a_source(tmp_path: Path) -> None:
    """It exists, so it is not reported as missing."""
    assert "the source's path is a directory, not a file" in camd(tmp_path, "check").output


class Unused:
    """Ignores what it receives."""

    def begin(self, init: object) -> None:
        """Take it."""

    def caught_up(self, seconds: float) -> float:
        """Take note of nothing."""
        return seconds

    def deliver(self, fragment: object, arrived: float) -> None:
        """Take it."""


async def test_the_service_reports_a_directory_as_a_source() -> None:
    """As FFmpeg finds it."""

    async def hear(report: CaptureReport) -> None:
        raise AssertionError(report)

    run = CaptureProcess(Unused(), CaptureTimeouts(20, 20), hear, clock=SYSTEM_CLOCK)
    words = "[error] /srv: Is a directory"
    with trio.fail_after(300):
        problem = await run.run(["/bin/sh", "-c", f"echo '{words}' >&2; exit 1"])
    assert problem is not None
    assert (problem.kind, problem.message) == (
        NOT_FOUND.kind,
        "The source is a directory, not a file",
    )
