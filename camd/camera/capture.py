"""How to get pictures out of one camera: which program, which arguments, copied or encoded."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import attrs
import structlog
import trio

from camd.camera.asked import Asked, unsupported
from camd.camera.encoders import Abilities, Untried
from camd.camera.program import FfmpegMissingError, Program
from camd.camera.run import Launch
from camd.camera.sound import Microphone
from camd.camera.stream_sound import StreamSound
from camd.clock import monotonic, now
from camd.config.schema import CameraConfig, Config
from camd.devices.formats import Unsupported
from camd.media.command import Order, capture_arguments, probe_arguments
from camd.media.encoding import SOFTWARE, Picture
from camd.media.report import ProbeResult, parse_probe, parse_refusal
from camd.model import (
    Cause,
    Choice,
    Device,
    FileSource,
    RtspSource,
    Seat,
    TestSource,
    Trouble,
    V4l2Source,
    VideoFormat,
)
from camd.runtime.spawn import open_child

log = structlog.get_logger("camd.camera")

COPIED_CODECS = ("h264", "hevc")
PROBE_PATIENCE_SECONDS = 15.0
LEAST_BYTES_PER_SECOND = 125_000.0
SOUND_SECONDS = 4.0  # sound that is announced comes sooner
MJPEG_FACTOR = 10  # how much more than H.264 it takes

NOT_THERE = Trouble(
    "not_found",
    "The camera's source is not there",
    "Plug the camera in, or correct its source in the configuration.",
    Cause.CAMERA_LOST,
)

ProgramFinder = Callable[[], Awaitable[Program]]


@attrs.frozen
class Plan:
    """What to run. `sound_seconds` is how long its header may wait for sound; None: as it likes.

    The time counts from when FFmpeg has opened the source.
    """

    arguments: tuple[str, ...]
    sound_seconds: float | None = None


def _no_seat() -> Seat | None:
    return None


@attrs.define(eq=False)
class Capture:
    """One camera's way to FFmpeg. `find_program` and `abilities` are shared by all cameras.

    `seat` says which device the camera has at the moment; None: it is named by its path alone.
    """

    camera: CameraConfig
    config: Config
    find_program: ProgramFinder
    launch: Launch = open_child  # how a child is started; tests put another one here
    abilities: Abilities = attrs.field(factory=Untried)
    seat: Callable[[], Seat | None] = _no_seat
    _found: ProbeResult | None = attrs.field(default=None, init=False)
    _microphone: Microphone = attrs.field(init=False)
    _stream_sound: StreamSound = attrs.field(init=False)
    _asked: Asked = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._microphone = Microphone(self.camera.audio)
        self._stream_sound = StreamSound(self.camera.audio != "off")
        self._asked = Asked(self.camera)

    @property
    def path(self) -> Path | None:
        """The file or node that must be there, if the source is one."""
        source = self.camera.source
        return source.path if isinstance(source, (FileSource, V4l2Source)) else None

    @property
    def absent(self) -> bool:
        """Whether the source's device, file or node is missing at this moment.

        One that cannot be looked at may be there: FFmpeg says better what is wrong with it.
        """
        if (seat := self._seat) is not None:
            return seat.device is None
        if isinstance(self.camera.source, V4l2Source) and self.path is None:
            return True
        try:
            return self.path is not None and not self.path.exists()
        except OSError:
            return False

    @property
    def chosen(self) -> Choice | None:
        """What the device that the camera has is asked for; None without one, or if refused."""
        answer = self._choose()
        return answer if isinstance(answer, Choice) else None

    @property
    def obstacle(self) -> Trouble | None:
        """What would keep the next child from recording, as far as that is known before."""
        seat, answer = self._seat, self._choose()
        if isinstance(answer, Unsupported):
            return unsupported(answer)
        return seat.device.trouble if seat is not None and seat.device is not None else None

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
        usual = Picture(wanted.width, wanted.height, wanted.fps).usual_bitrate / 8.0
        copied_mjpeg = chosen is not None and chosen.copied and chosen.input_format == "mjpeg"
        if copied_mjpeg or self.camera.codec == "mjpeg":
            usual *= MJPEG_FACTOR
        return max(LEAST_BYTES_PER_SECOND, usual)

    async def plan(self) -> Plan | Trouble:
        """Decide what to run.

        Waits for a probe where the source's codec matters, and for the encoders' trial when
        this is the first time that one is needed.
        """
        seat = self._seat
        if self.absent:
            return (seat and seat.trouble) or NOT_THERE
        device = seat.device if seat else None
        answer = self._choose()
        if isinstance(answer, Unsupported):
            return unsupported(answer)
        if answer is None and device is not None and device.trouble is not None:
            return device.trouble
        try:
            program = await self.find_program()
            order = await self._order(program, device, answer)
        except FfmpegMissingError as error:
            return Trouble(
                "ffmpeg_missing",
                "FFmpeg was not found",
                f"Install FFmpeg, pip install 'camd[ffmpeg]', or set ffmpeg.path ({error}).",
            )
        if isinstance(order, Trouble):
            return order
        return Plan(capture_arguments(self.camera, order), self._sound_seconds(order))

    def _sound_seconds(self, order: Order) -> float | None:
        """How long the header may wait for sound, once the source is open.

        Pictures that are decoded make it wait for a key frame as well.
        """
        if not (self.live and order.with_sound):
            return None
        start = self.config.ffmpeg.start_timeout.total_seconds()
        return min(SOUND_SECONDS, start / 2) if order.copy else start / 2

    async def _order(
        self, program: Program, device: Device | None, choice: Choice | None
    ) -> Order | Trouble:
        """Find out what the child is to be told. Raises FfmpegMissingError."""
        found = self._found or await self._probe(program)
        if isinstance(found, Trouble):
            return found
        self._found = found
        codec = self.camera.codec
        copy = codec == "copy" or (codec == "auto" and found.video_codec in COPIED_CODECS)
        codec = "h264" if codec in ("auto", "copy") else codec
        if choice is not None:
            copy, codec = choice.copied, choice.encoder or codec
        encoder = SOFTWARE[codec]
        if not copy:
            found_encoder = await self.abilities.find(program, codec)
            if found_encoder.encoder is None:
                return Trouble(
                    "no_encoder",
                    f"No encoder for {codec} works on this machine",
                    f"Install your distribution's full FFmpeg: {found_encoder.summary}.",
                )
            encoder = found_encoder.encoder
        sound = None
        if isinstance(self.camera.source, V4l2Source) and self._microphone.wished:
            sound = self._microphone.choose(device, await self.abilities.inputs(program))
            if self._microphone.warning:
                log.warning("no_sound", camera=self.camera.id, why=self._microphone.warning)
        return Order(
            program=str(program.path),
            version=program.version,
            fragment=self.config.recording.fragment,
            copy=copy,
            encoder=encoder,
            probe=found,
            node=device.node if device else None,
            choice=choice,
            sound=sound,
            with_sound=self._stream_sound.choose(found, monotonic()),
            wall_ahead=now().timestamp() - monotonic(),
        )

    async def prepare(self) -> None:
        """Find the program and the encoder that the next child needs, before somebody waits."""
        chosen = self.chosen
        if chosen is not None and chosen.encoder:
            with suppress(FfmpegMissingError):
                await self.abilities.find(await self.find_program(), chosen.encoder)

    def learn(self, trouble: Trouble | None) -> None:
        """Hear how a child ended; None: as it should."""
        self._microphone.learn(trouble)

    def tries_without_sound(self, trouble: Trouble | None, *, delivered: bool) -> bool:
        """Whether a child that ended so is followed at once by one without sound."""
        return trouble is not None and self._stream_sound.suspect(trouble, delivered=delivered)

    def without_sound(self, *, delivered: bool) -> None:
        """Hear that the child that was tried without sound has delivered pictures, or none."""
        self._stream_sound.learn(monotonic(), delivered=delivered)

    def compare(self, video: VideoFormat) -> None:
        """Compare what comes with what the camera was asked for: drivers replace it in silence.

        A rate of 0 is one that has not been measured yet.
        """
        self._asked.compare(self.chosen, video)

    @property
    def _seat(self) -> Seat | None:
        return self.seat() if isinstance(self.camera.source, V4l2Source) else None

    def _choose(self) -> Choice | Unsupported | None:
        """Choose for the device that the camera has; None while nothing is known of one."""
        seat = self._seat
        return self._asked.answer(seat.device.capabilities if seat and seat.device else None)

    def forget(self) -> None:
        """Probe again before the next child: what was known may not hold any more."""
        self._found = None

    async def _probe(self, program: Program) -> ProbeResult | Trouble:
        """Ask FFmpeg what a stream holds, so that H.264 and H.265 are kept as they are.

        Devices are not opened twice for it. Empty when FFmpeg does not say, or not in time. What
        a server refuses is not asked for again at once: it may count wrong passwords.
        """
        if not isinstance(self.camera.source, (FileSource, RtspSource)):
            return ProbeResult()
        arguments = probe_arguments(str(program.path), self.camera.source, program.version)
        with trio.move_on_after(PROBE_PATIENCE_SECONDS):
            try:
                result = await trio.run_process(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
            except OSError:  # it went away since it was found; the child will say so
                return ProbeResult()
            text = result.stderr.decode("utf-8", "replace")
            found = parse_probe(text)
            refused = isinstance(self.camera.source, RtspSource) and not found.streams
            return parse_refusal(text) if refused else found
        log.warning("probe_took_too_long", camera=self.camera.id)
        return ProbeResult()
