"""Find the configuration file; make one `Config` of the file and the environment.

Relative paths start at the folder of the configuration file, with two exceptions: `~/` is the
home folder; and the folders of `[storage]` never start in a folder that is meant for configuration.
For a file below `/etc` they start at `/var/lib/camd`; for a file in the user's configuration
folder, and without any file, at `~/.local/share/camd` (root: `/var/lib/camd`).
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from pathlib import Path

import attrs
import tomli

from camd.config.environment import EnvironmentOverlay, name_variables, read_environment
from camd.config.machine_zone import find_machine_zone
from camd.config.parse import ParsedConfig, find_mistakes, find_schedule_mistakes, parse_config
from camd.config.schema import (
    MACHINE_ZONE,
    AuthConfig,
    CameraConfig,
    Config,
    MediaMtxConfig,
    ScheduleConfig,
    StorageConfig,
)
from camd.config.values import SECRET_BYTES, PathBases
from camd.errors import ConfigError
from camd.model import CameraId
from camd.runtime.file_presence import is_regular_file
from camd.runtime.small_files import read_small_file

SYSTEM_FILE = Path("/etc/camd/camd.toml")
_SYSTEM_DATA = Path("/var/lib/camd")
_FILE_BYTES = 4 * 1024 * 1024
_SECRET_FILE_BYTES = 64 * 1024


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Find, read and validate the configuration.

    The file is `path`, else `$CAMD_CONFIG`, else `/etc/camd/camd.toml`, else
    `$XDG_CONFIG_HOME/camd/camd.toml`; without any, the defaults apply. Raises ConfigError with
    every mistake. Blocks: it reads files.
    """
    file = find_file(path, environ)
    raw = {} if file is None else _read_toml(file)
    overlay = read_environment(environ)
    _lay_over(raw, overlay)
    bases = find_path_bases(file, environ)
    structured = parse_config(raw, overlay.variables, bases)
    mistakes = [*overlay.mistakes, *structured.mistakes]
    structured.sections.update(_with_secret_from_file(structured, overlay, mistakes))
    structured.sections.update(_with_password_from_file(structured, overlay, mistakes))
    _complete(structured.sections, bases)
    cameras = _with_names(structured.cameras)
    mistakes += find_mistakes(structured.sections, cameras)
    schedules = _complete_schedules(structured.schedules, environ, mistakes)
    mistakes += find_schedule_mistakes(schedules)
    if mistakes:
        named = (name_variables(mistake, overlay.variables) for mistake in mistakes)
        raise ConfigError(tuple(named))
    entries = {"cameras": tuple(cameras.values()), "schedules": tuple(schedules.values())}
    return Config(file=file, **entries, **structured.sections)  # type: ignore[arg-type]


def find_file(
    path: Path | None, environ: Mapping[str, str], system: Path = SYSTEM_FILE
) -> Path | None:
    """Return the configuration file that applies, absolute; None when there is none.

    A file that is named must exist; files in the well-known places need not. Raises ConfigError
    when it cannot be found out whether one is there.
    """
    named = path or (Path(environ["CAMD_CONFIG"]) if environ.get("CAMD_CONFIG") else None)
    if named is not None:
        return Path.cwd() / named
    for place in (system, _user_folder(environ, "XDG_CONFIG_HOME", ".config")):
        if place is not None:
            file = place if place.suffix == ".toml" else place / "camd.toml"
            try:
                found = is_regular_file(file)
            except OSError as error:
                raise unreadable(file, error) from error
            if found:
                return file
    return None


def find_path_bases(file: Path | None, environ: Mapping[str, str]) -> PathBases:
    """Return where relative paths start, for a configuration file or for none."""
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    user_data = _user_folder(environ, "XDG_DATA_HOME", ".local/share") or _SYSTEM_DATA
    if file is None:
        data = _SYSTEM_DATA if os.geteuid() == 0 else user_data
        return PathBases(folder=data, data=data, home=home)
    if file.is_relative_to("/etc"):
        return PathBases(folder=file.parent, data=_SYSTEM_DATA, home=home)
    if file.parent == _user_folder(environ, "XDG_CONFIG_HOME", ".config"):
        return PathBases(folder=file.parent, data=user_data, home=home)
    return PathBases(folder=file.parent, data=file.parent, home=home)


def _user_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """Return camd's folder below an XDG base directory, or None without a home."""
    base = environ.get(variable, "")
    if base.startswith("/"):  # relative ones are to be ignored, says the XDG specification
        return Path(base) / "camd"
    home = environ.get("HOME", "")
    return Path(home) / below_home / "camd" if home.startswith("/") else None


def _read_toml(file: Path) -> dict[str, object]:
    try:
        content = read_small_file(file, _FILE_BYTES)
    except OSError as error:
        raise unreadable(file, error) from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError((f"{file}: is UTF-16 text; save it as UTF-8",))
    try:
        return tomli.loads(content.decode("utf-8-sig"))  # editors of Windows begin with a BOM
    except UnicodeDecodeError as error:
        raise ConfigError((f"{file}: is not UTF-8 text (byte {error.start})",)) from error
    except tomli.TOMLDecodeError as error:
        raise ConfigError((f"{file}: is not valid TOML: {error}",)) from error


def unreadable(file: Path, error: OSError) -> ConfigError:
    """Say why the file cannot be read; and what to do where another user has it. Pure."""
    mistake = f"{file}: cannot be read: {error.strerror}"
    if isinstance(error, PermissionError):
        mistake += f". Use sudo; the service needs: chgrp camd {file} && chmod 640 {file}"
    return ConfigError((mistake,))


def _lay_over(raw: dict[str, object], overlay: EnvironmentOverlay) -> None:
    """Replace values of the file by those of the environment."""
    for (section, key), value in overlay.values.items():
        table = raw.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value


def _with_secret_from_file(
    structured: ParsedConfig, overlay: EnvironmentOverlay, mistakes: list[str]
) -> dict[str, object]:
    """Return the section [auth] with the content of `jwt_secret_file` as its secret."""
    auth = structured.sections.get("auth")
    if not isinstance(auth, AuthConfig) or auth.jwt_secret_file is None:
        return {}
    if auth.jwt_secret:
        if ("auth", "jwt_secret") not in overlay.values:
            mistakes.append("auth.jwt_secret: stands beside auth.jwt_secret_file; keep one of them")
        return {}
    try:
        secret = read_small_file(auth.jwt_secret_file, _SECRET_FILE_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        mistakes.append(f"auth.jwt_secret_file: {auth.jwt_secret_file} cannot be read: {reason}")
        return {}
    if len(secret.encode()) < SECRET_BYTES:
        mistakes.append(
            f"auth.jwt_secret_file: holds {len(secret.encode())} bytes, "
            f"and at least {SECRET_BYTES} are needed; `openssl rand -hex 32` makes a good one"
        )
    return {"auth": attrs.evolve(auth, jwt_secret=secret)}


def _with_password_from_file(
    structured: ParsedConfig, overlay: EnvironmentOverlay, mistakes: list[str]
) -> dict[str, object]:
    """Return the section [mediamtx] with the content of `password_file` as its password."""
    server = structured.sections.get("mediamtx")
    if not isinstance(server, MediaMtxConfig) or server.password_file is None:
        return {}
    if server.password:
        if ("mediamtx", "password") not in overlay.values:
            mistakes.append(
                "mediamtx.password: stands beside mediamtx.password_file; keep one of them"
            )
        return {}
    try:
        password = read_small_file(server.password_file, _SECRET_FILE_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        mistakes.append(f"mediamtx.password_file: {server.password_file} cannot be read: {reason}")
        return {}
    return {"mediamtx": attrs.evolve(server, password=password)}


def _with_names(cameras: Mapping[int, CameraConfig]) -> dict[int, CameraConfig]:
    """Give each camera what its table does not say: an id, a device, a name."""
    taken = {camera.id for camera in cameras.values()}
    numbered = (CameraId(f"camera{number}") for number in range(len(cameras) * 2 + 1))
    free = (camera_id for camera_id in numbered if camera_id not in taken)
    return {index: _named(camera, camera.id or next(free)) for index, camera in cameras.items()}


def _complete_schedules(
    schedules: Mapping[int, ScheduleConfig], environ: Mapping[str, str], mistakes: list[str]
) -> dict[int, ScheduleConfig]:
    """Give each schedule what its table does not say: a name, and the zone of this machine."""
    taken = {schedule.name for schedule in schedules.values()}
    free = (n for n in (f"schedule{i}" for i in range(2 * len(schedules) + 1)) if n not in taken)
    zone = find_machine_zone(environ) if schedules else None
    found = {}
    for index, schedule in schedules.items():
        named = attrs.evolve(schedule, name=schedule.name or next(free))
        if named.timezone == MACHINE_ZONE:
            if zone is None:
                mistakes.append(f"schedule[{index}].timezone: {_NO_ZONE}")
            named = attrs.evolve(named, timezone=zone or MACHINE_ZONE)
        found[index] = named
    return found


_NO_ZONE = (
    "is missing, and this machine does not say its own zone (TZ, /etc/localtime); write one such "
    'as "Europe/Berlin"'
)


def _named(camera: CameraConfig, camera_id: CameraId) -> CameraConfig:
    """Node and name of a local camera are known only once its device is plugged in."""
    default = "" if camera.source.selector is not None else camera_id
    device, name = camera.device or default, camera.name or default
    return attrs.evolve(camera, id=camera_id, device=device, name=name)


def _complete(sections: dict[str, object], bases: PathBases) -> None:
    """Make the default folders absolute, and give the keys' file its place."""
    storage, auth = sections.get("storage"), sections.get("auth")
    if not isinstance(storage, StorageConfig):
        return
    folders = ("recordings_dir", "snapshots_dir", "state_dir")
    absolute = {name: bases.data / getattr(storage, name) for name in folders}
    storage = sections["storage"] = attrs.evolve(storage, **absolute)
    if isinstance(auth, AuthConfig) and auth.keys_file is None:
        sections["auth"] = attrs.evolve(auth, keys_file=storage.state_dir / "keys.toml")
