"""The text messages between a viewer and camd, subprotocol `camd.live.1`.

Down: `init`, `skipped`, `clock`, `ended`. Up: `pause`, `resume`. Each is a JSON object whose `type`
says which it is; members and messages that a side does not know are ignored.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime

import attrs
import msgspec

from camd.capture.consumer import CapturedFragment
from camd.model.notation import format_instant
from camd.mp4.fragments import Init
from camd.mp4.movies.codec_string import mime_type

SUBPROTOCOL = "camd.live.1"
JPEG = "image/jpeg"

_encode = msgspec.json.Encoder().encode


class Sound(enum.Enum):
    """Whether a viewer gets the sound of what it watches."""

    NONE = "none"  # there is none
    SENT = "sent"
    LEFT_OUT = "left_out"  # the viewer did not want it
    SILENT = "silent"  # none comes at present


class ViewerRequest(enum.Enum):
    """What a viewer may ask for."""

    PAUSE = "pause"
    RESUME = "resume"


@attrs.frozen
class WayToWatch:
    """Another way to watch a camera, for players that cannot play its codec."""

    kind: str  # preview, transcode, stills
    path: str


@attrs.frozen
class MediaMoment:
    """The wall time (UTC) and the media time (seconds) of one frame."""

    wall: datetime
    media: float

    @classmethod
    def of(cls, init: Init, captured: CapturedFragment) -> MediaMoment:
        """Return that of a fragment's first frame."""
        run, delay = captured.fragment.video, float(init.video.delay)
        if run is None:
            return cls(captured.start, captured.fragment.start_seconds + delay)
        shown = run.decode_time + (run.composition[0] if run.composition else 0)
        return cls(captured.start, shown / run.timescale + delay)

    def fields(self) -> dict[str, object]:
        """Return it as members of a message."""
        wall = format_instant(self.wall, "milliseconds")
        return {"wall": wall, "media": round(self.media, 6)}


def init_message(
    init: Init,
    moment: MediaMoment,
    ways: Sequence[WayToWatch],
    sound: Sound,
    mime_with_sound: str | None = None,
) -> str:
    """Describe the stream that begins; of pictures, `mime` is JPEG.

    `mime_with_sound`: of the camera's stream, whether its sound is sent or not; None: it has none.
    """
    video = init.video
    return _text(
        "init",
        mime=mime_type(init),
        mime_with_sound=mime_with_sound,
        codec=video.codec,
        width=video.width,
        height=video.height,
        sound=sound.value,
        **moment.fields(),
        supported_as=[{"kind": way.kind, "path": way.path} for way in ways],
    )


def pictures_message(width: int, height: int, moment: MediaMoment) -> str:
    """Describe stills: pictures that are no stream of the camera's own."""
    size = {"width": width, "height": height, "sound": Sound.NONE.value}
    return _text("init", mime=JPEG, codec="jpeg", **size, **moment.fields(), supported_as=[])


def skipped_message(frames: int, seconds: float) -> str:
    """Tell what the viewer was too slow for."""
    return _text("skipped", frames=frames, seconds=round(seconds, 3))


def clock_message(moment: MediaMoment) -> str:
    """Tell the wall time of a media time again: the clock was set."""
    return _text("clock", **moment.fields())


def ended_message(cause: str, message: str, suggestion: str) -> str:
    """Tell that no picture comes, why, and what to do."""
    return _text("ended", cause=cause, message=message, suggestion=suggestion)


def read_request(message: str | bytes) -> ViewerRequest | None:
    """Return what a viewer asks for; None: nothing that is known."""
    try:
        return ViewerRequest(_read(message).type)
    except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError):
        return None


@attrs.frozen
class _UpMessage:
    type: str


_read = msgspec.json.Decoder(_UpMessage).decode


def _text(type: str, **fields: object) -> str:
    return str(_encode({"type": type, **fields}), "utf-8")
