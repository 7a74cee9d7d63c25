"""Fragments without their sound, made once for all viewers of a camera."""

from __future__ import annotations

from collections import deque

import attrs

from camd.mp4.fragments import Fragment
from camd.mp4.frames.join import fragment_without_sound

KEPT = 8  # viewers that read in time take the same fragment, or one of the next few


@attrs.define(eq=False)
class MutedFragments:
    """The last few fragments of a stream that were asked for, and each one without its sound."""

    _made: deque[tuple[Fragment, Fragment | None]] = attrs.field(
        factory=lambda: deque(maxlen=KEPT), init=False
    )

    def of(self, fragment: Fragment) -> Fragment | None:
        """Return a fragment with its video samples alone; None: it has none."""
        for known, muted in self._made:
            if known is fragment:
                return muted
        muted = fragment_without_sound(fragment)
        self._made.append((fragment, muted))
        return muted
