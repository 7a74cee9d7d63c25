"""Which physical camera has which number, kept in the state folder."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from camd.devices.identity import Identity, Known
from camd.runtime.replace import replace_file

KNOWN_FILE = "cameras.json"


def load_known(file: Path) -> tuple[Known, ...]:
    try:
        rows = json.loads(file.read_text())
    except OSError:
        return ()
    return tuple(
        Known(r["camera_id"], Identity(**r["identity"]), r["selector"], r["adopted"]) for r in rows
    )


def save_known(file: Path, known: tuple[Known, ...]) -> None:
    replace_file(file, json.dumps([attrs.asdict(k) for k in known]))
