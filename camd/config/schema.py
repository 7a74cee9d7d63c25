"""What can be configured, with its defaults: one attrs class per TOML section."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs

from camd.model import CameraId, Source


@attrs.frozen
class ServerConfig:
    """Section `[server]`: where clients connect, and how much of us they may use."""

    listen: tuple[str, ...] = ("127.0.0.1:8002",)  # "unix:/run/camd/camd.sock" too
    health_listen: str = "127.0.0.1:8003"  # "" switches it off
    path: str = "/ws"
    max_connections: int = 1000
    max_calls_in_flight: int = 32
    max_message_bytes: int = 1024 * 1024
    requests_per_minute: int = 600
    max_unauthenticated: int = 256  # connections, for authentication_timeout at most
    authentication_timeout: timedelta = timedelta(seconds=10)
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()  # names of ours, for browsers without authentication
    tls_cert: Path | None = None
    tls_key: Path | None = None
    progress_interval: timedelta = timedelta(seconds=5)


@attrs.frozen
class AuthConfig:
    """Section `[auth]`. The secret stays out of `repr`."""

    enabled: bool = True
    jwt_secret: str = attrs.field(default="", repr=False)
    jwt_secret_file: Path | None = None
    keys_file: Path | None = None  # None: keys.toml in state_dir
    legacy_dialect: str = "auto"  # auto | always | never


@attrs.frozen
class StorageConfig:
    """Section `[storage]`: where recordings live and when space is short."""

    recordings_dir: Path = Path("recordings")
    snapshots_dir: Path = Path("snapshots")
    state_dir: Path = Path("state")
    warn_percent: float = 80.0
    block_percent: float = 90.0
    durability: str = "1s"  # 1s | 5s | 30s | segment
    require_mount: bool = False


@attrs.frozen
class RecordingConfig:
    """Section `[recording]`: how sessions are cut into files."""

    rotation: timedelta = timedelta(minutes=30)  # 1 s to 24 h
    max_file_size: int | None = None  # bytes
    format: str = "mp4"  # mp4 | mkv
    preroll: timedelta = timedelta(0)
    preroll_size: int = 64 * 1024 * 1024  # bytes that a camera's pre-roll takes at most
    fragment: timedelta = timedelta(milliseconds=500)
    resume_sessions: bool = True
    on_storage_error: str = "wait"  # wait | end
    answer_timeout: timedelta = timedelta(seconds=60)  # of a start that waits for pictures


@attrs.frozen
class RetentionConfig:
    """Section `[retention]`: how a policy is carried out, once clients have set one."""

    interval: timedelta = timedelta(hours=1)
    max_delete_percent: float = (
        20.0  # of all recorded bytes; a run that would take more takes nothing
    )


@attrs.frozen
class ScrubConfig:
    """Section `[scrub]`: reading recordings again, to know of damage early."""

    enabled: bool = False
    interval: timedelta = timedelta(days=7)  # from the beginning of a round to that of the next
    rate: int = 10_000_000  # bytes a second, at most


@attrs.frozen
class FfmpegConfig:
    """Section `[ffmpeg]`: which program captures, and when it counts as stuck."""

    path: Path | None = None  # None: the system's, else the bundled one
    encoder: str = "auto"  # or FFmpeg's name of one; auto: the first that passes a trial
    stall_timeout: timedelta = timedelta(seconds=10)
    start_timeout: timedelta = timedelta(seconds=20)


@attrs.frozen
class DiscoveryConfig:
    """Section `[discovery]`."""

    v4l2: bool = True
    ignore: tuple[str, ...] = ()


@attrs.frozen
class MediaMtxConfig:
    """Section `[mediamtx]`; absent means off."""

    api: str = "http://127.0.0.1:9997"
    rtsp: str = "rtsp://127.0.0.1:8554"


@attrs.frozen
class CameraConfig:
    """One `[[camera]]` entry."""

    id: CameraId
    source: Source
    device: str = ""  # what clients see; "" means the node's path, or the id
    name: str = ""
    width: int | None = None  # TOML: resolution = "1280x720"
    height: int | None = None
    fps: float | None = None
    codec: str = "auto"  # auto | copy | h264 | h265 | mjpeg
    bitrate: int | None = None  # bits per second; TOML: "4M"
    audio: str = ""
    always_on: bool = False
    controls: tuple[tuple[str, int | str], ...] = ()  # of the driver, by name; in this order
    swap: str = "alarm"  # alarm | accept: another camera where this one was
    transport: str = "auto"  # auto | tcp | udp: how RTP comes; auto: UDP when TCP is refused
    tls_verify: bool | None = None  # of an rtsps server's certificate; None: as FFmpeg does
    input_options: tuple[str, ...] = attrs.field(default=(), repr=False)
    output_options: tuple[str, ...] = attrs.field(default=(), repr=False)


@attrs.frozen
class Config:
    """A whole, valid configuration; every path in it is absolute."""

    server: ServerConfig = ServerConfig()
    auth: AuthConfig = AuthConfig()
    storage: StorageConfig = StorageConfig()
    recording: RecordingConfig = RecordingConfig()
    retention: RetentionConfig = RetentionConfig()
    scrub: ScrubConfig = ScrubConfig()
    ffmpeg: FfmpegConfig = FfmpegConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    mediamtx: MediaMtxConfig | None = None
    cameras: tuple[CameraConfig, ...] = ()
    file: Path | None = None  # where it was read from
