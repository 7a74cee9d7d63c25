"""How values look on the wire: the fields that clients of such services know, and no others' way.

Names and meanings are the contract; extra fields never hurt a client, missing ones do.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from camd.model import (
    CameraState,
    CameraStatus,
    CleanupReceipt,
    Gap,
    Problem,
    Segment,
    Session,
    SessionState,
    SessionSummary,
    StorageLevel,
    StorageStatus,
    are_durable,
)
from camd.storage.check.rules.scrub_progress import ScrubProgress, ScrubRun
from camd.storage.recovery.reconcile import RecoveryReport
from camd.storage.removal import Pin
from camd.storage.rules.levels import message_of

View = dict[str, Any]

MOST_FINDINGS = 20  # in an answer; the log has all of them

_CONNECTION = {
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
_CODEC_NAMES = {"avc1": "h264", "avc3": "h264", "hvc1": "h265", "hev1": "h265", "jpeg": "mjpeg"}


def camera(status: CameraStatus) -> View:
    """One camera, as in every list, answer and notification."""
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
        "streams": {},
        "stream_url": None,
        "recording": session is not None and session.state is not SessionState.STARTING,
        "recording_session": session.session_id if session else None,
        "current_file": current.filename if current else None,
        "elapsed_time": session.elapsed_seconds if session else 0,
        "file_size": current.size_bytes if current else 0,
        "recording_healthy": session is not None and session.healthy,
        "warnings": list(status.warnings),
        "source_clock_offset": status.source_clock_offset,
    }
    if status.problem is not None:
        view |= problem(status.problem)
    return view


def problem(found: Problem) -> View:
    """Why something does not work, and what to do."""
    return {"cause": found.kind, "message": found.message, "suggestion": found.suggestion}


def _connection(status: CameraStatus) -> str:
    """Whether a camera can be used; one that waits to be wanted may have an obstacle."""
    if status.state is CameraState.IDLE and status.problem is not None:
        return "ERROR"
    return _CONNECTION.get(status.state, "CONNECTED")


def resolution(width: int, height: int) -> str | None:
    """`"1920x1080"`, or None while nobody knows."""
    return f"{width}x{height}" if width and height else None


def codec(name: str) -> str:
    """The codec's common name, from the four characters of a sample entry."""
    return _CODEC_NAMES.get(name, name)


def gap(entry: Gap) -> View:
    """One ledger entry."""
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
    """One session in a listing, with its coverage."""
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
    """One file of a session."""
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
    """One recording in a listing of what is on disk, and whether it is pinned."""
    return segment(found) | {"pinned": pin is not None}


def pin(found: Pin | None) -> View | None:
    """Why a recording stays, and until when; null when it is not pinned."""
    return None if found is None else attrs.asdict(found)


def cleanup_receipt(receipt: CleanupReceipt) -> View:
    """What a run of the retention policy did."""
    return attrs.asdict(receipt) | {"files": list(receipt.files)}


def receipt(session: Session) -> View:
    """What a stop gives in return: every file and every gap."""
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
    """The recordings volume, as `get_storage_info` and the notification show it.

    `code`, `message` and `suggestion` are there whenever the level is not ok.
    """
    percent = round(status.used_percent, 2)
    level, notice = status.level, message_of(status)
    view: View = {
        "total_space": status.total_bytes,
        "used_space": status.used_bytes,
        "available_space": status.available_bytes,
        "usage_percentage": percent,
        "usage_percent": percent,
        "used_percent": percent,
        "recordings_size": status.recordings_bytes,
        "snapshots_size": 0,
        "low_space_warning": level is not StorageLevel.OK,
        "critical_space_warning": level not in (StorageLevel.OK, StorageLevel.LOW),
        "warn_threshold": status.warn_percent,
        "block_threshold": status.block_percent,
        "critical_threshold": status.critical_percent,
        "threshold_status": _THRESHOLD_STATUS.get(level, level.value),
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
    if notice is not None:
        view |= {
            "code": notice.kind.code,
            "message": notice.message,
            "suggestion": notice.suggestion,
        }
    return view


def recovery(report: RecoveryReport | None) -> View | None:
    """What the last search of the folder found; None before it has begun."""
    if report is None:
        return None
    return {
        "began": report.began,
        "ended": report.ended,
        "tries": report.tries,
        "trouble": report.problem or None,
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
            for finding in report.findings[:MOST_FINDINGS]
        ],
    }


def scrub(rounds: ScrubProgress, *, enabled: bool) -> View:
    """How far the scrub is, and what it found."""
    return {
        "enabled": enabled,
        "running": enabled and rounds.current is not None,
        "current_round": _round(rounds.current),
        "last_round": _round(rounds.last),
    }


def _round(made: ScrubRun | None) -> View | None:
    if made is None:
        return None
    return {
        "began": made.began,
        "ended": made.ended,
        "files_checked": made.files,
        "read_bytes": made.read_bytes,
        "problem_count": made.problem_count,
        "problems": [
            {
                "filename": problem.subject,
                "fault": problem.fault.value,
                "message": problem.text,
                "suggestion": problem.advice,
            }
            for problem in made.problems[:MOST_FINDINGS]
        ],
    }


@attrs.frozen
class SessionTimes:
    """When a session began and ended, and how long that is in seconds."""

    start: datetime
    end: datetime
    seconds: float

    @classmethod
    def of(cls, session: Session) -> SessionTimes:
        """Take the times from the files: they know best."""
        start = session.segments[0].start if session.segments else session.start
        end = session.segments[-1].end if session.segments else (session.end or start)
        seconds = (end - start).total_seconds() - session.stepped_seconds
        return cls(start, end, round(max(0.0, seconds), 6))
