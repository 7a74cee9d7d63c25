"""RTSP as far as it tells why FFmpeg could not open a stream (RFC 2326, RFC 7616).

Requests without credentials, and what their answers say.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import attrs

from camd.ffmpeg.text.redact import redact
from camd.model import Cause, Problem

MOST_BYTES = 8192  # of one answer
_PORTS = {"rtsp": 554, "rtsps": 322}
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
    """Where a stream is, without credentials."""

    host: str
    port: int
    url: str
    tls: bool
    with_credentials: bool


@attrs.frozen
class RtspResponse:
    """What came for one request. `status` 0: not an RTSP answer."""

    request: str  # OPTIONS, DESCRIBE
    data: bytes = attrs.field(default=b"", repr=False)
    timed_out: bool = False
    status: int = 0
    challenges: tuple[str, ...] = ()


@attrs.frozen
class RtspFindings:
    """What a conversation of our own showed."""

    answers: tuple[RtspResponse, ...] = ()
    certificate: str = ""  # what is wrong with it, as OpenSSL says


def address_of(url: str) -> RtspAddress | None:
    """Take a stream's URL apart; None where it cannot be."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if host is None or scheme not in _PORTS:
        return None
    query = f"?{parts.query}" if parts.query else ""
    shown = f"[{host}]" if ":" in host else host
    port = port or _PORTS[scheme]
    bare = f"{scheme}://{shown}:{port}{parts.path}{query}"
    return RtspAddress(host, port, bare, scheme == "rtsps", "@" in parts.netloc)


def request(method: str, address: RtspAddress, number: int) -> bytes:
    """Write a request."""
    accept = "Accept: application/sdp\r\n" if method == "DESCRIBE" else ""
    text = f"{method} {address.url} RTSP/1.0\r\nCSeq: {number}\r\n{accept}User-Agent: camd\r\n\r\n"
    return text.encode("utf-8", "replace")


def read_answer(method: str, data: bytes, *, timed_out: bool) -> RtspResponse:
    """Read what came for a request."""
    text = data.decode("latin-1")
    found = re.match(r"RTSP/1\.\d (\d{3})", text)
    if found is None:
        return RtspResponse(method, data, timed_out)
    head = text.partition("\r\n\r\n")[0]
    challenges = re.findall(
        r"^WWW-Authenticate:[ \t]*([^\r\n]+)", head, re.MULTILINE | re.IGNORECASE
    )
    return RtspResponse(method, data, timed_out, int(found[1]), tuple(challenges))


def explain(problem: Problem, address: RtspAddress, seen: RtspFindings) -> Problem:
    """Say more of why a stream could not be opened, where a conversation showed it."""
    if seen.certificate:
        return attrs.evolve(
            problem,
            kind="tls_failed",
            message=f"The source's certificate is not trusted: {seen.certificate}",
            suggestion="Set tls_verify = false for this camera to take any certificate, or have "
            'FFmpeg trust this one: input_options = ["-ca_file", "/path/ca.pem"].',
            ledger_cause=Cause.SOURCE_UNREACHABLE,
        )
    challenges = [text for answer in seen.answers for text in answer.challenges]
    if problem.kind == "unauthorised":
        return _explain_refused(problem, address, challenges)
    if not seen.answers:
        return problem
    last = seen.answers[-1]
    if not last.status:
        return _explain_stranger(problem, last)
    if problem.kind == "timed_out" and len(seen.answers) > 1:
        return attrs.evolve(
            problem,
            message="The source answers DESCRIBE, but not what follows it (SETUP, PLAY)",
        )
    return problem


def _explain_refused(problem: Problem, address: RtspAddress, challenges: list[str]) -> Problem:
    digests = [
        (match[1] if (match := _ALGORITHM.search(text)) else "")
        for text in challenges
        if text.lower().startswith("digest")
    ]
    basic = any(text.lower().startswith("basic") for text in challenges)
    if digests and not basic and not any(each.lower() in _KNOWN_DIGESTS for each in digests):
        return attrs.evolve(
            problem,
            kind="unsupported_authentication",
            message=f"The source wants Digest authentication with {redact(digests[0])}, which "
            "FFmpeg does not know",
            suggestion="Have the camera take Digest with MD5, or Basic (over rtsps or a network "
            "that is yours), or put a relay between.",
        )
    if challenges and not address.with_credentials:
        return attrs.evolve(
            problem,
            message="The source asks for a user name and a password",
            suggestion="Write them into its URL: rtsp://user:password@host/…, percent-encoded.",
        )
    return problem


def _explain_stranger(problem: Problem, answer: RtspResponse) -> Problem:
    """Nothing came that is RTSP."""
    if answer.data:
        names = [name for pattern, name in _BANNERS if pattern.match(answer.data)]
        spoken = f"{names[0]}, not RTSP" if names else "no RTSP"
        secure = "write rtsps://… for RTSP over TLS; " if names == ["TLS"] else ""
        return attrs.evolve(
            problem,
            kind="no_rtsp",
            message=f"What answers on the source's port speaks {spoken}",
            suggestion=f"Correct the port in the source's URL; {secure}554 is the usual one.",
            ledger_cause=Cause.SOURCE_UNREACHABLE,
        )
    if answer.timed_out:
        return attrs.evolve(
            problem,
            kind="timed_out",
            message=f"The source takes connections, but does not answer {answer.request} in time",
            suggestion="Check that it speaks RTSP on that port; for a slow one, raise "
            "ffmpeg.start_timeout.",
            ledger_cause=Cause.SOURCE_UNREACHABLE,
        )
    return attrs.evolve(
        problem,
        kind="closed",
        message=f"The source closes the connection without an answer to {answer.request}",
        suggestion="Check that it speaks RTSP on that port, and does not keep this host out.",
    )
