"""Whether anything can still come into a range: from a session that records into it, or will.

No file need grow for that: between two files of a session none does, nor while its camera is away.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from camd.model import SegmentState, Session, SessionState
from camd.playback.rules.playable_files import PlayableRange

LATEST_ARRIVAL = timedelta(seconds=30)  # of frames that were taken before a session began to wait


def final_until(
    session: Session,
    playable_ends: Mapping[str, datetime],
    *,
    now: datetime,
    preroll: timedelta,
    disk_takes_all: bool,
) -> datetime:
    """Return the instant before which nothing can be added to a session that runs.

    `playable_ends`: until when files can be played, by name; a growing file reaches as far as it is
    durable. `preroll`: how old the first frame of a session that has none yet may be.
    `disk_takes_all`: no frames wait to be written.
    """
    newest = session.segments[-2:]  # one is sealed while the next one is open already
    if not newest:
        return session.start - preroll
    growing = next((each for each in newest if each.state is SegmentState.OPEN), None)
    if growing is not None:
        written = playable_ends.get(growing.filename, growing.start)
    else:
        written = newest[-1].end
    waits = session.state is SessionState.WAITING and session.durable and disk_takes_all
    return max(written, now - LATEST_ARRIVAL) if waits else written


def playable_ends(played: PlayableRange) -> dict[str, datetime]:
    """Return until when each file of a range can be played."""
    return {file.filename: file.end for file in played.files}
