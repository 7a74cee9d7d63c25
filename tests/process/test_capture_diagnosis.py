"""Diagnosis of a problem, with files as nodes and fake holders."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from camd.capture.diagnosis import diagnose
from camd.devices.node_reader import read_access
from camd.devices.v4l2.node_errors import remedy
from camd.model import GapCause, problems


@attrs.frozen
class Found:
    """The result of a search for holders."""

    holders: tuple[Any, ...] = ()
    complete: bool = True


@attrs.frozen
class Somebody:
    """A process that has a node open."""

    pid: int
    program: str
    user: str = ""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Make a file in place of a node."""
    path = tmp_path / "video0"
    path.touch()
    path.chmod(0o660)
    return path


async def test_a_node_that_is_gone_is_a_camera_that_was_lost(tmp_path: Path) -> None:
    """ "Input/output error" is what a driver says when the cable is pulled: the node tells."""
    for problem in (
        problems.IO_ERROR,
        problems.DRIVER_ERROR,
        problems.BUSY,
        problems.UNSUPPORTED_FORMAT,
    ):
        assert await diagnose(problem, tmp_path / "video0") == problems.LOST
    assert await diagnose(problems.VANISHED, tmp_path / "video0") == problems.VANISHED


async def test_a_node_that_is_there_leaves_the_problem_as_it_was(node: Path) -> None:
    """An error of a camera that is plugged in does not become LOST."""
    for problem in (problems.IO_ERROR, problems.LOST, problems.VANISHED, problems.DRIVER_ERROR):
        assert await diagnose(problem, node) == problem


async def test_the_holder_of_a_camera_is_named(node: Path) -> None:
    """The message has program and process, the ledger's cause stays."""
    asked: list[Path] = []

    def find(path: Path) -> Found:
        asked.append(path)
        return Found((Somebody(41, "cheese", "ann"), Somebody(7, "zoom")))

    problem = await diagnose(problems.BUSY, node, find_holders=find)
    assert asked == [node]
    expected = "cheese (process 41, user ann) and zoom (process 7) use the camera"
    assert problem.message == expected
    assert problem.ledger_cause is GapCause.CAMERA_BUSY


async def test_a_search_that_fails_or_hangs_is_bounded(node: Path) -> None:
    """Facts that are not found in time are left out; the thread is not waited for."""
    release = threading.Event()

    def fail(path: Path) -> Found:
        raise PermissionError

    def hang(path: Path) -> Found:
        release.wait(1000)
        return Found()

    assert await diagnose(problems.BUSY, node, find_holders=fail) == problems.BUSY
    try:
        with trio.fail_after(300):
            found = await diagnose(problems.BUSY, node, find_holders=hang, timeout_seconds=0.05)
    finally:
        release.set()
    assert found == problems.BUSY


async def test_without_a_node_nothing_is_looked_for(node: Path) -> None:
    """Streams have no node, and a missing FFmpeg is not about one."""

    def find(path: Path) -> Found:
        raise AssertionError

    assert await diagnose(problems.BUSY, None, find_holders=find) == problems.BUSY
    assert (
        await diagnose(problems.FFMPEG_MISSING, node / "gone", find_holders=find)
        == problems.FFMPEG_MISSING
    )


async def test_neighbours_are_named(node: Path) -> None:
    """The message says which cameras stream over the same bus."""
    crowded = await diagnose(problems.NO_BANDWIDTH, node, neighbours=lambda: ["Gate", "Yard"])
    assert crowded.message == "The bus has no bandwidth left for this camera beside Gate and Yard"


async def test_a_denied_node_comes_with_the_way_to_access(node: Path) -> None:
    """The suggestion is the one that `camd devices` gives for the same node."""
    denied = await diagnose(problems.NO_PERMISSION, node)
    assert denied == attrs.evolve(
        problems.NO_PERMISSION, suggestion=remedy(str(node), read_access(node))
    )
    assert denied != problems.NO_PERMISSION
    gone = node.with_name("gone")
    assert await diagnose(problems.NO_PERMISSION, gone) == problems.LOST
