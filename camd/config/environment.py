"""Which environment variables set which configuration keys, and what they say.

`CAMD_SECTION__KEY` sets any key of a section. Some keys have an alias, a variable that other
camera services use for the same thing; `CAMD_SECTION__KEY` overrides it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

from camd.config.keys import ConfigKey, config_keys_of
from camd.config.schema import SECTIONS
from camd.model.notation import did_you_mean

Place = tuple[str, str]  # section and key

_PLACE = re.compile(r"(?<![\w./])([a-z0-9]+)\.([a-z0-9_]+)\b(?! \(from )")
_VARIABLE = re.compile(r"CAMD_([A-Z0-9_]+?)__([A-Z0-9_]+)")


@attrs.frozen
class EnvironmentOverlay:
    """Raw values from the environment, the variable behind each, and what is wrong there."""

    values: dict[Place, object] = attrs.field(repr=False)
    variables: dict[Place, str]
    mistakes: tuple[str, ...]


def read_environment(environ: Mapping[str, str]) -> EnvironmentOverlay:
    """Collect what the environment says about configuration keys, as TOML would say it."""
    found: dict[Place, tuple[str, object]] = {}
    mistakes: list[str] = []
    for place, config_key in _keys_with_alias():
        try:
            value = _read_alias(config_key, environ.get(config_key.alias, ""))
        except ValueError as error:
            mistakes.append(f"{config_key.alias}: {error}")
        else:
            if value is not None:
                found[place] = (config_key.alias, value)
    for variable in sorted(environ):
        if match := _VARIABLE.fullmatch(variable):
            place = match[1].lower(), match[2].lower()
            if mistake := _place_mistake(*place):
                mistakes.append(f"{variable}: {mistake}")
            else:
                config_key = config_keys_of(SECTIONS[place[0]])[place[1]]
                found[place] = (variable, _as_toml(config_key, environ[variable]))
    return EnvironmentOverlay(
        values={place: value for place, (_, value) in found.items()},
        variables={place: variable for place, (variable, _) in found.items()},
        mistakes=tuple(mistakes),
    )


def _place_mistake(section: str, name: str) -> str:
    """Return what is wrong with a section and a key; "" when both exist."""
    if section not in SECTIONS:
        return f"unknown section{did_you_mean(section, SECTIONS)}"
    config_keys = config_keys_of(SECTIONS[section])
    return "" if name in config_keys else f"unknown key{did_you_mean(name, config_keys)}"


def variables_of(section: str, name: str) -> tuple[str, ...]:
    """Return the variables that set a key, the strongest first; none set keys of a camera."""
    if section not in SECTIONS:
        return ()
    alias = config_keys_of(SECTIONS[section])[name].alias
    return tuple(filter(None, (f"CAMD_{section}__{name}".upper(), alias)))


def name_variables(mistake: str, variables: Mapping[Place, str]) -> str:
    """Add to each `section.key` in a sentence the variable that has set it."""

    def with_origin(match: re.Match[str]) -> str:
        variable = variables.get((match[1], match[2]))
        return f"{match[0]} (from {variable})" if variable else match[0]

    return _PLACE.sub(with_origin, mistake)


def _keys_with_alias() -> Iterator[tuple[Place, ConfigKey]]:
    for section, cls in SECTIONS.items():
        for name, config_key in config_keys_of(cls).items():
            if config_key.alias:
                yield (section, name), config_key


def _read_alias(config_key: ConfigKey, text: str) -> object:
    """Read the text of an alias; None when it is not set. Raises ValueError."""
    if not text:
        return None
    return config_key.read_alias(text) if config_key.read_alias else _as_toml(config_key, text)


def _as_toml(config_key: ConfigKey, text: str) -> object:
    """Give text the TOML type of its key; text that does not fit stays as it is."""
    word, kind = text.strip(), config_key.kind
    if kind is bool and word.lower() in ("true", "false"):
        return word.lower() == "true"
    if kind in (int, int | None, float) and re.fullmatch("[0-9]{1,18}", word):
        return int(word)
    if kind is float and re.fullmatch(r"[0-9]{1,18}\.[0-9]{1,18}", word):
        return float(word)
    if kind == tuple[str, ...]:
        return [item.strip() for item in word.split(",") if item.strip()]
    return text
