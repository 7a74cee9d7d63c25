"""Every configuration key, declared once: default, reader with bounds, reload, documentation.

One attrs class stands for each TOML section. Parsing, environment variables, reloads,
`camd check --keys` and the comments of `examples/camd.toml` all use these declarations.

Long because each key has its documentation here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import attrs

from camd.config import values
from camd.config.keys import config_key
from camd.model import CameraId
from camd.model.ids import ID_PATTERN
from camd.model.notation import RATE_LIMITS
from camd.model.schedule_values import TimeOfDay, TimeZone
from camd.sources import BOUND_DEVICE, Source, list_schemes

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_KIB = 1024
_TIB = 1024**4


@attrs.frozen
class ServerConfig:
    """Section `[server]`: where clients connect, and how much each may use."""

    listen: tuple[str, ...] = config_key(
        "127.0.0.1:8002",
        values.addresses,
        'Address to listen on, or a list: ["0.0.0.0:8002", "unix:/run/camd/camd.sock"].',
    )
    health_listen: str = config_key(
        "127.0.0.1:8003",
        lambda value: "" if value == "" else values.address(value),
        'Address that serves HTTP a second time; "" for none.',
    )
    path: str = config_key(
        "/ws",
        values.matching("/[A-Za-z0-9_/.-]*", 'a path such as "/ws"'),
        "Path of the WebSocket in the URL.",
    )
    max_connections: int = config_key(
        1000, values.whole(1, 100_000), "Authenticated connections at a time."
    )
    max_connections_per_address: int = config_key(
        256,
        values.whole(1, 100_000),
        "Authenticated connections of one address at a time; administrators and this machine's own "
        "addresses may have all.",
    )
    max_calls_in_flight: int = config_key(
        32, values.whole(1, 1024), "Unanswered calls of one connection."
    )
    max_message_bytes: int = config_key(
        "1MiB", values.size(_KIB, 64 * _KIB**2), "Size of one message from a client."
    )
    requests_per_minute: int = config_key(
        600,
        values.whole(1, 10_000_000),
        "Average rate for one connection; short bursts may exceed it.",
    )
    http_requests_per_minute: int = config_key(
        6000,
        values.whole(1, 10_000_000),
        "Average rate of the HTTP requests of one address; short bursts may exceed it.",
    )
    max_unauthenticated: int = config_key(
        256,
        values.whole(1, 100_000),
        "Connections at a time that have not authenticated yet; one address may have a quarter.",
    )
    transcodes: int = config_key(
        1,
        values.whole(0, 64),
        "Cameras that are transcoded at a time for viewers who cannot play their codec; each takes "
        "about a third of a core. 0 for none.",
    )
    authentication_timeout: timedelta = config_key(
        "10s",
        values.duration(_SECOND, 600 * _SECOND),
        "A connection that has not authenticated by then is closed.",
    )
    origins: tuple[str, ...] = config_key(
        [],
        values.list_of(values.origin),
        "Origins of web pages that may connect, besides the own host's.",
    )
    hosts: tuple[str, ...] = config_key(
        [],
        values.list_of(values.matching("[A-Za-z0-9_.-]+", 'a host name such as "recorder.local"')),
        "Host names by which clients may connect, besides localhost, IP addresses, names in "
        'server.listen and those of this machine, such as "cameras.example.org".',
    )
    tls_cert: Path | None = config_key(
        "",
        values.OPTIONAL_FILE,
        "Certificate chain (PEM) for TLS, used together with tls_key.",
    )
    tls_key: Path | None = config_key("", values.OPTIONAL_FILE, "Private key (PEM) of tls_cert.")
    progress_interval: timedelta = config_key(
        "5s",
        values.duration(_SECOND / 10, 3600 * _SECOND),
        "Time between two PROGRESS notifications of a recording.",
    )


@attrs.frozen
class AuthConfig:
    """Section `[auth]`: who may connect. The secret stays out of `repr`."""

    enabled: bool = config_key(True, values.flag, "false: every client may do everything.")
    jwt_secret: str = config_key(
        "",
        values.secret,
        "Secret of at least 32 bytes that signs JWTs. Empty: JWTs are refused; API keys work.",
        alias="CAMERA_SERVICE_JWT_SECRET",
        repr=False,
    )
    jwt_secret_file: Path | None = config_key(
        "", values.OPTIONAL_FILE, "File that holds the secret instead of jwt_secret."
    )
    keys_file: Path | None = config_key(
        "",
        values.OPTIONAL_FILE,
        "File of the API keys (`camd keys`); default: keys.toml in state_dir.",
    )
    legacy_dialect: str = config_key(
        "auto",
        values.choice("auto", "always", "never"),
        "Answers to clients that send token and auth_type: auto | always | never.",
    )
    peers: values.PeerRules = config_key(
        {},
        values.peers,
        "Roles of local users and groups that connect to a Unix socket, by name or number: "
        '{ users = { alice = "operator" }, groups = { video = "viewer" } }. The own user and root '
        "are administrators.",
    )


@attrs.frozen
class StorageConfig:
    """Section `[storage]`: where files are kept, and when space is short."""

    recordings_dir: Path = config_key("recordings", values.DATA_PATH, "Folder of the recordings.")
    snapshots_dir: Path = config_key("snapshots", values.DATA_PATH, "Folder of the snapshots.")
    state_dir: Path = config_key(
        "state",
        values.DATA_PATH,
        "Folder of the index, the keys and everything else that has to survive a restart.",
    )
    warn_percent: float = config_key(
        80,
        values.number(1, 95),
        "Used space at which clients are warned.",
        reload=True,
        alias="STORAGE_WARN_PERCENT",
    )
    block_percent: float = config_key(
        90,
        values.number(1, 95),
        "Used space at which new recordings are refused; at most 95.",
        reload=True,
        alias="STORAGE_BLOCK_PERCENT",
    )
    durability: str = config_key(
        "1s",
        values.choice("1s", "5s", "30s", "segment"),
        "Footage that a power cut may cost: 1s | 5s | 30s | segment.",
    )
    require_mount: bool = config_key(
        False, values.flag, "true: never record to the root file system."
    )


def _minutes(text: str) -> object:
    """Read RECORDING_ROTATION_MINUTES as seconds; None when it is blank."""
    word = text.strip()
    if not word:
        return None
    if not (word.isascii() and word.isdigit() and len(word) <= 4 and 1 <= int(word) <= 1440):
        raise ValueError(f"{word!r} is not a whole number, 1 to 1440")
    return int(word) * 60


@attrs.frozen
class RecordingConfig:
    """Section `[recording]`: how sessions are written to files."""

    rotation: timedelta = config_key(
        "30m",
        values.duration(_SECOND, _DAY),
        "Length of a file, 1s to 24h.",
        reload=True,
        alias="RECORDING_ROTATION_MINUTES",
        read_alias=_minutes,
    )
    max_file_size: int | None = config_key(
        "",
        values.optional(values.size(_KIB**2, 64 * _TIB)),
        'Size at which a file ends before that, such as "2GiB".',
        reload=True,
    )
    format: str = config_key(
        "mp4", values.choice("mp4", "mkv"), "Container of the files: mp4 | mkv.", reload=True
    )
    preroll: timedelta = config_key(
        "0s",
        values.duration(0 * _SECOND, 300 * _SECOND),
        "Footage kept in memory, up to 5m, with which each recording begins. Above 0 all cameras "
        "capture all the time.",
    )
    preroll_size: int = config_key(
        "64MiB",
        values.size(_KIB**2, 64 * _KIB**3),
        "Memory for the pre-roll of one camera; the oldest footage is dropped first.",
    )
    fragment: timedelta = config_key(
        "500ms",
        values.duration(_SECOND / 10, 5 * _SECOND),
        "Length of a fragment, 100ms to 5s; a crash may cost one.",
    )
    resume_sessions: bool = config_key(
        True, values.flag, "Continue sessions after a restart or a power cut."
    )
    on_storage_error: str = config_key(
        "wait",
        values.choice("wait", "end"),
        "What a session does when files cannot be written: wait | end.",
    )
    answer_timeout: timedelta = config_key(
        "60s",
        values.duration(_SECOND, 3600 * _SECOND),
        "A start is refused when no frame was recorded after this time, or after "
        "ffmpeg.start_timeout if that is longer.",
        reload=True,
    )


@attrs.frozen
class RetentionConfig:
    """Section `[retention]`: how the policy that clients set (`camd retention set`) is applied."""

    interval: timedelta = config_key(
        "1h",
        values.duration(60 * _SECOND, 7 * _DAY),
        "Time between two runs of an enabled policy, 1m to 7d.",
    )
    max_delete_percent: float = config_key(
        20,
        values.number(0, 100),
        "A run that would remove a larger share of all recorded bytes removes nothing.",
    )


@attrs.frozen
class SnapshotsConfig:
    """Section `[snapshots]`: how long snapshots are kept; the oldest are deleted first."""

    max_age: timedelta | None = config_key(
        "",
        values.optional(values.duration(60 * _SECOND, 3660 * _DAY)),
        'Age at which a snapshot is deleted, such as "30d"; default: any age is kept.',
        reload=True,
    )
    max_size: int = config_key(
        "1GiB",
        values.size(_KIB**2, 64 * _TIB),
        "Space that all snapshots may take together.",
        reload=True,
    )
    max_count: int = config_key(
        10_000,
        values.whole(1, 1_000_000),
        "Number of snapshots that are kept, at most.",
        reload=True,
    )


@attrs.frozen
class ScrubConfig:
    """Section `[scrub]`: reading recordings again, to find damage early."""

    enabled: bool = config_key(False, values.flag, "true: read all recordings again and again.")
    interval: timedelta = config_key(
        "7d",
        values.duration(60 * _SECOND, 366 * _DAY),
        "Time from the start of one round to the start of the next.",
    )
    rate: int = config_key(
        "10MB",
        values.size(64 * _KIB, _TIB),
        "Bytes read in a second, at most; fewer on a slow disk.",
    )


@attrs.frozen
class FfmpegConfig:
    """Section `[ffmpeg]`: which program captures, and when it counts as stalled."""

    path: Path | None = config_key(
        "", values.OPTIONAL_FILE, "FFmpeg program; default: the system's, else the bundled one."
    )
    encoder: str = config_key(
        "auto",
        values.matching("[a-z0-9_]+", '"auto" or a name such as "h264_vaapi"'),
        'auto: the first encoder that passes a trial on this machine; or a name: "h264_vaapi".',
    )
    stall_timeout: timedelta = config_key(
        "10s",
        values.duration(_SECOND, 600 * _SECOND),
        "A camera that delivers no frame for this time is started again; slower cameras get "
        "more time.",
    )
    start_timeout: timedelta = config_key(
        "20s",
        values.duration(_SECOND, 600 * _SECOND),
        "The same for each step of connecting, and for the first key frame; up to three times as "
        "long while sound arrives.",
    )


@attrs.frozen
class DiscoveryConfig:
    """Section `[discovery]`: which cameras appear without an entry."""

    v4l2: bool = config_key(
        True, values.flag, "USB and other cameras of this machine appear without an entry."
    )
    ignore: tuple[str, ...] = config_key(
        [],
        values.list_of(values.text),
        "Cameras that camd leaves alone: node, link, USB port, serial number, "
        '"vendor:product" or name, with * and ?, such as "/dev/video9", "1-1.3", "046d:*" or '
        '"*Infrared*".',
    )


@attrs.frozen
class MediaMtxConfig:
    """Section `[mediamtx]`: the MediaMTX server that cameras are published to; absent: none."""

    api: str = config_key(
        "http://127.0.0.1:9997",
        values.bare_url("http", "https"),
        "Control API of the server.",
        reload=True,
    )
    rtsp: str = config_key(
        "rtsp://127.0.0.1:8554",
        values.bare_url("rtsp", "rtsps"),
        "RTSP address of the server, to which cameras are published.",
        reload=True,
    )
    username: str = config_key(
        "",
        values.text,
        "User of the server, with the permissions publish and api; none: nobody.",
        reload=True,
    )
    password: str = config_key("", values.text, "Password of that user.", repr=False, reload=True)
    password_file: Path | None = config_key(
        "", values.OPTIONAL_FILE, "File that holds the password instead of password.", reload=True
    )
    publish: str = config_key(
        "capturing",
        values.choice("none", "capturing", "always"),
        "none: cameras that say publish = true | capturing: each, while it captures | always: "
        "each, and it captures for that.",
        reload=True,
    )
    prefix: str = config_key(
        "",
        values.matching("([A-Za-z0-9_.~-][A-Za-z0-9_.~/-]{0,99})?", 'text such as "camd/"'),
        'What a camera\'s path begins with, before its id: "camd/".',
        reload=True,
    )
    viewers: tuple[str, ...] = config_key(
        ["rtsp", "hls", "webrtc"],
        values.list_of(values.choice("rtsp", "hls", "webrtc")),
        "Protocols whose addresses viewers are told, as far as the server has them.",
        reload=True,
    )
    viewer_rtsp: str = config_key(
        "",
        values.optional(values.bare_url("rtsp", "rtsps")),
        "RTSP address that viewers are told; default: rtsp.",
        reload=True,
    )
    viewer_hls: str = config_key(
        "",
        values.optional(values.bare_url("http", "https")),
        "HLS address that viewers are told; default: the host of rtsp, the port that the server "
        "says.",
        reload=True,
    )
    viewer_webrtc: str = config_key(
        "", values.optional(values.bare_url("http", "https")), "The same for WebRTC.", reload=True
    )


@attrs.frozen
class CameraConfig:
    """One `[[camera]]` entry."""

    id: CameraId = config_key(
        None,
        values.matching(ID_PATTERN, "1 to 64 small letters, digits, hyphens or underscores"),
        'Small letters, digits, "-" and "_"; default: camera0, ….',
        default=CameraId(""),
    )
    source: Source = config_key(
        None,
        values.SOURCE,
        f"Where frames come from: {list_schemes()}. Required, except beside the "
        "id of a camera that was found by itself.",
        default=BOUND_DEVICE,
    )
    device: str = config_key(
        "", values.text, "What clients see as device; default: the node, else the id."
    )
    name: str = config_key(
        "", values.text, "Name for people; default: the camera's own, else the id."
    )
    resolution: tuple[int, int] | None = config_key(
        "", values.optional(values.resolution), "Width and height; default: what the source offers."
    )
    fps: float | None = config_key(
        None, values.number(*RATE_LIMITS), "Frames per second; default: as the source."
    )
    codec: str = config_key(
        "auto",
        values.choice("auto", "copy", "h264", "h265", "mjpeg"),
        "auto | copy (the camera's own) | h264 | h265 | mjpeg.",
    )
    bitrate: int | None = config_key(
        "",
        values.optional(values.bitrate(1000, 1_000_000_000)),
        "Bits per second of encoded video; default: by size and rate.",
    )
    audio: str = config_key(
        "",
        values.text,
        'Of a V4L2 camera: "auto" records its own sound card, "alsa:hw:1" another one. Of a '
        'stream or file: "off" leaves its sound out.',
    )
    always_on: bool = config_key(False, values.flag, "true: captures without a recording too.")
    publish: bool | None = config_key(
        None,
        values.flag,
        "Publish it to the server of [mediamtx]? Default: as mediamtx.publish says.",
    )
    stream_name: str = config_key(
        "",
        values.matching("([A-Za-z0-9_.~-][A-Za-z0-9_.~/-]{0,199})?", 'a path such as "yard/gate"'),
        "Its path on that server; default: mediamtx.prefix and its id.",
    )
    controls: tuple[tuple[str, int | str], ...] = config_key(
        {},
        values.controls,
        "Driver controls, set in this order at each start; `camd controls CAMERA` lists them.",
    )
    swap: str = config_key(
        "alarm",
        values.choice("alarm", "accept"),
        "Another camera is plugged in where this one was: alarm | accept (it takes its place).",
    )
    transport: str = config_key(
        "auto",
        values.choice("auto", "tcp", "udp"),
        "Of RTSP: tcp | udp | auto (UDP when the camera refuses TCP).",
    )
    tls_verify: bool | None = config_key(
        None,
        values.flag,
        "Of rtsps: verify the certificate? Default: as FFmpeg does.",
    )
    preview: Source | None = config_key(
        None,
        values.SOURCE,
        "A smaller stream of the same camera, for viewers who cannot play the source; it is "
        "captured while it is watched, and never recorded.",
    )
    input_options: tuple[str, ...] = config_key(
        [],
        values.list_of(values.text),
        "Extra FFmpeg arguments before the input, for probing and for recording; they override "
        "camd's own.",
        repr=False,
    )
    output_options: tuple[str, ...] = config_key(
        [], values.list_of(values.text), "Extra FFmpeg arguments after the input.", repr=False
    )

    @property
    def width(self) -> int | None:
        """Width in pixels, when one is asked for."""
        return self.resolution[0] if self.resolution else None

    @property
    def height(self) -> int | None:
        """Height in pixels, when one is asked for."""
        return self.resolution[1] if self.resolution else None


_NO_TIME = TimeOfDay(-1)  # stands for a key that is missing
MACHINE_ZONE = TimeZone("")  # stands for the zone of this machine
MAX_SCHEDULES = 256


@attrs.frozen
class ScheduleConfig:
    """One `[[schedule]]` entry: cameras are recorded while its window is open."""

    name: str = config_key(
        None,
        values.matching("[^\x00-\x1f\x7f]{1,64}", "1 to 64 characters"),
        "Name for people; default: schedule0, ….",
        default="",
    )
    cameras: tuple[str, ...] = config_key(
        None,
        values.camera_ids,
        'Camera that it records, or a list of them; "*" for every one. Required.',
        default=(),
    )
    days: tuple[str, ...] = config_key(
        "mon-sun",
        values.days,
        'Days on which the window begins: a day, a range, or a list: ["mon-fri", "sun"].',
    )
    from_: TimeOfDay = config_key(
        None,
        values.time_of_day,
        "When recording begins, by the clocks of the time zone. Required.",
        default=_NO_TIME,
    )
    to: TimeOfDay = config_key(
        None,
        values.time_of_day,
        "When it ends; not later than from: on the next day. A whole day is 00:00 to 24:00. "
        "Required.",
        default=_NO_TIME,
    )
    timezone: TimeZone = config_key(
        None,
        values.time_zone,
        'Zone of these clocks, such as "Europe/Berlin"; default: that of this machine.',
        default=MACHINE_ZONE,
    )
    enabled: bool = config_key(True, values.flag, "false: it records nothing.")

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of required keys that are missing."""
        given = {"cameras": self.cameras, "from": self.from_ != _NO_TIME, "to": self.to != _NO_TIME}
        return tuple(name for name, there in given.items() if not there)

    def records(self, camera_id: str) -> bool:
        """Whether it is for this camera."""
        return camera_id in self.cameras or values.EVERY_CAMERA in self.cameras

    def unknown(self, known: Iterable[str]) -> list[str]:
        """Name those of its cameras that are not among the `known` ones."""
        return sorted(set(self.cameras) - {*known, values.EVERY_CAMERA})


@attrs.frozen
class Config:
    """A whole, valid configuration; every path in it is absolute."""

    server: ServerConfig = ServerConfig()
    auth: AuthConfig = AuthConfig()
    storage: StorageConfig = StorageConfig()
    recording: RecordingConfig = RecordingConfig()
    retention: RetentionConfig = RetentionConfig()
    snapshots: SnapshotsConfig = SnapshotsConfig()
    scrub: ScrubConfig = ScrubConfig()
    ffmpeg: FfmpegConfig = FfmpegConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    mediamtx: MediaMtxConfig | None = None
    cameras: tuple[CameraConfig, ...] = ()
    schedules: tuple[ScheduleConfig, ...] = ()
    file: Path | None = None  # where it was read from


SECTIONS: dict[str, type] = {
    "server": ServerConfig,
    "auth": AuthConfig,
    "storage": StorageConfig,
    "recording": RecordingConfig,
    "retention": RetentionConfig,
    "snapshots": SnapshotsConfig,
    "scrub": ScrubConfig,
    "ffmpeg": FfmpegConfig,
    "discovery": DiscoveryConfig,
    "mediamtx": MediaMtxConfig,
}
ENTRIES: dict[str, type] = {"camera": CameraConfig, "schedule": ScheduleConfig}  # [[double]]
