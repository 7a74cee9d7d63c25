"""The encoders that camd knows, and the options each needs so that segments can begin.

Each has to encode without delay and B-frames, with a key frame every second. Forced key frames
follow the clock; `-g` counts frames, for encoders that ignore the former. Hardware encoders choose
a far too low bit rate unless one is given. By default FFmpeg rounds times to the nominal frame rate
before it encodes; a finer time base keeps the times of live pictures.
"""

from __future__ import annotations

import attrs

from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, FragmentReader, Init

KEY_FRAME_SECONDS = 1  # segments, viewers and pre-roll can only begin at key frames
BITS_PER_PIXEL = 0.1  # of H.264 at ordinary quality
LEAST_BITS_PER_SECOND = 500_000
DEFAULT_PIXELS, DEFAULT_FPS = 1280 * 720, 30.0

TIME_BASE = "1/90000"  # seconds: that of RTSP, and fine enough for any camera

RENDER_NODES = "dri/renderD*"
NVIDIA_NODES = "nvidia[0-9]*"
CODEC_NODES = "video*"  # V4L2 memory-to-memory devices (V4L2_CAP_VIDEO_M2M)

Arguments = tuple[str, ...]


@attrs.frozen
class EncoderSpec:
    """One of FFmpeg's encoders, and the options that it needs."""

    name: str  # FFmpeg's: "h264_vaapi"
    codec: str  # "h264", "h265", "mjpeg"
    options: Arguments = ()
    nodes: str = ""  # pattern of its device nodes below /dev; "": needs none
    node_option: str = ""  # FFmpeg's option for the node
    filters: Arguments = ()  # between picture and encoder
    needs_bitrate: bool = True  # and -g
    late_header: bool = False  # has its parameters only with its first packet
    node: str = ""  # the node that was found


@attrs.frozen
class VideoParameters:
    """Video to encode: size in pixels, frames and bits per second; 0 when unknown."""

    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate: int | None = None
    live: bool = False  # frames come at uneven intervals

    @property
    def usual_bitrate(self) -> int:
        """Bits per second for ordinary quality."""
        pixels = self.width * self.height or DEFAULT_PIXELS
        bits = pixels * (self.fps or DEFAULT_FPS) * BITS_PER_PIXEL
        return max(LEAST_BITS_PER_SECOND, round(bits))


_X26 = ("-preset", "veryfast", "-tune", "zerolatency", "-pix_fmt", "yuv420p")
_X265 = ("-x265-params", "open-gop=0:log-level=warning", "-forced-idr", "1")
_PLANAR = ("-pix_fmt", "yuv420p")
_NVENC = ("-pix_fmt", "nv12", "-preset", "p4", "-tune", "ll", "-bf", "0", "-forced-idr", "1")
_QSV = ("-pix_fmt", "nv12", "-preset", "veryfast", "-async_depth", "1", "-bf", "0")
_UPLOAD = ("format=nv12", "hwupload")


def _v4l2m2m(name: str, codec: str) -> EncoderSpec:
    return EncoderSpec(name, codec, _PLANAR, CODEC_NODES, late_header=True)


def _vaapi(name: str, codec: str) -> EncoderSpec:
    return EncoderSpec(name, codec, ("-bf", "0"), RENDER_NODES, "-vaapi_device", _UPLOAD)


TABLE: tuple[EncoderSpec, ...] = (  # of each codec in the order of their trials
    _v4l2m2m("h264_v4l2m2m", "h264"),
    _vaapi("h264_vaapi", "h264"),
    EncoderSpec("h264_nvenc", "h264", _NVENC, NVIDIA_NODES),
    EncoderSpec("h264_qsv", "h264", (*_QSV, "-forced_idr", "1"), RENDER_NODES),
    EncoderSpec("libx264", "h264", _X26, needs_bitrate=False),
    EncoderSpec("libopenh264", "h264", _PLANAR),
    _v4l2m2m("hevc_v4l2m2m", "h265"),
    _vaapi("hevc_vaapi", "h265"),
    EncoderSpec("hevc_nvenc", "h265", _NVENC, NVIDIA_NODES),
    EncoderSpec("hevc_qsv", "h265", (*_QSV, "-forced_idr", "1"), RENDER_NODES),
    EncoderSpec("libx265", "h265", (*_X26, *_X265), needs_bitrate=False),
)
MJPEG = EncoderSpec("mjpeg", "mjpeg", ("-pix_fmt", "yuvj420p"), needs_bitrate=False)
SOFTWARE = {
    "mjpeg": MJPEG,
    **{each.codec: each for each in TABLE if each.name in ("libx264", "libx265")},
}


def encoder_named(name: str) -> EncoderSpec:
    """Look an encoder up; one that is not in the table gets the options that most need."""
    for each in (*TABLE, MJPEG):
        if each.name == name:
            return each
    return EncoderSpec(name, "h265" if name.startswith(("hevc", "libkvazaar")) else "h264", _PLANAR)


def device_arguments(encoder: EncoderSpec) -> Arguments:
    """Return the arguments, before any input, that name the encoder's device."""
    return (encoder.node_option, encoder.node) if encoder.node_option and encoder.node else ()


def encoding_arguments(
    encoder: EncoderSpec, picture: VideoParameters, filters: Arguments = ()
) -> Arguments:
    """Return the arguments that encode a picture, after `filters`."""
    chain = (*filters, *encoder.filters)
    return (
        *(("-vf", ",".join(chain)) if chain else ()),
        *("-c:v", encoder.name),
        *(("-tag:v", "hvc1") if encoder.codec == "h265" else ()),
        *encoder.options,
        *_key_frames(encoder, picture),
        *_rate(encoder, picture),
        *(("-enc_time_base:v", TIME_BASE) if picture.live else ()),
    )


def _key_frames(encoder: EncoderSpec, picture: VideoParameters) -> Arguments:
    if encoder is MJPEG:
        return ()
    forced = ("-force_key_frames", f"expr:gte(t,n_forced*{KEY_FRAME_SECONDS})")
    frames = max(1, round((picture.fps or DEFAULT_FPS) * KEY_FRAME_SECONDS))
    return (*forced, "-g", str(frames)) if encoder.needs_bitrate else forced


def _rate(encoder: EncoderSpec, picture: VideoParameters) -> Arguments:
    if encoder is MJPEG and not picture.bitrate:
        return ("-q:v", "5")
    if not picture.bitrate and not encoder.needs_bitrate:
        return ()
    bits = picture.bitrate or picture.usual_bitrate
    return ("-b:v", str(bits), "-maxrate:v", str(bits), "-bufsize:v", str(2 * bits))


# --- the check of a trial's stream, with the reader that recordings use

_ENTRIES = {"h264": ("avc1", b"avcC"), "h265": ("hvc1", b"hvcC")}
_TOLERANCE_SECONDS = 0.1


def trial_mistake(stream: bytes, codec: str, frames: int) -> str:
    """Say in a few words why `stream` cannot be recorded; "" when it can.

    It must be fragmented MP4 of `codec` with its parameter sets in the header, contain all frames,
    and have a key frame at its beginning and every second.
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
        return "no output"
    entry, parameters = _ENTRIES[codec]
    if inits[0].video.codec != entry or parameters not in inits[0].moov:
        return f"wrong stream: {inits[0].video.codec}"
    count = sum(fragment.frames for fragment in fragments)
    if count != frames:
        return f"{count} of {frames} frames"
    return _key_frame_mistake(fragments)


def _key_frame_mistake(fragments: list[Fragment]) -> str:
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
    if longest > KEY_FRAME_SECONDS + _TOLERANCE_SECONDS:
        return f"no key frame for {longest:.1f} s"
    return ""
