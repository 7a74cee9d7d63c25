"""What a killed daemon may leave on disk, and what receipts must say afterwards. Pure."""

from __future__ import annotations

import enum
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import attrs

from camd.mp4.boxes import MediaError
from camd.mp4.inspect import HEAD_SIZE, sealed_moov_offset, summarise_segment
from camd.mp4.interrupted import read_interrupted

Receipt = Mapping[str, Any]


class FileState(enum.Enum):
    """How far the file was written."""

    EMPTY = "empty"  # not one whole fragment
    GROWING = "growing"
    TORN = "torn"  # in the middle of a fragment
    SEALING = "sealing"  # the final index is there, the 16 bytes are not
    SEALED = "sealed"


class Moment(enum.Enum):
    """When the daemon is killed."""

    STARTING = "starting"  # before it serves
    RESUMING = "resuming"  # it serves, and recovers beside that
    RECORDING = "recording"  # all sessions go on
    CREATING = "creating"  # a file was just made
    SEALING = "sealing"  # about when the next one is due
    STOPPING = "stopping"  # SIGTERM came before


@attrs.frozen
class Kill:
    """One kill and its effect; times are seconds of the wall clock."""

    moment: Moment
    left: Counter[FileState]
    lost: tuple[float, ...]  # of each camera that recorded: from its last frame to the kill
    back: float | None  # from the start until all sessions went on, where they did


@attrs.frozen
class KilledFile:
    """One file after a kill; `end` is the wall time at the end of its last frame."""

    left: FileState
    frames: int = 0
    end: datetime | None = None


def moments_of(rng: random.Random, kills: int) -> list[Moment]:
    """Choose so many moments in random order, each kind equally often."""
    kinds = list(Moment)
    drawn = [kinds[number % len(kinds)] for number in range(kills)]
    rng.shuffle(drawn)
    return drawn


def inspect_file(data: bytes) -> KilledFile:
    """Read the state of a file from its bytes."""
    try:
        at = sealed_moov_offset(data)
        if at is not None:
            summary = summarise_segment(data[:HEAD_SIZE], data[at:])
            assert summary.metadata is not None
            length = timedelta(seconds=summary.duration_seconds)
            return KilledFile(FileState.SEALED, summary.frames, summary.metadata.start + length)
        found = read_interrupted(lambda offset, size: data[offset : offset + size], len(data))
    except MediaError:
        return KilledFile(FileState.EMPTY)
    if found is None:
        return KilledFile(FileState.EMPTY)
    tail = data[found.whole_bytes :]
    left = FileState.TORN if tail else FileState.GROWING
    if tail[4:8] == b"moov":
        left = FileState.SEALING
    return KilledFile(left, found.index.frames, found.index.end)


def is_cut_from(known: Sequence[str], found: Sequence[str]) -> bool:
    """Whether `found` is the beginning of `known`, repeated without end."""
    rounds = len(found) // len(known) + 1
    return list(found) == (list(known) * rounds)[: len(found)]


def receipt_errors(
    receipt: Receipt,
    runs: Mapping[str, int],
    frames: Mapping[str, int],
    hashes: Mapping[str, str],
) -> list[str]:
    """List what is wrong with the receipt of a session that went through several runs.

    By file name: the run of the daemon that wrote it, and its frames and hash as they are on
    disk. Between the files of one run and those of the next, `daemon_down` covers the gap, whole
    and once, with no more entries than outages; and nothing else is missing. A recovered file may
    have no hash yet.
    """
    files, gaps = receipt["files"], receipt["gaps"]
    wrong = []
    told = [file["filename"] for file in files]
    if sorted(told) != sorted(runs):
        wrong.append(f"the receipt's files are not those on disk: {set(told) ^ set(runs)}")
        return wrong
    for file in files:
        name = file["filename"]
        if file["frames"] != frames[name] or file["sha256"] not in (hashes[name], None):
            wrong.append(f"{name}: the receipt has {file['frames']} frames, {file['sha256']}")
    seams = [(a, b) for a, b in pairwise(files) if runs[a["filename"]] != runs[b["filename"]]]
    outages = [(a["end_time"], b["start_time"]) for a, b in seams]
    entries = [(gap["from"], gap["to"]) for gap in gaps if gap["cause"] == "daemon_down"]
    covered = _joined(entries)
    wrong += [f"no daemon_down for {outage}" for outage in outages if outage not in covered]
    wrong += [f"a daemon_down too many: {entry}" for entry in covered if entry not in outages]
    if len(entries) > max(runs.values(), default=0):
        wrong.append(f"{len(entries)} entries for {max(runs.values())} outages")
    wrong += [f"an entry {gap['cause']}" for gap in gaps if gap["cause"] != "daemon_down"]
    counted = receipt["frames_captured"], receipt["frames_written"]
    if counted != (sum(frames.values()),) * 2:
        wrong.append(f"captured and written {counted}, on disk {sum(frames.values())}")
    if not receipt["durable"]:
        wrong.append("the receipt is not durable")
    return wrong


def _joined(spans: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join spans that touch each other: outages with no frame between them."""
    joined: list[tuple[str, str]] = []
    for begin, end in spans:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined
