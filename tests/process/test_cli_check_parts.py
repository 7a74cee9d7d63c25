"""What `camd check` says of the media server, the snapshots' volume and FFmpeg's protocols."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import trio
from fake_mediamtx import FakeMediaMtx
from support.fake_disk import GaugedDisk
from support.ffmpeg_media import PROGRAMS

from camd.cli.checks.finding import CheckFinding, Grade
from camd.cli.checks.media_server_check import inspect_media_server
from camd.cli.checks.protocols_check import inspect_protocols
from camd.cli.checks.snapshots_check import inspect_snapshots_volume
from camd.config.schema import (
    CameraConfig,
    Config,
    FfmpegConfig,
    MediaMtxConfig,
    SnapshotsConfig,
    StorageConfig,
)
from camd.ffmpeg.binary import find_ffmpeg, protocols
from camd.model import CameraId
from camd.publish.rules import stream_problems as problems
from camd.sources import parse_source
from camd.storage.rules.levels import Usage

PASSWORD = "hunter2-secret"
OK, WARNING, PROBLEM = Grade.OK, Grade.WARNING, Grade.PROBLEM

# --- the media server


@pytest.fixture
async def server() -> AsyncIterator[FakeMediaMtx]:
    """A server that demands credentials."""
    with trio.fail_after(100):
        async with FakeMediaMtx(username="camd", password=PASSWORD).running() as running:
            yield running


async def checked(server: MediaMtxConfig, *cameras: CameraConfig) -> list[CheckFinding]:
    """Return what is said of a server; no password is."""
    found = await inspect_media_server(Config(mediamtx=server, cameras=cameras))
    assert PASSWORD not in f"{found}{server}"
    return found


async def test_without_a_media_server_nothing_is_said() -> None:
    """The section is optional."""
    assert await inspect_media_server(Config()) == []


async def test_a_media_server_that_serves_is_named_with_its_version(server: FakeMediaMtx) -> None:
    """Control API, user, version and RTSP; nothing is added to the server."""
    api, rtsp = await checked(server.config())
    assert (api.subject, api.grade) == ("mediamtx.api", OK)
    assert "as camd, version v1.20.0" in api.text
    assert (rtsp.subject, rtsp.grade, rtsp.advice) == ("mediamtx.rtsp", OK, "")
    assert (server.configured, server.paths) == ({}, {})


async def test_wrong_credentials_and_silence_are_warnings(server: FakeMediaMtx) -> None:
    """Each names what to do; RTSP is looked at all the same."""
    api, rtsp = await checked(server.config(password="wrong"))
    assert (api.grade, api.advice) == (WARNING, problems.UNAUTHORISED.suggestion)
    assert rtsp.grade is OK
    server.api_fault = "garbage"
    (api, _) = await checked(server.config())
    assert problems.NO_API.message in api.text


async def test_nothing_listens(server: FakeMediaMtx) -> None:
    """Both ports are refused."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = server.config(api=f"http://127.0.0.1:{port}", rtsp=f"rtsp://127.0.0.1:{port}")
    found = await checked(config)
    assert [each.grade for each in found] == [WARNING, WARNING]
    assert all(problems.REFUSED.message in each.text for each in found)


async def test_a_port_that_is_not_rtsp_is_found(server: FakeMediaMtx) -> None:
    """The port of the control API given as RTSP, and one that says nothing useful."""
    config = server.config(rtsp=f"rtsp://127.0.0.1:{server.api_port}")
    _, rtsp = await checked(config)
    assert (rtsp.grade, rtsp.advice) == (WARNING, problems.NO_RTSP.suggestion)


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"rtsp_methods": ("digest",)}, problems.RTSP_BY_DIGEST),
        ({"rtsp_transports": ("udp",)}, problems.NO_TCP),
    ],
)
async def test_settings_that_keep_camd_from_publishing_are_found(
    server: FakeMediaMtx, facts: dict[str, tuple[str, ...]], problem: object
) -> None:
    """Before the first camera is published, from the server's own settings."""
    for name, value in facts.items():
        setattr(server, name, value)
    _, rtsp = await checked(server.config())
    assert (rtsp.grade, rtsp.advice) == (WARNING, getattr(problem, "suggestion", ""))


async def test_a_server_to_which_no_camera_is_published_is_told(server: FakeMediaMtx) -> None:
    """The section stands there for nothing."""
    camera = CameraConfig(CameraId("gate"), parse_source("test:", Path("/"), None))
    assert len(await checked(server.config(publish="none"), camera)) == 3
    published = attrs.evolve(camera, publish=True)
    assert len(await checked(server.config(publish="none"), published)) == 2


# --- the volume of the snapshots


@pytest.mark.parametrize(
    ("usage", "grade", "words"),
    [
        (Usage(100 << 30, 50 << 30), OK, "a mount of its own"),
        (Usage(100 << 30, 9 << 30), PROBLEM, "from 90 % on no snapshot is taken"),
        (Usage(2 << 30, 1 << 29), WARNING, "snapshots.max_size is 1.1 GB"),
        (Usage(100 << 30, 50 << 30, read_only=True), PROBLEM, "read-only"),
    ],
)
def test_the_volume_of_the_snapshots_is_looked_at(
    tmp_path: Path, usage: Usage, grade: Grade, words: str
) -> None:
    """Its mount, its space against both limits; each warning has advice."""
    for name in ("snapshots", "recordings"):
        (tmp_path / name).mkdir()
    storage = StorageConfig(tmp_path / "recordings", tmp_path / "snapshots" / "new")
    mounts = {tmp_path / "recordings": 1, tmp_path / "snapshots": 2}
    disk = GaugedDisk(mounts=mounts, volume=usage)
    config = Config(storage=storage, snapshots=SnapshotsConfig(max_size=1 << 30))
    (found,) = inspect_snapshots_volume(config, disk)
    assert (found.subject, found.grade) == ("snapshots", grade)
    assert words in found.text
    assert bool(found.advice) is (grade is not OK)


def test_snapshots_beside_the_recordings_are_counted_with_them(tmp_path: Path) -> None:
    """One volume is reported once."""
    storage = StorageConfig(tmp_path / "recordings", tmp_path / "snapshots")
    disk = GaugedDisk(mounts={tmp_path: 1})
    assert list(inspect_snapshots_volume(Config(storage=storage), disk)) == []


# --- FFmpeg's protocols


async def test_an_ffmpeg_without_srt_is_a_problem_of_the_cameras_that_need_it(
    tmp_path: Path,
) -> None:
    """Other cameras are not named; an FFmpeg with SRT is no subject."""
    program = tmp_path / "ffmpeg"
    lists = "Input:\n  file\n  srtp\n  tcp\nOutput:\n  file\n"
    program.write_text(
        f"#!/bin/sh\ncase $2 in -version) echo ffmpeg version 7.1;; *) printf '{lists}';; esac\n"
    )
    program.chmod(0o755)
    config = Config(
        ffmpeg=FfmpegConfig(path=program),
        cameras=tuple(
            CameraConfig(CameraId(name), parse_source(text, Path("/"), None))
            for name, text in (("far", "srt://host:9000"), ("near", "test:"))
        ),
    )
    with trio.fail_after(100):
        (found,) = await inspect_protocols(config)
        assert (found.subject, found.grade) == ("camera far", PROBLEM)
        assert "without srt" in found.text
        lists = lists.replace("srtp", "srt")
        program.write_text(program.read_text().replace("  srtp", "  srt"))
        assert await inspect_protocols(config) == []


async def test_a_real_ffmpeg_lists_its_protocols() -> None:
    """What every FFmpeg has is found in its list, so that what is missing is missing."""
    with trio.fail_after(100):
        program = await find_ffmpeg(Path(str(PROGRAMS[0].values[0])))
        known = await protocols(program)
    assert {"file", "pipe", "tcp", "udp"} <= known
    assert not [name for name in known if " " in name or ":" in name]
