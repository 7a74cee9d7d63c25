"""How a configuration key is declared (`config_key` in a section's class), and read from there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import attrs

from camd.config.values import PathBases, Reader, UnboundPathReader

_UNSET = object()


@attrs.frozen
class ConfigKey:
    """The declaration of one key; `written` is its default as in TOML, None: it has none."""

    written: object
    reader: Reader | UnboundPathReader
    doc: str  # sentences for people
    reload: bool = False  # a running service applies a change; else it needs a restart
    alias: str = ""  # an environment variable that other camera services use for the same thing
    read_alias: Callable[[str], object] | None = None  # its text as a TOML value, or ValueError
    kind: object = None  # the type of the value in `Config`

    def bind(self, bases: PathBases) -> Reader:
        """Return the reader for a configuration whose relative paths start at `bases`."""
        return (
            self.reader.bind(bases) if isinstance(self.reader, UnboundPathReader) else self.reader
        )


def config_key(
    written: object,
    reader: Reader | UnboundPathReader,
    doc: str,
    *,
    default: object = _UNSET,
    repr: bool = True,
    **options: Any,  # of ConfigKey
) -> Any:
    """Declare a key as a field of a section; its reader makes the default from `written`."""
    declared = ConfigKey(written, reader, doc, **options)
    if default is _UNSET:
        read = declared.bind(PathBases(folder=Path(), data=Path()))
        default = None if written is None else read(written)
    return attrs.field(default=default, repr=repr, metadata={ConfigKey: declared})


@cache
def config_keys_of(section: type) -> dict[str, ConfigKey]:
    """Return the declarations of a section's keys, by name, in their order.

    A key whose name is a word of Python is a field with an underscore behind it: `from_`.
    """
    kinds = get_type_hints(section)
    return {
        field.name.rstrip("_"): attrs.evolve(field.metadata[ConfigKey], kind=kinds[field.name])
        for field in attrs.fields(section)
    }
