"""Fields of cameras, what they offer, and where viewers can have their streams."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import ProblemFields, doc, one_of
from camd.contract.schedule_results import CameraScheduleInfo


@attrs.frozen(kw_only=True)
class CameraInfo(ProblemFields):
    """A camera, in lists and notifications."""

    camera_id: str
    device: Annotated[str, doc("its node; the id for other sources")]
    device_path: Annotated[str, doc("the same")]
    identity: str | None
    status: Annotated[str, one_of("CONNECTED", "DISCONNECTED", "ERROR")]
    state: Annotated[str, doc("see states.md")]
    name: str
    resolution: Annotated[str | None, doc("such as `1920x1080`")]
    fps: float
    streams: Annotated[dict[str, str], doc("addresses for viewers, by protocol")]
    stream_url: Annotated[str | None, doc("the first of them")]
    recording: bool
    recording_session: str | None
    current_file: Annotated[str | None, doc("that grows")]
    elapsed_time: float
    file_size: Annotated[int, doc("of the current file")]
    recording_healthy: bool
    warnings: Annotated[
        tuple[str, ...],
        doc("sentences: differences from the configuration, and faults of the camera's time"),
    ]
    source_clock_offset: Annotated[
        float | None,
        doc("seconds by which the camera's clock is ahead; null when it is not known"),
    ]
    schedule: Annotated[
        CameraScheduleInfo | None, doc("null for a camera that no schedule records")
    ] = None
    preroll: Annotated[
        float, doc("seconds of footage before a start that are kept for it; 0 for none")
    ] = 0.0


@attrs.frozen(kw_only=True)
class CameraList:
    """All cameras."""

    cameras: tuple[CameraInfo, ...]
    total: int
    connected: Annotated[int, doc("how many are usable")]


@attrs.frozen(kw_only=True)
class CameraCounters:
    """Counters of a camera."""

    bytes_sent: Annotated[int, doc("captured bytes")]
    readers: Annotated[int, doc("recordings, and viewers of its published stream")]
    uptime: Annotated[int, doc("seconds of this capture")]


@attrs.frozen(kw_only=True)
class CameraMode:
    """What a camera can deliver."""

    format: Annotated[str, doc("`h264`, `mjpeg`, raw ones by FFmpeg's names: `yuyv422`")]
    resolution: str | None
    fps: tuple[float, ...]
    fps_range: Annotated[
        tuple[float, ...] | None, doc("where any rate between two is possible; else absent")
    ] = None


@attrs.frozen(kw_only=True)
class ChosenMode:
    """What was chosen of it."""

    format: str
    resolution: str | None
    fps: float
    copied: Annotated[bool, doc("whether nothing is encoded")]
    codec: Annotated[str, doc("what is recorded")]
    reason: Annotated[str, doc("a sentence")]


@attrs.frozen(kw_only=True)
class CameraCapabilities:
    """What a camera offers; of a source without a list of its own, its present or last format."""

    formats: Annotated[tuple[str, ...], doc("`h264`, `mjpeg`, raw ones by FFmpeg's names")]
    resolutions: Annotated[tuple[str, ...], doc("largest first")]
    fps_options: tuple[float, ...]
    modes: tuple[CameraMode, ...]
    chosen: ChosenMode | None
    validation_status: Annotated[
        str,
        doc("`provisional` as the driver lists it, `confirmed` while the camera streams"),
        one_of("none", "provisional", "confirmed", "error", "disconnected"),
    ]
    unreadable_formats: Annotated[
        tuple[str, ...], doc("that FFmpeg cannot read; of a V4L2 device")
    ] = ()
    driver: Annotated[str | None, doc("of a V4L2 device")] = None
    camera_id: Annotated[str | None, doc("of `get_camera_capabilities`")] = None
    device: Annotated[str | None, doc("of `get_camera_capabilities`")] = None


@attrs.frozen(kw_only=True)
class CameraDetails(CameraInfo):
    """A camera with its counters and capabilities."""

    metrics: CameraCounters
    capabilities: CameraCapabilities


# --- Streams for viewers.


@attrs.frozen(kw_only=True)
class StreamAddress(ProblemFields):
    """Where viewers can have a camera's stream."""

    device: str
    camera_id: str
    stream_name: str | None
    stream_url: Annotated[str | None, doc("null while viewers cannot have it")]
    available: bool
    formats: tuple[Annotated[str, one_of("rtsp", "hls", "webrtc")], ...]
    streams: Annotated[dict[str, str], doc("addresses, by protocol")]
    active_consumers: int
    state: Annotated[
        str,
        doc("of the publication: see mediamtx.md"),
        one_of("OFF", "WAITING", "CONNECTING", "PUBLISHING", "RESTING"),
    ]
    frames_dropped: int


@attrs.frozen(kw_only=True)
class StreamInfo:
    """A stream of the media server, of a camera or of others."""

    name: str
    source: Annotated[str, doc("the camera's device, or the kind of a foreign source")]
    camera_id: str | None
    ready: bool
    readers: int
    bytes_sent: int
