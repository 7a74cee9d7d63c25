"""Whether the next capture records the sound that comes with a stream or a file. Pure.

Sound never costs a picture. A codec that FFmpeg does not know is left out; a capture that
delivered nothing while it was to record sound is followed at once by one without. When that one
delivers, the sound was the reason: it is left out, and tried again by a later capture.
"""

from __future__ import annotations

import attrs

from camd.ffmpeg.text.args import SoundInput
from camd.ffmpeg.text.output import ProbeResult
from camd.model import Device, GapCause, Problem, ProblemKind
from camd.model.problems import SOUND_MISSING

TRIED_AGAIN_SECONDS = 600.0
UNKNOWN_CODECS = ("none", "unknown")
# Why a capture ends that could not do what it was told; all other causes lie in the source.
SUSPICIOUS = (GapCause.ENCODER_EXIT,)


@attrs.define(eq=False)
class StreamAudioPolicy:
    """The sound of one stream. `wanted` is whether the camera's entry asks for it."""

    wanted: bool
    warning: str = attrs.field(default="", init=False)  # why there is no sound, for people
    included: bool = attrs.field(default=False, init=False)  # in the latest capture
    _suspected: bool = attrs.field(default=False, init=False)  # the next capture goes without
    _left_out_at: float | None = attrs.field(default=None, init=False)

    def choose(self, found: ProbeResult, now: float) -> bool:
        """Decide for the next capture; `now` is monotonic seconds."""
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

    def suspect(self, problem: Problem, *, delivered: bool) -> bool:
        """Hear why a capture ended; True when one without sound should be tried at once."""
        if delivered or not self.included:
            return False
        if problem != SOUND_MISSING and problem.ledger_cause not in SUSPICIOUS:
            return False
        self._suspected = True
        return True

    def learn(self, now: float, *, delivered: bool) -> None:
        """Hear whether the capture that went without sound delivered what one with it did not."""
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


# --- Whether a V4L2 camera's next capture records sound, and why it does not.

_KINDS = ("alsa", "pulse")


@attrs.define(eq=False)
class MicrophonePolicy:
    """One camera's sound. `setting` is the entry's `audio`."""

    setting: str
    warning: str = attrs.field(default="", init=False)  # why there is no sound, for people
    _sound: SoundInput | None = attrs.field(default=None, init=False)  # of the last capture
    _failed: str = attrs.field(default="", init=False)  # why the next one goes without
    _plugged: int | None = attrs.field(default=None, init=False)  # of the device that failed

    @property
    def wished(self) -> bool:
        """Whether sound is asked for at all."""
        return self.setting not in ("", "off")

    def choose(self, device: Device | None, inputs: frozenset[str]) -> SoundInput | None:
        """Decide for the next capture; `inputs` are the kinds that FFmpeg can capture from."""
        plugged = device.plug_id if device else None
        if plugged != self._plugged:
            self._plugged, self._failed = plugged, ""
        self.warning = ""
        self._sound = self._choose(device, inputs)
        return self._sound

    def learn(self, problem: Problem | None) -> None:
        """Hear how the last capture ended; None: as it should.

        A camera that stalls is tried without sound, which may be what it stalled for; when it
        stalls again, that was not the reason.
        """
        if problem is None:
            self._failed = ""
        elif problem.kind == ProblemKind.AUDIO_UNAVAILABLE:
            self._failed = "it cannot be opened"
        elif problem.kind in (ProblemKind.STALLED, ProblemKind.SOUND_ONLY):
            self._failed = "the camera stalled with it" if self._sound else ""

    def _choose(self, device: Device | None, inputs: frozenset[str]) -> SoundInput | None:
        if not self.wished:
            return None
        card = device.sound_card if device else ""
        if self.setting == "auto" and not card:
            self.warning = "Recorded without sound: the camera has no sound card of its own"
            return None
        sound = (
            SoundInput("alsa", f"plughw:CARD={card}")
            if self.setting == "auto"
            else _named(self.setting)
        )
        if sound.kind not in inputs:
            self.warning = (
                f"Recorded without sound: this FFmpeg cannot capture from {sound.kind}; "
                "install your distribution's FFmpeg"
            )
            return None
        if self._failed:
            self.warning = f"Recorded without sound: {sound} does not work ({self._failed})"
            return None
        return sound


def _named(setting: str) -> SoundInput:
    """Read "alsa:hw:1", "pulse:default", or ALSA's name alone."""
    kind, _, name = setting.partition(":")
    return SoundInput(kind, name) if kind in _KINDS else SoundInput("alsa", setting)
