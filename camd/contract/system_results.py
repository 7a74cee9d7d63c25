"""Fields of the service as a whole: state, software, metrics, authentication."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import Time, doc, one_of
from camd.contract.storage_results import StorageInfo


@attrs.frozen(kw_only=True)
class AuthenticationResult:
    """Who a client is; after `token` and `auth_type`, also that it is nobody."""

    authenticated: bool
    role: Annotated[str, one_of("viewer", "operator", "admin")] | None = None
    permissions: tuple[Annotated[str, one_of("view", "control", "admin")], ...] = ()
    expires_at: Annotated[Time | None, doc("null: never")] = None
    session_id: Annotated[str | None, doc("of this connection")] = None
    user_id: Annotated[str | None, doc("the key's name, or of the token")] = None
    auth_method: Annotated[str, one_of("jwt", "api_key", "peer", "anonymous")] | None = None
    error: Annotated[str | None, doc("why not")] = None
    reason: Annotated[str | None, doc("why not, in one word")] = None


@attrs.frozen(kw_only=True)
class RecoveryFinding:
    """A file that recovery changed or could not read."""

    filename: str
    outcome: str
    detail: str
    frames: int
    torn_bytes: int


@attrs.frozen(kw_only=True)
class RecoveryInfo:
    """What the last search of the recordings folder found."""

    began: Time
    ended: Time | None
    tries: int
    problem: Annotated[str | None, doc("why it is tried again")]
    files: int
    counts: Annotated[dict[str, int], doc("of files, by outcome")]
    findings: Annotated[tuple[RecoveryFinding, ...], doc("the first ones")]


@attrs.frozen(kw_only=True)
class RecoveryUpdate:
    """How far the search of the recordings folder is."""

    status: Annotated[str, one_of("PROGRESS", "ENDED")]
    files: Annotated[int, doc("looked at so far")]
    total: Annotated[int, doc("to look at")]
    counts: Annotated[dict[str, int], doc("of files, by outcome")]
    problem: Annotated[str | None, doc("why it is tried again")]


@attrs.frozen(kw_only=True)
class ScrubFinding:
    """A damaged recording."""

    filename: str
    fault: str
    message: str
    suggestion: str


@attrs.frozen(kw_only=True)
class ScrubRound:
    """One verification of all recordings."""

    began: Time
    ended: Time | None
    files_checked: int
    read_bytes: int
    problem_count: int
    problems: Annotated[tuple[ScrubFinding, ...], doc("the first ones")]


@attrs.frozen(kw_only=True)
class ScrubInfo:
    """The verification of recordings in the background."""

    enabled: bool
    running: bool
    current_round: ScrubRound | None
    last_round: ScrubRound | None


@attrs.frozen(kw_only=True)
class ScrubUpdate:
    """A recording that the scrub found damaged, in notifications."""

    filename: str
    status: Annotated[str, one_of("ERROR")]
    fault: str
    message: str
    suggestion: str


@attrs.frozen(kw_only=True)
class ServiceStatus:
    """The state of the service and of its components."""

    status: Annotated[str, one_of("healthy", "degraded", "unhealthy")]
    uptime: Annotated[float, doc("seconds")]
    version: str
    components: Annotated[
        dict[str, str],
        doc(
            "`running`, `disabled`, or as `status`, of `websocket_server`, `camera_monitor`, "
            "`mediamtx_controller` and `storage`"
        ),
    ]
    details: Annotated[dict[str, str], doc("of components that are not healthy")]
    reasons: Annotated[
        tuple[str, ...], doc("sentences: why it is not healthy, and what to do")
    ] = ()
    cameras: int
    recording: Annotated[int, doc("how many record")]
    recovery: Annotated[RecoveryInfo | None, doc("null before the first one")]
    scrub: ScrubInfo | None


@attrs.frozen(kw_only=True)
class ServerInfo:
    """The software: versions, formats, encoders."""

    name: str
    version: str
    capabilities: tuple[str, ...]
    supported_formats: tuple[str, ...]
    max_cameras: int
    ffmpeg_version: str | None
    encoders: Annotated[tuple[str, ...], doc("that it was built with")]
    encoders_tried: Annotated[
        dict[str, str], doc("by codec: which one is used, and why not the others")
    ]


@attrs.frozen(kw_only=True)
class CameraTotals:
    """What a camera has done since the start."""

    camera_id: str
    state: str
    recording: bool
    frames_captured: int
    bytes_captured: int
    bytes_recorded: int
    seconds_recorded: float
    gap_seconds: Annotated[dict[str, float], doc("by cause")]
    last_durable_age: Annotated[float | None, doc("seconds since the last durable frame")]


@attrs.frozen(kw_only=True)
class MetricsInfo:
    """The load of the service; see metrics.md."""

    active_connections: int
    total_requests: int
    average_response_time: Annotated[float, doc("milliseconds")]
    error_rate: float
    memory_usage: Annotated[float, doc("percent of this machine")]
    memory_bytes: int
    cpu_usage: Annotated[float, doc("percent of this machine, on average since the start")]
    uptime: float
    refused_connections: int
    notifications: int
    cameras: tuple[CameraTotals, ...]
    storage: StorageInfo


@attrs.frozen(kw_only=True)
class LogLevels:
    """How much is logged now, and how much was before the call."""

    level: str
    previous: str
    success: bool


@attrs.frozen(kw_only=True)
class ReloadedConfig:
    """What a reload has changed."""

    applied: tuple[str, ...]
    restart_needed: tuple[str, ...]
    success: bool
