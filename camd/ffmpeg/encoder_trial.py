"""Which encoder this machine really has: each is tried once, as a capture would use it.

That FFmpeg was built with an encoder says little: most need hardware, and some that start make
streams without key frames, or too slowly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio

from camd.clock import monotonic
from camd.devices.query import is_converter
from camd.devices.sysfs import follow
from camd.ffmpeg.binary import FFmpegBinary, encoders, inputs
from camd.ffmpeg.text.args import trial_arguments
from camd.ffmpeg.text.encoder_table import (
    CODEC_NODES,
    SOFTWARE,
    TABLE,
    Encoder,
    encoder_named,
    trial_mistake,
)
from camd.ffmpeg.text.output import parse_line
from camd.ffmpeg.text.redact import redact
from camd.runtime.child_process import Child, open_child

log = structlog.get_logger("camd.camera")

TRIAL_SECONDS = 2  # of video
TRIAL_FRAMES = 60
PATIENCE_SECONDS = 10.0
MOST_BYTES = 64 * 1024 * 1024
LAST_WORDS_SECONDS = 1.0  # a process that it left may hold the pipe
LONGEST_WORDS = 120


@attrs.frozen
class TrialResult:
    """How one encoder did. `why` is "" when it passed."""

    name: str
    why: str = ""
    seconds: float | None = None  # that it took; None when it made nothing of use


@attrs.frozen
class EncoderChoice:
    """What a codec is encoded with on this machine, and how it was found."""

    codec: str
    encoder: Encoder | None  # None: none works
    verdicts: tuple[TrialResult, ...] = ()  # of those that were tried, in order

    @property
    def summary(self) -> str:
        """The choice and why the others were not taken, for people."""
        name = self.encoder.name if self.encoder else "none works"
        why = {each.name: each.why for each in self.verdicts if each.why}
        itself = why.pop(name, "")  # it is the fastest, where all are slow
        others = "; ".join(f"{other}: {reason}" for other, reason in why.items())
        return name + (f" ({others})" if others else "") + (f", {itself}" if itself else "")


class EncoderAbilities(Protocol):
    """What an FFmpeg can do on this machine."""

    async def find(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        """Return what to encode `codec` with."""

    async def inputs(self, program: FFmpegBinary) -> frozenset[str]:
        """Return the kinds of devices that can be captured from."""


class UntriedEncoders:
    """Encoders in software, without a trial."""

    async def find(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        """Return the one in software."""
        await trio.lowlevel.checkpoint()
        return EncoderChoice(codec, SOFTWARE[codec])

    async def inputs(self, program: FFmpegBinary) -> frozenset[str]:
        """Ask the program. Raises FfmpegMissingError."""
        return await inputs(program)


@attrs.define(eq=False)
class _Search:
    over: trio.Event = attrs.field(factory=trio.Event)
    choice: EncoderChoice | None = None


@attrs.define(eq=False)
class EncoderTrials:
    """What was found per FFmpeg and codec; shared by all cameras. `wish` is [ffmpeg] encoder."""

    wish: str = "auto"
    dev: Path = Path("/dev")
    _searches: dict[tuple[FFmpegBinary, str], _Search] = attrs.field(factory=dict, init=False)
    _inputs: dict[FFmpegBinary, frozenset[str]] = attrs.field(factory=dict, init=False)

    @property
    def known(self) -> tuple[EncoderChoice, ...]:
        """What has been found so far."""
        found = [search.choice for search in self._searches.values()]
        return tuple(choice for choice in found if choice is not None)

    async def find(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        """Return what to encode `codec` with; tries the encoders when first asked.

        Others who ask meanwhile wait for the same search. Takes up to PATIENCE_SECONDS per
        encoder. Raises FfmpegMissingError when the program does not run any more.
        """
        key = (program, codec)
        while (search := self._searches.get(key)) is not None:
            await search.over.wait()
            if search.choice is not None:
                return search.choice
        search = self._searches[key] = _Search()
        try:
            search.choice = await self._search(program, codec)
        finally:
            if search.choice is None or search.choice.encoder is None:
                # Cancelled, or none works at the moment, such as on a busy machine: who asks
                # next searches anew.
                del self._searches[key]
            search.over.set()
        log.info("encoder_chosen", codec=codec, encoder=search.choice.summary)
        return search.choice

    async def inputs(self, program: FFmpegBinary) -> frozenset[str]:
        """Return the kinds of devices that can be captured from. Raises FfmpegMissingError."""
        if program not in self._inputs:
            self._inputs[program] = await inputs(program)
        return self._inputs[program]

    async def _search(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        if codec == "mjpeg":
            return EncoderChoice(codec, SOFTWARE[codec])
        if self.wish != "auto" and encoder_named(self.wish).codec == codec:
            encoder = encoder_named(self.wish)
            node = await trio.to_thread.run_sync(_find_node, self.dev, encoder.nodes)
            return EncoderChoice(codec, attrs.evolve(encoder, node=node))
        built_in = await encoders(program)
        verdicts: list[TrialResult] = []
        slow: list[tuple[float, Encoder]] = []
        for candidate in (each for each in TABLE if each.codec == codec):
            encoder, verdict = await self._judge(program, candidate, built_in)
            verdicts.append(verdict)
            if not verdict.why:
                return EncoderChoice(codec, encoder, tuple(verdicts))
            if verdict.seconds is not None:
                slow.append((verdict.seconds, encoder))
        best = min(slow, key=lambda pair: pair[0], default=(0.0, None))
        return EncoderChoice(codec, best[1], tuple(verdicts))

    async def _judge(
        self, program: FFmpegBinary, encoder: Encoder, built_in: frozenset[str]
    ) -> tuple[Encoder, TrialResult]:
        if encoder.name not in built_in:
            return encoder, TrialResult(encoder.name, "not in this FFmpeg")
        if encoder.nodes:
            node = await trio.to_thread.run_sync(_find_node, self.dev, encoder.nodes)
            if not node:
                return encoder, TrialResult(encoder.name, "no such hardware")
            encoder = attrs.evolve(encoder, node=node)
        arguments = trial_arguments(str(program.path), encoder, TRIAL_SECONDS, program.version)
        return encoder, await _try(encoder, arguments)


async def _try(encoder: Encoder, arguments: tuple[str, ...]) -> TrialResult:
    """Run one trial. The time counts from the first bytes on, when the encoder is open."""
    trial = _TrialOutput()
    status: int | None = None
    with trio.move_on_after(PATIENCE_SECONDS) as scope:
        try:
            async with open_child(arguments) as child, trio.open_nursery() as nursery:
                nursery.start_soon(trial.hear, child)
                if await trial.read(child):
                    status = await child.wait()
                nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_SECONDS
        except OSError as error:
            return TrialResult(encoder.name, f"cannot be run: {error.strerror}")
    if scope.cancelled_caught:
        seconds = PATIENCE_SECONDS if trial.began else None
        return TrialResult(encoder.name, f"not done within {PATIENCE_SECONDS:g} s", seconds)
    if status is None:
        return TrialResult(encoder.name, "delivers without end")
    if status != 0:
        return TrialResult(encoder.name, trial.last_words or f"exit status {status}")
    if why := trial_mistake(bytes(trial.stream), encoder.codec, TRIAL_FRAMES):
        return TrialResult(encoder.name, why)
    seconds = monotonic() - trial.began
    return TrialResult(encoder.name, "" if seconds < TRIAL_SECONDS else "slow", seconds)


@attrs.define(eq=False)
class _TrialOutput:
    """What the child of a trial delivers and says."""

    stream: bytearray = attrs.field(factory=bytearray)
    began: float = 0.0  # monotonic seconds of the first bytes
    _said: bytearray = attrs.field(factory=bytearray)

    async def read(self, child: Child) -> bool:
        """Read to the end; False when there is none within what such a stream may have."""
        while chunk := await child.read_output():
            self.began = self.began or monotonic()
            self.stream += chunk
            if len(self.stream) > MOST_BYTES:
                return False
        return True

    async def hear(self, child: Child) -> None:
        while chunk := await child.read_errors():
            self._said += chunk
            del self._said[:-65536]

    @property
    def last_words(self) -> str:
        """The first error that was said: those behind it are consequences."""
        lines = self._said.decode("utf-8", "replace").splitlines()
        severe = [message.text for message in map(parse_line, lines) if message.severe]
        return redact(severe[0])[:LONGEST_WORDS] if severe else ""


def _find_node(dev: Path, pattern: str) -> str:
    """Return the first node that fits; "" without one. Blocks."""
    if pattern == CODEC_NODES:
        return next((str(node) for node in _codec_nodes(dev)), "")
    return str(next(iter(sorted(dev.glob(pattern))), "")) if pattern else ""


def _codec_nodes(dev: Path) -> Iterator[Path]:
    """Yield the nodes that turn pictures into others (V4L2 memory-to-memory devices).

    USB devices are never asked: they are cameras, and may hang.
    """
    for node in sorted(dev.glob(CODEC_NODES)):
        if "/usb" in follow(Path("/sys/class/video4linux", node.name)):
            continue
        with suppress(OSError):
            if is_converter(node):
                yield node
