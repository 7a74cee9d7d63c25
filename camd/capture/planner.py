"""How to get pictures out of one camera: which program, which arguments, copied or encoded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import attrs
import structlog
import trio

from camd.capture.file_source import FileFacts, look_at_file
from camd.capture.process import Launch
from camd.capture.rules.negotiation import FormatNegotiation, unsupported
from camd.capture.rules.sound import Microphone, StreamSound
from camd.capture.source_cache import SourceCache, SourceFacts, key_of
from camd.clock import monotonic, now
from camd.config.schema import CameraConfig, Config
from camd.devices.v4l2.formats import UnsupportedFormat
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError, knows_tls_verify
from camd.ffmpeg.encoder_trial import EncoderAbilities, UntriedEncoders
from camd.ffmpeg.rtsp_probe import explain_stream, still_refuses
from camd.ffmpeg.text.args import (
    CaptureOptions,
    SoundInput,
    StreamAccess,
    capture_arguments,
    probe_arguments,
)
from camd.ffmpeg.text.encoder_table import SOFTWARE, Encoder, EncoderInput
from camd.ffmpeg.text.output import ProbeResult, parse_probe, parse_refusal
from camd.model import (
    Device,
    DeviceBinding,
    FileSource,
    FormatChoice,
    Problem,
    ProblemKind,
    RtspSource,
    TestSource,
    V4l2Source,
    VideoFormat,
)
from camd.model.problems import (
    CANNOT_VERIFY_TLS,
    FILE_RESTARTED,
    NO_ENCODER,
    NOT_FOUND,
    TIMED_OUT,
)
from camd.mp4.fragments import Init
from camd.runtime.child_process import open_child_process
from camd.runtime.path_lookup import PathLookup
from camd.runtime.query_process import run_program

log = structlog.get_logger("camd.camera")

COPIED_CODECS = ("h264", "hevc")
# How long what was described before is looked at again: FFmpeg needs a frame of each stream.
SHORT_ANALYSIS = timedelta(milliseconds=100)
# What comes before a transport is asked for, and says nothing of it.
NOT_REACHED = frozenset(
    (
        ProblemKind.CONNECTION_REFUSED,
        ProblemKind.UNREACHABLE,
        ProblemKind.BLOCKED,
        ProblemKind.UNAUTHORISED,
        ProblemKind.SERVER_UNAVAILABLE,
        ProblemKind.TLS_FAILED,
        ProblemKind.NO_RTSP,
    )
)
# What says nothing about the contents of a source: what is known of it stays.
CONNECTION_KINDS = NOT_REACHED | {
    ProblemKind.TIMED_OUT,
    ProblemKind.CLOSED,
    ProblemKind.ENDED,
    ProblemKind.SERVER_BUSY,
    ProblemKind.STALLED,
}
RARE_FPS = 1.0  # FFmpeg's usual look would take as long as seven pictures
LOOK_PICTURES = 8  # that FFmpeg's look at a stream may take: seven, and the end of the last one
STEPS = 4  # of a connection, each with FFmpeg's time-out: connect, DESCRIBE, SETUP, PLAY
ANALYSIS_SECONDS = 6.0  # FFmpeg looks for up to 5 s at what comes
LOOK_AFTER_SECONDS = 4.0
CONTAINER_NAMES = {"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc"}
LEAST_BYTES_PER_SECOND = 125_000.0
SOUND_SECONDS = 4.0  # sound that is announced comes sooner …
SOUND_SHARE = 0.2  # … or within this share of the time for a start, where that is long
MJPEG_FACTOR = 10  # how much more than H.264 it takes

ProgramFinder = Callable[[], Awaitable[FFmpegBinary]]


@attrs.frozen
class CapturePlan:
    """What to run. `sound_seconds` is how long its header may wait for sound; None: as it likes.

    The time counts from when FFmpeg has opened the source.
    """

    arguments: tuple[str, ...]
    sound_seconds: float | None = None


@attrs.define(eq=False)
class CapturePlanner:
    """Plans one camera's captures. `find_program` and `abilities` are shared by all cameras.

    `binding` is the device that the camera has at the moment; None: only its path is known.
    """

    camera: CameraConfig
    config: Config
    find_program: ProgramFinder
    launch: Launch = open_child_process  # how FFmpeg is started; tests have another
    abilities: EncoderAbilities = attrs.field(factory=UntriedEncoders)
    binding: DeviceBinding | None = None
    looks: PathLookup = attrs.field(factory=PathLookup)
    memory: SourceCache = attrs.field(factory=SourceCache)
    _found: ProbeResult | None = attrs.field(default=None, init=False)
    _transport: str = attrs.field(default="tcp", init=False)  # the one that is tried or works
    _hurried: bool = attrs.field(default=False, init=False)  # the last plan relied on what is known
    _patient: bool = attrs.field(default=False, init=False)  # that failed, and is done no more
    _rare: bool = attrs.field(default=False, init=False)  # less than a picture a second came
    _copies: bool = attrs.field(default=False, init=False)  # what the last plan does
    _last: Problem | None = attrs.field(default=None, init=False)  # how the last capture ended
    _facts: FileFacts | None = attrs.field(default=None, init=False)
    _missing: bool = attrs.field(default=False, init=False)  # the file, when it was looked for
    _microphone: Microphone = attrs.field(init=False)
    _stream_sound: StreamSound = attrs.field(init=False)
    _asked: FormatNegotiation = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._microphone = Microphone(self.camera.audio)
        streams = isinstance(self.camera.source, (FileSource, RtspSource))
        self._stream_sound = StreamSound(streams and self.camera.audio != "off")
        self._asked = FormatNegotiation(self.camera)
        if self.camera.transport != "auto":
            self._transport = self.camera.transport

    @property
    def path(self) -> Path | None:
        """The file or node that must be there, if the source is one."""
        source = self.camera.source
        return source.path if isinstance(source, (FileSource, V4l2Source)) else None

    async def is_absent(self) -> bool:
        """Whether the source's device, file or node is missing at this moment.

        One that cannot be looked at may be there: FFmpeg says better what is wrong with it.
        """
        if (binding := self._binding) is not None:
            return binding.device is None
        if isinstance(self.camera.source, FileSource):
            return self._missing
        if (path := self.path) is None:
            return isinstance(self.camera.source, V4l2Source)
        try:
            return not await self.looks.ask(path.exists, otherwise=True)
        except OSError:
            return False

    @property
    def chosen(self) -> FormatChoice | None:
        """What the device that the camera has is asked for; None without one, or if refused."""
        answer = self._choose()
        return answer if isinstance(answer, FormatChoice) else None

    @property
    def obstacle(self) -> Problem | None:
        """What would keep the next capture from recording, as far as that is known before."""
        binding, answer = self._binding, self._choose()
        if isinstance(answer, UnsupportedFormat):
            return unsupported(answer)
        return (
            binding.device.problem if binding is not None and binding.device is not None else None
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it was asked for, in sentences for people."""
        told = (self._asked.misfit, self._microphone.warning, self._stream_sound.warning)
        return tuple(text for text in told if text)

    @property
    def may_end(self) -> bool:
        """Whether the source has an end: a file that is played once."""
        source = self.camera.source
        return isinstance(source, FileSource) and not source.loop

    @property
    def live(self) -> bool:
        """Whether the source has a clock of its own: time stamps that may be wrong."""
        return isinstance(self.camera.source, (RtspSource, V4l2Source))

    @property
    def speed(self) -> float | None:
        """How many times faster than real time the source is read; None for one that is live."""
        if isinstance(self.camera.source, FileSource):
            return self.camera.source.speed
        return None if self.live else 1.0

    @property
    def connect_steps(self) -> int:
        """How many steps a connection takes, each of which may take as long as a start."""
        return STEPS if isinstance(self.camera.source, RtspSource) else 1

    @property
    def loops(self) -> bool:
        """Whether the source is a file that is played over and over."""
        return isinstance(self.camera.source, FileSource) and self.camera.source.loop

    @property
    def wanted(self) -> VideoFormat:
        """What is asked for; zeros where that is left to the source."""
        camera, source = self.camera, self.camera.source
        if (chosen := self.chosen) is not None:
            return VideoFormat("", chosen.width, chosen.height, chosen.fps)
        width, height, fps = camera.width or 0, camera.height or 0, camera.fps or 0.0
        if isinstance(source, TestSource):
            width, height = width or source.width, height or source.height
            fps = fps or source.rate
        return VideoFormat("", width, height, fps)

    @property
    def expected_bytes_per_second(self) -> float:
        """What a session will need, before anything has been measured."""
        wanted, chosen = self.wanted, self.chosen
        if self.camera.bitrate and (chosen is None or not chosen.copied):
            return self.camera.bitrate / 8.0
        usual = EncoderInput(wanted.width, wanted.height, wanted.fps).usual_bitrate / 8.0
        copied_mjpeg = chosen is not None and chosen.copied and chosen.input_format == "mjpeg"
        if copied_mjpeg or self.camera.codec == "mjpeg":
            usual *= MJPEG_FACTOR
        return max(LEAST_BYTES_PER_SECOND, usual)

    async def plan(self) -> CapturePlan | Problem:
        """Decide what to run.

        Waits for a probe where the source's codec matters, and for the encoders' trial when
        this is the first time that one is needed.
        """
        binding = self._binding
        if isinstance(self.camera.source, FileSource) and (wrong := await self._look_at_path()):
            return wrong
        if await self.is_absent():
            return (binding and binding.problem) or NOT_FOUND
        device = binding.device if binding else None
        answer = self._choose()
        if isinstance(answer, UnsupportedFormat):
            return unsupported(answer)
        if answer is None and device is not None and device.problem is not None:
            return device.problem
        try:
            program = await self.find_program()
            options = await self._options(program, device, answer)
        except FfmpegMissingError as error:
            return error.problem
        if isinstance(options, Problem):
            return options
        return CapturePlan(capture_arguments(options), self._sound_seconds(options))

    def _sound_seconds(self, options: CaptureOptions) -> float | None:
        """How long the header may wait for sound, once the source is open.

        Pictures that are decoded make it wait for a key frame as well.
        """
        if not (self.live and options.with_sound):
            return None
        start = self.config.ffmpeg.start_timeout.total_seconds()
        usual = max(min(SOUND_SECONDS, start / 2), SOUND_SHARE * start)
        return usual if options.copy else start / 2

    async def _options(
        self, program: FFmpegBinary, device: Device | None, choice: FormatChoice | None
    ) -> CaptureOptions | Problem:
        """Find out what the capture is to be told. Raises FfmpegMissingError."""
        reach = await self._reach(program)
        if isinstance(reach, Problem):
            return reach
        known = self._remembered()
        found = self._found or (known and known.probe) or await self._probe(program, reach)
        if isinstance(found, Problem):
            return found
        self._found = found
        # What was described already is not looked at for long, unless that failed once.
        self._hurried = bool(found.video_codec and found.width) and not self._patient
        encoder = await self._encoder(program, found, choice)
        if isinstance(encoder, Problem):
            return encoder
        size = choice or self.wanted
        return CaptureOptions(
            program=str(program.path),
            source=self.camera.source,
            version=program.version,
            width=size.width,
            height=size.height,
            fps=size.fps,
            bitrate=self.camera.bitrate,
            fragment=self.config.recording.fragment,
            copy=self._copies,
            encoder=encoder,
            probe=found,
            node=device.node if device else None,
            input_format=choice.input_format if choice else "",
            sound=await self._microphone_input(program, device),
            with_sound=self._stream_sound.choose(found, monotonic()),
            access=attrs.evolve(
                reach,
                transport=self._transport,
                analysis=SHORT_ANALYSIS if self._hurried else None,
                rare=self._rare and self._hurried,
            ),
            wall_ahead=now().timestamp() - monotonic(),
            input_options=self.camera.input_options,
            output_options=self.camera.output_options,
        )

    async def _encoder(
        self, program: FFmpegBinary, found: ProbeResult, choice: FormatChoice | None
    ) -> Encoder | Problem:
        """Decide whether the stream is copied (`_copies`), and return what encodes it if not."""
        codec = self.camera.codec
        copy = codec == "copy" or (codec == "auto" and found.video_codec in COPIED_CODECS)
        codec = "h264" if codec in ("auto", "copy") else codec
        if choice is not None:
            copy, codec = choice.copied, choice.encoder or codec
        self._copies = copy
        if copy:
            return SOFTWARE[codec]
        trial = await self.abilities.find(program, codec)
        if trial.encoder is None:
            return attrs.evolve(
                NO_ENCODER,
                message=f"No encoder for {codec} works on this machine",
                suggestion=f"Install your distribution's full FFmpeg: {trial.summary}.",
            )
        return trial.encoder

    async def _microphone_input(
        self, program: FFmpegBinary, device: Device | None
    ) -> SoundInput | None:
        if not (isinstance(self.camera.source, V4l2Source) and self._microphone.wished):
            return None
        sound = self._microphone.choose(device, await self.abilities.inputs(program))
        if self._microphone.warning:
            log.warning("no_sound", camera=self.camera.id, why=self._microphone.warning)
        return sound

    async def prepare(self) -> None:
        """Find the program and the encoder that the next capture needs, before somebody waits."""
        chosen = self.chosen
        if chosen is not None and chosen.encoder:
            with suppress(FfmpegMissingError):
                await self.abilities.find(await self.find_program(), chosen.encoder)

    def learn(self, problem: Problem | None) -> None:
        """Hear how a capture ended; None: as it should."""
        self._microphone.learn(problem)
        self._last = problem

    def tries_without_sound(self, problem: Problem | None, *, delivered: bool) -> bool:
        """Whether a capture that ended so is followed at once by one without sound."""
        return problem is not None and self._stream_sound.suspect(problem, delivered=delivered)

    def without_sound(self, *, delivered: bool) -> None:
        """Hear that the capture that was tried without sound has delivered pictures, or none."""
        self._stream_sound.learn(monotonic(), delivered=delivered)

    def compare(self, video: VideoFormat) -> None:
        """Compare what comes with what the camera was asked for: drivers replace it in silence.

        A rate of 0 is one that has not been measured yet.
        """
        if video.fps:
            self._rare = video.fps < RARE_FPS
        self._asked.compare(self.chosen, video)

    @property
    def _binding(self) -> DeviceBinding | None:
        return self.binding if isinstance(self.camera.source, V4l2Source) else None

    def _choose(self) -> FormatChoice | UnsupportedFormat | None:
        """Choose for the device that the camera has; None while nothing is known of one."""
        binding = self._binding
        return self._asked.answer(
            binding.device.capabilities if binding and binding.device else None
        )

    def forget(self) -> None:
        """Probe again before the next capture: what was known may not hold any more."""
        self._found = None
        self.memory.forget(self._key)

    def tries_otherwise(self, problem: Problem | None) -> bool:
        """Whether a capture that ended so, without a picture, is followed at once by another one.

        By one that takes the other transport, or by one that relies on nothing that is remembered.
        """
        if problem is None:
            return False
        if self._changes_transport(problem):
            return True
        if problem.kind in CONNECTION_KINDS or not self._hurried:
            return False
        self._patient = True
        self.forget()
        return True

    def doubt(self, problem: Problem | None) -> None:
        """Ask the source anew after a capture without pictures, unless that says nothing of it.

        UDP that was chosen here and brought nothing is left again. None: it was called off.
        """
        if problem is None:
            return
        if problem.kind not in CONNECTION_KINDS:
            self.forget()
        if self.camera.transport == "auto" and problem.kind not in NOT_REACHED:
            self._take_transport("tcp")

    def _changes_transport(self, problem: Problem) -> bool:
        """Take UDP from now on where the server refuses TCP and the entry leaves the choice."""
        refused = problem.kind in (
            ProblemKind.UNSUPPORTED_TRANSPORT,
            ProblemKind.SERVER_BUSY,
        )
        free = self.camera.transport == "auto" and "-rtsp_transport" not in (
            self.camera.input_options
        )
        stream = isinstance(self.camera.source, RtspSource)
        if not (refused and free and stream and self._transport == "tcp"):
            return False
        self._take_transport("udp")
        log.info("transport_changed", camera=self.camera.id, transport="udp")
        return True

    def _take_transport(self, transport: str) -> None:
        """Use this one from now on, whatever is remembered of an earlier connection."""
        self._transport, known = transport, self.memory.find(self._key)
        if known is not None:
            self.memory.learn(self._key, attrs.evolve(known, transport=transport))

    def began(self, init: Init) -> bool:
        """Hear what a capture delivers; False: it is not what the capture was made for.

        What comes is remembered, and replaces what was.
        """
        found, video = self._found, init.video
        if found is None or not self._key:
            return True
        codec = CONTAINER_NAMES.get(video.codec, found.video_codec)
        if self._copies and self.camera.codec == "auto" and video.codec not in CONTAINER_NAMES:
            self.forget()  # it was copied because it had been H.264 or H.265
            return False
        if self._copies:
            found = attrs.evolve(found, video_codec=codec, width=video.width, height=video.height)
        if not found.video_codec:  # no probe could tell; the next one may
            self._found = None
            return True
        self._found = found
        known = SourceFacts(
            *(found.video_codec, found.width, found.height, found.fps, found.audio_codec),
            self._transport,
        )
        self.memory.learn(self._key, known)
        return True

    async def explain(self, problem: Problem, *, delivered: bool) -> Problem:
        """Say more of why a capture ended, where the source itself shows it; bounded."""
        source = self.camera.source
        if (
            self.loops
            and delivered
            and problem.kind
            in (
                ProblemKind.NO_PERMISSION,
                ProblemKind.ENDED,
            )
        ):
            return FILE_RESTARTED  # FFmpeg cannot go back in it: "Operation not permitted"
        if isinstance(source, RtspSource) and not delivered:
            return await explain_stream(problem, source.url)
        return problem

    @property
    def _key(self) -> str:
        return key_of(self.camera.source, self._facts)

    def _remembered(self) -> SourceFacts | None:
        """What is known of the source from an earlier connection or run of the service."""
        known = self.memory.find(self._key)
        if known is not None and self.camera.transport == "auto":
            self._transport = known.transport
        return known

    async def _look_at_path(self) -> Problem | None:
        """Look what a file source's path is; None: a file that can be read."""
        assert self.path is not None
        found = await look_at_file(self.path, self.looks)
        self._missing = found == NOT_FOUND
        if isinstance(found, Problem):
            return found
        self._facts = found
        return None

    async def _reach(self, program: FFmpegBinary) -> StreamAccess | Problem:
        """Find out how the source's server is to be reached. Raises FfmpegMissingError.

        A port that refused the last connection is tried without a capture first.
        """
        source, last = self.camera.source, self._last
        refused = last is not None and last.kind == ProblemKind.CONNECTION_REFUSED
        if refused and isinstance(source, RtspSource) and await still_refuses(source.url):
            assert last is not None
            return last
        ffmpeg, verify = self.config.ffmpeg, self.camera.tls_verify
        if verify is not None and not await knows_tls_verify(program):
            if verify:
                return CANNOT_VERIFY_TLS
            verify = None  # it never verifies
        timeout = max(ffmpeg.start_timeout, ffmpeg.stall_timeout)
        return StreamAccess(self._transport, timeout, verify)

    async def _probe(self, program: FFmpegBinary, reach: StreamAccess) -> ProbeResult | Problem:
        """Ask a source what it holds; over the other transport where the first is refused."""
        found = await self._ask_watched(program, reach)
        if isinstance(found, Problem) and self._changes_transport(found):
            found = await self._ask(program, attrs.evolve(reach, transport=self._transport))
        return await self.explain(found, delivered=False) if isinstance(found, Problem) else found

    async def _ask_watched(
        self, program: FFmpegBinary, reach: StreamAccess
    ) -> ProbeResult | Problem:
        """Ask FFmpeg; when that takes long, find out whether the server speaks another protocol."""
        found: ProbeResult | Problem = ProbeResult()
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                nonlocal found
                await trio.sleep(LOOK_AFTER_SECONDS)
                seen = await self.explain(TIMED_OUT, delivered=False)
                if seen.kind == ProblemKind.NO_RTSP:
                    found = seen
                    nursery.cancel_scope.cancel()

            nursery.start_soon(look)
            found = await self._ask(program, reach)
            nursery.cancel_scope.cancel()
        return found

    def _probe_seconds(self, reach: StreamAccess) -> float:
        """How long FFmpeg may look at a source that answers in time, and delivers in time."""
        timeout = reach.timeout.total_seconds()
        pictures = LOOK_PICTURES if isinstance(self.camera.source, RtspSource) else 0
        return (STEPS + pictures) * timeout + ANALYSIS_SECONDS

    async def _ask(self, program: FFmpegBinary, reach: StreamAccess) -> ProbeResult | Problem:
        """Ask FFmpeg what a stream holds, so that H.264 and H.265 are kept as they are.

        Devices are not opened twice for it. Empty when FFmpeg does not say, or not in time. What
        a server refuses is not asked for again at once: it may count wrong passwords.
        """
        if not isinstance(self.camera.source, (FileSource, RtspSource)):
            return ProbeResult()
        arguments = probe_arguments(
            *(str(program.path), self.camera.source, program.version),
            options=self.camera.input_options,
            access=reach,
        )
        seconds = self._probe_seconds(reach)
        asked = monotonic()
        try:
            answer = await run_program(arguments, seconds)
        except OSError:  # it went away since it was found; the capture will say so
            return ProbeResult()
        stream = isinstance(self.camera.source, RtspSource)
        self._rare = stream and monotonic() - asked > LOOK_PICTURES / RARE_FPS
        if answer.status is None and not answer.flooded:
            log.warning("probe_took_too_long", camera=self.camera.id)
            return TIMED_OUT if stream else ProbeResult()
        text = answer.errors.decode("utf-8", "replace")
        found = parse_probe(text)
        return parse_refusal(text) if stream and not found.streams else found
