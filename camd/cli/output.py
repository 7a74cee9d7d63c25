"""Where a command prints: tables and JSON to stdout, words about what happens to stderr."""

from __future__ import annotations

import json
import sys

from rich.console import Console

_WIDE = 400  # columns where nobody looks: a pipe gets whole lines


def console() -> Console:
    """Return the console for results; in a pipe it neither colours nor folds."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def messages() -> Console:
    """Return the console for what is said beside the results."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE, highlight=False)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON; nothing is escaped that does not have to be."""
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
    sys.stdout.flush()
