"""Judges whether each camera's name stayed with its camera. Pure.

Which camera a recording is of shows in its picture: each camera has a size of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

SWAPPED = frozenset(("swapped", "camera_swapped"))


@attrs.frozen
class Chapter:
    """What happened between two moments, by camera id."""

    name: str
    sizes: Mapping[str, str]  # that each id's recordings must have; "" or missing: none at all
    recorded: Mapping[str, tuple[str, ...]]  # sizes of the files that began in it
    alarms: frozenset[str] = frozenset()  # ids that are called swapped in the end
    alarmed: frozenset[str] = frozenset()  # ids that have to be
    sessions_before: Mapping[str, str] = attrs.field(factory=dict)
    sessions_after: Mapping[str, str] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()  # of the script: what did not come in time


def judge_chapter(chapter: Chapter) -> list[str]:
    """Complain of everything that is not as it should be."""
    return [f"{chapter.name}: {complaint}" for complaint in _complaints(chapter)]


def _complaints(chapter: Chapter) -> Iterator[str]:
    yield from chapter.notes
    for camera in sorted(chapter.sizes.keys() | chapter.recorded.keys()):
        size, recorded = chapter.sizes.get(camera, ""), chapter.recorded.get(camera, ())
        if size and not recorded:
            yield f"{camera} recorded nothing"
        for wrong in sorted(set(recorded) - {size}):
            yield f"{camera} recorded {wrong}, not {size or 'nothing'}"
    for camera in sorted(chapter.alarms - chapter.alarmed):
        yield f"{camera} is called swapped"
    for camera in sorted(chapter.alarmed - chapter.alarms):
        yield f"{camera} is not called swapped"
    for camera, session in sorted(chapter.sessions_before.items()):
        if chapter.sessions_after.get(camera) != session:
            yield f"{camera}: session {session} became {chapter.sessions_after.get(camera)}"


def read_alarms(latest: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Find the cameras that are called swapped; `latest` is the latest word on each."""
    return frozenset(camera for camera, line in latest.items() if line["cause"] in SWAPPED)


def records_again(lines: Iterable[Mapping[str, Any]], camera: str, since: float) -> bool:
    """Find whether a camera's session has gone on in another file, whose first frames are there.

    A gap is told before that, and one of frames that the source dropped says nothing of a return.
    """
    return any(
        line["k"] == "news" and line["status"] == "ROTATED" and line["camera_id"] == camera
        for line in lines
        if line["t"] > since
    )


def read_recorded(
    files: Iterable[Mapping[str, Any]], starts: Mapping[str, float], since: float
) -> dict[str, tuple[str, ...]]:
    """Find the sizes of what began since a moment, by camera; `starts` by file name."""
    found: dict[str, tuple[str, ...]] = {}
    for file in files:
        if starts[file["filename"]] >= since:
            camera = file["camera_id"]
            found[camera] = (*found.get(camera, ()), file["resolution"])
    return found
