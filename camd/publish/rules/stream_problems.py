"""What can be wrong between camd and MediaMTX, in words for people."""

from __future__ import annotations

import attrs

from camd.model import Problem, ProblemKind
from camd.model.problems import FFMPEG_MISSING

REFUSED = Problem(
    ProblemKind.CONNECTION_REFUSED,
    "MediaMTX does not accept connections",
    "Start MediaMTX, or correct the addresses in [mediamtx].",
)
UNREACHABLE = Problem(
    ProblemKind.UNREACHABLE,
    "MediaMTX cannot be reached",
    "Correct the addresses in [mediamtx], or look after the network.",
)
SILENT = Problem(
    ProblemKind.TIMED_OUT,
    "MediaMTX does not answer in time",
    "Look after the machine on which MediaMTX runs; camd asks again by itself.",
)
UNAUTHORISED = Problem(
    ProblemKind.UNAUTHORISED,
    "MediaMTX refuses the credentials",
    "Correct mediamtx.username and its password; the user needs the permissions publish and api.",
)
API_BY_DIGEST = Problem(
    ProblemKind.UNAUTHORISED,
    "What answers at mediamtx.api demands digest authentication, and camd offers Basic",
    "Set mediamtx.api to MediaMTX's own address, which takes Basic, not to a proxy in front of it.",
)
RTSP_BY_DIGEST = Problem(
    ProblemKind.UNAUTHORISED,
    "MediaMTX takes RTSP credentials by digest only, and camd offers Basic",
    "Set `rtspAuthMethods: [basic]` in MediaMTX's configuration; where others could listen, use "
    "an rtsps address.",
)
NO_RTSP = Problem(
    ProblemKind.UNREADABLE,
    "What answers at mediamtx.rtsp is not an RTSP server",
    "Correct mediamtx.rtsp: it is rtspAddress of MediaMTX's configuration.",
)
RTSP_OFF = Problem(
    ProblemKind.CONNECTION_REFUSED,
    "MediaMTX is configured without RTSP",
    "Set `rtsp: yes` in MediaMTX's configuration.",
)
NO_TCP = Problem(
    ProblemKind.UNSUPPORTED_FORMAT,
    "MediaMTX takes no RTSP over TCP, by which camd publishes",
    "Add tcp to rtspTransports in MediaMTX's configuration.",
)
NO_API = Problem(
    ProblemKind.UNREADABLE,
    "What answers is not MediaMTX's control API",
    "Correct mediamtx.api, and set `api: yes` in MediaMTX's configuration.",
)
SERVER_FAILS = Problem(
    ProblemKind.SERVER_ERROR,
    "MediaMTX answers with an error",
    "Look into MediaMTX's log; camd tries again by itself.",
)
TLS_FAILED = Problem(
    ProblemKind.TLS_FAILED,
    "The certificate of MediaMTX cannot be verified",
    "Give MediaMTX a certificate that this machine trusts, or use an address without TLS.",
)
PATH_TAKEN = Problem(
    ProblemKind.TAKEN,
    "The path on MediaMTX has another source",
    "Give the camera another stream_name, or remove the other source.",
)
STALLED = Problem(
    ProblemKind.STALLED,
    "MediaMTX takes no more of the stream",
    "Look after the machine on which MediaMTX runs; camd publishes again by itself.",
)
STREAM_REFUSED = Problem(
    ProblemKind.SERVER_ERROR,
    "MediaMTX refuses the stream",
    "Look into MediaMTX's log: the credentials may be wrong, the path not allowed, or taken.",
)
ENDED = Problem(
    ProblemKind.CLOSED,
    "MediaMTX ended the stream",
    "Look into MediaMTX's log; camd publishes again by itself.",
)
NOT_CARRIED = Problem(
    ProblemKind.UNSUPPORTED_FORMAT,
    "RTSP cannot carry the camera's format",
    "Let the camera deliver H.264, or set its codec to h264.",
)
NO_FFMPEG = Problem(
    ProblemKind.FFMPEG_MISSING,
    "FFmpeg could not be started to publish the stream",
    FFMPEG_MISSING.suggestion,
)
NOT_PUBLISHED = Problem(
    ProblemKind.UNKNOWN,
    "The stream could not be published",
    "Look into the log of camd and of MediaMTX; camd publishes again by itself.",
)
ASKING_FAILS = Problem(
    ProblemKind.INTERNAL_ERROR,
    "camd failed to publish, or to ask MediaMTX, and is started again",
    "Report this with camd's log.",
)

# What FFmpeg's end means here, by what `camd.ffmpeg.text.output.classify` makes of it.
_BY_KIND = {
    each.kind: each
    for each in (
        REFUSED,
        UNREACHABLE,
        SILENT,
        UNAUTHORISED,
        TLS_FAILED,
        STREAM_REFUSED,
        ENDED,
        NO_FFMPEG,
    )
} | {
    ProblemKind.ENDED: ENDED,
    ProblemKind.BLOCKED: UNREACHABLE,
    ProblemKind.UNSUPPORTED_FORMAT: NOT_CARRIED,
    ProblemKind.SERVER_BUSY: SERVER_FAILS,
    ProblemKind.SERVER_UNAVAILABLE: SERVER_FAILS,
}


def publishing_problem(found: Problem) -> Problem:
    """Return why a stream could not be published, from why its FFmpeg process ended."""
    known = _BY_KIND.get(found.kind)
    if known is not None:
        return known
    return with_detail(NOT_PUBLISHED, found.message)


def explained(publishing: Problem, api: Problem | None) -> Problem:
    """Return the publishing problem, or that of the control API where it says more.

    MediaMTX answers wrong credentials by RTSP with 400, as it does many things.
    """
    return UNAUTHORISED if publishing == STREAM_REFUSED and api == UNAUTHORISED else publishing


def with_detail(problem: Problem, detail: str) -> Problem:
    """Return the problem with a detail in its message."""
    return attrs.evolve(problem, message=f"{problem.message}: {detail}")
