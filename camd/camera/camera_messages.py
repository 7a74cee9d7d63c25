"""The messages that a camera's actor takes from its mailbox."""

from __future__ import annotations

import attrs

from camd.capture.rules import state as m
from camd.capture.supervisor import SourceEnded, WarningsChanged
from camd.model import DeviceBinding, RecordingRequest, Session
from camd.recording.session import RecordingSession
from camd.storage.rules.clock_trust import RecordingEndMoment


@attrs.frozen
class StartRecording:
    """Begin a session; answered when its first frames are durable."""

    request: RecordingRequest


@attrs.frozen
class ResumeRecording:
    """Continue a session from before the daemon started; answered with whether it does."""

    session: Session
    arrival: RecordingEndMoment | None  # of its last frame, where that is known


@attrs.frozen
class StopRecording:
    """End the session; answered when its files are sealed and durable."""


@attrs.frozen
class DeviceBound:
    """The camera has this device now, or none."""

    binding: DeviceBinding


@attrs.frozen
class Close:
    """End the session and the capture; answered when both are over."""

    reason: str


@attrs.frozen
class Ping:
    """Answer: the loop of the actor runs."""


@attrs.frozen
class StartTimedOut:
    """A start has waited long enough for its first frame."""

    session: RecordingSession


@attrs.frozen
class SessionOver:
    """A session has sealed everything; nothing of it runs any more."""

    session: RecordingSession


CameraMessage = (
    StartRecording
    | StopRecording
    | ResumeRecording
    | DeviceBound
    | Close
    | Ping
    | StartTimedOut
    | SessionOver
    | SourceEnded
    | WarningsChanged
    | m.CaptureEvent
)
