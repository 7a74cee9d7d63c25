"""The judge of exchanged cameras sees each thing that can be wrong, and nothing else."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from camera_swap_checks import Chapter, judge_chapter, read_alarms, read_recorded, records_again

CHAPTER = Chapter(
    "stranger",
    sizes={"camera1": "160x120"},
    recorded={"camera1": ("160x120", "160x120")},
    alarms=frozenset(("camera0",)),
    alarmed=frozenset(("camera0",)),
    sessions_before={"camera0": "s0", "camera1": "s1"},
    sessions_after={"camera0": "s0", "camera1": "s1"},
)


def test_names_that_stayed_with_their_cameras_have_no_complaint() -> None:
    """Own pictures, the due alarm, the same sessions: nothing to complain of."""
    assert judge_chapter(CHAPTER) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"recorded": {}}, "camera1 recorded nothing"),
        ({"recorded": {"camera1": ("320x180",)}}, "camera1 recorded 320x180, not 160x120"),
        (
            {"recorded": CHAPTER.recorded | {"camera0": ("176x144",)}},
            "camera0 recorded 176x144, not nothing",
        ),
        ({"alarms": frozenset()}, "camera0 is not called swapped"),
        ({"alarmed": frozenset()}, "camera0 is called swapped"),
        ({"sessions_after": {"camera1": "s1"}}, "camera0: session s0 became None"),
        ({"notes": ("waited for an alarm",)}, "waited for an alarm"),
    ],
)
def test_a_name_that_went_astray_is_complained_of(changes: dict[str, Any], expected: str) -> None:
    """Every check sees what it is for."""
    assert judge_chapter(attrs.evolve(CHAPTER, **changes)) == [f"stranger: {expected}"]


def test_alarms_and_recordings_are_read_from_what_was_told() -> None:
    """The latest word counts, and files that began before a moment do not."""
    latest = {
        "camera0": {"k": "camera", "t": 2.0, "cause": "swapped"},
        "camera1": {"k": "camera", "t": 3.0, "cause": "absent"},
        "camera2": {"k": "camera", "t": 3.0, "cause": None},
    }
    assert read_alarms(latest) == {"camera0"}
    files = [
        {"filename": name, "camera_id": "camera0", "resolution": size}
        for name, size in (("a", "1x1"), ("b", "2x2"), ("c", "3x3"))
    ]
    starts = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert read_recorded(files, starts, 2.0) == {"camera0": ("2x2", "3x3")}


def test_a_session_goes_on_when_its_next_file_is_there() -> None:
    """Neither a gap nor another camera's file is a return, nor what was told before."""

    def told(moment: float, status: str, camera: str = "camera0") -> dict[str, Any]:
        return {"k": "news", "t": moment, "status": status, "camera_id": camera}

    before = told(99.0, "ROTATED")
    others = [told(101.0, "GAP"), told(102.0, "ROTATED", "camera1"), {"k": "torn", "t": 103.0}]
    assert not records_again([before, *others], "camera0", 100.0)
    assert records_again([before, *others, told(104.0, "ROTATED")], "camera0", 100.0)
