"""Which keys each section has, how each is read, and how mistakes are named by their path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import attrs
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from camd.config import readers
from camd.config.environment import SECTIONS
from camd.config.readers import Reader
from camd.config.values import RATE_LIMITS, did_you_mean, parse_source
from camd.model import Source
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
    file = readers.path(places.folder, places.home)
    data = readers.path(places.data, places.home)
    day = 24 * 3600 * _SECOND
    return {
        "server": {
            "listen": readers.addresses,
            "health_listen": lambda value: "" if value == "" else readers.address(value),
            "path": readers.matching("/[A-Za-z0-9_/.-]*", 'a path such as "/ws"'),
            "max_connections": readers.whole(1, 100_000),
            "max_calls_in_flight": readers.whole(1, 1024),
            "max_message_bytes": readers.size(_KIB, 64 * _KIB**2),
            "requests_per_minute": readers.whole(1, 10_000_000),
            "max_unauthenticated": readers.whole(1, 100_000),
            "authentication_timeout": readers.duration(_SECOND, 600 * _SECOND),
            "origins": readers.several(readers.origin),
            "hosts": readers.several(
                readers.matching("[A-Za-z0-9_.-]+", 'a host name such as "recorder.local"')
            ),
            "tls_cert": readers.optional(file),
            "tls_key": readers.optional(file),
            "progress_interval": readers.duration(_SECOND / 10, 3600 * _SECOND),
        },
        "auth": {
            "enabled": readers.flag,
            "jwt_secret": readers.secret,
            "jwt_secret_file": readers.optional(file),
            "keys_file": readers.optional(file),
            "legacy_dialect": readers.choice("auto", "always", "never"),
        },
        "storage": {
            "recordings_dir": data,
            "snapshots_dir": data,
            "state_dir": data,
            "warn_percent": readers.number(1, 95),
            "block_percent": readers.number(1, 95),
            "durability": readers.choice("1s", "5s", "30s", "segment"),
            "require_mount": readers.flag,
        },
        "recording": {
            "rotation": readers.duration(_SECOND, day),
            "max_file_size": readers.optional(readers.size(_KIB**2, 64 * _TIB)),
            "format": readers.choice("mp4", "mkv"),
            "preroll": readers.duration(0 * _SECOND, 300 * _SECOND),
            "preroll_size": readers.size(_KIB**2, 64 * _KIB**3),
            "fragment": readers.duration(_SECOND / 10, 5 * _SECOND),
            "resume_sessions": readers.flag,
            "on_storage_error": readers.choice("wait", "end"),
            "answer_timeout": readers.duration(_SECOND, 3600 * _SECOND),
        },
        "retention": {
            "interval": readers.duration(60 * _SECOND, 7 * day),
            "brake_percent": readers.number(0, 100),
        },
        "patrol": {
            "enabled": readers.flag,
            "interval": readers.duration(60 * _SECOND, 366 * day),
            "rate": readers.size(64 * _KIB, _TIB),
        },
        "ffmpeg": {
            "path": readers.optional(file),
            "encoder": readers.matching("[a-z0-9_]+", '"auto" or a name such as "h264_vaapi"'),
            "stall_timeout": readers.duration(_SECOND, 600 * _SECOND),
            "start_timeout": readers.duration(_SECOND, 600 * _SECOND),
        },
        "discovery": {"v4l2": readers.flag, "ignore": readers.several(readers.text)},
        "mediamtx": {
            "api": readers.url("http", "https"),
            "rtsp": readers.url("rtsp", "rtsps"),
        },
    }


def camera_readers(places: PathBases) -> dict[str, Reader]:
    """Return how every key of a `[[camera]]` table is read."""
    return {
        "source": lambda value: parse_source(readers.text(value), places.folder, places.home),
        "id": readers.matching(ID_PATTERN, "1 to 64 small letters, digits, hyphens or underscores"),
        "device": readers.text,
        "name": readers.text,
        "resolution": readers.optional(readers.resolution),
        "fps": readers.number(*RATE_LIMITS),
        "codec": readers.choice("auto", "copy", "h264", "h265", "mjpeg"),
        "bitrate": readers.optional(readers.bitrate(1000, 1_000_000_000)),
        "audio": readers.text,
        "always_on": readers.flag,
        "controls": readers.controls,
        "swap": readers.choice("alarm", "accept"),
        "transport": readers.choice("auto", "tcp", "udp"),
        "tls_verify": readers.flag,
        "input_options": readers.several(readers.text),
        "output_options": readers.several(readers.text),
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
        mistakes.append(f"{path}: must be a table, not {readers.kind_of(raw)}")
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
