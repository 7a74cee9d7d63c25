"""Whether a V4L2 camera's next child records sound, and why it does not.

Sound is never worth a picture: a sound device that fails is left out of the next try.
"""

from __future__ import annotations

import attrs

from camd.media.order import SoundInput
from camd.model import Device, Problem

_KINDS = ("alsa", "pulse")


@attrs.define(eq=False)
class Microphone:
    """One camera's sound. `wish` is the entry's `audio`."""

    wish: str
    warning: str = attrs.field(default="", init=False)  # why there is no sound, for people
    _sound: SoundInput | None = attrs.field(default=None, init=False)  # of the last child
    _failed: str = attrs.field(default="", init=False)  # why the next one goes without
    _plugged: int | None = attrs.field(default=None, init=False)  # of the device that failed

    @property
    def wished(self) -> bool:
        """Whether sound is asked for at all."""
        return self.wish not in ("", "off")

    def choose(self, device: Device | None, inputs: frozenset[str]) -> SoundInput | None:
        """Decide for the next child; `inputs` are the kinds that FFmpeg can capture from."""
        plugged = device.plugged if device else None
        if plugged != self._plugged:
            self._plugged, self._failed = plugged, ""
        self.warning = ""
        self._sound = self._choose(device, inputs)
        return self._sound

    def learn(self, trouble: Problem | None) -> None:
        """Hear how the last child ended; None: as it should.

        A camera that stalls is tried without sound, which may be what it stalled for; when it
        stalls again, that was not the reason.
        """
        if trouble is None:
            self._failed = ""
        elif trouble.cause == "audio_unavailable":
            self._failed = "it cannot be opened"
        elif trouble.cause in ("stalled", "sound_only"):
            self._failed = "the camera stalled with it" if self._sound else ""

    def _choose(self, device: Device | None, inputs: frozenset[str]) -> SoundInput | None:
        if not self.wished:
            return None
        card = device.sound_card if device else ""
        if self.wish == "auto" and not card:
            self.warning = "Recorded without sound: the camera has no sound card of its own"
            return None
        sound = (
            SoundInput("alsa", f"plughw:CARD={card}") if self.wish == "auto" else _named(self.wish)
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


def _named(wish: str) -> SoundInput:
    """Read "alsa:hw:1", "pulse:default", or ALSA's name alone."""
    kind, _, name = wish.partition(":")
    return SoundInput(kind, name) if kind in _KINDS else SoundInput("alsa", wish)
