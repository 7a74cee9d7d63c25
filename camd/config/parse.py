"""Which keys each section has, how each is read, and how mistakes are named by their path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import attrs
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from camd.config import values
from camd.config.environment import SECTIONS
from camd.config.schema import CameraConfig, ServerConfig, StorageConfig
from camd.config.values import RATE_LIMITS, Reader, did_you_mean, parse_source
from camd.model import RtspSource, Source, TestSource, V4l2Source
from camd.model.ids import ID_PATTERN

T = TypeVar("T")

_SECOND = timedelta(seconds=1)
_KIB = 1024
_TIB = 1024**4


@attrs.frozen
class PathBases:
    """Where relative paths start."""

    folder: Path  # of the configuration file: certificates, secrets, sources
    data: Path  # recordings, snapshots, state
    home: Path | None = None


@attrs.frozen
class CameraTable:
    """One `[[camera]]` table as written; "" and None stand for what is not."""

    source: Source | None = None
    id: str = ""
    device: str = ""
    name: str = ""
    resolution: tuple[int, int] | None = None
    fps: float | None = None
    codec: str = "auto"
    bitrate: int | None = None
    audio: str = ""
    always_on: bool = False
    controls: tuple[tuple[str, int | str], ...] = ()
    swap: str = "alarm"
    transport: str = "auto"
    tls_verify: bool | None = None
    input_options: tuple[str, ...] = attrs.field(default=(), repr=False)
    output_options: tuple[str, ...] = attrs.field(default=(), repr=False)


def section_readers(places: PathBases) -> dict[str, dict[str, Reader]]:
    """Return how every key of every section is read, with its bounds."""
    file = values.path(places.folder, places.home)
    data = values.path(places.data, places.home)
    day = 24 * 3600 * _SECOND
    return {
        "server": {
            "listen": values.addresses,
            "health_listen": lambda value: "" if value == "" else values.address(value),
            "path": values.matching("/[A-Za-z0-9_/.-]*", 'a path such as "/ws"'),
            "max_connections": values.whole(1, 100_000),
            "max_calls_in_flight": values.whole(1, 1024),
            "max_message_bytes": values.size(_KIB, 64 * _KIB**2),
            "requests_per_minute": values.whole(1, 10_000_000),
            "max_unauthenticated": values.whole(1, 100_000),
            "authentication_timeout": values.duration(_SECOND, 600 * _SECOND),
            "origins": values.several(values.origin),
            "hosts": values.several(
                values.matching("[A-Za-z0-9_.-]+", 'a host name such as "recorder.local"')
            ),
            "tls_cert": values.optional(file),
            "tls_key": values.optional(file),
            "progress_interval": values.duration(_SECOND / 10, 3600 * _SECOND),
        },
        "auth": {
            "enabled": values.flag,
            "jwt_secret": values.secret,
            "jwt_secret_file": values.optional(file),
            "keys_file": values.optional(file),
            "legacy_dialect": values.choice("auto", "always", "never"),
        },
        "storage": {
            "recordings_dir": data,
            "snapshots_dir": data,
            "state_dir": data,
            "warn_percent": values.number(1, 95),
            "block_percent": values.number(1, 95),
            "durability": values.choice("1s", "5s", "30s", "segment"),
            "require_mount": values.flag,
        },
        "recording": {
            "rotation": values.duration(_SECOND, day),
            "max_file_size": values.optional(values.size(_KIB**2, 64 * _TIB)),
            "format": values.choice("mp4", "mkv"),
            "preroll": values.duration(0 * _SECOND, 300 * _SECOND),
            "preroll_size": values.size(_KIB**2, 64 * _KIB**3),
            "fragment": values.duration(_SECOND / 10, 5 * _SECOND),
            "resume_sessions": values.flag,
            "on_storage_error": values.choice("wait", "end"),
            "answer_timeout": values.duration(_SECOND, 3600 * _SECOND),
        },
        "retention": {
            "interval": values.duration(60 * _SECOND, 7 * day),
            "max_delete_percent": values.number(0, 100),
        },
        "scrub": {
            "enabled": values.flag,
            "interval": values.duration(60 * _SECOND, 366 * day),
            "rate": values.size(64 * _KIB, _TIB),
        },
        "ffmpeg": {
            "path": values.optional(file),
            "encoder": values.matching("[a-z0-9_]+", '"auto" or a name such as "h264_vaapi"'),
            "stall_timeout": values.duration(_SECOND, 600 * _SECOND),
            "start_timeout": values.duration(_SECOND, 600 * _SECOND),
        },
        "discovery": {
            "v4l2": values.flag,
            "ignore": values.several(values.text),
        },
        "mediamtx": {
            "api": values.url("http", "https"),
            "rtsp": values.url("rtsp", "rtsps"),
        },
    }


def camera_readers(places: PathBases) -> dict[str, Reader]:
    """Return how every key of a `[[camera]]` table is read."""
    return {
        "source": lambda value: parse_source(values.text(value), places.folder, places.home),
        "id": values.matching(ID_PATTERN, "1 to 64 small letters, digits, hyphens or underscores"),
        "device": values.text,
        "name": values.text,
        "resolution": values.optional(values.resolution),
        "fps": values.number(*RATE_LIMITS),
        "codec": values.choice("auto", "copy", "h264", "h265", "mjpeg"),
        "bitrate": values.optional(values.bitrate(1000, 1_000_000_000)),
        "audio": values.text,
        "always_on": values.flag,
        "controls": values.controls,
        "swap": values.choice("alarm", "accept"),
        "transport": values.choice("auto", "tcp", "udp"),
        "tls_verify": values.flag,
        "input_options": values.several(values.text),
        "output_options": values.several(values.text),
    }


@attrs.define
class Structured:
    """Sections and cameras that are right in themselves, and the mistakes of the others.

    A section that has a mistake is absent, so that no check goes on to judge its defaults.
    """

    sections: dict[str, object] = attrs.field(factory=dict)
    cameras: dict[int, CameraTable] = attrs.field(factory=dict)
    mistakes: list[str] = attrs.field(factory=list)


def structure(
    raw: Mapping[str, object], variables: Mapping[tuple[str, str], str], places: PathBases
) -> Structured:
    """Read a whole raw configuration; `variables` names what came from the environment."""
    result = Structured()
    known = {*SECTIONS, "camera"}
    for name in raw:
        if name not in known:
            result.mistakes.append(f"{name}: unknown section{did_you_mean(name, known)}")
    converter = _converter(places)
    for name, cls in SECTIONS.items():
        if name in raw:
            read = _structure(converter, cls, raw[name], name, variables, result.mistakes)
            if read is not None:
                result.sections[name] = read
        elif name != "mediamtx":  # absent means off
            result.sections[name] = _structure(converter, cls, {}, name, variables, [])
    tables = raw.get("camera", [])
    if not isinstance(tables, list):
        result.mistakes.append("camera: write each camera as [[camera]], in double brackets")
        return result
    for index, table in enumerate(tables):
        path = f"camera[{index}]"
        camera = _structure(converter, CameraTable, table, path, {}, result.mistakes)
        if camera is not None and camera.source is None and not camera.id:
            result.mistakes.append(f"{path}.source: {_MISSING}")
        elif camera is not None:
            result.cameras[index] = camera
    return result


def _converter(places: PathBases) -> Converter:
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    sections = section_readers(places)
    tables = [(cls, sections[name]) for name, cls in SECTIONS.items()]
    for cls, table in [*tables, (CameraTable, camera_readers(places))]:
        hooks = {key: override(struct_hook=_hook(reader)) for key, reader in table.items()}
        function: Callable[..., object] = make_dict_structure_fn(
            cls,
            converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_detailed_validation=True,
            **hooks,  # type: ignore[arg-type]  # cattrs' own options share the keywords
        )
        converter.register_structure_hook(cls, function)
    return converter


def _hook(reader: Reader) -> Callable[[object, object], object]:
    return lambda value, _: reader(value)


def _structure(
    converter: Converter,
    cls: type[T],
    raw: object,
    path: str,
    variables: Mapping[tuple[str, str], str],
    mistakes: list[str],
) -> T | None:
    if not isinstance(raw, dict):
        mistakes.append(f"{path}: must be a table, not {values.kind_of(raw)}")
        return None
    try:
        return converter.structure(raw, cls)
    except ClassValidationError as error:
        for key, sentence in _sentences(error, cls):
            variable = variables.get((path, key))
            origin = f" (from {variable})" if variable else ""
            mistakes.append(f"{path}.{key}{origin}: {sentence}")
        return None


def _sentences(error: ClassValidationError, cls: type) -> Iterator[tuple[str, str]]:
    """Yield key and sentence for everything that is wrong with one table."""
    noted, others = error.group_exceptions()
    for mistake, note in noted:
        yield note.name, str(mistake)
    for mistake in others:
        if not isinstance(mistake, ForbiddenExtraKeysError):
            raise mistake
        known = [field.name for field in attrs.fields(cls)]
        for key in sorted(mistake.extra_fields):
            yield key, f"unknown key{did_you_mean(key, known)}"


_MISSING = (
    'is missing; say where pictures come from, such as "v4l2:/dev/video0", or give the id of a '
    "camera that was found by itself"
)


# --- What must hold between keys: combinations that are wrong although each value is right.


def check(sections: Mapping[str, object], cameras: Mapping[int, CameraConfig]) -> list[str]:
    """Return every wrong combination, by path; `cameras` are keyed by their place in the file."""
    mistakes: list[str] = []
    server, storage = sections.get("server"), sections.get("storage")
    if isinstance(server, ServerConfig):
        mistakes += _check_server(server)
    if isinstance(storage, StorageConfig):
        mistakes += _check_storage(storage)
    return mistakes + _check_cameras(cameras)


def _check_server(server: ServerConfig) -> list[str]:
    mistakes = []
    if (server.tls_cert is None) != (server.tls_key is None):
        missing = "tls_cert" if server.tls_cert is None else "tls_key"
        mistakes.append(
            f"server.{missing}: is missing; TLS needs both server.tls_cert and server.tls_key"
        )
    if server.health_listen in server.listen and not server.health_listen.endswith(":0"):
        mistakes.append(
            "server.health_listen: is an address of server.listen, where health is served anyway; "
            'choose another one or ""'
        )
    return mistakes


def _check_storage(storage: StorageConfig) -> list[str]:
    mistakes = []
    if storage.warn_percent >= storage.block_percent:
        mistakes.append(
            f"storage.warn_percent: {storage.warn_percent:g} must be below "
            f"storage.block_percent, which is {storage.block_percent:g}"
        )
    folders = (storage.recordings_dir, storage.snapshots_dir, storage.state_dir)
    if len(set(folders)) < len(folders):
        mistakes.append(
            "storage.recordings_dir: must be another folder than storage.snapshots_dir and "
            "storage.state_dir; all three must be different"
        )
    return mistakes


def _check_cameras(cameras: Mapping[int, CameraConfig]) -> list[str]:
    """Names that clients use for a camera belong to one camera; so does a V4L2 node."""
    mistakes = []
    names: dict[str, int] = {}
    nodes: dict[str, int] = {}
    for index, camera in cameras.items():
        if camera.controls and not isinstance(camera.source, V4l2Source):
            mistakes.append(f"camera[{index}].controls: only cameras of this machine have controls")
        mistakes += _check_stream(f"camera[{index}]", camera)
        if isinstance(camera.source, V4l2Source) and (words := str(camera.source)):
            owner = nodes.setdefault(words, index)
            if owner != index:
                mistakes.append(
                    f"camera[{index}].source: camera[{owner}] has this node, and only one can"
                )
                continue
        for key, name in (("id", str(camera.id)), ("device", camera.device)):
            owner = names.setdefault(name, index) if name else index
            if owner != index:
                mistakes.append(f"camera[{index}].{key}: {name!r} is taken by camera[{owner}]")
                break
        if isinstance(camera.source, TestSource) and camera.codec == "copy":
            mistakes.append(
                f"camera[{index}].codec: a synthetic source has no stream to copy; "
                'choose "auto", "h264", "h265" or "mjpeg"'
            )
    return mistakes


def _check_stream(path: str, camera: CameraConfig) -> list[str]:
    """What is about a connection needs a source that is connected to."""
    mistakes = []
    stream = isinstance(camera.source, RtspSource)
    if camera.transport != "auto" and not stream:
        mistakes.append(f"{path}.transport: only rtsp and rtsps sources have a transport")
    if camera.tls_verify is not None and not (
        isinstance(camera.source, RtspSource) and camera.source.url.lower().startswith("rtsps:")
    ):
        mistakes.append(f"{path}.tls_verify: only rtsps sources have a certificate to verify")
    return mistakes
