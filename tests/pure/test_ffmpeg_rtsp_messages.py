"""RTSP responses, and what they say about a stream that FFmpeg could not open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.ffmpeg.text.rtsp_messages import (
    RtspAddress,
    RtspFindings,
    RtspResponse,
    address_of,
    explain_refusal,
    read_response,
    request,
)
from camd.model import GapCause, Problem

ADDRESS = RtspAddress("10.0.0.9", 554, "rtsp://10.0.0.9:554/x", tls=False, with_credentials=True)


def problem(cause: str) -> Problem:
    """Make a problem that FFmpeg reported."""
    return Problem(cause, "Something", "Do something.", GapCause.SOURCE_UNREACHABLE)


@pytest.mark.parametrize(
    ("url", "host", "port", "bare"),
    [
        ("rtsp://u:p@cam/x?y=1", "cam", 554, "rtsp://cam:554/x?y=1"),
        ("RTSPS://u@[::1]:7/x", "::1", 7, "rtsps://[::1]:7/x"),
        ("rtsps://cam", "cam", 322, "rtsps://cam:322"),
    ],
)
def test_a_url_is_taken_apart_without_its_credentials(
    url: str, host: str, port: int, bare: str
) -> None:
    """camd's own requests contain no password."""
    found = address_of(url)
    assert found is not None
    assert (found.host, found.port, found.url) == (host, port, bare)
    assert b"p@" not in request("DESCRIBE", found, 2)


@given(st.text(max_size=60))
def test_any_url_has_an_address_or_none(text: str) -> None:
    """No URL raises an exception."""
    for url in (text, f"rtsp://{text}"):
        address_of(url)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_response(data: bytes) -> None:
    """Any bytes of a server can be explained."""
    answer = read_response("OPTIONS", data, timed_out=False)
    for cause in ("no_stream", "unauthorised", "timed_out"):
        assert explain_refusal(problem(cause), ADDRESS, RtspFindings((answer,))).message


def refused(*challenges: str) -> RtspFindings:
    """Make the findings about a server that asks for credentials."""
    lines = "".join(f"WWW-Authenticate: {text}\r\n" for text in challenges)
    data = f"RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\n{lines}\r\n".encode()
    return RtspFindings((read_response("DESCRIBE", data, timed_out=False),))


@pytest.mark.parametrize(
    ("challenges", "cause"),
    [
        (('Digest realm="a", nonce="b", algorithm=SHA-256',), "unsupported_authentication"),
        (('Digest realm="a", algorithm="SHA-512-256"',), "unsupported_authentication"),
        (('Digest realm="a", algorithm="SHA-256"', 'Digest realm="a"'), "unauthorised"),
        (('Digest realm="a", algorithm="SHA-256"', 'Basic realm="a"'), "unauthorised"),
        (('Digest realm="a", algorithm=MD5',), "unauthorised"),
        (('Basic realm="a"',), "unauthorised"),
    ],
)
def test_a_digest_that_ffmpeg_lacks_is_named(challenges: tuple[str, ...], cause: str) -> None:
    """When FFmpeg knows one of the offered algorithms, the password was wrong."""
    found = explain_refusal(problem("unauthorised"), ADDRESS, refused(*challenges))
    assert found.kind == cause


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        (RtspResponse("OPTIONS", b"HTTP/1.1 400 Bad"), "no_rtsp", "HTTP"),
        (RtspResponse("OPTIONS", b"\x15\x03\x01\0\2"), "no_rtsp", "TLS"),
        (RtspResponse("OPTIONS", b"\0\0"), "no_rtsp", "no RTSP"),
        (RtspResponse("OPTIONS", timed_out=True), "timed_out", "OPTIONS"),
        (RtspResponse("DESCRIBE", timed_out=True), "timed_out", "DESCRIBE"),
        (RtspResponse("OPTIONS"), "closed", "without an answer"),
    ],
)
def test_another_protocol_is_named(answer: RtspResponse, cause: str, words: str) -> None:
    """Each kind of response has its own kind of problem and text."""
    found = explain_refusal(problem("no_stream"), ADDRESS, RtspFindings((answer,)))
    assert (found.kind, words in found.message) == (cause, True)


def test_a_certificate_names_the_key_that_takes_it() -> None:
    """OpenSSL's reason is in the message, the option to set in the suggestion."""
    found = explain_refusal(
        problem("tls_failed"), ADDRESS, RtspFindings(certificate="certificate has expired")
    )
    assert "has expired" in found.message
    assert "tls_verify = false" in found.suggestion
