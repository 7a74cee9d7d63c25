"""FFmpeg's argument lists: capture, encoder trial, probe, remux and stream hashes.

A stream's URL with its credentials is one of the arguments, and other users of the machine can read
them: FFmpeg takes the URL from nowhere else (a playlist or a `concat` list read from a pipe would
hide it, but brings a demuxer that ends at the first interruption). Give the service its own user
and mount /proc with hidepid=2, or use a relay that needs no credentials. What camd logs or sends
has its credentials removed: see `redact`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Protocol

import attrs

from camd.ffmpeg.text.encoder_table import (
    MJPEG,
    SOFTWARE,
    Arguments,
    EncoderSpec,
    VideoParameters,
    device_arguments,
    encoding_arguments,
)
from camd.ffmpeg.text.output import ProbeResult
from camd.model import VideoFormat

DEFAULT_FRAGMENT = timedelta(milliseconds=500)
EACH_FRAME = timedelta(microseconds=1)  # a fragment ends with its first frame
# Shorter than the time between two pictures, also where it varies, and longer than a packet of AAC
# at 48 kHz: pictures come one by one, and the sound between two of them is in one fragment.
EACH_PICTURE = timedelta(milliseconds=22)
EACH_PICTURE_FPS = 32.0  # at a higher rate a picture after a late one comes too soon
# The muxer waits this long for a packet of each stream; FFmpeg's default of 10 s would delay
# pictures without sound, and a killed process would lose as much.
INTERLEAVING_MICROS = "200000"
SETS_DURATIONS = (5, 1)  # the first FFmpeg whose bitstream filter sets durations

_BANNER = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info")
# From 7.0 on FFmpeg looks for signals only this often; half a second is its default.
_SIGNALS_SEEN_SOON = ("-stats_period", "0.05")
_SAME_MEANING = {
    "-stimeout": "-timeout",
    **dict.fromkeys(("-re", "-readrate_initial_burst", "-readrate_catchup"), "-readrate"),
}
_INTRA_ONLY = frozenset(("mjpeg", "png", "jpeg2000", "prores", "ffv1", "rawvideo"))
# MP4 can hold AC-3 as well, but FFmpeg writes no header for it before the first packet of sound.
_COPIED_AUDIO = frozenset(("aac", "opus", "mp3", "alac", "flac"))
# Without skip_trailer, FFmpeg remembers where each fragment is, 50 bytes of memory for each frame,
# and writes a list of them at the end of the stream.
_MOVFLAGS = "frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer"
_LATE_MOVFLAGS = _MOVFLAGS + "+delay_moov"
# Write decode times as they are. By default FFmpeg moves each track's first sample to zero and
# stretches it up to the second one.
_TRUE_STARTS = ("-use_editlist", "0", "-avoid_negative_ts", "make_non_negative")
_TRIAL = VideoParameters(640, 360, 30.0, live=True)
# H.264 and H.265 have one colour for two by two pixels: an odd last line or column is left out.
_EVEN = "crop=trunc(iw/2)*2:trunc(ih/2)*2"
# Drop frames that cannot be decoded; never fail because of their number.
_KEEP_DECODING = ("-max_error_rate", "1")


@attrs.frozen
class SoundInput:
    """A sound device to record along with a camera."""

    kind: str  # FFmpeg's input: "alsa", "pulse"
    name: str  # "plughw:CARD=C920"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@attrs.frozen
class StreamAccess:
    """How to connect to a stream's server, and how much of the stream FFmpeg analyses first."""

    transport: str = "tcp"  # tcp | udp
    timeout: timedelta = timedelta(seconds=20)  # of each step of the connection
    tls_verify: bool | None = None  # None: FFmpeg's default, or this FFmpeg has no such option
    analysis: timedelta | None = None  # of a stream probed before; None: FFmpeg's default
    rare: bool = False  # less than one picture per second: analyse only the first


class ArgumentSource(Protocol):
    """What a command asks of a source: `camd.sources.Source`, which explains each of these."""

    @property
    def foreign_clock(self) -> bool: ...
    @property
    def constant_rate(self) -> bool: ...
    @property
    def picture(self) -> VideoFormat: ...
    @property
    def scaled_by_filters(self) -> bool: ...
    @property
    def has_audio_header(self) -> bool: ...
    @property
    def loops(self) -> bool: ...

    def input(self, options: CaptureOptions) -> Arguments: ...
    def probe_input(self, version: tuple[int, int], access: StreamAccess) -> Arguments: ...
    def analysis(self, access: StreamAccess) -> Arguments: ...
    def audio_stream(self, options: CaptureOptions) -> str: ...


@attrs.frozen
class CaptureOptions:
    """Everything a capture command depends on; 0, "" and None leave a value to the source."""

    program: str
    source: ArgumentSource
    version: tuple[int, int] = (5, 1)
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate: int | None = None  # bits per second
    fragment: timedelta = DEFAULT_FRAGMENT  # of pictures with sound
    copy: bool = False  # record the video without encoding it
    encoder: EncoderSpec = SOFTWARE["h264"]  # used unless `copy`
    probe: ProbeResult = attrs.field(factory=ProbeResult)  # known contents of the source
    node: Path | None = None  # of a V4L2 camera; None: its source's path
    input_format: str = ""  # of a V4L2 camera, by FFmpeg's name: "mjpeg"
    sound: SoundInput | None = None  # recorded along with a V4L2 camera
    with_sound: bool = True  # record the sound of a stream or file
    access: StreamAccess = StreamAccess()
    wall_ahead: float = 0.0  # seconds from the monotonic clock to the wall clock, now
    input_options: Arguments = attrs.field(default=(), repr=False)  # the user's own
    output_options: Arguments = attrs.field(default=(), repr=False)


# --- commands


def capture_arguments(options: CaptureOptions) -> Arguments:
    """Build the command that captures a source and writes fragmented MP4 to its stdout."""
    copy = options.copy
    codec = options.encoder.codec
    if copy:
        codec = options.input_format or options.probe.video_codec
    source = options.source
    analysis = source.analysis(options.access) if copy else ()
    late_header = not copy and options.encoder.late_header
    return (
        options.program,
        *_BANNER,
        *_SIGNALS_SEEN_SOON,
        *(() if copy else device_arguments(options.encoder)),
        *_with_user_options(options.input_options, (*analysis, *source.input(options))),
        *_maps(options),
        *(_copied_video(codec, options) if copy else _encoded_video(options)),
        *_passthrough(options.version),
        *_KEEP_DECODING,
        *_audio(options),
        *_fragments(_fragment(options, codec), late_header=late_header),
        *options.output_options,
        *("-f", "mp4", "pipe:1"),
    )


def trial_arguments(
    program: str, encoder: EncoderSpec, seconds: int, version: tuple[int, int] = (5, 1)
) -> Arguments:
    """Build the command that encodes a test picture as a capture would, at full speed."""
    return (
        program,
        *_BANNER,
        *device_arguments(encoder),
        *synthetic_input(_TRIAL.width, _TRIAL.height, _TRIAL.fps),
        *("-map", "0:v:0", "-t", str(seconds)),
        *encoding_arguments(encoder, _TRIAL),
        *_passthrough(version),
        *_fragments(("-frag_duration", format_micros(EACH_FRAME)), late_header=encoder.late_header),
        *("-f", "mp4", "pipe:1"),
    )


def remux_arguments(program: str, source: Path, target: Path) -> Arguments:
    """Build the command that copies a sealed segment into a Matroska file.

    FFmpeg does not overwrite `target`; version 9 reports success then (5.1 fails), so the caller
    checks for it first. One line per packet goes to stdout: FFmpeg ends when its reader is gone.
    """
    return (
        *(program, *_BANNER, "-n", "-i", f"file:{source}"),
        *("-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "framecrc", "pipe:1"),
        *("-map", "0", "-c", "copy", "-f", "matroska", f"file:{target}"),
    )


def hash_arguments(program: str, source: Path) -> Arguments:
    """Build the command that prints a SHA-256 of each stream's packets, whatever the container."""
    return (
        *(program, "-hide_banner", "-nostdin", "-loglevel", "error", "-i", f"file:{source}"),
        *("-map", "0", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "pipe:1"),
    )


def probe_arguments(
    program: str,
    source: ArgumentSource,
    version: tuple[int, int] = (5, 1),
    *,
    options: Arguments = (),
    access: StreamAccess = StreamAccess(),
) -> Arguments:
    """Build the command that describes `source` on stderr and ends with code 1: see `parse_probe`.

    `options` are the camera's input options, as in its capture.
    """
    wanted = (*source.analysis(access), *source.probe_input(version, access))
    ours = _with_user_options(options, wanted)[len(options) :]
    # The log level comes after the user's options: the description must be in the log.
    return (program, "-hide_banner", "-nostdin", *options, "-loglevel", "info", *ours)


def _with_user_options(user_options: Arguments, ours: Arguments) -> Arguments:
    """Put the user's options before the first input, and leave out those of ours that they set."""
    first = ours.index("-i")
    given = {_meaning(word) for word in user_options if _is_name(word)}
    kept: list[str] = []
    wanted = True
    for word in ours[:first]:
        wanted = _meaning(word) not in given if _is_name(word) else wanted
        if wanted:
            kept.append(word)
    return (*user_options, *kept, *ours[first:])


def _is_name(word: str) -> bool:
    return word[:1] == "-" and word[1:2].isalpha()


def _meaning(name: str) -> str:
    """Return an option's name without its stream; options that exclude each other share one."""
    name = name.partition(":")[0]
    return _SAME_MEANING.get(name, name)


def _passthrough(version: tuple[int, int]) -> Arguments:
    return ("-fps_mode" if version >= (5, 1) else "-vsync", "passthrough")


# --- parts of inputs


def synthetic_input(width: int, height: int, fps: float) -> Arguments:
    """Make a moving picture that shows its time and frame number, and needs no fonts."""
    return ("-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate={fps:g}")


def pace(speed: float, version: tuple[int, int]) -> Arguments:
    """Read no faster than real time times `speed`.

    From 6.1 on FFmpeg begins with a burst of half a second, which would shift every wall time by
    as much; it refuses 0. From 8.0 on it catches up only slightly faster than real time after a
    delay, unless told otherwise.
    """
    pace: Arguments = ("-re",) if speed == 1.0 else ("-readrate", f"{speed:g}")
    if version >= (6, 1):
        pace += ("-readrate_initial_burst", "0.001")
    if version >= (8, 0) and speed > 1.0:
        pace += ("-readrate_catchup", "10000")
    return pace


def format_micros(duration: timedelta) -> str:
    """Write a duration in microseconds, as FFmpeg's options take it."""
    return str(max(1, round(duration / timedelta(microseconds=1))))


# --- outputs


def _maps(options: CaptureOptions) -> Arguments:
    """Take the first video and, where there is one and it is wanted, the first audio."""
    audio = options.source.audio_stream(options)
    return ("-map", "0:v:0", *(("-map", audio) if audio else ()), "-map_chapters", "-1")


def _copied_video(codec: str, options: CaptureOptions) -> Arguments:
    """Copy the pictures, and keep parameter sets in the samples, where their changes are seen.

    FFmpeg drops them in hvc1. Pictures before a stream's first key frame are copied too: they are
    not recorded, but show that the stream is alive and waits for a key frame.
    """
    tag = ("-tag:v", "hev1") if codec == "hevc" else ()
    if not options.source.foreign_clock:
        return ("-c:v", "copy", *tag, *_durations(options))
    stamps = setts_filter(beside_sound=options.with_sound and bool(options.probe.audio_codec))
    if options.version >= SETS_DURATIONS:
        stamps += ":duration=1"
    return ("-c:v", "copy", *tag, "-copyinkf:v", "-bsf:v", stamps)


def _encoded_video(options: CaptureOptions) -> Arguments:
    source, known = options.source.picture, options.probe
    picture = VideoParameters(
        options.width or source.width or known.width,
        options.height or source.height or known.height,
        options.fps or source.fps or known.fps,
        options.bitrate,
        live=not options.source.constant_rate,
    )
    odd = picture.width % 2 or picture.height % 2
    even = (_EVEN,) if odd and options.encoder is not MJPEG else ()
    return (
        *encoding_arguments(options.encoder, picture, (*_filters(options), *even)),
        *_durations(options),
    )


def _filters(options: CaptureOptions) -> Arguments:
    """Convert to the configured size and rate, unless the source was asked for them."""
    if not options.source.scaled_by_filters:
        return ()
    filters = [setpts_filter("setpts")] if options.source.foreign_clock else []
    if options.fps:
        filters.append(f"fps={options.fps:g}")
    if options.width and options.height:
        filters.append(f"scale={options.width}:{options.height}")
    return tuple(filters)


def _audio(options: CaptureOptions) -> Arguments:
    """Copy audio that MP4 can hold when its codec header comes with the source, else encode AAC."""
    if not options.source.audio_stream(options):
        return ()
    foreign = options.source.foreign_clock
    if options.source.has_audio_header and options.probe.audio_codec in _COPIED_AUDIO:
        stamps = ("-bsf:a", setts_filter(SOUND_STEP_SECONDS)) if foreign else ()
        # FFmpeg 5.1 calls FLAC in MP4 experimental.
        allowed = ("-strict", "experimental") if options.probe.audio_codec == "flac" else ()
        return ("-c:a", "copy", *allowed, *stamps)
    growing = ("-af", setpts_filter("asetpts")) if foreign else ()
    return (*growing, "-c:a", "aac", "-b:a", "96k")


def _fragment(options: CaptureOptions, codec: str) -> Arguments:
    """End a fragment with each picture.

    Packets of sound end fragments as well. The duration of a picture whose next one has not come
    is not known then: FFmpeg guesses it, and moves the next picture there, unless packets say how
    long they last (`_durations`), or that they last a single tick (copied streams: their stamps are
    then as they came, whatever the sound does). An FFmpeg that cannot set durations writes sound
    and pictures in fragments of `fragment`; intra-only video has key frames alone, which do not end
    them.
    """
    if not _has_sound(options):
        return ("-frag_duration", format_micros(EACH_FRAME))
    if options.version >= SETS_DURATIONS:
        return ("-frag_duration", format_micros(_sound_gathered(options)))
    longest = format_micros(options.fragment)
    shortest = ("-min_frag_duration", longest) if codec in _INTRA_ONLY else ()
    return ("-frag_duration", longest, *shortest)


def _sound_gathered(options: CaptureOptions) -> timedelta:
    """How long sound waits for a picture: there are fewer fragments.

    For those without a picture FFmpeg writes a warning each, which has to be read as well.
    """
    fps = options.fps or options.source.picture.fps or options.probe.fps
    return EACH_PICTURE if 0 < fps <= EACH_PICTURE_FPS else EACH_FRAME


def _durations(options: CaptureOptions) -> Arguments:
    """Set the durations of pictures beside sound; the last one keeps its own.

    The filter holds each picture until the next one has come, as the muxer does without sound. A
    file that is copied in a loop goes without: FFmpeg 5.1 ends the filter with the first round. It
    knows the durations of a file's pictures.
    """
    looped = options.copy and options.source.loops
    if not _has_sound(options) or options.version < SETS_DURATIONS or looped:
        return ()
    lasts = "if(eq(DTS,NOPTS),1,if(eq(NEXT_DTS,NOPTS),DURATION,max(1,NEXT_DTS-DTS)))"
    return ("-bsf:v", f"setts=pts=PTS:dts=DTS:duration='{lasts}'")


def _has_sound(options: CaptureOptions) -> bool:
    """Whether there is, or may be, sound beside the pictures."""
    optional = options.source.audio_stream(options).endswith("?")
    known_silent = optional and bool(options.probe.video_codec) and not options.probe.audio_codec
    return bool(options.source.audio_stream(options)) and not known_silent


def _fragments(length: Arguments, *, late_header: bool) -> Arguments:
    """Write fragments, each with the time at which it was written."""
    return (
        *("-max_interleave_delta", INTERLEAVING_MICROS),
        *("-movflags", _LATE_MOVFLAGS if late_header else _MOVFLAGS),
        *_TRUE_STARTS,
        *length,
        *("-flush_packets", "1", "-write_prft", "wallclock"),
    )


# --- time stamps that FFmpeg's muxer could not write: those that go back, jump, or are missing

MARK_SECONDS = 1000  # a step in a video track is written as one of this length, and found by it
SOUND_STEP_SECONDS = 0.02  # a step in sound is written as one of this length: it is not reported
LONGEST_SECONDS = 100  # a longer step forward is marked as well
BACK_SECONDS = 1  # a shorter step back continues just after the previous time
UNKNOWN_DURATION_SECONDS = 0.04  # assumed for a picture without a duration
# Added to every track, so that no time is negative; a track that begins further than this from
# zero begins at exactly this time.
BEGIN_SECONDS = 10


def setts_filter(step_seconds: float = MARK_SECONDS, *, beside_sound: bool = False) -> str:
    """Return the bitstream filter for a copied track; a step becomes one of `step_seconds`.

    FFmpeg's demuxer has no time for the first picture that a server sends, and gives it zero.
    `beside_sound`, which may have begun long before, that shows: the picture is moved so that it
    lasts its own duration and ends where the second one begins.
    """
    step = f"PREV_OUTDTS+{step_seconds:g}/TB"
    later = ""
    if beside_sound:
        lasts = f"if(gt(DURATION,0),DURATION,{UNKNOWN_DURATION_SECONDS}/TB)"
        late = f"NEXT_DTS-DTS-{lasts}"
        unstamped = f"lte(DTS,0)*gt({late},{lasts}/2)*lt({late},{LONGEST_SECONDS}/TB)"
        later = f"+if({unstamped},{late},0)"
    decode = _growing("DTS", "eq(DTS,NOPTS)", "PREV_OUTDTS", step, later)
    delay = "if(eq(PTS,NOPTS)+eq(DTS,NOPTS)+gt(abs(PTS-DTS)*TB,10),0,PTS-DTS)"
    return f"setts=dts='{decode}':pts='{decode}+{delay}'"


def setpts_filter(name: str) -> str:
    """Return the filter (setpts or asetpts) for frames before they are encoded.

    After a step frames continue 40 ms later, without a mark: a filter that keeps a rate, or an
    encoder, would fill the time of the mark with frames.
    """
    grown = _growing("PTS", "isnan(PTS)", "PREV_OUTPTS", "PREV_OUTPTS+0.04/TB")
    return f"{name}='{grown}'"


def _growing(stamp: str, unknown: str, before: str, after_step: str, later: str = "") -> str:
    """Return an expression for `stamp`, shifted so that it always grows; `ld(0)` is the shift.

    `later` is added to the first stamp only.
    """
    moved = f"{stamp}+ld(0)"
    begin = f"{BEGIN_SECONDS}/TB-if(gt(abs({stamp}*TB),{BEGIN_SECONDS}),{stamp},0)"
    steps = f"lt({moved},{before}-{BACK_SECONDS}/TB)+gt({moved},{before}+{LONGEST_SECONDS}/TB)"
    move = f"if(eq(N,0),st(0,{begin}),if({steps},st(0,{after_step}-({stamp})),0))"
    grown = f"if(eq(N,0),{moved}{later},max({moved},{before}+1))"
    known = f"0*({move})+{grown}"
    return f"if({unknown},if(eq(N,0),0,{before}+1),{known})"
