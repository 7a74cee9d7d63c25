"""The trials of a file system run in a temporary folder, and each failure says what it costs."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from camd.cli.checks.filesystem_check import TRIALS, FilesystemTrial, inspect_filesystem
from camd.cli.checks.finding import Grade
from camd.cli.checks.host_check import inspect_disk_speed, inspect_ports
from camd.config.schema import Config, ServerConfig

EXT4 = "36 25 {device} / / rw - ext4 /dev/vda rw\n"


def mountinfo(tmp_path: Path, text: str = EXT4) -> Path:
    """Write a mountinfo that names the kind of this folder's file system."""
    status = tmp_path.stat().st_dev
    file = tmp_path.with_name("mountinfo")
    file.write_text(text.format(device=f"{os.major(status)}:{os.minor(status)}"), encoding="utf-8")
    return file


def test_a_usual_file_system_passes_and_is_left_as_it_was(tmp_path: Path) -> None:
    """All operations work, one line says so, and nothing stays."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    (found,) = inspect_filesystem(folder, mountinfo(folder))
    assert (found.grade, found.text) == (Grade.OK, "ext4: syncs, renames and locks work")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_what_does_not_work_is_named_with_its_cost(tmp_path: Path, trial: FilesystemTrial) -> None:
    """A vital operation is a problem, any other a warning."""

    def fail(folder: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    failing = FilesystemTrial(trial.name, fail, trial.loss, trial.vital)
    (found,) = inspect_filesystem(tmp_path, mountinfo(tmp_path), (failing,))
    assert found.grade is (Grade.PROBLEM if trial.vital else Grade.WARNING)
    assert trial.loss in found.text
    assert "ext4" in found.advice


def test_a_folder_that_is_not_there_is_not_judged_here(tmp_path: Path) -> None:
    """Another finding says that it is missing."""
    assert list(inspect_filesystem(tmp_path / "none")) == []
    assert list(inspect_disk_speed(tmp_path / "none", Config())) == []


def test_the_disk_is_measured_and_nothing_stays(tmp_path: Path) -> None:
    """The measured file is removed."""
    (found,) = inspect_disk_speed(tmp_path, Config())
    assert found.subject == "disk speed"
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_in_use_is_named(tmp_path: Path) -> None:
    """Port 0 and sockets in the file system are never in use."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        listen = (address, "127.0.0.1:0", f"unix:{tmp_path}/socket")
        config = Config(server=ServerConfig(listen=listen, health_listen=""))
        (found,) = inspect_ports(config)
    assert (found.subject, found.grade) == ("server.listen", Grade.WARNING)
    assert address in found.text
    assert list(inspect_ports(config)) == []


def test_a_full_disk_is_not_blamed_on_its_file_system(tmp_path: Path) -> None:
    """Another disk would be the wrong advice: the finding about space says what to do."""

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    trials = (FilesystemTrial("sync", full, "a power cut costs more", vital=True),)
    assert list(inspect_filesystem(tmp_path, mountinfo(tmp_path), trials)) == []
