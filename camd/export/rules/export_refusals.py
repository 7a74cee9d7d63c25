"""What cannot be exported, as refusals."""

from __future__ import annotations

from collections.abc import Sequence

from camd.errors import (
    FILE_NOT_FOUND,
    INVALID_PARAMS,
    RECORDING_FAILED,
    UNSUPPORTED,
    ParamMistake,
    Refusal,
    invalid_params,
)
from camd.export.rules.export_plan import (
    LONGEST,
    NO_FRAME,
    ExportRange,
    FramesAround,
    is_readable,
)
from camd.model import Segment
from camd.mp4.boxes import MediaError

MOST_FILES = 5000  # of one export


def validate_range(wanted: ExportRange) -> None:
    """Raise Refusal (−32602) for a range that is backwards or too long."""
    if wanted.end <= wanted.begin:
        raise invalid_params(ParamMistake("to", "must be later than from"))
    if wanted.end - wanted.begin > LONGEST:
        raise invalid_params(ParamMistake("to", "must be at most 24 hours after from"))


def refuse_other_formats(segments: Sequence[Segment]) -> None:
    """Raise Refusal (−32008) where a file is no MP4."""
    for segment in segments:
        if is_readable(segment) and not segment.filename.endswith(".mp4"):
            raise unsupported(segment, "is no MP4 recording")


def no_frame(wanted: ExportRange, around: FramesAround) -> Refusal:
    """Make the refusal (−1005) for a range in which one picture is shown that was taken before."""
    return Refusal(
        FILE_NOT_FOUND,
        "No frame was taken in that range: the one before it was shown all the time",
        suggestion="Begin the range where that frame was taken, or ask for a still of an instant.",
        camera_id=wanted.camera_id,
        cause=NO_FRAME,
        frame_before=around.before,
        frame_after=around.after,
    )


def unsupported(segment: Segment, why: str) -> Refusal:
    """Make the refusal (−32008) of a file that has another layout."""
    return Refusal(
        UNSUPPORTED,
        f"{segment.filename} {why}, so no part of it can be exported",
        suggestion='Download the file as it is, or export a range without it; format = "mp4" makes '
        "recordings that can be exported.",
        camera_id=segment.camera_id,
        filename=segment.filename,
        start_time=segment.start,
        end_time=segment.end,
    )


def unreadable(segment: Segment, error: MediaError) -> Refusal:
    """Make the refusal (−1003) of a damaged file."""
    return Refusal(
        RECORDING_FAILED,
        f"The recording cannot be read: {error}",
        suggestion="`camd verify` says what is wrong with the file; export the ranges before and "
        "behind it.",
        camera_id=segment.camera_id,
        filename=segment.filename,
        cause="unreadable",
        start_time=segment.start,
        end_time=segment.end,
    )


def too_many_files(count: int) -> Refusal:
    """Make the refusal (−32602) of a range with more than MOST_FILES files."""
    return Refusal(
        INVALID_PARAMS,
        f"The range has {count} files, at most {MOST_FILES} are exported at once",
        suggestion="Export a shorter range.",
        errors=[{"path": "to", "message": f"gives {count} files, at most {MOST_FILES}"}],
    )
