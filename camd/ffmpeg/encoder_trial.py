"""Choose an encoder for each codec by a trial: each candidate encodes a test picture once.

That FFmpeg was built with an encoder says little: most need hardware, and some that start make
streams without key frames, or are too slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio

from camd.clock import monotonic
from camd.ffmpeg.binary import FFmpegBinary, encoders, inputs
from camd.ffmpeg.text.args import trial_arguments
from camd.ffmpeg.text.encoder_table import (
    CODEC_NODES,
    SOFTWARE,
    TABLE,
    EncoderSpec,
    encoder_named,
    trial_mistake,
)
from camd.ffmpeg.text.output import parse_line
from camd.ffmpeg.text.redact import redact
from camd.runtime.child_process import ChildProcess, keep_last, open_child_process

log = structlog.get_logger("camd.camera")

TRIAL_SECONDS = 2  # of video
TRIAL_FRAMES = 60
TIMEOUT_SECONDS = 10.0
MAX_STREAM_BYTES = 64 * 1024 * 1024
MAX_LOG_BYTES = 64 * 1024
DRAIN_SECONDS = 1.0  # for the rest of its log: a process that FFmpeg left may hold the pipe
MAX_REASON_CHARACTERS = 120


@attrs.frozen
class TrialResult:
    """Result of one encoder's trial. `why` says why it failed; "" when it passed."""

    name: str
    why: str = ""
    seconds: float | None = None  # duration of the trial; None when its stream is of no use


@attrs.frozen
class EncoderChoice:
    """The encoder for a codec on this machine, and the trials behind the choice."""

    codec: str
    encoder: EncoderSpec | None  # None: none works
    trials: tuple[TrialResult, ...] = ()  # in order

    @property
    def summary(self) -> str:
        """The choice, and why other encoders were not chosen, as text for people."""
        name = self.encoder.name if self.encoder else "none works"
        why = {each.name: each.why for each in self.trials if each.why}
        itself = why.pop(name, "")  # set when every encoder is slow, and this is the fastest
        others = "; ".join(f"{other}: {reason}" for other, reason in why.items())
        return name + (f" ({others})" if others else "") + (f", {itself}" if itself else "")


class EncoderAbilities(Protocol):
    """What an FFmpeg can encode with and capture from on this machine."""

    async def find(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        """Return the encoder to use for `codec`."""

    async def inputs(self, program: FFmpegBinary) -> frozenset[str]:
        """Return the kinds of devices that it can capture from."""


class UntriedEncoders:
    """Use software encoders, without a trial."""

    async def find(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        """Return the software encoder for `codec`."""
        await trio.lowlevel.checkpoint()
        return EncoderChoice(codec, SOFTWARE[codec])

    async def inputs(self, program: FFmpegBinary) -> frozenset[str]:
        """Run the program to list them. Raises FfmpegMissingError."""
        return await inputs(program)


@attrs.define(eq=False)
class _Search:
    done: trio.Event = attrs.field(factory=trio.Event)
    choice: EncoderChoice | None = None


@attrs.define(eq=False)
class EncoderTrials:
    """Choices per FFmpeg and codec, shared by all cameras.

    `find_codec_nodes` yields the V4L2 nodes of codecs in a folder, and may block.
    """

    find_codec_nodes: Callable[[Path], Iterable[Path]]
    configured: str = "auto"  # [ffmpeg] encoder
    dev: Path = Path("/dev")
    _searches: dict[tuple[FFmpegBinary, str], _Search] = attrs.field(factory=dict, init=False)
    _inputs: dict[FFmpegBinary, frozenset[str]] = attrs.field(factory=dict, init=False)

    @property
    def known(self) -> tuple[EncoderChoice, ...]:
        """Choices made so far."""
        found = [search.choice for search in self._searches.values()]
        return tuple(choice for choice in found if choice is not None)

    async def find(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        """Return the encoder to use for `codec`; the first call tries the candidates.

        Calls made meanwhile wait for the same search. Takes up to TIMEOUT_SECONDS per encoder.
        Raises FfmpegMissingError when the program does not run any more.
        """
        key = (program, codec)
        while (search := self._searches.get(key)) is not None:
            await search.done.wait()
            if search.choice is not None:
                return search.choice
        search = self._searches[key] = _Search()
        try:
            search.choice = await self._search(program, codec)
        finally:
            if search.choice is None or search.choice.encoder is None:
                # Cancelled, or none works now, such as on a busy machine: the next call
                # searches again.
                del self._searches[key]
            search.done.set()
        log.info("encoder_chosen", codec=codec, encoder=search.choice.summary)
        return search.choice

    async def inputs(self, program: FFmpegBinary) -> frozenset[str]:
        """Return the kinds of devices that it can capture from. Raises FfmpegMissingError."""
        if program not in self._inputs:
            self._inputs[program] = await inputs(program)
        return self._inputs[program]

    async def _search(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        if codec == "mjpeg":
            return EncoderChoice(codec, SOFTWARE[codec])
        if self.configured != "auto" and encoder_named(self.configured).codec == codec:
            encoder = encoder_named(self.configured)
            node = await trio.to_thread.run_sync(self._find_node, encoder.nodes)
            return EncoderChoice(codec, attrs.evolve(encoder, node=node))
        built_in = await encoders(program)
        trials: list[TrialResult] = []
        slow: list[tuple[float, EncoderSpec]] = []
        for candidate in (each for each in TABLE if each.codec == codec):
            encoder, result = await self._try_candidate(program, candidate, built_in)
            trials.append(result)
            if not result.why:
                return EncoderChoice(codec, encoder, tuple(trials))
            if result.seconds is not None:
                slow.append((result.seconds, encoder))
        fastest = min(slow, key=lambda pair: pair[0], default=(0.0, None))
        return EncoderChoice(codec, fastest[1], tuple(trials))

    async def _try_candidate(
        self, program: FFmpegBinary, encoder: EncoderSpec, built_in: frozenset[str]
    ) -> tuple[EncoderSpec, TrialResult]:
        if encoder.name not in built_in:
            return encoder, TrialResult(encoder.name, "not in this FFmpeg")
        if encoder.nodes:
            node = await trio.to_thread.run_sync(self._find_node, encoder.nodes)
            if not node:
                return encoder, TrialResult(encoder.name, "no such hardware")
            encoder = attrs.evolve(encoder, node=node)
        arguments = trial_arguments(str(program.path), encoder, TRIAL_SECONDS, program.version)
        return encoder, await _try(encoder, arguments)

    def _find_node(self, pattern: str) -> str:
        """Return the first node that fits; "" without one. Blocks."""
        if not pattern:
            return ""
        codecs = pattern == CODEC_NODES
        found = self.find_codec_nodes(self.dev) if codecs else sorted(self.dev.glob(pattern))
        return next(map(str, found), "")


async def _try(encoder: EncoderSpec, arguments: tuple[str, ...]) -> TrialResult:
    """Run one trial. Its time counts from the first output bytes, when the encoder is open."""
    trial = _TrialOutput()
    status: int | None = None
    with trio.move_on_after(TIMEOUT_SECONDS) as scope:
        try:
            async with open_child_process(arguments) as process, trio.open_nursery() as nursery:
                nursery.start_soon(trial.read_log, process)
                if await trial.read_stream(process):
                    status = await process.wait()
                nursery.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS
        except OSError as error:
            return TrialResult(encoder.name, f"cannot be run: {error.strerror}")
    if scope.cancelled_caught:
        seconds = TIMEOUT_SECONDS if trial.began else None
        return TrialResult(encoder.name, f"not done within {TIMEOUT_SECONDS:g} s", seconds)
    if status is None:
        return TrialResult(encoder.name, "its output does not end")
    if status != 0:
        return TrialResult(encoder.name, trial.first_error or f"exit status {status}")
    if why := trial_mistake(bytes(trial.stream), encoder.codec, TRIAL_FRAMES):
        return TrialResult(encoder.name, why)
    seconds = monotonic() - trial.began
    return TrialResult(encoder.name, "" if seconds < TRIAL_SECONDS else "slow", seconds)


@attrs.define(eq=False)
class _TrialOutput:
    """The stream and the log of a trial's FFmpeg process."""

    stream: bytearray = attrs.field(factory=bytearray)
    began: float = 0.0  # monotonic seconds of the first bytes
    _log: bytearray = attrs.field(factory=bytearray)

    async def read_stream(self, process: ChildProcess) -> bool:
        """Read to the end; False when the stream exceeds MAX_STREAM_BYTES."""
        while chunk := await process.read_output():
            self.began = self.began or monotonic()
            self.stream += chunk
            if len(self.stream) > MAX_STREAM_BYTES:
                return False
        return True

    async def read_log(self, process: ChildProcess) -> None:
        await keep_last(process.read_errors, self._log, MAX_LOG_BYTES)

    @property
    def first_error(self) -> str:
        """The first error in the log: later ones are its consequences."""
        lines = self._log.decode("utf-8", "replace").splitlines()
        severe = [message.text for message in map(parse_line, lines) if message.severe]
        return redact(severe[0])[:MAX_REASON_CHARACTERS] if severe else ""
