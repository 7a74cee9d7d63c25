"""Which environment variables stand for which configuration keys, and how they are laid over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import attrs

from camd.config.schema import (
    AuthConfig,
    DiscoveryConfig,
    FfmpegConfig,
    MediaMtxConfig,
    RecordingConfig,
    RetentionConfig,
    ScrubConfig,
    ServerConfig,
    StorageConfig,
)
from camd.config.values import did_you_mean

SECTIONS: dict[str, type] = {
    "server": ServerConfig,
    "auth": AuthConfig,
    "storage": StorageConfig,
    "recording": RecordingConfig,
    "retention": RetentionConfig,
    "scrub": ScrubConfig,
    "ffmpeg": FfmpegConfig,
    "discovery": DiscoveryConfig,
    "mediamtx": MediaMtxConfig,
}

# Names that other camera services use for the same things; CAMD_… wins over them.
_ALIASES = {
    "STORAGE_WARN_PERCENT": ("storage", "warn_percent"),
    "STORAGE_BLOCK_PERCENT": ("storage", "block_percent"),
    "CAMERA_SERVICE_JWT_SECRET": ("auth", "jwt_secret"),
}
_ROTATION_MINUTES = "RECORDING_ROTATION_MINUTES"
_PLACE = re.compile(r"(?<![\w./])([a-z0-9]+)\.([a-z0-9_]+)\b(?! \(from )")
_VARIABLE = re.compile(r"CAMD_([A-Z0-9_]+?)__([A-Z0-9_]+)")


@attrs.frozen
class EnvironmentOverlay:
    """Raw values from the environment, the variable behind each, and what is wrong there."""

    values: dict[tuple[str, str], object] = attrs.field(repr=False)
    variables: dict[tuple[str, str], str]
    mistakes: tuple[str, ...]


def read_environment(environ: Mapping[str, str]) -> EnvironmentOverlay:
    """Collect what the environment says about configuration keys, as TOML would say it."""
    found: dict[tuple[str, str], tuple[str, object]] = {}
    mistakes: list[str] = []
    if minutes := environ.get(_ROTATION_MINUTES, "").strip():
        if re.fullmatch("[0-9]{1,4}", minutes) and 1 <= int(minutes) <= 1440:
            found["recording", "rotation"] = (_ROTATION_MINUTES, int(minutes) * 60)
        else:
            mistakes.append(f"{_ROTATION_MINUTES}: {minutes!r} is not a whole number, 1 to 1440")
    for variable, (section, key) in _ALIASES.items():
        if text := environ.get(variable, ""):
            found[section, key] = (variable, _as_toml(_key_types(section)[key], text))
    for variable in sorted(environ):
        match = _VARIABLE.fullmatch(variable)
        if match is None:
            continue
        section, key = match[1].lower(), match[2].lower()
        if section not in SECTIONS:
            mistakes.append(f"{variable}: unknown section{did_you_mean(section, SECTIONS)}")
        elif key not in _key_types(section):
            mistakes.append(f"{variable}: unknown key{did_you_mean(key, _key_types(section))}")
        else:
            value = _as_toml(_key_types(section)[key], environ[variable])
            found[section, key] = (variable, value)
    return EnvironmentOverlay(
        values={place: value for place, (_, value) in found.items()},
        variables={place: variable for place, (variable, _) in found.items()},
        mistakes=tuple(mistakes),
    )


def name_variables(mistake: str, variables: Mapping[tuple[str, str], str]) -> str:
    """Put the variable behind each `section.key` in a sentence that came from the environment."""

    def with_origin(match: re.Match[str]) -> str:
        variable = variables.get((match[1], match[2]))
        return f"{match[0]} (from {variable})" if variable else match[0]

    return _PLACE.sub(with_origin, mistake)


def _key_types(section: str) -> dict[str, object]:
    cls = attrs.resolve_types(SECTIONS[section], globals() | {"timedelta": timedelta, "Path": Path})
    return {field.name: field.type for field in attrs.fields(cls)}


def _as_toml(kind: object, text: str) -> object:
    """Give text the TOML type that its key wants; text that does not fit stays as it is."""
    word = text.strip()
    if kind is bool and word.lower() in ("true", "false"):
        return word.lower() == "true"
    if kind in (int, int | None, float) and re.fullmatch("[0-9]{1,18}", word):
        return int(word)
    if kind is float and re.fullmatch(r"[0-9]{1,18}\.[0-9]{1,18}", word):
        return float(word)
    if kind == tuple[str, ...]:
        return [item.strip() for item in word.split(",") if item.strip()]
    return text
