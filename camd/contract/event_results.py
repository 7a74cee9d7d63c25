"""Fields of kept events and of subscriptions, and what each notification holds."""

from __future__ import annotations

from typing import Annotated, Any

import attrs

from camd.contract.camera_results import CameraInfo
from camd.contract.recording_results import RecordingUpdate
from camd.contract.result_types import Time, doc
from camd.contract.storage_results import CleanupInfo, StorageInfo
from camd.contract.system_results import RecoveryUpdate, ScrubUpdate


@attrs.frozen(kw_only=True)
class PastEvent:
    """A kept event, as it was sent."""

    method: str
    params: dict[str, Any]


@attrs.frozen(kw_only=True)
class EventPage:
    """Kept events, oldest first."""

    events: tuple[PastEvent, ...]
    last: Annotated[int, doc("the `since` of the next call")]
    more: Annotated[bool, doc("whether there are kept events behind it")]
    missed: Annotated[int, doc("how many numbers behind `since` are not kept any more")]
    oldest: Annotated[int | None, doc("the lowest number that is kept")]
    newest: int
    topics: Annotated[tuple[str, ...] | None, doc("null: all")]
    warnings: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Subscribed:
    """What a connection is sent from now on."""

    subscribed: bool
    topics: Annotated[tuple[str, ...] | None, doc("null: all")]
    camera: str | None
    since: int | None
    missed: Annotated[int, doc("how many numbers behind `since` are not kept any more")]
    oldest: Annotated[int | None, doc("the lowest number that is kept")]
    newest: int
    warnings: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Unsubscribed:
    """What a connection is not sent any more."""

    unsubscribed: bool
    topics: Annotated[tuple[str, ...] | None, doc("null: all")]
    warnings: tuple[str, ...]


# --- Notifications: what they are about, and their number and time.


@attrs.frozen(kw_only=True, slots=False)
class EventStamp:
    """The number and time of a notification."""

    seq: int
    time: Time


@attrs.frozen(kw_only=True)
class CameraNotification(CameraInfo, EventStamp):
    """A camera, after a change of its state, problem, warnings, device, video or session."""


@attrs.frozen(kw_only=True)
class RecordingNotification(RecordingUpdate, EventStamp):
    """What happened to a recording."""

    recording: Annotated[RecordingUpdate, doc("the same once more, for clients that look there")]


@attrs.frozen(kw_only=True)
class StorageNotification(StorageInfo, EventStamp):
    """The recordings volume, after a change of its level."""


@attrs.frozen(kw_only=True)
class CleanupNotification(CleanupInfo, EventStamp):
    """The receipt of a cleanup that has ended."""


@attrs.frozen(kw_only=True)
class ScrubNotification(ScrubUpdate, EventStamp):
    """A recording that the scrub found damaged."""


@attrs.frozen(kw_only=True)
class RecoveryNotification(RecoveryUpdate, EventStamp):
    """How far the search of the recordings folder is."""


@attrs.frozen(kw_only=True)
class MissedNotification(EventStamp):
    """Events that are not kept any more; `seq` is the last number that is missing."""

    missed: Annotated[int, doc("how many")]
    oldest: Annotated[int | None, doc("the lowest number that is kept")]


NOTIFICATIONS: dict[str, type] = {
    "camera_status_update": CameraNotification,
    "recording_status_update": RecordingNotification,
    "storage_status_update": StorageNotification,
    "retention_update": CleanupNotification,
    "scrub_update": ScrubNotification,
    "recovery_update": RecoveryNotification,
    "events_missed": MissedNotification,
}
