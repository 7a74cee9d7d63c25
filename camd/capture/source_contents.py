"""What one camera's source holds, and how it is reached: known, remembered, or found by a probe.

What is known is a hint. It is compared with what comes, and forgotten when that differs.
"""

from __future__ import annotations

from datetime import timedelta

import attrs
import structlog
import trio

from camd.capture.source_cache import SourceCache, SourceFacts, cache_key_of
from camd.clock import Clock
from camd.config.schema import CameraConfig, FfmpegConfig
from camd.ffmpeg.binary import FFmpegBinary, knows_tls_verify
from camd.ffmpeg.text.args import StreamAccess, probe_arguments
from camd.ffmpeg.text.output import ProbeResult, parse_probe, parse_refusal
from camd.model import Problem, ProblemKind, VideoFormat
from camd.model.problems import CANNOT_VERIFY_TLS, NOT_FOUND, TIMED_OUT
from camd.mp4.fragments import Init
from camd.runtime.path_lookup import BoundedFileCalls
from camd.runtime.query_process import run_program
from camd.sources import FileStamp, Source
from camd.sources.source import LOOK_PICTURES

log = structlog.get_logger("camd.camera")

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
LOOK_AFTER_SECONDS = 4.0
CONTAINER_NAMES = {"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc"}


@attrs.define(eq=False)
class SourceContents:
    """What is known of one camera's source. `cache` is shared by all cameras."""

    camera: CameraConfig
    ffmpeg: FfmpegConfig
    cache: SourceCache
    clock: Clock = attrs.field(kw_only=True)
    missing: bool = attrs.field(default=False, init=False)  # the file, at the last look
    _found: ProbeResult | None = attrs.field(default=None, init=False)
    _facts: FileStamp | None = attrs.field(default=None, init=False)  # at the last look
    _transport: str = attrs.field(default="tcp", init=False)  # the one that is tried or works
    _last: Problem | None = attrs.field(default=None, init=False)  # how the last capture ended
    _short_analysis: bool = attrs.field(default=False, init=False)  # in the last plan
    _short_failed: bool = attrs.field(default=False, init=False)  # such a plan has failed
    _recalled: bool = attrs.field(default=False, init=False)  # the last plan relied on memory
    _rare: bool = attrs.field(default=False, init=False)  # less than a picture a second came

    def __attrs_post_init__(self) -> None:
        if self.camera.transport != "auto":
            self._transport = self.camera.transport

    @property
    def source(self) -> Source:
        """The source."""
        return self.camera.source

    @property
    def known(self) -> ProbeResult | None:
        """What the source holds, as far as that is known already; asks and changes nothing."""
        if self._found is not None:
            return self._found
        found = self.cache.find(self._cache_key)
        return found.probe if found is not None else None

    # --- before a capture

    async def look(self, looks: BoundedFileCalls) -> Problem | None:
        """Look at the file, if the source is one; None: it can be read, or there is none."""
        found = await self.source.look(looks)
        self.missing = found == NOT_FOUND
        if isinstance(found, Problem):
            return found
        self._facts = found
        return None

    async def reach(self, program: FFmpegBinary) -> StreamAccess | Problem:
        """Find out how the source's server is to be reached. Raises FfmpegMissingError.

        A port that refused the last connection is tried without a capture first.
        """
        last = self._last
        refused = last is not None and last.kind == ProblemKind.CONNECTION_REFUSED
        if last is not None and refused and await self.source.still_refuses():
            return last
        verify = self.camera.tls_verify
        if verify is not None and not await knows_tls_verify(program):
            if verify:
                return CANNOT_VERIFY_TLS
            verify = None  # it never verifies
        timeout = max(self.ffmpeg.start_timeout, self.ffmpeg.stall_timeout)
        return StreamAccess(self._transport, timeout, verify)

    async def find(self, program: FFmpegBinary, reach: StreamAccess) -> ProbeResult | Problem:
        """Return what the source holds; probes it when that is not known."""
        known = self._remembered()
        self._recalled = self._found is not None or known is not None
        found = self._found or (known and known.probe) or await self._probe(program, reach)
        if isinstance(found, Problem):
            return found
        self._found = found
        # What was described already is not analysed for long, unless that failed once.
        self._short_analysis = bool(found.video_codec and found.width) and not self._short_failed
        return found

    def access(self, reach: StreamAccess) -> StreamAccess:
        """Return how a capture connects, after `find`."""
        return attrs.evolve(
            reach,
            transport=self._transport,
            analysis=SHORT_ANALYSIS if self._short_analysis else None,
            rare=self._rare and self._short_analysis,
        )

    # --- while a capture runs, and after it

    def compare(self, video: VideoFormat) -> None:
        """Note what comes; a rate of 0 is one that has not been measured yet."""
        if video.fps:
            self._rare = video.fps < RARE_FPS

    def began(self, init: Init, *, copied: bool) -> bool:
        """Note what a capture delivers; False: it is not what the capture was made for.

        What comes is remembered, and replaces what was.
        """
        found, video = self._found, init.video
        if found is None or not self._cache_key:
            return True
        codec = CONTAINER_NAMES.get(video.codec, found.video_codec)
        if copied and self.camera.codec == "auto" and video.codec not in CONTAINER_NAMES:
            self.forget()  # it was copied because it had been H.264 or H.265
            return False
        if copied:
            found = attrs.evolve(found, video_codec=codec, width=video.width, height=video.height)
        if not found.video_codec:  # no probe could tell; the next one may
            self._found = None
            return True
        self._found = found
        known = SourceFacts(
            *(found.video_codec, found.width, found.height, found.fps, found.audio_codec),
            self._transport,
        )
        self.cache.learn(self._cache_key, known)
        return True

    def has_new_sound(self) -> bool:
        """Whether sound that comes was not there when the source was asked: it is asked anew then.

        Not twice in a row, where only the answer to a probe lacks it.
        """
        found = self._found
        silent = found is not None and bool(found.video_codec) and not found.audio_codec
        if not (silent and self._recalled):
            return False
        self.forget()
        return True

    def learn(self, problem: Problem | None) -> None:
        """Note how a capture ended; None: as it should."""
        self._last = problem

    def tries_otherwise(self, problem: Problem | None) -> bool:
        """Whether a capture that ended so, without a picture, is followed at once by another one.

        By one that takes the other transport, or by one that relies on nothing that is remembered.
        """
        if problem is None:
            return False
        if self._changes_transport(problem):
            return True
        if problem.kind in CONNECTION_KINDS or not self._short_analysis:
            return False
        self._short_failed = True
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

    def forget(self) -> None:
        """Probe again before the next capture: what was known may not hold any more."""
        self._found = None
        self.cache.forget(self._cache_key)

    # --- the transport, and what is remembered

    def _changes_transport(self, problem: Problem) -> bool:
        """Take UDP from now on where the server refuses TCP and the entry leaves the choice."""
        refused = problem.kind in (ProblemKind.UNSUPPORTED_TRANSPORT, ProblemKind.SERVER_BUSY)
        option = self.source.transport_option
        free = self.camera.transport == "auto" and option not in self.camera.input_options
        if not (refused and option and free and self._transport == "tcp"):
            return False
        self._take_transport("udp")
        log.info("transport_changed", camera=self.camera.id, transport="udp")
        return True

    def _take_transport(self, transport: str) -> None:
        """Use this one from now on, whatever is remembered of an earlier connection."""
        self._transport, known = transport, self.cache.find(self._cache_key)
        if known is not None:
            self.cache.learn(self._cache_key, attrs.evolve(known, transport=transport))

    @property
    def _cache_key(self) -> str:
        return cache_key_of(self.source, self._facts)

    def _remembered(self) -> SourceFacts | None:
        """What is known of the source from an earlier connection or run of the service."""
        known = self.cache.find(self._cache_key)
        if known is not None and self.camera.transport == "auto":
            self._transport = known.transport
        return known

    # --- the probe

    async def _probe(self, program: FFmpegBinary, reach: StreamAccess) -> ProbeResult | Problem:
        """Ask a source what it holds; over the other transport where the first is refused."""
        found = await self._ask_watched(program, reach)
        if isinstance(found, Problem) and self._changes_transport(found):
            found = await self._ask(program, attrs.evolve(reach, transport=self._transport))
        if isinstance(found, Problem):
            return await self.source.explain(found, delivered=False)
        return found

    async def _ask_watched(
        self, program: FFmpegBinary, reach: StreamAccess
    ) -> ProbeResult | Problem:
        """Ask FFmpeg; when that takes long, find out whether the server speaks another protocol."""
        found: ProbeResult | Problem = ProbeResult()
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                nonlocal found
                await trio.sleep(LOOK_AFTER_SECONDS)
                seen = await self.source.explain(TIMED_OUT, delivered=False)
                if seen.kind == ProblemKind.NO_RTSP:
                    found = seen
                    nursery.cancel_scope.cancel()

            nursery.start_soon(look)
            found = await self._ask(program, reach)
            nursery.cancel_scope.cancel()
        return found

    async def _ask(self, program: FFmpegBinary, reach: StreamAccess) -> ProbeResult | Problem:
        """Ask FFmpeg what a stream holds, so that H.264 and H.265 are kept as they are.

        Devices are not opened twice for it. Empty when FFmpeg does not say, or not in time. What
        a server refuses is not asked for again at once: it may count wrong passwords.
        """
        if not self.source.is_probed:
            return ProbeResult()
        arguments = probe_arguments(
            *(str(program.path), self.source, program.version),
            options=self.camera.input_options,
            access=reach,
        )
        seconds = self.source.probe_seconds(reach.timeout.total_seconds())
        asked = self.clock.monotonic()
        try:
            answer = await run_program(arguments, seconds)
        except OSError:  # it went away since it was found; the capture will say so
            return ProbeResult()
        stream = self.source.is_remote
        self._rare = stream and self.clock.monotonic() - asked > LOOK_PICTURES / RARE_FPS
        if answer.status is None and not answer.flooded:
            log.warning("probe_took_too_long", camera=self.camera.id)
            return TIMED_OUT if stream else ProbeResult()
        text = answer.errors.decode("utf-8", "replace")
        found = parse_probe(text)
        return parse_refusal(text) if stream and not found.streams else found
