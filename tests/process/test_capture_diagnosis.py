"""What this machine can tell of a trouble: nodes are files here, holders are made up."""

from __future__ import annotations

import os
import pwd
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from camd.capture.diagnosis import diagnose, look_at_access
from camd.ffmpeg.text import error_patterns as t
from camd.model import Cause


@attrs.frozen
class Found:
    """What a search for holders gives."""

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
    """Make something that is there."""
    path = tmp_path / "video0"
    path.touch()
    path.chmod(0o660)
    return path


async def test_a_node_that_is_gone_is_a_camera_that_was_lost(tmp_path: Path) -> None:
    """ "Input/output error" is what a driver says when the cable is pulled: the node tells."""
    for problem in (t.IO_ERROR, t.DRIVER_ERROR, t.BUSY, t.UNSUPPORTED_FORMAT):
        assert await diagnose(problem, tmp_path / "video0") == t.LOST
    assert await diagnose(t.VANISHED, tmp_path / "video0") == t.VANISHED


async def test_a_node_that_is_there_leaves_the_problem_as_it_was(node: Path) -> None:
    """An error of a camera that is plugged in is not a loss."""
    for problem in (t.IO_ERROR, t.LOST, t.VANISHED, t.DRIVER_ERROR):
        assert await diagnose(problem, node) == problem


async def test_whoever_holds_the_camera_is_named(node: Path) -> None:
    """The message has program and process, the ledger's cause stays."""
    asked: list[Path] = []

    def find(path: Path) -> Found:
        asked.append(path)
        return Found((Somebody(41, "cheese", "ann"), Somebody(7, "zoom")))

    problem = await diagnose(t.BUSY, node, find_holders=find)
    assert asked == [node]
    expected = "cheese (process 41, user ann) and zoom (process 7) use the camera"
    assert problem.message == expected
    assert problem.ledger_cause is Cause.CAMERA_BUSY


async def test_a_look_up_that_fails_or_hangs_costs_little(node: Path) -> None:
    """What nobody can tell in time is left out; nobody waits for the thread."""
    release = threading.Event()

    def fail(path: Path) -> Found:
        raise PermissionError

    def hang(path: Path) -> Found:
        release.wait(30)
        return Found()

    assert await diagnose(t.BUSY, node, find_holders=fail) == t.BUSY
    try:
        with trio.fail_after(10):
            found = await diagnose(t.BUSY, node, find_holders=hang, patience_seconds=0.05)
    finally:
        release.set()
    assert found == t.BUSY


async def test_what_has_no_node_is_not_looked_at(node: Path) -> None:
    """Streams have none, and a missing FFmpeg has nothing to do with it."""

    def find(path: Path) -> Found:
        raise AssertionError

    assert await diagnose(t.BUSY, None, find_holders=find) == t.BUSY
    assert await diagnose(t.FFMPEG_MISSING, node / "gone", find_holders=find) == t.FFMPEG_MISSING


async def test_neighbours_and_offers_are_told(node: Path) -> None:
    """Who shares the bus stands in the message; what could be asked for, beside it."""
    crowded = await diagnose(t.NO_BANDWIDTH, node, neighbours=lambda: ["Gate", "Yard"])
    assert crowded.message == "The bus has no bandwidth left for this camera beside Gate and Yard"
    refused = await diagnose(t.UNSUPPORTED_FORMAT, node, offered=lambda: ["1280x720"])
    assert refused.possible == ("1280x720",)


def test_who_may_open_a_node_is_known(node: Path) -> None:
    """Group, mode and this process are looked at as the kernel does."""
    access = look_at_access(node)
    assert (access.permitted, access.group_may) == (True, True)
    assert access.user == pwd.getpwuid(os.geteuid()).pw_name
    node.chmod(0o600)
    assert not look_at_access(node).group_may
    with pytest.raises(FileNotFoundError):
        look_at_access(node.with_name("gone"))
