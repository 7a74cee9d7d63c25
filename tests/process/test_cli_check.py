"""What `camd check` finds and advises."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import attrs
import pytest
import trio
from click.testing import CliRunner
from support.fake_disk import GaugedDisk

from camd.cli import check, main
from camd.cli.checks import folders_check
from camd.cli.checks.finding import CheckFinding, Grade
from camd.config.keys import config_keys_of
from camd.config.schema import (
    AuthConfig,
    CameraConfig,
    Config,
    RecordingConfig,
    ServerConfig,
    StorageConfig,
)
from camd.model import CameraId
from camd.runtime.folders.access_advice import FolderUser
from camd.sources import FileSource, RtspSource, Source, SyntheticSource
from camd.storage.rules.volume_identity import KnownVolume, render_known

GIB = 1 << 30


def camera(source: Source) -> CameraConfig:
    """Return a camera with this source."""
    return CameraConfig(id=CameraId("gate"), source=source)


def volume(used_percent: int) -> os.statvfs_result:
    """Return what statvfs(2) says of a volume that is used so far."""
    return os.statvfs_result((4096, GIB, 100, 50, 100 - used_percent, 0, 0, 0, 0, 255))


def test_a_folder_is_there_or_can_be_made(tmp_path: Path) -> None:
    """Both are no problem; the text says which it is."""
    found = folders_check.inspect_folder("x", tmp_path)
    assert (found.grade, found.text) == (Grade.OK, str(tmp_path))
    found = folders_check.inspect_folder("x", tmp_path / "a" / "b")
    assert found.grade is Grade.OK
    assert "will be made" in found.text


def test_a_folder_that_is_a_file_or_may_not_be_written_is_a_problem(tmp_path: Path) -> None:
    """Each finding has advice."""
    file = tmp_path / "file"
    file.touch()
    assert "is not a folder" in folders_check.inspect_folder("x", file / "a").text
    user = FolderUser("camd", lambda path, _: path != tmp_path)
    found = folders_check.inspect_folder("x", tmp_path, user)
    assert (found.grade, "chown" in found.advice) == (Grade.PROBLEM, True)


def test_files_of_another_user_are_found(tmp_path: Path) -> None:
    """One start as root leaves such files; the advice gives the whole folder back."""
    assert list(folders_check.inspect_files(tmp_path / "none")) == []
    (tmp_path / "keys.toml").touch()
    assert list(folders_check.inspect_files(tmp_path)) == []
    (found,) = folders_check.inspect_files(tmp_path, FolderUser("camd", lambda *_: False))
    assert (found.subject, found.grade) == ("files", Grade.PROBLEM)
    assert str(tmp_path / "keys.toml") in found.text
    assert found.advice.endswith(f"chown -R camd: {tmp_path}")


@pytest.mark.parametrize(
    ("used", "grade"),
    [(79, Grade.OK), (80, Grade.WARNING), (89, Grade.WARNING), (90, Grade.PROBLEM)],
)
def test_space_is_graded_by_the_configured_lines(used: int, grade: Grade) -> None:
    """Exactly at a threshold counts as above it, as in the service."""
    found = folders_check.grade_space(Config(), volume(used))
    assert found.grade is grade
    assert f"{used}.0 % used" in found.text


def volume_of_files(free: int) -> os.statvfs_result:
    """Return what statvfs(2) says of a volume for 10,000 files."""
    return os.statvfs_result((4096, GIB, 100, 50, 50, 10_000, free, free, 0, 255))


def test_too_few_inodes_are_a_problem() -> None:
    """Below the limit of the service; not where inodes are not counted."""
    assert list(folders_check.grade_inodes(volume_of_files(100))) == []
    assert list(folders_check.grade_inodes(volume(50))) == []
    (found,) = folders_check.grade_inodes(volume_of_files(99))
    assert (found.grade, "99 are free" in found.text) == (Grade.PROBLEM, True)
    assert found.advice


@pytest.mark.parametrize(
    ("mounts", "marker", "require", "grade", "words"),
    [
        ({"/": 1, "mnt": 2}, "a", True, Grade.OK, "a mount of its own, "),
        ({"/": 1, "mnt": 2}, "b", False, Grade.WARNING, "another one than last time"),
        ({"/": 1, "mnt": 2}, None, False, Grade.WARNING, "it is marked at the start"),
        ({"/": 1}, None, False, Grade.PROBLEM, "not mounted"),
        ({"/": 1}, "a", False, Grade.OK, "on the root disk"),
        ({"/": 1}, "a", True, Grade.PROBLEM, "require_mount"),
    ],
)
def test_a_folder_beside_its_disk_is_found_before_the_start(
    tmp_path: Path,
    mounts: dict[str, int],
    marker: str | None,
    require: bool,
    grade: Grade,
    words: str,
) -> None:
    """What the service would refuse or warn of is reported before it starts, and nothing is
    written."""
    mount_point, state = tmp_path / "mnt", tmp_path / "state"
    folder = mount_point / "recordings"
    (folder / ".camd").mkdir(parents=True)
    state.mkdir()
    if marker is not None:
        (folder / ".camd" / "volume").write_text(f'{{"volume_id": "{marker}"}}')
    (state / "volume.json").write_text(render_known(KnownVolume("a", folder, mount_point)))
    storage = StorageConfig(folder, tmp_path / "snapshots", state, require_mount=require)
    before = sorted(tmp_path.rglob("*"))
    disk = GaugedDisk(mounts={tmp_path / name: device for name, device in mounts.items()})
    found = folders_check.inspect_volume(Config(storage=storage), disk)
    assert found.grade is grade
    assert words in found.text
    assert bool(found.advice) is (grade is not Grade.OK)
    assert sorted(tmp_path.rglob("*")) == before


def test_access_for_everybody_is_a_warning() -> None:
    """Missing authentication and TLS matter only beyond loopback."""
    server = ServerConfig(listen=("0.0.0.0:8002",))
    closed = Config(auth=AuthConfig(enabled=False))
    opened = attrs.evolve(closed, server=server)
    assert list(check.inspect_access(closed)) == []
    subjects = [finding.subject for finding in check.inspect_access(opened)]
    assert subjects == ["auth.enabled", "server.tls_cert"]


def test_a_secret_that_everybody_can_read_is_a_warning(tmp_path: Path) -> None:
    """No warning for a secret from elsewhere, or for a private file."""
    file = tmp_path / "camd.toml"
    file.write_text(f"[auth]\njwt_secret = '{'s' * 32}'", encoding="utf-8")
    file.chmod(0o644)
    config = Config(auth=AuthConfig(jwt_secret="s" * 32), file=file)
    (found,) = check.inspect_access(config)
    assert found.advice == f"Run: chmod 640 {file}"
    other = attrs.evolve(config, auth=AuthConfig(jwt_secret="e" * 32))
    assert list(check.inspect_access(other)) == []
    file.chmod(0o640)
    assert list(check.inspect_access(config)) == []


async def test_files_are_inspected(tmp_path: Path) -> None:
    """A file must exist and not be empty; a pipe is no file."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "fifo")
    grades: dict[Source, Grade] = {
        SyntheticSource(): Grade.OK,
        FileSource(clip): Grade.OK,
        FileSource(tmp_path / "none.mp4"): Grade.PROBLEM,
        FileSource(tmp_path / "empty.mp4"): Grade.PROBLEM,
        FileSource(tmp_path / "fifo"): Grade.PROBLEM,
    }
    with trio.fail_after(300):
        for source, grade in grades.items():
            found = await check.inspect_source(camera(source))
            assert found.grade is grade, found
            assert bool(found.advice) is (grade is not Grade.OK)


async def test_a_streams_host_is_tried_without_showing_credentials() -> None:
    """The finding says whether it is reachable; it does not show user, password and path."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = f"rtsp://eve:hunter2@127.0.0.1:{port}/secret"
        with trio.fail_after(300):
            there = await check.inspect_source(camera(RtspSource(url)))
    with trio.fail_after(300):
        gone = await check.inspect_source(camera(RtspSource(url)))
    assert (there.grade, gone.grade) == (Grade.OK, Grade.WARNING)
    assert "hunter2" not in f"{there}{gone}"
    assert "secret" not in f"{there}{gone}"


async def test_a_missing_ffmpeg_is_a_problem_with_advice(tmp_path: Path) -> None:
    """The text names the configured path; the advice is separate."""
    config = Config()
    config = attrs.evolve(config, ffmpeg=attrs.evolve(config.ffmpeg, path=tmp_path / "ffmpeg"))
    with trio.fail_after(300):
        (found,) = await check.inspect_ffmpeg(config)
    assert found.grade is Grade.PROBLEM
    assert "cannot be run: No such file or directory" in found.text
    assert found.advice.startswith("Correct ffmpeg.path")


def test_the_exit_code_says_whether_there_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 when recording will work and 1 when it will not, for people and for programs."""
    plenty = CheckFinding("space", Grade.OK, "plenty")
    monkeypatch.setattr(folders_check, "grade_space", lambda *_: plenty)
    config = tmp_path / "camd.toml"
    config.write_text("camera = [{source = 'test:'}]", encoding="utf-8")
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 0
    assert result.stdout.endswith("\nNo problems.\n")
    config.write_text("camera = [{source = 'file:none.mp4'}]", encoding="utf-8")
    assert CliRunner().invoke(main, ["check", "-c", str(config)]).stdout.endswith("\n1 problem.\n")
    result = CliRunner().invoke(main, ["check", "--json", "-c", str(config)])
    assert result.exit_code == 1
    problems = [item for item in json.loads(result.stdout) if item["grade"] == "problem"]
    assert [item["subject"] for item in problems] == ["camera camera0"]


def test_the_keys_are_printed_with_their_documentation() -> None:
    """For people and for programs: default, variables, whether a reload applies, what it does."""
    result = CliRunner().invoke(main, ["check", "--keys", "--json"])
    rows = {row["key"]: row for row in json.loads(result.stdout)}
    assert rows["recording.rotation"] == {
        "key": "recording.rotation",
        "default": "30m",
        "environment": ["CAMD_RECORDING__ROTATION", "RECORDING_ROTATION_MINUTES"],
        "reload": True,
        "documentation": config_keys_of(RecordingConfig)["rotation"].doc,
    }
    assert (rows["camera.fps"]["default"], rows["camera.fps"]["environment"]) == (None, [])
    text = CliRunner().invoke(main, ["check", "--keys"]).stdout
    for row in rows.values():
        assert f"{row['key']}{'' if row['default'] is None else ' = '}" in text
        assert f"\n    {row['documentation']}\n" in text


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    """Folders that are missing are still missing afterwards."""
    storage = StorageConfig(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    list(check.inspect_folders(Config(storage=storage)))
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_alone_can_be_checked(tmp_path: Path) -> None:
    """Before a reload nothing else is looked at: neither folders nor FFmpeg nor cameras."""
    file = tmp_path / "camd.toml"
    file.write_text('[ffmpeg]\npath = "/nowhere/ffmpeg"\n', encoding="utf-8")
    command = ["check", "--config-only", "--json", "--config", str(file)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (finding,) = json.loads(done.output)
    assert (finding["subject"], finding["text"]) == ("configuration", str(file))
    file.write_text('[ffmpeg]\npth = "/nowhere/ffmpeg"\n', encoding="utf-8")
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 78
    assert "ffmpeg.pth" in done.output


def test_the_rights_of_the_service_count_for_its_configuration_alone(tmp_path: Path) -> None:
    """Root may look at any other one, for a service of its own."""
    assert folders_check.find_service_user(None) is None
    assert folders_check.find_service_user(tmp_path / "camd.toml") is None
