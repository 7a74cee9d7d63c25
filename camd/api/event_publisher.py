"""Publish events as notifications: their fields, and the topics by which clients choose them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from camd.api import result_fields
from camd.events.event_log import EventLog
from camd.model import (
    CameraChanged,
    CameraId,
    CleanupEnded,
    DamageFound,
    Event,
    RecordingChanged,
    RecordingEventKind,
    SearchProgressed,
    StorageChanged,
)
from camd.rpc.registry import Notification
from camd.runtime.broadcast import Fanout

STORAGE = "storage"
RETENTION = "retention"


def about_camera(camera_id: CameraId) -> str:
    """Name the subject of notifications about a camera, for `ClientLink.hold`."""
    return f"camera {camera_id}"


@attrs.define(eq=False)
class EventPublisher:
    """Publishes events as notifications, in the order of their numbers in the event log."""

    notifications: Fanout[Notification]
    event_log: EventLog

    @contextmanager
    def listening(self, events: Fanout[Event]) -> Iterator[None]:
        """Publish the events of `events` while the block runs."""
        with events.subscribed(self._publish):
            yield

    def _publish(self, event: Event) -> None:
        method, params, key = notification_of(event)
        self.notifications.publish(
            self.event_log.publish(
                method,
                params,
                coalesce_key=key,
                about=_about(event),
                topics=topics_of(method, params),
            )
        )


def notification_of(event: Event) -> tuple[str, result_fields.View, str | None]:
    """Return method, parameters and coalesce key of the notification for an event."""
    match event:
        case CameraChanged(status):
            return (
                "camera_status_update",
                result_fields.camera(status),
                f"camera:{status.camera_id}",
            )
        case RecordingChanged():
            return "recording_status_update", _recording(event), _progress_key(event)
        case StorageChanged(status):
            return "storage_status_update", result_fields.storage(status), None
        case CleanupEnded(receipt):
            return "retention_update", result_fields.cleanup_receipt(receipt), None
        case DamageFound():
            return "scrub_update", _damage(event), None
        case SearchProgressed():
            return "recovery_update", _search(event), None if event.ended else "recovery"


# --- Topics: the kind of an event, the name of its notification, and what happened.

_KINDS = {
    "camera_status_update": "camera",
    "recording_status_update": "recording",
    "storage_status_update": "storage",
    "retention_update": "retention",
    "scrub_update": "scrub",
    "recovery_update": "recovery",
}
_HAPPENED = {
    "camera": ("connected", "disconnected", "error"),
    "recording": tuple(kind.value.lower() for kind in RecordingEventKind),
}
_OTHER_NAMES = {
    "recording.start": "recording.started",
    "recording.stop": "recording.stopped",
    "camera.status_change": "camera",
}
TOPICS = (
    *_KINDS.values(),
    *(f"{kind}.{what}" for kind, names in _HAPPENED.items() for what in names),
)


def topics_of(method: str, params: result_fields.View) -> tuple[str, ...]:
    """List the topics of a notification."""
    kind = _KINDS[method]
    what = str(params.get("status", "")).lower()
    if what in _HAPPENED.get(kind, ()):
        return kind, method, f"{kind}.{what}"
    return kind, method


def topic_named(name: str) -> str | None:
    """Return the topic that a client means; None when there is none of this name."""
    short = name.removesuffix(".*")
    short = _OTHER_NAMES.get(short, short)
    return short if short in TOPICS or short in _KINDS else None


def _about(event: Event) -> tuple[str, ...]:
    match event:
        case CameraChanged(status):
            return (about_camera(status.camera_id),)
        case RecordingChanged():
            return (about_camera(event.session.camera_id),)
        case StorageChanged():
            return (STORAGE,)
        case CleanupEnded():
            return (RETENTION,)
    return ()


def _progress_key(event: RecordingChanged) -> str | None:
    if event.kind is RecordingEventKind.PROGRESS:
        return f"progress:{event.session.session_id}"
    return None


def _recording(event: RecordingChanged) -> result_fields.View:
    session, current = event.session, event.session.current
    started = event.kind is RecordingEventKind.STARTED
    view: result_fields.View = {
        "device": event.device,
        "device_path": event.device,
        "camera_id": session.camera_id,
        "status": event.kind.value,
        "filename": event.filename,
        "duration": 0 if started else session.elapsed_seconds,
        "session_id": session.session_id,
        "recording_id": session.session_id,
        "start_time": session.start,
        "file_size": current.size_bytes if current else 0,
        "bytes_written": session.bytes_written,
        "frames_written": session.frames_written,
        "reason": event.reason,
    }
    return view | {"recording": dict(view)}  # some clients look there


def _search(event: SearchProgressed) -> result_fields.View:
    return {
        "status": "ENDED" if event.ended else "PROGRESS",
        "files": event.files,
        "total": event.total,
        "counts": dict(event.counts),
        "problem": event.problem or None,
    }


def _damage(event: DamageFound) -> result_fields.View:
    return {
        "filename": event.filename,
        "status": "ERROR",
        "fault": event.fault,
        "message": f"{event.filename} {event.text}",
        "suggestion": event.advice,
    }
