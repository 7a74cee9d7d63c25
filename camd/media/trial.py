"""Whether what an encoder made is good to record, by the reader that recordings go through."""

from __future__ import annotations

from camd.media.boxes import MediaError
from camd.media.encoding import KEY_FRAME_SECONDS
from camd.media.fragments import Fragment, FragmentReader, Init

_ENTRIES = {"h264": ("avc1", b"avcC"), "h265": ("hvc1", b"hvcC")}
_SLACK_SECONDS = 0.1


def trial_mistake(stream: bytes, codec: str, frames: int) -> str:
    """Say in a few words why `stream` is not what a capture needs; "" when it is.

    It must be fragmented MP4 of `codec` with its parameters in the header, hold all frames, and
    have a key frame at its beginning and every second.
    """
    reader = FragmentReader()
    try:
        events = reader.feed(stream)
        events += reader.close()
    except MediaError as error:
        return f"unreadable stream: {error}"
    inits = [event for event in events if isinstance(event, Init)]
    fragments = [event for event in events if isinstance(event, Fragment)]
    if not inits:
        return "nothing came"
    entry, parameters = _ENTRIES[codec]
    if inits[0].video.codec != entry or parameters not in inits[0].moov:
        return f"wrong stream: {inits[0].video.codec}"
    count = sum(fragment.frames for fragment in fragments)
    if count != frames:
        return f"{count} of {frames} frames"
    return _about_key_frames(fragments)


def _about_key_frames(fragments: list[Fragment]) -> str:
    moments, key_frames = [], []
    for run in (fragment.video for fragment in fragments if fragment.video is not None):
        ticks = run.decode_time
        for duration, sync in zip(run.durations, run.sync, strict=True):
            moments.append(ticks / run.timescale)
            if sync:
                key_frames.append(ticks / run.timescale)
            ticks += duration
    if not key_frames or key_frames[0] != moments[0]:
        return "no key frame at the beginning"
    longest = max(
        later - earlier
        for earlier, later in zip(key_frames, [*key_frames[1:], moments[-1]], strict=True)
    )
    if longest > KEY_FRAME_SECONDS + _SLACK_SECONDS:
        return f"no key frame for {longest:.1f} s"
    return ""
