"""The checks of the kill tests find what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from kill_rules import FileState, inspect_file, is_cut_from, receipt_errors
from support.recordings import footage, growing_bytes, sealed_bytes

RUNS = {"a": 0, "b": 0, "c": 1}
FRAMES = {"a": 30, "b": 15, "c": 30}
HASHES = {"a": "1", "b": "2", "c": "3"}


def receipt(**changes: object) -> dict[str, Any]:
    """Make the receipt of a session whose daemon was killed once, from 2 to 5."""
    files = [
        {"filename": name, "start_time": start, "end_time": end, "frames": FRAMES[name]}
        | {"sha256": HASHES[name]}
        for name, start, end in (("a", "0", "1"), ("b", "1", "2"), ("c", "5", "6"))
    ]
    counted = {"frames_captured": 75, "frames_written": 75, "durable": True}
    return {"files": files, "gaps": [gap("2", "5")], **counted, **changes}


def gap(start: str, end: str, cause: str = "daemon_down") -> dict[str, Any]:
    """Make an entry of the ledger."""
    return {"from": start, "to": end, "cause": cause}


@pytest.mark.parametrize(
    ("changes", "runs", "mistakes"),
    [
        ({}, RUNS, 0),
        ({"gaps": []}, RUNS, 1),
        ({"gaps": [gap("2", "4")]}, RUNS, 2),
        ({"gaps": [gap("2", "3"), gap("3", "5")]}, RUNS | {"c": 2}, 0),
        ({"gaps": [gap("2", "3"), gap("3", "5")]}, RUNS, 1),
        ({"gaps": [gap("2", "3"), gap("2", "5")]}, RUNS | {"c": 2}, 1),
        ({"gaps": [gap("2", "5"), gap("5", "6", "camera_lost")]}, RUNS, 1),
        ({"frames_written": 60}, RUNS, 1),
        ({"durable": False}, RUNS, 1),
        ({"files": receipt()["files"][:2]}, RUNS, 1),
    ],
)
def test_a_wrong_receipt_is_found(
    changes: dict[str, Any], runs: dict[str, int], mistakes: int
) -> None:
    """Gaps that are missing, surplus, split or doubled; counters; files."""
    found = receipt_errors(receipt(**changes), runs, FRAMES, HASHES)
    assert len(found) == mistakes, found


def test_a_wrong_file_is_found() -> None:
    """Frames and hashes are compared; a missing hash is not wrong."""
    for frames, hashes, mistakes in (
        (FRAMES | {"a": 31}, HASHES, 2),
        (FRAMES, HASHES | {"c": "4"}, 1),
    ):
        assert len(receipt_errors(receipt(), RUNS, frames, hashes)) == mistakes
    files = [file | {"sha256": None} for file in receipt()["files"]]
    assert receipt_errors(receipt(files=files), RUNS, FRAMES, HASHES) == []


def test_the_state_of_a_file_is_read_from_its_bytes() -> None:
    """Every step of a writer is recognised, with the frames that are whole."""
    init, fragments = footage(3)
    grown = growing_bytes(init, fragments, fragments[0])
    sealed = sealed_bytes(init, fragments, fragments[0])
    header = len(growing_bytes(init, [], fragments[0]))
    for data, left, frames in (
        (grown[:header], FileState.EMPTY, 0),
        (b"", FileState.EMPTY, 0),
        (grown, FileState.GROWING, 9),
        (grown[:-1], FileState.TORN, 6),
        (grown + sealed[len(grown) :], FileState.SEALING, 9),
        (sealed, FileState.SEALED, 9),
    ):
        found = inspect_file(data)
        assert (found.left, found.frames) == (left, frames)
        assert (found.end is None) == (left is FileState.EMPTY)


def test_a_clip_may_be_played_in_a_loop() -> None:
    """Packets are compared in order, also past the clip's end."""
    assert is_cut_from("abc", list("abcab"))
    assert is_cut_from("abc", [])
    assert not is_cut_from("abc", list("bc"))
    assert not is_cut_from("abc", list("abb"))
