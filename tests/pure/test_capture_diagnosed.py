"""Facts about a problem, in its message and suggestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from camd.capture.diagnosis import DiagnosisFacts, with_facts
from camd.devices.v4l2.node_errors import NodeAccess
from camd.ffmpeg.text.error_patterns import TABLE
from camd.model import problems

NODE = Path("/dev/video3")


@attrs.frozen
class Found:
    """The result of a search for holders."""

    holders: tuple[Any, ...]
    complete: bool


@attrs.frozen
class Somebody:
    """A process that has a node open."""

    pid: int = 9
    program: str = "obs"
    user: str = "bob"


@pytest.mark.parametrize(
    ("found", "message", "suggestion"),
    [
        (
            Found((Somebody(),), complete=False),
            "obs (process 9, user bob) uses the camera",
            "End it, or give camd another camera.",
        ),
        (
            Found((), complete=True),
            "Another program used the camera a moment ago",
            "camd tries again.",
        ),
        (
            Found((), complete=False),
            "Another user's program uses the camera",
            "`sudo fuser -v /dev/video3` says which one; end it, or give camd another camera.",
        ),
    ],
)
def test_a_busy_camera_has_a_holder(found: Found, message: str, suggestion: str) -> None:
    """The message names it where this user may see it, else the suggestion has the command."""
    problem = with_facts(problems.BUSY, DiagnosisFacts(present=True, holders=found), NODE)
    assert (problem.message, problem.suggestion) == (message, suggestion)


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (NodeAccess("video", "camd"), "sudo usermod -aG video camd"),
        (NodeAccess("video", "camd", member=True), "restart the service"),
        (NodeAccess("video", "camd", entitled=True), "DeviceAllow=char-video4linux rw"),
        (NodeAccess("", "camd"), "sudo chgrp video /dev/video3"),
    ],
)
def test_how_to_get_access_is_said(access: NodeAccess, words: str) -> None:
    """The command fits the node: its group, its mode, the service's unit."""
    problem = with_facts(problems.NO_PERMISSION, DiagnosisFacts(present=True, access=access), NODE)
    assert words in problem.suggestion
    assert problem.suggestion.endswith(".")
    assert attrs.evolve(problem, suggestion="") == attrs.evolve(
        problems.NO_PERMISSION, suggestion=""
    )


def test_without_facts_nothing_changes() -> None:
    """Without facts the problem is unchanged."""
    for row in TABLE:
        assert with_facts(row.problem, DiagnosisFacts(), NODE) == row.problem
