"""Publish events as notifications, with a sequence number and a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from camd.api import result_fields
from camd.clock import Clock
from camd.model import (
    CameraChanged,
    CameraId,
    CleanupEnded,
    DamageFound,
    Event,
    RecordingChanged,
    RecordingEventKind,
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
    """Publishes events as notifications, in order, numbered from 1."""

    notifications: Fanout[Notification]
    clock: Clock = attrs.field(kw_only=True)
    _seq: int = attrs.field(default=0, init=False)

    @contextmanager
    def listening(self, events: Fanout[Event]) -> Iterator[None]:
        """Publish the events of `events` while the block runs."""
        with events.subscribed(self._publish):
            yield

    def _publish(self, event: Event) -> None:
        self._seq += 1
        method, params, key = render(event)
        params |= {"seq": self._seq, "time": self.clock.now()}
        self.notifications.publish(Notification(method, params, key, _about(event)))


def render(event: Event) -> tuple[str, result_fields.View, str | None]:
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
    return {
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


def _damage(event: DamageFound) -> result_fields.View:
    return {
        "filename": event.filename,
        "status": "ERROR",
        "fault": event.fault,
        "message": f"{event.filename} {event.text}",
        "suggestion": event.advice,
    }
