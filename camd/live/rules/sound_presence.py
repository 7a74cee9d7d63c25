"""Whether the sound of a stream comes along with its pictures.

A browser plays both together: where sound has stopped, or has not begun, its picture stands still.
"""

from __future__ import annotations

import attrs

from camd.mp4.fragments import Fragment

GONE_SECONDS = 1.5  # of pictures without sound
BACK_SECONDS = 2.0  # of sound, before it counts again; cameras send some in bursts


@attrs.define
class SoundPresence:
    """Counts what comes, in order; time stamps play no part, because sound may have wrong ones."""

    present: bool = attrs.field(default=True, init=False)
    _silent_seconds: float = attrs.field(default=0.0, init=False)  # since the last sound
    _heard_seconds: float = attrs.field(default=0.0, init=False)  # while it is not present

    def note(self, fragment: Fragment) -> None:
        """Count the next fragment."""
        sounds = [run for run in fragment.runs if run is not fragment.video]
        heard = sum(run.duration / run.timescale for run in sounds)
        if heard:
            self._silent_seconds = 0.0
            self._heard_seconds += heard
            self.present |= self._heard_seconds >= BACK_SECONDS
            return
        self._silent_seconds += fragment.duration_seconds
        if self._silent_seconds >= GONE_SECONDS:
            self.present, self._heard_seconds = False, 0.0
