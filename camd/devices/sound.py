"""Which sound card belongs to which USB device.

A camera's microphone is another interface of the same USB device, so both have that device's
folder in the paths of their own. ALSA's device name is made from the card's id, which udev and
the kernel keep unique: `plughw:CARD=ID`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from camd.devices.facts import clean, find_usb_place
from camd.devices.sysfs import follow, read_bytes

_CARD = re.compile(r"card[0-9]{1,4}")
_CAPTURE = re.compile(r"pcmC[0-9]+D[0-9]+c")


def read_cards(sys: Path = Path("/sys")) -> Mapping[str, str]:
    """Read the ids of cards that can record, by the folder of their USB device below `sys`.

    Does not block. Of several cards of one device the first counts.
    """
    root = os.path.realpath(sys)
    found: dict[str, str] = {}
    for card in _names(sys / "class/sound", _CARD):
        folder = follow(sys / "class/sound" / card)
        place = find_usb_place(os.path.relpath(folder, root)) if folder else None
        if place is None or not _names(Path(folder), _CAPTURE):
            continue
        if name := clean(read_bytes(Path(folder) / "id")):
            found.setdefault(place.folder, name)
    return found


def _names(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        names = [name for name in os.listdir(folder) if pattern.fullmatch(name)]
    except OSError:
        return []
    return sorted(names, key=lambda name: (len(name), name))  # card2 before card10
