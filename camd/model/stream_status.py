"""The values about streams that a media server serves to viewers."""

from __future__ import annotations

import enum

import attrs

from camd.model.ids import CameraId
from camd.model.problems import Problem


class PublicationState(enum.Enum):
    """State of one camera's publication."""

    OFF = "OFF"  # not published
    WAITING = "WAITING"  # nothing to publish: the camera does not capture
    CONNECTING = "CONNECTING"  # FFmpeg runs, the server has not taken the stream yet
    PUBLISHING = "PUBLISHING"  # the server takes the stream
    RESTING = "RESTING"  # failed; tried again after a delay


@attrs.frozen
class PublicationStatus:
    """Status of one camera's publication, published by its publisher."""

    name: str  # the path on the server
    state: PublicationState = PublicationState.OFF
    problem: Problem | None = None
    starts: int = 0  # of FFmpeg processes
    frames_dropped: int = 0  # that the server was too slow for


@attrs.frozen
class ServedStream:
    """A camera's stream that viewers can have now; addresses hold no credentials."""

    name: str
    addresses: tuple[tuple[str, str], ...]  # protocol and URL; RTSP first where it is served
    readers: int = 0
    bytes_sent: int = 0

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols by which it is served."""
        return tuple(protocol for protocol, _ in self.addresses)


@attrs.frozen
class ListedStream:
    """A path of the server: a camera's, or anybody's."""

    name: str
    source: str  # the camera's device, or the kind of a foreign source
    camera_id: CameraId | None
    ready: bool
    readers: int
    bytes_sent: int
