"""How to get pictures out of one camera: which program, which arguments, copied or encoded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import structlog

from camd.capture.process import Launch
from camd.capture.rules.negotiation import FormatSelection, problem_of_refusal
from camd.capture.rules.sound import MicrophonePolicy, StreamAudioPolicy
from camd.capture.source_cache import SourceCache
from camd.capture.source_contents import SourceContents
from camd.clock import Clock
from camd.config.schema import CameraConfig, Config
from camd.devices.v4l2.formats import FormatRefusal
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.ffmpeg.encoder_trial import EncoderAbilities, UntriedEncoders
from camd.ffmpeg.text.args import CaptureOptions, SoundInput, capture_arguments
from camd.ffmpeg.text.encoder_table import SOFTWARE, EncoderSpec, VideoParameters
from camd.ffmpeg.text.output import ProbeResult
from camd.model import Device, DeviceBinding, FormatChoice, Problem, VideoFormat
from camd.model.problems import NO_ENCODER, NOT_FOUND
from camd.mp4.fragments import Init
from camd.runtime.child_process import open_child_process
from camd.runtime.path_lookup import BoundedFileCalls
from camd.sources import SoundPlace, Source

log = structlog.get_logger("camd.camera")

COPIED_CODECS = ("h264", "hevc")
LEAST_BYTES_PER_SECOND = 125_000.0
SOUND_SECONDS = 4.0  # the longest wait for the first packet of sound
SOUND_SHARE = 0.2  # the same as a share of `start_timeout`, where that is longer
MJPEG_FACTOR = 10  # how much more than H.264 it takes

ProgramFinder = Callable[[], Awaitable[FFmpegBinary]]


@attrs.frozen
class CapturePlan:
    """What to run. `sound_seconds`: how long FFmpeg's header may wait for sound; None: no limit.

    The time counts from when FFmpeg has opened the source.
    """

    arguments: tuple[str, ...]
    sound_seconds: float | None = None


@attrs.define(eq=False)
class CapturePlanner:
    """Plans one camera's captures. `find_program` and `abilities` are shared by all cameras.

    `binding` is the device that the camera has at the moment; None: only its path is known.
    `contents` is what is known of the source; it is told how captures begin and end.
    """

    camera: CameraConfig
    config: Config
    find_program: ProgramFinder
    clock: Clock = attrs.field(kw_only=True)
    launch: Launch = open_child_process  # how FFmpeg is started; tests have another
    abilities: EncoderAbilities = attrs.field(factory=UntriedEncoders)
    binding: DeviceBinding | None = None
    looks: BoundedFileCalls = attrs.field(factory=BoundedFileCalls)
    memory: SourceCache = attrs.field(factory=SourceCache)
    contents: SourceContents = attrs.field(init=False)
    _copies: bool = attrs.field(default=False, init=False)  # what the last plan does
    _microphone: MicrophonePolicy = attrs.field(init=False)
    _stream_sound: StreamAudioPolicy = attrs.field(init=False)
    _asked: FormatSelection = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        camera, place = self.camera, self.source.sound_place
        self.contents = SourceContents(camera, self.config.ffmpeg, self.memory, clock=self.clock)
        self._microphone = MicrophonePolicy(
            camera.audio if place is SoundPlace.MICROPHONE else "off"
        )
        self._stream_sound = StreamAudioPolicy(place is SoundPlace.STREAM and camera.audio != "off")
        self._asked = FormatSelection(camera)

    @property
    def source(self) -> Source:
        """The camera's source."""
        return self.camera.source

    @property
    def device(self) -> Device | None:
        """The device that the camera has at the moment."""
        return self.binding.device if self.binding is not None else None

    # --- what is known before a capture

    async def is_absent(self) -> bool:
        """Whether the source's device, file or node is missing at this moment.

        One that cannot be looked up may be there: FFmpeg's error is more exact.
        """
        if self.binding is not None:
            return self.binding.device is None
        return self.contents.missing or await self.source.is_missing(self.looks)

    @property
    def chosen(self) -> FormatChoice | None:
        """What the device that the camera has is asked for; None without one, or if refused."""
        answer = self._choose()
        return answer if isinstance(answer, FormatChoice) else None

    @property
    def obstacle(self) -> Problem | None:
        """What would keep the next capture from recording, as far as that is known before."""
        answer = self._choose()
        if isinstance(answer, FormatRefusal):
            return problem_of_refusal(answer)
        return self.device.problem if self.device is not None else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it was asked for, in sentences for people."""
        told = (self._asked.misfit, self._microphone.warning, self._stream_sound.warning)
        return tuple(text for text in told if text)

    @property
    def wanted(self) -> VideoFormat:
        """What is asked for; zeros where that is left to the source."""
        camera, picture = self.camera, self.source.picture
        if (chosen := self.chosen) is not None:
            return VideoFormat("", chosen.width, chosen.height, chosen.fps)
        return VideoFormat(
            "",
            camera.width or picture.width,
            camera.height or picture.height,
            camera.fps or picture.fps,
        )

    @property
    def expected(self) -> VideoFormat:
        """What a source without a device will deliver; "" and zeros where nothing is known yet."""
        if self.source.selector is not None:
            return VideoFormat("", 0, 0, 0.0)
        wanted, found, asked = self.wanted, self.contents.known, self.camera.codec
        holds = found.video_codec if found is not None else ""
        if asked == "copy" or (asked == "auto" and holds in COPIED_CODECS):
            size = found or wanted
            return VideoFormat(holds, size.width, size.height, size.fps)
        certain = found is not None or not self.source.is_probed
        codec = "h264" if asked == "auto" and certain else asked.removeprefix("auto")
        return VideoFormat(
            codec,
            wanted.width or (found.width if found else 0),
            wanted.height or (found.height if found else 0),
            wanted.fps or (found.fps if found else 0.0),
        )

    @property
    def expected_bytes_per_second(self) -> float:
        """What a session will need, before anything has been measured."""
        wanted, chosen = self.wanted, self.chosen
        if self.camera.bitrate and (chosen is None or not chosen.copied):
            return self.camera.bitrate / 8.0
        usual = VideoParameters(wanted.width, wanted.height, wanted.fps).usual_bitrate / 8.0
        copied_mjpeg = chosen is not None and chosen.copied and chosen.input_format == "mjpeg"
        if copied_mjpeg or self.camera.codec == "mjpeg":
            usual *= MJPEG_FACTOR
        return max(LEAST_BYTES_PER_SECOND, usual)

    async def prepare(self) -> None:
        """Find the program and the encoder that the next capture needs, before somebody waits."""
        chosen = self.chosen
        if chosen is not None and chosen.encoder:
            with suppress(FfmpegMissingError):
                await self.abilities.find(await self.find_program(), chosen.encoder)

    # --- the plan

    async def plan(self) -> CapturePlan | Problem:
        """Decide what to run.

        Waits for a probe where the source's codec matters, and for the encoders' trial when
        this is the first time that one is needed.
        """
        if (problem := await self._find_obstacle()) is not None:
            return problem
        device, choice = self.device, self.chosen
        try:
            options = await self._options(await self.find_program(), device, choice)
        except FfmpegMissingError as error:
            return error.problem
        if isinstance(options, Problem):
            return options
        return CapturePlan(capture_arguments(options), self._sound_seconds(options))

    async def _find_obstacle(self) -> Problem | None:
        """Return what makes a capture impossible: file, device, or what is asked of the device."""
        binding = self.binding
        if (wrong := await self.contents.look(self.looks)) is not None:
            return wrong
        if await self.is_absent():
            return (binding and binding.problem) or NOT_FOUND
        answer = self._choose()
        if isinstance(answer, FormatRefusal):
            return problem_of_refusal(answer)
        return self.device.problem if answer is None and self.device is not None else None

    async def _options(
        self, program: FFmpegBinary, device: Device | None, choice: FormatChoice | None
    ) -> CaptureOptions | Problem:
        """Find out what the capture is to be told. Raises FfmpegMissingError."""
        reach = await self.contents.reach(program)
        if isinstance(reach, Problem):
            return reach
        found = await self.contents.find(program, reach)
        if isinstance(found, Problem):
            return found
        encoder = await self._encoder(program, found, choice)
        if isinstance(encoder, Problem):
            return encoder
        size = choice or self.wanted
        return CaptureOptions(
            program=str(program.path),
            source=self.source,
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
            with_sound=self._stream_sound.choose(found, self.clock.monotonic()),
            access=self.contents.access(reach),
            wall_ahead=self.clock.now().timestamp() - self.clock.monotonic(),
            input_options=self.camera.input_options,
            output_options=self.camera.output_options,
        )

    async def _encoder(
        self, program: FFmpegBinary, found: ProbeResult, choice: FormatChoice | None
    ) -> EncoderSpec | Problem:
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
        if not self._microphone.wished:
            return None
        sound = self._microphone.choose(device, await self.abilities.inputs(program))
        if self._microphone.warning:
            log.warning("microphone_not_used", camera=self.camera.id, why=self._microphone.warning)
        return sound

    def _sound_seconds(self, options: CaptureOptions) -> float | None:
        """How long the header may wait for sound, once the source is open.

        Pictures that are decoded make it wait for a key frame as well.
        """
        if not (self.source.live and options.with_sound):
            return None
        start = self.config.ffmpeg.start_timeout.total_seconds()
        usual = max(min(SOUND_SECONDS, start / 2), SOUND_SHARE * start)
        return usual if options.copy else start / 2

    def _choose(self) -> FormatChoice | FormatRefusal | None:
        """Choose for the device that the camera has; None while nothing is known of one."""
        return self._asked.answer(self.device.capabilities if self.device is not None else None)

    # --- what captures show

    def began(self, init: Init) -> bool:
        """Note what a capture delivers; False: it is not what the capture was made for."""
        return self.contents.began(init, copied=self._copies)

    def has_new_sound(self) -> bool:
        """Whether sound that the source announces is recorded by the next capture, not by this."""
        return self._stream_sound.wanted and self.contents.has_new_sound()

    def compare(self, video: VideoFormat) -> None:
        """Compare what comes with what was asked for: drivers change it without an error."""
        self.contents.compare(video)
        self._asked.compare(self.chosen, video)

    def learn(self, problem: Problem | None) -> None:
        """Note how a capture ended; None: without a problem."""
        self._microphone.learn(problem)
        self.contents.learn(problem)

    def tries_without_sound(self, problem: Problem | None, *, delivered: bool) -> bool:
        """Whether a capture that ended so is followed at once by one without sound."""
        return problem is not None and self._stream_sound.suspect(problem, delivered=delivered)

    def without_sound(self, *, delivered: bool) -> None:
        """Note whether the capture that was tried without sound has delivered pictures."""
        self._stream_sound.learn(self.clock.monotonic(), delivered=delivered)
