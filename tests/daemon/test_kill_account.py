"""The judge of the kill tests sees what it is there to see."""

from __future__ import annotations

from typing import Any

import pytest
from kill_account import Left, is_cut_from, judge_receipt, remains
from support.recordings import footage, growing_bytes, sealed_bytes

LIVES = {"a": 0, "b": 0, "c": 1}
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
    ("changes", "lives", "complaints"),
    [
        ({}, LIVES, 0),
        ({"gaps": []}, LIVES, 1),
        ({"gaps": [gap("2", "4")]}, LIVES, 2),
        ({"gaps": [gap("2", "3"), gap("3", "5")]}, LIVES | {"c": 2}, 0),
        ({"gaps": [gap("2", "3"), gap("3", "5")]}, LIVES, 1),
        ({"gaps": [gap("2", "3"), gap("2", "5")]}, LIVES | {"c": 2}, 1),
        ({"gaps": [gap("2", "5"), gap("5", "6", "camera_lost")]}, LIVES, 1),
        ({"frames_written": 60}, LIVES, 1),
        ({"durable": False}, LIVES, 1),
        ({"files": receipt()["files"][:2]}, LIVES, 1),
    ],
)
def test_a_wrong_receipt_is_found(
    changes: dict[str, Any], lives: dict[str, int], complaints: int
) -> None:
    """Holes that are missing, too many, torn or doubled; counters; files."""
    found = judge_receipt(receipt(**changes), lives, FRAMES, HASHES)
    assert len(found) == complaints, found


def test_a_wrong_file_is_found() -> None:
    """Frames and hashes are compared; a hash that is not there yet is none that is wrong."""
    for frames, hashes, complaints in (
        (FRAMES | {"a": 31}, HASHES, 2),
        (FRAMES, HASHES | {"c": "4"}, 1),
    ):
        assert len(judge_receipt(receipt(), LIVES, frames, hashes)) == complaints
    files = [file | {"sha256": None} for file in receipt()["files"]]
    assert judge_receipt(receipt(files=files), LIVES, FRAMES, HASHES) == []


def test_what_is_left_is_told_by_its_bytes() -> None:
    """Every step of a writer is recognised, with the frames that are whole."""
    init, fragments = footage(3)
    grown = growing_bytes(init, fragments, fragments[0])
    sealed = sealed_bytes(init, fragments, fragments[0])
    header = len(growing_bytes(init, [], fragments[0]))
    for data, left, frames in (
        (grown[:header], Left.EMPTY, 0),
        (b"", Left.EMPTY, 0),
        (grown, Left.GROWING, 9),
        (grown[:-1], Left.TORN, 6),
        (grown + sealed[len(grown) :], Left.SEALING, 9),
        (sealed, Left.SEALED, 9),
    ):
        found = remains(data)
        assert (found.left, found.frames) == (left, frames)
        assert (found.end is None) == (left is Left.EMPTY)


def test_a_film_may_be_played_again_and_again() -> None:
    """Packets are compared in order, also past the film's end."""
    assert is_cut_from("abc", list("abcab"))
    assert is_cut_from("abc", [])
    assert not is_cut_from("abc", list("bc"))
    assert not is_cut_from("abc", list("abb"))
