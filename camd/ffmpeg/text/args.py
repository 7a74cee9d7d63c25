"""What FFmpeg is told: argument lists from configuration values, never a shell's line.

An RTSP URL with its credentials must stand among the arguments, where other users of the machine
can see it: FFmpeg takes it from nowhere else (a playlist or a `concat` list read from a pipe
would hide it, but brings a demuxer that ends at the first interruption). Let the service have
its own user and mount /proc with hidepid=2, or use a relay that needs no credentials. Nothing
that camd logs or sends contains it: see `redact`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs

from camd.config.schema import CameraConfig
from camd.ffmpeg.text.encoder_table import (
    SOFTWARE,
    Arguments,
    Encoder,
    EncoderInput,
    device_arguments,
    encoding_arguments,
)
from camd.ffmpeg.text.output import ProbeResult
from camd.ffmpeg.text.redact import redact
from camd.model import FileSource, FormatChoice, RtspSource, Source, TestSource, V4l2Source

# --- How one child is to capture, and how devices of this machine are asked for their pictures.

NOTHING_KNOWN = ProbeResult()


@attrs.frozen
class SoundInput:
    """A sound device to record along with a camera."""

    kind: str  # FFmpeg's input: "alsa", "pulse"
    name: str  # "plughw:CARD=C920"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@attrs.frozen
class StreamAccess:
    """How a stream's server is reached, and how much of the stream is looked at first."""

    transport: str = "tcp"  # tcp | udp
    patience: timedelta = timedelta(seconds=20)  # for every step of the connection
    tls_verify: bool | None = None  # None: FFmpeg's default, or it cannot be told
    analysis: timedelta | None = None  # of what was described before; None: as FFmpeg does
    rare: bool = False  # pictures come rarely: the first one has to do


@attrs.frozen
class CaptureOptions:
    """What a child is told beyond what the camera's entry says."""

    program: str
    version: tuple[int, int] = (5, 1)
    fragment: timedelta = timedelta(milliseconds=500)
    copy: bool = False  # the video is taken as it comes
    encoder: Encoder = SOFTWARE["h264"]  # else
    probe: ProbeResult = NOTHING_KNOWN  # what the source holds, as far as that is known
    node: Path | None = None  # of a V4L2 camera; None: its source's path
    choice: FormatChoice | None = None  # what a V4L2 camera is asked for
    sound: SoundInput | None = None  # what is recorded along with a V4L2 camera
    with_sound: bool = True  # whether the sound of a stream or file is recorded
    reach: StreamAccess = StreamAccess()
    wall_ahead: float = 0.0  # seconds from the monotonic clock to the wall clock, at this moment


def v4l2_arguments(camera: CameraConfig, order: CaptureOptions) -> Arguments:
    """Ask the device for everything, because FFmpeg picks what it is not told.

    The kernel's monotonic capture times are kept, which is the default: `-ts abs` would make wall
    times of them, wrong by as long as it is interrupted between reading two clocks.
    """
    asked = order.choice or FormatChoice(
        "", "", camera.width or 0, camera.height or 0, camera.fps or 0.0, order.copy, "", ""
    )
    wanted: Arguments = ("-f", "v4l2", "-thread_queue_size", "64")
    if asked.input_format:
        wanted += ("-input_format", asked.input_format)
    if asked.width and asked.height:
        wanted += ("-video_size", f"{asked.width}x{asked.height}")
    if asked.fps:
        wanted += ("-framerate", f"{asked.fps:g}")
    return wanted


def sound_arguments(order: CaptureOptions) -> Arguments:
    """Open the sound device; its times are put in relation to the pictures'.

    By itself FFmpeg lets both begin at zero, and sound is early by as long as opening its device
    takes after the first picture. `-isync` moves it by the difference of the first times, from
    which the difference of the clocks has to come off: ALSA's times are wall times.
    """
    if order.sound is None:
        return ()
    return (
        *("-thread_queue_size", "1024", "-itsoffset", f"{-order.wall_ahead:.6f}", "-isync", "0"),
        *("-f", order.sound.kind, "-i", order.sound.name),
    )


# --- How FFmpeg is told to pass on time stamps that its muxer could not write. Pure.

MARK_SECONDS = 1000
SOUND_SECONDS = 0.02  # sound goes on so much later: its steps are not reported
LONGEST_SECONDS = 100  # a step forward by more than this is a mark as well
BACK_SECONDS = 1  # what goes back by less is put behind the one before it
GUESSED_SECONDS = 0.04  # that a picture lasts of which nothing is known
BEGIN_SECONDS = 10  # tracks are moved by so much, so that no time is negative; one that begins
# further from zero than this begins just there


def setts_filter(step_seconds: float = MARK_SECONDS, *, beside_sound: bool = False) -> str:
    """Give the bitstream filter for a track that is copied; a step becomes one of so long.

    FFmpeg's demuxer has no time for the first picture that a server sends, and it gets zero.
    `beside_sound`, which may have begun long before, that shows: it lasts as long as it is said
    to, and ends where the second one begins.
    """
    step = f"PREV_OUTDTS+{step_seconds:g}/TB"
    later = ""
    if beside_sound:
        lasts = f"if(gt(DURATION,0),DURATION,{GUESSED_SECONDS}/TB)"
        late = f"NEXT_DTS-DTS-{lasts}"
        unstamped = f"lte(DTS,0)*gt({late},{lasts}/2)*lt({late},{LONGEST_SECONDS}/TB)"
        later = f"+if({unstamped},{late},0)"
    decode = _growing("DTS", "eq(DTS,NOPTS)", "PREV_OUTDTS", step, later)
    delay = "if(eq(PTS,NOPTS)+eq(DTS,NOPTS)+gt(abs(PTS-DTS)*TB,10),0,PTS-DTS)"
    return f"setts=dts='{decode}':pts='{decode}+{delay}'"


def setpts_filter(name: str) -> str:
    """Give the filter (setpts or asetpts) for frames before they are encoded.

    Frames go on a moment later after a step: a filter that keeps a rate, or an encoder, would
    fill the time of a mark.
    """
    grown = _growing("PTS", "isnan(PTS)", "PREV_OUTPTS", "PREV_OUTPTS+0.04/TB")
    return f"{name}='{grown}'"


def _growing(stamp: str, unknown: str, before: str, after_step: str, later: str = "") -> str:
    """Give an expression for `stamp`, moved so that it always grows; `ld(0)` is by how much.

    `later` is added to the first one of all.
    """
    moved = f"{stamp}+ld(0)"
    begin = f"{BEGIN_SECONDS}/TB-if(gt(abs({stamp}*TB),{BEGIN_SECONDS}),{stamp},0)"
    steps = f"lt({moved},{before}-{BACK_SECONDS}/TB)+gt({moved},{before}+{LONGEST_SECONDS}/TB)"
    move = f"if(eq(N,0),st(0,{begin}),if({steps},st(0,{after_step}-({stamp})),0))"
    grown = f"if(eq(N,0),{moved}{later},max({moved},{before}+1))"
    known = f"0*({move})+{grown}"
    return f"if({unknown},if(eq(N,0),0,{before}+1),{known})"


# --- What FFmpeg is told: argument lists from configuration values, never a shell's line.

__all__ = [
    "CaptureOptions",
    "SoundInput",
    "StreamAccess",
    "capture_arguments",
    "hash_arguments",
    "probe_arguments",
    "redact",
    "remux_arguments",
    "trial_arguments",
]

# By default pictures wait for sound for 10 s, and a kill costs as much.
INTERLEAVING_MICROS = "200000"

_BANNER = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info")
# From 7.0 on FFmpeg looks for signals only this often; half a second is its default.
_ALERT = ("-stats_period", "0.05")
_SAME_MEANING = {
    "-stimeout": "-timeout",
    **dict.fromkeys(("-re", "-readrate_initial_burst", "-readrate_catchup"), "-readrate"),
}
_INTRA_ONLY = frozenset(("mjpeg", "png", "jpeg2000", "prores", "ffv1", "rawvideo"))
_COPIED_AUDIO = frozenset(("aac", "opus", "mp3", "ac3", "eac3", "alac", "flac"))
_OWN_HEADERS = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm"))
_MOVFLAGS = "frag_keyframe+empty_moov+default_base_moof+frag_discont"
_LATE_MOVFLAGS = _MOVFLAGS + "+delay_moov"
# By default each track's first sample is moved to zero and lasts until its second one. So told,
# FFmpeg writes the decode times as they are, whatever track begins first.
_TRUE_STARTS = ("-use_editlist", "0", "-avoid_negative_ts", "make_non_negative")
_LEAST_PROBE = "32"  # bytes; FFmpeg takes no less
_TRIAL = EncoderInput(640, 360, 30.0, live=True)
# A frame that cannot be decoded is dropped; however many, they are no reason to fail.
_TOLERANT = ("-max_error_rate", "1")


def capture_arguments(camera: CameraConfig, order: CaptureOptions) -> Arguments:
    """Build the command that captures `camera` and writes fragmented MP4 to its stdout."""
    choice, codec = order.choice, order.encoder.codec
    if order.copy:
        codec = choice.input_format if choice else order.probe.video_codec
    passthrough = ("-fps_mode" if order.version >= (5, 1) else "-vsync", "passthrough")
    late = not order.copy and order.encoder.late_header
    return (
        order.program,
        *_BANNER,
        *_ALERT,
        *(() if order.copy else device_arguments(order.encoder)),
        *_with_options(
            camera.input_options,
            (*(_haste(camera.source, order.reach) if order.copy else ()), *_input(camera, order)),
        ),
        *_maps(camera, order),
        *(_copied_video(codec, camera, order) if order.copy else _encoded_video(camera, order)),
        *passthrough,
        *_TOLERANT,
        *_audio(camera, order),
        *_fragments(order.fragment, intra_only=codec in _INTRA_ONLY, late_header=late),
        *camera.output_options,
        *("-f", "mp4", "pipe:1"),
    )


def trial_arguments(
    program: str, encoder: Encoder, seconds: int, ffmpeg_version: tuple[int, int] = (5, 1)
) -> Arguments:
    """Build the command that encodes a synthetic picture as a capture would, without waiting."""
    passthrough = ("-fps_mode" if ffmpeg_version >= (5, 1) else "-vsync", "passthrough")
    picture = TestSource(_TRIAL.width, _TRIAL.height, _TRIAL.fps)
    return (
        program,
        *_BANNER,
        *device_arguments(encoder),
        *("-f", "lavfi", "-i", _picture(picture), "-map", "0:v:0", "-t", str(seconds)),
        *encoding_arguments(encoder, _TRIAL),
        *passthrough,
        *_fragments(
            CaptureOptions(program).fragment, intra_only=False, late_header=encoder.late_header
        ),
        *("-f", "mp4", "pipe:1"),
    )


def remux_arguments(program: str, source: Path, target: Path) -> Arguments:
    """Build the command that turns a sealed segment into Matroska without encoding.

    An existing `target` is left alone; as FFmpeg 9 calls that success (5.1 does not), the caller
    looks for it first. A line goes to stdout for each packet, so that it ends with its reader.
    """
    return (
        *(program, *_BANNER, "-n", "-i", f"file:{source}"),
        *("-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "framecrc", "pipe:1"),
        *("-map", "0", "-c", "copy", "-f", "matroska", f"file:{target}"),
    )


def hash_arguments(program: str, source: Path) -> Arguments:
    """Build the command that prints a SHA-256 of each stream's packets, whatever holds them."""
    return (
        *(program, "-hide_banner", "-nostdin", "-loglevel", "error", "-i", f"file:{source}"),
        *("-map", "0", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "pipe:1"),
    )


def probe_arguments(
    program: str,
    source: Source,
    ffmpeg_version: tuple[int, int] = (5, 1),
    *,
    options: Arguments = (),
    reach: StreamAccess = StreamAccess(),
) -> Arguments:
    """Build the command that describes `source` on stderr and ends with code 1: see `report`.

    `options` are the camera's own input options, as for its capture.
    """
    match source:
        case RtspSource():
            asked = (*_haste(source, reach), *_rtsp(source, ffmpeg_version, reach))
        case V4l2Source():
            asked = ("-f", "v4l2", "-i", str(source.path))
        case FileSource():
            asked = ("-i", f"file:{source.path}")
        case TestSource():
            asked = ("-f", "lavfi", "-i", _picture(source))
    own = _with_options(options, asked)[len(options) :]
    # Whatever the options say of the log, the description has to be in it.
    return (program, "-hide_banner", "-nostdin", *options, "-loglevel", "info", *own)


def _with_options(options: Arguments, own: Arguments) -> Arguments:
    """Put a camera's options before the first input; camd's own give way to those of one name."""
    first = own.index("-i")
    given = {_meaning(word) for word in options if _is_name(word)}
    kept: list[str] = []
    wanted = True
    for word in own[:first]:
        wanted = _meaning(word) not in given if _is_name(word) else wanted
        if wanted:
            kept.append(word)
    return (*options, *kept, *own[first:])


def _is_name(word: str) -> bool:
    return word[:1] == "-" and word[1:2].isalpha()


def _meaning(name: str) -> str:
    """Say what an option is about: without its stream, and one word for several that are one."""
    name = name.partition(":")[0]
    return _SAME_MEANING.get(name, name)


def _input(camera: CameraConfig, order: CaptureOptions) -> Arguments:
    version = order.version
    match camera.source:
        case TestSource() as source:
            pace = _pace(1.0, version)
            picture = _picture(source, camera)
            tone = (*pace, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
            return (*pace, "-f", "lavfi", "-i", picture, *(tone if source.audio else ()))
        case FileSource(path=path, loop=loop, speed=speed):
            repeat = ("-stream_loop", "-1") if loop else ()
            return (*_pace(speed, version), *repeat, "-i", f"file:{path}")
        case RtspSource() as source:
            return _rtsp(source, version, order.reach)
        case V4l2Source(path=path):
            node = str(order.node or path)
            return (*v4l2_arguments(camera, order), "-i", node, *sound_arguments(order))


def _picture(source: TestSource, camera: CameraConfig | None = None) -> str:
    """Describe a moving picture that shows its time and frame number, and needs no fonts."""
    width = (camera and camera.width) or source.width
    height = (camera and camera.height) or source.height
    rate = (camera and camera.fps) or source.rate
    return f"testsrc2=size={width}x{height}:rate={rate:g}"


def _pace(speed: float, version: tuple[int, int]) -> Arguments:
    """Read no faster than real time times `speed`.

    From 6.1 on FFmpeg begins with a burst of half a second, which would set every wall time
    wrong by as much; 0 is not taken for an answer. From 8.0 on it catches up at hardly more than
    real time after any hesitation, unless told otherwise.
    """
    pace: Arguments = ("-re",) if speed == 1.0 else ("-readrate", f"{speed:g}")
    if version >= (6, 1):
        pace += ("-readrate_initial_burst", "0.001")
    if version >= (8, 0) and speed > 1.0:
        pace += ("-readrate_catchup", "10000")
    return pace


def _haste(source: Source, reach: StreamAccess) -> Arguments:
    """Do not watch a stream for a second to guess its frame rate: only an encoder needs that.

    What is known already is not found out again.
    """
    if not isinstance(source, RtspSource):
        return ()
    haste: Arguments = ("-fpsprobesize", "0")
    if reach.analysis is not None:
        haste += ("-analyzeduration", _micros(reach.analysis))
    if reach.rare:  # otherwise FFmpeg takes seven pictures, and invents their decode times
        haste += ("-probesize", _LEAST_PROBE)
    return haste


def _rtsp(source: RtspSource, version: tuple[int, int], reach: StreamAccess) -> Arguments:
    if not source.url.lower().startswith(("rtsp://", "rtsps://")):
        return ("-i", source.url)
    timeout = "-timeout" if version >= (5, 0) else "-stimeout"
    verify: Arguments = ()
    if reach.tls_verify is not None:
        verify = ("-tls_verify", "1" if reach.tls_verify else "0")
    return (
        *("-rtsp_transport", reach.transport, timeout, _micros(reach.patience), *verify),
        *("-i", source.url),
    )


def _micros(duration: timedelta) -> str:
    return str(max(1, round(duration / timedelta(microseconds=1))))


def _has_second_input(camera: CameraConfig, order: CaptureOptions) -> bool:
    match camera.source:
        case TestSource(audio=audio):
            return audio
        case V4l2Source():
            return order.sound is not None
    return False


def _takes_sound(camera: CameraConfig, order: CaptureOptions) -> bool:
    streams = isinstance(camera.source, FileSource | RtspSource)
    return streams and camera.audio != "off" and order.with_sound


def _maps(camera: CameraConfig, order: CaptureOptions) -> Arguments:
    """Take the first video and, where there is one and it is wanted, the first audio."""
    maps: Arguments = ("-map", "0:v:0")
    if _has_second_input(camera, order):
        maps += ("-map", "1:a:0")
    elif _takes_sound(camera, order):
        maps += ("-map", "0:a:0?")
    return (*maps, "-map_chapters", "-1")


def _copied_video(codec: str, camera: CameraConfig, order: CaptureOptions) -> Arguments:
    """Take pictures as they come, and keep parameter sets in samples, where their changes are seen.

    FFmpeg drops them in hvc1. Pictures before a stream's first key frame are taken too: they are
    not recorded, but they show that it is alive, and what it is waited for.
    """
    tag = ("-tag:v", "hev1") if codec == "hevc" else ()
    if not _strange(camera.source):
        return ("-c:v", "copy", *tag)
    beside_sound = _takes_sound(camera, order) and bool(order.probe.audio_codec)
    stamps = setts_filter(beside_sound=beside_sound)
    return ("-c:v", "copy", *tag, "-copyinkf:v", "-bsf:v", stamps)


def _strange(source: Source) -> bool:
    """Whether a clock that is not this machine's makes the time stamps."""
    return isinstance(source, RtspSource)


def _encoded_video(camera: CameraConfig, order: CaptureOptions) -> Arguments:
    source, choice = camera.source, order.choice
    width, height, fps = camera.width or 0, camera.height or 0, camera.fps or 0.0
    if choice:
        width, height, fps = choice.width, choice.height, choice.fps
    elif isinstance(source, TestSource):
        width, height, fps = width or source.width, height or source.height, fps or source.rate
    else:
        width, height = width or order.probe.width, height or order.probe.height
        fps = fps or order.probe.fps
    live = not isinstance(source, TestSource)
    picture = EncoderInput(width, height, fps, camera.bitrate, live)
    return encoding_arguments(order.encoder, picture, _filters(camera))


def _filters(camera: CameraConfig) -> Arguments:
    """Bring files and streams to the configured size and rate; cameras were asked for them."""
    if not isinstance(camera.source, FileSource | RtspSource):
        return ()
    filters = [setpts_filter("setpts")] if _strange(camera.source) else []
    if camera.fps:
        filters.append(f"fps={camera.fps:g}")
    if camera.width and camera.height:
        filters.append(f"scale={camera.width}:{camera.height}")
    return tuple(filters)


def _audio(camera: CameraConfig, order: CaptureOptions) -> Arguments:
    """Copy audio that MP4 can hold when its header comes with the source, else encode AAC."""
    maps = _maps(camera, order)
    if "1:a:0" not in maps and "0:a:0?" not in maps:
        return ()
    source = camera.source
    known = isinstance(source, RtspSource) or (
        isinstance(source, FileSource) and source.path.suffix.lower() in _OWN_HEADERS
    )
    if known and order.probe.audio_codec in _COPIED_AUDIO:
        return (
            "-c:a",
            "copy",
            *(("-bsf:a", setts_filter(SOUND_SECONDS)) if _strange(source) else ()),
        )
    steady = ("-af", setpts_filter("asetpts")) if _strange(source) else ()
    return (*steady, "-c:a", "aac", "-b:a", "96k")


def _fragments(fragment: timedelta, *, intra_only: bool, late_header: bool) -> Arguments:
    """Cut at key frames and after `fragment`; where every frame is one, not before `fragment`."""
    micros = str(max(1, round(fragment / timedelta(microseconds=1))))
    shortest = ("-min_frag_duration", micros) if intra_only else ()
    return (
        *("-max_interleave_delta", INTERLEAVING_MICROS),
        *("-movflags", _LATE_MOVFLAGS if late_header else _MOVFLAGS),
        *_TRUE_STARTS,
        *("-frag_duration", micros, *shortest),
        *("-flush_packets", "1", "-write_prft", "wallclock"),
    )
