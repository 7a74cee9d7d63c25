"""Convert model values to result fields of the API.

Field names and meanings are stable: fields may be added, but not removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from camd.config.schema import ScheduleConfig
from camd.model import (
    CameraState,
    CameraStatus,
    CleanupReceipt,
    Gap,
    Problem,
    Segment,
    ServedStream,
    Session,
    SessionState,
    SessionSummary,
    StorageLevel,
    StorageStatus,
    are_durable,
)
from camd.model.schedule_values import ScheduleStatus
from camd.schedules.rules.windows import WindowState
from camd.storage.recovery.reconcile import RecoveryReport
from camd.storage.removal import Pin
from camd.storage.rules.levels import message_of
from camd.storage.verify.rules.scrub_progress import ScrubProgress, ScrubRun

View = dict[str, Any]

MAX_FINDINGS = 20  # in an answer; the log has all of them

CONNECTION = {
    CameraState.ABSENT: "DISCONNECTED",
    CameraState.RESTING: "ERROR",
    CameraState.FAULTED: "ERROR",
}
_THRESHOLD_STATUS = {
    StorageLevel.OK: "normal",
    StorageLevel.LOW: "warning",
    StorageLevel.BLOCKED: "blocked",
    StorageLevel.CRITICAL: "critical",
}
_CODEC_NAMES = {
    "avc1": "h264",
    "avc3": "h264",
    "jpeg": "mjpeg",
    **dict.fromkeys(("hvc1", "hev1", "hevc"), "h265"),  # the last one is FFmpeg's name
}


def camera(status: CameraStatus) -> View:
    """A camera, in all lists, answers and notifications."""
    session = status.session
    shown = status.video or status.wanted
    current = session.current if session else None
    view: View = {
        "camera_id": status.camera_id,
        "device": status.device,
        "device_path": status.device,
        "identity": status.identity,
        "status": _connection(status),
        "state": status.state.value,
        "name": status.name,
        "resolution": resolution(shown.width, shown.height),
        "fps": round(shown.fps or status.wanted.fps, 2),
        "streams": dict(status.served.addresses) if status.served else {},
        "stream_url": stream_url(status.served),
        "recording": session is not None and session.state is not SessionState.STARTING,
        "recording_session": session.session_id if session else None,
        "current_file": current.filename if current else None,
        "elapsed_time": session.elapsed_seconds if session else 0,
        "file_size": current.size_bytes if current else 0,
        "recording_healthy": session is not None and session.healthy,
        "warnings": list(status.warnings),
        "source_clock_offset": status.source_clock_offset,
        "schedule": camera_schedule(status.schedule),
        "preroll": status.preroll_seconds,
    }
    if status.problem is not None:
        view |= problem(status.problem)
    return view


def camera_schedule(found: ScheduleStatus | None) -> View | None:
    """How the schedules of a camera stand; null when it has none."""
    if found is None:
        return None
    return {
        "name": found.name,
        "active": found.active,
        "next_change": found.next_change,
        "recording": found.recording,
        "overridden_by": found.overridden_by.value if found.overridden_by else None,
        "message": found.message,
        "suggestion": found.suggestion,
    }


def schedule(configured: ScheduleConfig, now: WindowState, cameras: Sequence[CameraStatus]) -> View:
    """A schedule, with those of its cameras that are there."""
    own = [status for status in cameras if configured.records(status.camera_id)]
    return {
        "name": configured.name,
        "enabled": configured.enabled,
        "cameras": list(configured.cameras),
        "days": list(configured.days),
        "from": str(configured.from_),
        "to": str(configured.to),
        "timezone": configured.timezone.name,
        "active": now.active,
        "next_change": now.next_change,
        "overridden_by": {
            status.camera_id: status.schedule.overridden_by.value
            for status in own
            if now.active and status.schedule is not None and status.schedule.overridden_by
        },
        "unknown_cameras": configured.unknown(status.camera_id for status in own),
    }


def stream_url(served: ServedStream | None) -> str | None:
    """The first address of a stream, RTSP where that is served; null when nothing is."""
    return served.addresses[0][1] if served is not None else None


def problem(found: Problem) -> View:
    """A problem: cause, message and suggestion."""
    return {"cause": found.kind, "message": found.message, "suggestion": found.suggestion}


def _connection(status: CameraStatus) -> str:
    """Whether a camera is usable; an idle camera may have a problem that a start would hit."""
    if status.state is CameraState.IDLE and status.problem is not None:
        return "ERROR"
    return CONNECTION.get(status.state, "CONNECTED")


def resolution(width: int, height: int) -> str | None:
    """`"1920x1080"`; None while it is unknown."""
    return f"{width}x{height}" if width and height else None


def codec(name: str) -> str:
    """The common name of a codec, from the code of its sample entry."""
    return _CODEC_NAMES.get(name, name)


def gap(entry: Gap) -> View:
    """An entry of the gap ledger."""
    return {
        "camera_id": entry.camera_id,
        "session_id": entry.session_id,
        "from": entry.start,
        "to": entry.end,
        "duration": entry.duration_seconds,
        "frames": entry.frames,
        "exact": entry.exact,
        "cause": entry.cause.value,
        "action": entry.action,
    }


def session(found: SessionSummary) -> View:
    """A session in a list, with its coverage."""
    return {
        "session_id": found.session_id,
        "recording_id": found.session_id,
        "camera_id": found.camera_id,
        "owner": found.owner,
        "format": found.format,
        "status": found.state.value,
        "reason": found.reason,
        "start_time": found.start,
        "end_time": found.end,
        "duration": round(found.recorded_seconds, 6),
        "duration_limit": found.duration_limit.total_seconds() if found.duration_limit else None,
        "files": found.files,
        "files_missing": found.files_missing,
        "frames": found.frames,
        "file_size": found.size_bytes,
        "gaps": found.gaps,
        "missing_duration": round(found.missing_seconds, 6),
        "coverage_percent": round(found.coverage_percent, 3),
    }


def segment(found: Segment) -> View:
    """A segment."""
    return {
        "filename": found.filename,
        "file_size": found.size_bytes,
        "modified_time": found.modified,
        "download_url": f"/files/recordings/{found.filename}",
        "duration": round(found.duration_seconds, 6),
        "camera_id": found.camera_id,
        "session_id": found.session_id,
        "start_time": found.start,
        "end_time": found.end,
        "frames": found.frames,
        "leading_frames": found.leading_frames,
        "status": found.state.value,
    }


def stored(found: Segment, pin: Pin | None) -> View:
    """A segment in a list of recordings, and whether it is pinned."""
    return segment(found) | {"pinned": pin is not None}


def pin(found: Pin | None) -> View | None:
    """A pin; null when there is none."""
    return None if found is None else attrs.asdict(found)


def cleanup_receipt(receipt: CleanupReceipt) -> View:
    """A run of the retention policy."""
    return attrs.asdict(receipt) | {"files": list(receipt.files)}


def receipt(session: Session) -> View:
    """The receipt of a stop: all files and all gaps."""
    return {
        "files": [
            {
                "filename": s.filename,
                "start_time": s.start,
                "end_time": s.end,
                "duration": round(s.duration_seconds, 6),
                "frames": s.frames,
                "leading_frames": s.leading_frames,
                "size": s.size_bytes,
                "sha256": s.sha256,
                "status": s.state.value,
            }
            for s in session.segments
        ],
        "gaps": [gap(entry) for entry in session.gaps],
        "frames_captured": session.frames_captured,
        "frames_written": session.frames_written,
        "durable": are_durable(
            (s.durable for s in session.segments), (entry.cause.value for entry in session.gaps)
        ),
    }


def storage(status: StorageStatus) -> View:
    """The recordings volume, in `get_storage_info` and the notification.

    Has `code`, `message` and `suggestion` when the level is not ok.
    """
    percent = round(status.used_percent, 2)
    level, problem_message = status.level, message_of(status)
    view: View = {
        "total_space": status.total_bytes,
        "used_space": status.used_bytes,
        "available_space": status.available_bytes,
        "usage_percentage": percent,
        "usage_percent": percent,
        "used_percent": percent,
        "recordings_size": status.recordings_bytes,
        "snapshots_size": status.snapshots_bytes,
        "low_space_warning": level is not StorageLevel.OK,
        "critical_space_warning": level not in (StorageLevel.OK, StorageLevel.LOW),
        "warn_threshold": status.warn_percent,
        "block_threshold": status.block_percent,
        "critical_threshold": status.critical_percent,
        "threshold_status": threshold_status(level),
        "promised_bytes": status.promised_bytes,
        "seconds_until_blocked": status.seconds_until_blocked,
        "write_rate": status.write_rate,
        "free_inodes": status.free_inodes,
        "sync_latency": attrs.asdict(status.sync_latency),
        "pending_seconds": status.pending_seconds,
        "slow": status.slow,
        "notes_waiting": status.notes_waiting,
        "notes_lost": status.notes_lost,
    }
    if problem_message is not None:
        view |= {
            "code": problem_message.kind.code,
            "message": problem_message.message,
            "suggestion": problem_message.suggestion,
        }
    return view


def threshold_status(level: StorageLevel) -> str:
    """The level of the volume, in the words of clients."""
    return _THRESHOLD_STATUS.get(level, level.value)


def recovery(report: RecoveryReport | None) -> View | None:
    """The last recovery; None before the first one has begun."""
    if report is None:
        return None
    return {
        "began": report.began,
        "ended": report.ended,
        "tries": report.tries,
        "problem": report.problem or None,
        "files": report.files,
        "counts": report.counted,
        "findings": [
            {
                "filename": finding.filename,
                "outcome": finding.outcome.value,
                "detail": finding.detail,
                "frames": finding.frames,
                "torn_bytes": finding.torn_bytes,
            }
            for finding in report.findings[:MAX_FINDINGS]
        ],
    }


def scrub(progress: ScrubProgress, *, enabled: bool) -> View:
    """The state of the scrub and its findings."""
    return {
        "enabled": enabled,
        "running": enabled and progress.current is not None,
        "current_round": _round(progress.current),
        "last_round": _round(progress.last),
    }


def _round(scrub_round: ScrubRun | None) -> View | None:
    if scrub_round is None:
        return None
    return {
        "began": scrub_round.began,
        "ended": scrub_round.ended,
        "files_checked": scrub_round.files,
        "read_bytes": scrub_round.read_bytes,
        "problem_count": scrub_round.problem_count,
        "problems": [
            {
                "filename": problem.subject,
                "fault": problem.fault.value,
                "message": problem.text,
                "suggestion": problem.advice,
            }
            for problem in scrub_round.problems[:MAX_FINDINGS]
        ],
    }


@attrs.frozen
class SessionTimes:
    """Start, end and duration of a session."""

    start: datetime
    end: datetime
    seconds: float

    @classmethod
    def of(cls, session: Session) -> SessionTimes:
        """Read the times from the segments, which are exact."""
        start = session.segments[0].start if session.segments else session.start
        end = session.segments[-1].end if session.segments else (session.end or start)
        seconds = (end - start).total_seconds() - session.stepped_seconds
        return cls(start, end, round(max(0.0, seconds), 6))
