"""RTSP requests and responses, to explain why FFmpeg could not open a stream.

See RFC 2326, and RFC 7616 for Digest authentication. Requests carry no credentials.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import attrs

from camd.ffmpeg.text.redact import redact
from camd.model import GapCause, Problem, ProblemKind
from camd.model.problems import TIMED_OUT, TLS_FAILED

MAX_RESPONSE_BYTES = 8192
PORTS = {"rtsp": 554, "rtsps": 322}
_KNOWN_DIGESTS = ("", "md5")
_ALGORITHM = re.compile(r'algorithm\s*=\s*"?([\w-]+)', re.IGNORECASE)
_BANNERS = (
    (re.compile(rb"HTTP/|<(!DOCTYPE|html)", re.IGNORECASE), "HTTP"),
    (re.compile(rb"SSH-"), "SSH"),
    (re.compile(rb"\x15\x03|\x16\x03"), "TLS"),
    (re.compile(rb"220[ -]"), "FTP or SMTP"),
)


@attrs.frozen
class RtspAddress:
    """Address of a stream, without credentials."""

    host: str
    port: int
    url: str
    tls: bool
    with_credentials: bool


@attrs.frozen
class RtspResponse:
    """What came for one request. `status` 0: not an RTSP response."""

    request: str  # OPTIONS, DESCRIBE
    data: bytes = attrs.field(default=b"", repr=False)
    timed_out: bool = False
    status: int = 0
    challenges: tuple[str, ...] = ()


@attrs.frozen
class RtspFindings:
    """What camd's own conversation with a server showed."""

    responses: tuple[RtspResponse, ...] = ()
    certificate: str = ""  # why it is not trusted, by OpenSSL


def address_of(url: str) -> RtspAddress | None:
    """Parse a stream's URL; None when it is not an RTSP URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if host is None or scheme not in PORTS:
        return None
    query = f"?{parts.query}" if parts.query else ""
    shown = f"[{host}]" if ":" in host else host
    port = port or PORTS[scheme]
    bare = f"{scheme}://{shown}:{port}{parts.path}{query}"
    return RtspAddress(host, port, bare, scheme == "rtsps", "@" in parts.netloc)


def request(method: str, address: RtspAddress, number: int) -> bytes:
    """Write a request."""
    accept = "Accept: application/sdp\r\n" if method == "DESCRIBE" else ""
    text = f"{method} {address.url} RTSP/1.0\r\nCSeq: {number}\r\n{accept}User-Agent: camd\r\n\r\n"
    return text.encode("utf-8", "replace")


def read_response(method: str, data: bytes, *, timed_out: bool) -> RtspResponse:
    """Parse what came for a request."""
    text = data.decode("latin-1")
    found = re.match(r"RTSP/1\.\d (\d{3})", text)
    if found is None:
        return RtspResponse(method, data, timed_out)
    head = text.partition("\r\n\r\n")[0]
    challenges = re.findall(
        r"^WWW-Authenticate:[ \t]*([^\r\n]+)", head, re.MULTILINE | re.IGNORECASE
    )
    return RtspResponse(method, data, timed_out, int(found[1]), tuple(challenges))


def explain_refusal(problem: Problem, address: RtspAddress, findings: RtspFindings) -> Problem:
    """Return `problem` with what the conversation showed, or as it is when it showed nothing."""
    if findings.certificate:
        return attrs.evolve(
            TLS_FAILED,
            message=f"The source's certificate is not trusted: {findings.certificate}",
            suggestion="Set tls_verify = false for this camera to accept any certificate, or have "
            'FFmpeg trust this one: input_options = ["-ca_file", "/path/ca.pem"].',
        )
    if problem.kind == ProblemKind.UNAUTHORISED:
        challenges = [text for response in findings.responses for text in response.challenges]
        return _explain_unauthorised(problem, address, challenges)
    if not findings.responses:
        return problem
    last = findings.responses[-1]
    if not last.status:
        return _explain_no_rtsp(problem, last)
    if problem.kind == ProblemKind.TIMED_OUT and len(findings.responses) > 1:
        return attrs.evolve(
            problem,
            message="The source answers DESCRIBE, but not what follows it (SETUP, PLAY)",
        )
    return problem


def _explain_unauthorised(problem: Problem, address: RtspAddress, challenges: list[str]) -> Problem:
    digests = [
        (match[1] if (match := _ALGORITHM.search(text)) else "")
        for text in challenges
        if text.lower().startswith("digest")
    ]
    basic = any(text.lower().startswith("basic") for text in challenges)
    if digests and not basic and not any(each.lower() in _KNOWN_DIGESTS for each in digests):
        return attrs.evolve(
            problem,
            kind=ProblemKind.UNSUPPORTED_AUTHENTICATION,
            message=f"The source wants Digest authentication with {redact(digests[0])}, which "
            "FFmpeg does not know",
            suggestion="Have the camera take Digest with MD5, or Basic (over rtsps or a private "
            "network), or put a relay between.",
        )
    if challenges and not address.with_credentials:
        return attrs.evolve(
            problem,
            message="The source asks for a user name and a password",
            suggestion="Write them into its URL: rtsp://user:password@host/…, percent-encoded.",
        )
    return problem


def _explain_no_rtsp(problem: Problem, response: RtspResponse) -> Problem:
    """Say what came instead of an RTSP response: another protocol, nothing, or the end."""
    if response.data:
        names = [name for pattern, name in _BANNERS if pattern.match(response.data)]
        protocol = f"{names[0]}, not RTSP" if names else "no RTSP"
        secure = "write rtsps://… for RTSP over TLS; " if names == ["TLS"] else ""
        return Problem(
            ProblemKind.NO_RTSP,
            f"What answers on the source's port speaks {protocol}",
            f"Correct the port in the source's URL; {secure}554 is the usual one.",
            GapCause.SOURCE_UNREACHABLE,
        )
    if response.timed_out:
        return attrs.evolve(
            TIMED_OUT,
            message=f"The source accepts connections, but does not answer {response.request} in "
            "time",
        )
    return attrs.evolve(
        problem,
        kind=ProblemKind.CLOSED,
        message=f"The source closes the connection without an answer to {response.request}",
        suggestion="Check that it speaks RTSP on that port, and does not block this host.",
    )
