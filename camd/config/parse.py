"""Read raw TOML tables into sections and cameras; name every mistake by its path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import attrs
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from camd.config.keys import config_keys_of
from camd.config.schema import (
    ENTRIES,
    MAX_SCHEDULES,
    SECTIONS,
    CameraConfig,
    MediaMtxConfig,
    ScheduleConfig,
    ServerConfig,
    StorageConfig,
)
from camd.config.values import PathBases, Reader, kind_of
from camd.model.ids import MAX_CAMERAS
from camd.model.notation import did_you_mean
from camd.sources import BOUND_DEVICE
from camd.sources.source import SPECIAL_KEYS

T = TypeVar("T")


@attrs.define
class ParsedConfig:
    """Sections and entries without mistakes, by name and by place, and the mistakes of the others.

    A section that has a mistake is absent, so that no later rule judges its defaults.
    """

    sections: dict[str, object] = attrs.field(factory=dict)
    cameras: dict[int, CameraConfig] = attrs.field(factory=dict)
    schedules: dict[int, ScheduleConfig] = attrs.field(factory=dict)
    mistakes: list[str] = attrs.field(factory=list)


def parse_config(
    raw: Mapping[str, object], variables: Mapping[tuple[str, str], str], bases: PathBases
) -> ParsedConfig:
    """Read a whole raw configuration; `variables` names the values that the environment set."""
    result = ParsedConfig()
    known = {*SECTIONS, *ENTRIES}
    for name in raw:
        if name not in known:
            result.mistakes.append(f"{name}: unknown section{did_you_mean(name, known)}")
    converter = _converter(bases)
    for name, cls in SECTIONS.items():
        if name in raw:
            read = _structure(converter, cls, raw[name], name, variables, result.mistakes)
            if read is not None:
                result.sections[name] = read
        elif name != "mediamtx":  # absent means off
            result.sections[name] = cls()
    _structure_cameras(converter, _tables("camera", raw, result), result)
    _structure_schedules(converter, _tables("schedule", raw, result), result)
    return result


def _tables(name: str, raw: Mapping[str, object], result: ParsedConfig) -> list[object]:
    tables = raw.get(name, [])
    if isinstance(tables, list):
        return tables
    result.mistakes.append(f"{name}: write each {name} as [[{name}]], in double brackets")
    return []


def _structure_schedules(converter: Converter, tables: list[object], result: ParsedConfig) -> None:
    if len(tables) > MAX_SCHEDULES:
        result.mistakes.append(f"schedule: {len(tables)} entries; {MAX_SCHEDULES} are the most")
        return
    for index, table in enumerate(tables):
        path = f"schedule[{index}]"
        schedule = _structure(converter, ScheduleConfig, table, path, {}, result.mistakes)
        if schedule is None:
            continue
        missing = schedule.missing
        result.mistakes += [f"{path}.{name}: is missing" for name in missing]
        if not missing:
            result.schedules[index] = schedule


def _structure_cameras(converter: Converter, tables: list[object], result: ParsedConfig) -> None:
    for index, table in enumerate(tables):
        path = f"camera[{index}]"
        camera = _structure(converter, CameraConfig, table, path, {}, result.mistakes)
        if camera is not None and not camera.id and camera.source == BOUND_DEVICE:
            result.mistakes.append(f"{path}.source: {_MISSING}")
        elif camera is not None:
            result.cameras[index] = camera


def _converter(bases: PathBases) -> Converter:
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    for cls in (*SECTIONS.values(), *ENTRIES.values()):
        readers = {name: key.bind(bases) for name, key in config_keys_of(cls).items()}
        hooks = {
            field.name: override(rename=name, struct_hook=_hook(readers[name]))
            for field in attrs.fields(cls)
            for name in [field.name.rstrip("_")]
        }
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
        mistakes.append(f"{path}: must be a table, not {kind_of(raw)}")
        return None
    try:
        return converter.structure(raw, cls)
    except ClassValidationError as error:
        for name, sentence in _sentences(error, cls):
            variable = variables.get((path, name))
            origin = f" (from {variable})" if variable else ""
            mistakes.append(f"{path}.{name}{origin}: {sentence}")
        return None


def _sentences(error: ClassValidationError, cls: type) -> Iterator[tuple[str, str]]:
    """Yield key and sentence for everything that is wrong with one table."""
    noted, others = error.group_exceptions()
    for mistake, note in noted:
        yield note.name.rstrip("_"), str(mistake)
    for mistake in others:
        if not isinstance(mistake, ForbiddenExtraKeysError):
            raise mistake
        for name in sorted(mistake.extra_fields):
            yield name, f"unknown key{did_you_mean(name, config_keys_of(cls))}"


_MISSING = (
    'is missing; say where pictures come from, such as "v4l2:/dev/video0", or give the id of a '
    "camera that was found by itself"
)


# --- combinations: what must hold between keys whose values are right by themselves --------------


def find_mistakes(sections: Mapping[str, object], cameras: Mapping[int, CameraConfig]) -> list[str]:
    """Return a sentence for each wrong combination; `cameras` are keyed by place in the file."""
    mistakes: list[str] = []
    server, storage = sections.get("server"), sections.get("storage")
    if isinstance(server, ServerConfig):
        mistakes += _server_mistakes(server)
    if isinstance(storage, StorageConfig):
        mistakes += _storage_mistakes(storage)
    mediamtx = sections.get("mediamtx")
    if isinstance(mediamtx, MediaMtxConfig):
        mistakes += _publishing_mistakes(mediamtx, cameras)
    return mistakes + _camera_mistakes(cameras)


def _publishing_mistakes(
    mediamtx: MediaMtxConfig, cameras: Mapping[int, CameraConfig]
) -> list[str]:
    """Find a password without a user, and two cameras with the same path."""
    mistakes = []
    if (mediamtx.password or mediamtx.password_file) and not mediamtx.username:
        mistakes.append(
            "mediamtx.username: is missing; mediamtx.password is the password of a user"
        )
    names: dict[str, int] = {}
    for index, camera in cameras.items():
        name = camera.stream_name or f"{mediamtx.prefix}{camera.id}"
        owner = names.setdefault(name, index)
        if owner != index:
            mistakes.append(f"camera[{index}].stream_name: {name!r} is the path of camera[{owner}]")
    return mistakes


def _server_mistakes(server: ServerConfig) -> list[str]:
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


def _storage_mistakes(storage: StorageConfig) -> list[str]:
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


def _camera_mistakes(cameras: Mapping[int, CameraConfig]) -> list[str]:
    """Validate each camera by itself, and that no two share an id, a device name or a node."""
    mistakes = []
    if len(cameras) > MAX_CAMERAS:
        mistakes.append(
            f"camera: {len(cameras)} entries, and one service has at most {MAX_CAMERAS} cameras; "
            "run a second one, with a state_dir and a recordings_dir of its own"
        )
    names: dict[str, int] = {}
    nodes: dict[str, int] = {}
    for index, camera in cameras.items():
        path = f"camera[{index}]"
        mistakes += _special_key_mistakes(path, camera)
        if node := str(camera.source.selector or ""):
            owner = nodes.setdefault(node, index)
            if owner != index:
                mistakes.append(f"{path}.source: camera[{owner}] has this node, and only one can")
                continue
        for key, name in (("id", str(camera.id)), ("device", camera.device)):
            owner = names.setdefault(name, index) if name else index
            if owner != index:
                mistakes.append(f"{path}.{key}: {name!r} is taken by camera[{owner}]")
                break
        if camera.codec == "copy" and camera.source.why_not_copied:
            mistakes.append(f"{path}.codec: {camera.source.why_not_copied}")
        if camera.preview is not None and camera.preview.selector is not None:
            mistakes.append(f"{path}.preview: a stream, not a device, which only one can open")
    return mistakes


def find_schedule_mistakes(schedules: Mapping[int, ScheduleConfig]) -> list[str]:
    """Return a sentence for each window of no length, and for each name that is taken."""
    mistakes = []
    names: dict[str, int] = {}
    for index, schedule in schedules.items():
        if schedule.from_ == schedule.to:
            mistakes.append(
                f"schedule[{index}].to: is the same time as from, so nothing would be recorded; "
                'a whole day is from = "00:00", to = "24:00"'
            )
        owner = names.setdefault(schedule.name, index)
        if owner != index:
            mistakes.append(
                f"schedule[{index}].name: {schedule.name!r} is that of schedule[{owner}]"
            )
    return mistakes


def _special_key_mistakes(path: str, camera: CameraConfig) -> list[str]:
    """Find keys that fit some sources only stand beside one of those."""
    is_set = {
        "controls": bool(camera.controls),
        "transport": camera.transport != "auto",
        "tls_verify": camera.tls_verify is not None,
    }
    fitting = camera.source.fitting_keys
    return [
        f"{path}.{key}: {message}"
        for key, message in SPECIAL_KEYS.items()
        if is_set[key] and key not in fitting
    ]
