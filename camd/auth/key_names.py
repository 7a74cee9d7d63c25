"""Which names a key may have, and which of them look the same. Pure.

Some emoji and Persian, Arabic or Indic words are written with a joiner: a character that is not
seen itself. It may stand where it changes how its neighbours are written. Names that differ in such
characters alone count as one, so that nobody takes one key for the other.
"""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # zero width non-joiner, zero width joiner
_SELECTORS = "\ufe0e\ufe0f"  # of the form of an emoji: without effect on most characters
_UNSEEN = dict.fromkeys(map(ord, _JOINERS + _SELECTORS))
_LAST_LATIN = "\u02ff"


def is_key_name(name: str, most: int) -> bool:
    """Whether a key may be called so: at most so many characters, each of which has its effect."""
    if not name.strip() or len(name) > most:
        return False
    around = zip(" " + name, name, name[1:] + " ", strict=False)
    return all(
        each.isprintable() or (each in _JOINERS and _is_joined(before) and _is_joined(after))
        for before, each, after in around
    )


def seen(name: str) -> str:
    """Return what is seen of a name: names that are equal in it look the same."""
    return name.translate(_UNSEEN)


def _is_joined(character: str) -> bool:
    """Whether it is written otherwise beside a joiner: an emoji, or a letter that is not Latin."""
    kind = unicodedata.category(character)
    return character > _LAST_LATIN and (kind[0] in "LM" or kind in ("So", "Sk"))
