"""Whether the next child records the sound that comes with a stream or a file. Pure.

Sound never costs a picture. A codec that FFmpeg does not know is left out; a child that
delivered nothing while it was to record sound is followed at once by one without. When that one
delivers, the sound was the reason: it is left out, and tried again by a later child.
"""

from __future__ import annotations

import attrs

from camd.media.report import ProbeResult
from camd.media.trouble import SOUND_MISSING
from camd.model import Cause, Problem

TRIED_AGAIN_SECONDS = 600.0
UNKNOWN_CODECS = ("none", "unknown")
# Why a child ends that could not do what it was told; all other causes lie in the source.
SUSPICIOUS = (Cause.ENCODER_EXIT,)


@attrs.define(eq=False)
class StreamSound:
    """The sound of one stream. `wanted` is whether the camera's entry asks for it."""

    wanted: bool
    warning: str = attrs.field(default="", init=False)  # why there is no sound, for people
    included: bool = attrs.field(default=False, init=False)  # in the latest child
    _suspected: bool = attrs.field(default=False, init=False)  # the next child goes without
    _left_out_at: float | None = attrs.field(default=None, init=False)

    def choose(self, found: ProbeResult, now: float) -> bool:
        """Decide for the next child; `now` is monotonic seconds."""
        if not self.wanted or (found.video_codec and not found.audio_codec):
            self.warning, self.included = "", False
        elif found.audio_codec in UNKNOWN_CODECS:
            self.warning = "Recorded without sound: FFmpeg does not know its codec"
            self.included = False
        elif self._suspected:
            self.included = False
        else:
            waits = self._left_out_at is not None
            if waits and now - (self._left_out_at or 0.0) >= TRIED_AGAIN_SECONDS:
                self._left_out_at, self.warning, waits = None, "", False
            self.included = not waits
        return self.included

    def suspect(self, trouble: Problem, *, delivered: bool) -> bool:
        """Hear why a child ended; True when one without sound should be tried at once."""
        if delivered or not self.included:
            return False
        if trouble != SOUND_MISSING and trouble.ledger_cause not in SUSPICIOUS:
            return False
        self._suspected = True
        return True

    def learn(self, now: float, *, delivered: bool) -> None:
        """Hear whether the child that went without sound delivered what one with it did not."""
        if not self._suspected:
            return
        self._suspected = False
        if delivered:
            self._left_out_at = now
            self.warning = (
                "Recorded without sound: with it the camera delivers nothing; "
                f"it is tried again when the capture begins anew after "
                f"{TRIED_AGAIN_SECONDS / 60:.0f} minutes"
            )
