"""Judges a power cut: what was promised before it against what is there after it. Pure.

Each complaint begins with the invariant (docs/recordings.md) that it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

import attrs
from power_cut_console import Before, Promised, Receipt

SAME_MOMENT_SECONDS = 0.05
SEAM_SECONDS = 0.3  # between files of one life; more is a hole
BEAT_SECONDS = 0.2  # between signs of life


@attrs.frozen
class Footage:
    """One file as its own bytes and FFmpeg have it; times in seconds since 1970."""

    filename: str
    size: int
    sha256: str
    sealed: bool
    complaint: str  # what FFmpeg said
    camera: str = ""  # from here on empty when the file holds no footage at all
    session: str = ""
    number: int = 0
    boot: str = ""
    frames: int = 0
    start: float = 0.0
    end: float = 0.0

    @property
    def hollow(self) -> bool:
        """Whether the file never got a frame to the disk."""
        return not self.session


@attrs.frozen
class Gap:
    """One entry of a ledger."""

    session: str
    start: float
    end: float
    cause: str


@attrs.frozen
class Status:
    """A running session as camd describes it."""

    session: str
    state: str
    captured: int
    written: int
    lost: int
    files: Mapping[str, int]  # frames by name; the newest one still grows


@attrs.frozen
class After:
    """Everything there is after the next boot."""

    boot: str
    folder: Mapping[str, int]  # sizes by name
    files: Mapping[str, Footage]  # every file that was looked into, now or earlier
    listed: Mapping[str, tuple[str, int, int]]  # status, size, frames by name
    gaps: tuple[Gap, ...]
    status: Mapping[str, Status]  # by camera
    torn: Mapping[str, int] = attrs.field(factory=dict)  # bytes cut off, by recovered file


@attrs.frozen
class Limits:
    """How much may be lost."""

    durability: float = 1.0
    fragment: float = 0.5
    fragment_frames: int = 3
    slowness: float = 3.0  # seconds; the most that a slow machine may excuse

    def bound(self, before: Before) -> float:
        """Seconds of footage that a cut may cost, on a machine of this speed."""
        slow = min(self.slow(before), self.slowness)
        return self.durability + self.fragment + BEAT_SECONDS + slow

    def slow(self, before: Before) -> float:
        """Seconds that the machine itself took, whether they may be excused or not."""
        return before.longest_sync + max(0.0, before.longest_lag - self.fragment)


@attrs.frozen
class Verdict:
    """What a cut came to."""

    losses: Mapping[str, float]  # seconds, by camera that was recording
    bound: float
    complaints: tuple[str, ...]
    unsynced: Mapping[str, float] = attrs.field(factory=dict)  # seconds, by camera


def judge(
    before: Before, after: After, limits: Limits, later: frozenset[str] = frozenset()
) -> Verdict:
    """Compare; `after.files` holds all files that were ever looked into.

    `later` names the boots between `before` and `after`: what they recorded makes up for nothing.
    """
    later |= {after.boot}
    losses = dict(_losses(before, after))
    bound = limits.bound(before)
    complaints = [
        *_losses_over(losses, before, after, limits, later),
        *_promises(before.sealed.values(), after),
        *_durable_frames(before, after, later),
        *(c for receipt in before.receipts.values() for c in check_receipt(receipt, after.files)),
        *_files(after),
        *_sessions(before, after, limits),
        *_ledger(after),
    ]
    unsynced = {camera: _written_and_lost(camera, before, after, later) for camera in losses}
    return Verdict(losses, bound, tuple(complaints), unsynced)


def _losses(before: Before, after: After) -> Iterator[tuple[str, float]]:
    """How long before the cut the footage of each session ends that was recording."""
    for camera, session in sorted(before.running.items()):
        ends = [f.end for f in _of_session(after, session) if f.boot == before.boot]
        if ends:
            yield camera, before.cut_at - max(ends) + before.ahead.get(camera, 0.0)


def _losses_over(
    losses: Mapping[str, float], before: Before, after: After, limits: Limits, later: frozenset[str]
) -> Iterator[str]:
    """Complain of what was lost beyond the bound, and say what the machine had to do with it."""
    bound, slow = limits.bound(before), limits.slow(before)
    for camera, loss in losses.items():
        if loss > bound:
            written = _written_and_lost(camera, before, after, later)
            yield (
                f"I2 {camera} lost {loss:.2f} s, bound {bound:.2f} s; the machine took"
                f" {slow:.2f} s; what is lost was written in the last {written:.2f} s"
            )


def _written_and_lost(camera: str, before: Before, after: After, later: frozenset[str]) -> float:
    """Say how long before the cut frames were first called written that are gone.

    That is so however late the source runs. Seconds; 0 when all that was called written is there.
    """
    session = before.running[camera]
    found = _frames_left(session, after, later)
    gone = [moment for moment, frames in before.written.get(session, ()) if frames > found]
    return before.cut_at - min(gone) if gone else 0.0


def _frames_left(session: str, after: After, later: frozenset[str]) -> int:
    """Count the frames in a session's files that are not of a later life."""
    return sum(file.frames for file in _of_session(after, session) if file.boot not in later)


def _of_session(after: After, session: str) -> list[Footage]:
    files = [f for f in after.files.values() if f.session == session]
    return sorted(files, key=lambda f: f.number)


def _promises(promises: Iterable[Promised], after: After) -> Iterator[str]:
    """What was called sealed is there, byte for byte."""
    for promised in promises:
        found = after.files.get(promised.filename)
        if found is None:
            yield f"I8 {promised.filename} was sealed and is gone"
        elif (found.size, found.sha256) != (promised.size, promised.sha256):
            yield f"I8 {promised.filename} was sealed and has other bytes"
        elif found.frames != promised.frames:
            yield f"I8 {promised.filename} has {found.frames} frames, not {promised.frames}"


def _durable_frames(before: Before, after: After, later: frozenset[str]) -> Iterator[str]:
    """Frames that were called durable are in the files of that life or an earlier one."""
    for session, frames in before.durable.items():
        found = _frames_left(session, after, later)
        if found < frames:
            yield f"I2 {session}: {frames} frames were durable, {found} are left"


def check_receipt(receipt: Receipt, files: Mapping[str, Footage]) -> Iterator[str]:
    """A receipt is true in itself, and names all files of its session."""
    if receipt.captured != receipt.written + receipt.lost:
        yield (
            f"I4 {receipt.session_id}: captured {receipt.captured} is not"
            f" written {receipt.written} and ledgered {receipt.lost}"
        )
    if receipt.written != sum(file.frames for file in receipt.files):
        yield f"I4 {receipt.session_id}: its files have not the {receipt.written} written frames"
    if not receipt.durable:
        yield f"I8 {receipt.session_id}: its receipt says that it is not durable"
    named = {file.filename for file in receipt.files}
    for file in files.values():
        if file.session == receipt.session_id and file.filename not in named:
            yield f"I4 {file.filename} is not in its session's receipt"


def _files(after: After) -> Iterator[str]:
    """Nothing is gone; what has footage plays, is sealed, and is listed as it is."""
    for name, file in after.files.items():
        if name not in after.folder:
            yield f"I5 {name} is gone"
        elif after.folder[name] != file.size:
            yield f"I5 {name} has changed its size"
        if file.hollow:
            continue
        if file.complaint:
            yield f"I1 {name} does not play: {file.complaint}"
        if not file.sealed:
            yield f"I1 {name} is not sealed"
        if after.listed.get(name) != ("completed", file.size, file.frames):
            yield f"I6 {name} is listed as {after.listed.get(name)}, not as it is"


def _sessions(before: Before, after: After, limits: Limits) -> Iterator[str]:
    """What ran goes on under its id, what was stopped does not, and the frames add up."""
    for camera, session in before.running.items():
        found = after.status.get(camera)
        if found is None or found.session != session:
            yield f"I4 {camera}: session {session} does not go on"
        elif found.state != "RECORDING":
            yield f"I7 {camera}: session {session} is {found.state}"
    for camera, status in after.status.items():
        if status.session in before.receipts:
            yield f"I8 {camera}: session {status.session} goes on although it was stopped"
        in_flight = status.captured - status.written - status.lost
        if not 0 <= in_flight <= 2 * limits.fragment_frames:
            yield f"I4 {camera}: {in_flight} frames are neither written nor ledgered"
        if status.written != sum(status.files.values()):
            yield f"I4 {camera}: written {status.written}, in files {sum(status.files.values())}"
        for name, frames in status.files.items():
            if name in after.files and after.files[name].frames != frames:
                yield f"I4 {name} has {after.files[name].frames} frames, not {frames}"
        for file in _of_session(after, status.session):
            if file.filename not in status.files:
                yield f"I4 {file.filename} is not among its session's files"


def _ledger(after: After) -> Iterator[str]:
    """Holes between two lives are in the ledger as `daemon_down`; nothing else is.

    A hole that several outages made may have an entry for each, one beginning where the other
    ends.
    """
    goes_on = {status.session for status in after.status.values() if status.state == "RECORDING"}
    for session in sorted({f.session for f in after.files.values() if f.session}):
        files = _of_session(after, session)
        gaps = sorted((g for g in after.gaps if g.session == session), key=lambda g: g.start)
        down = [gap for gap in gaps if gap.cause == "daemon_down"]
        for a, b in pairwise(files):
            if b.number != a.number + 1:
                yield f"I3 {session}: file {b.number} follows {a.number}"
            if a.boot == b.boot:
                continue
            entries = _between(a.end, b.start, down)
            if not _spans(a.end, b.start, entries):
                yield f"I4 {session}: {a.filename} to {b.filename}: {_ledgered(a.end, entries)}"
            down = [gap for gap in down if gap not in entries]
        last = files[-1]
        # The newest file still grows, so where it begins is known to the entry alone.
        if session in goes_on and last.boot != after.boot:
            entries = _between(last.end, float("inf"), down)
            if not _spans(last.end, None, entries):
                yield f"I4 {session}: after {last.filename}: {_ledgered(last.end, entries)}"
            down = [gap for gap in down if gap not in entries]
        if down:
            yield f"I4 {session}: {len(down)} entries daemon_down where there is no hole"


def seams(after: After) -> Iterator[str]:
    """Describe where files of one life do not join in time, with no entry in the ledger.

    No frame need be missing: a source that runs late makes such seams.
    """
    for session in sorted({f.session for f in after.files.values() if f.session}):
        gaps = [gap for gap in after.gaps if gap.session == session]
        for a, b in pairwise(_of_session(after, session)):
            if a.boot == b.boot and b.start - a.end > SEAM_SECONDS:
                entries = _between(a.end, b.start, gaps)
                if not _spans(a.end, b.start, entries):
                    yield f"{b.filename} begins {b.start - a.end:.2f} s after the file before it"


def _between(start: float, end: float, gaps: Iterable[Gap]) -> list[Gap]:
    return [g for g in gaps if start - SAME_MOMENT_SECONDS < g.start < end]


def _spans(start: float, end: float | None, entries: Iterable[Gap]) -> bool:
    """Whether entries lead from `start` to `end` without a hole and without an overlap."""
    at = start
    for entry in entries:
        if abs(entry.start - at) > SAME_MOMENT_SECONDS:
            return False
        at = entry.end
    return at > start if end is None else abs(at - end) <= SAME_MOMENT_SECONDS


def _ledgered(start: float, entries: Iterable[Gap]) -> str:
    spans = [f"{e.start - start:.2f}..{e.end - start:.2f}" for e in entries]
    return f"ledgered {', '.join(spans) or 'nothing'}"


def read_after(
    answer: Mapping[str, Any], files: Mapping[str, Footage], torn: Mapping[str, int]
) -> After:
    """Read what the guest saw."""
    status = {}
    for camera, s in answer["status"].items():
        if s is not None:
            lost = sum(gap["frames"] for gap in s["gaps"] if gap["exact"])
            frames = {file["filename"]: file["frames"] for file in s["files"]}
            counts = (s["frames_captured"], s["frames_written"], lost)
            status[camera] = Status(s["session_id"], s["status"], *counts, frames)
    return After(
        boot=answer["boot"],
        folder=answer["folder"],
        files=files,
        listed={f["filename"]: (f["status"], f["file_size"], f["frames"]) for f in answer["files"]},
        gaps=tuple(
            Gap(g["session_id"], _unix(g["from"]), _unix(g["to"]), g["cause"])
            for g in answer["gaps"]
        ),
        status=status,
        torn=torn,
    )


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
