"""What camd decides about a media server: retries, answers, paths, addresses, and its requests."""

from __future__ import annotations

import base64
import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.config.schema import CameraConfig, MediaMtxConfig
from camd.ffmpeg.text.publish_args import publish_arguments
from camd.model import CameraId, PublicationState, PublicationStatus
from camd.model.problems import TIMED_OUT, UNKNOWN
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.api_answers import (
    AnswerError,
    MediaServerPath,
    MediaServerSettings,
    PathPage,
    PathPeer,
    PathSettings,
    path_target,
    read_answer,
)
from camd.publish.rules.retry import HEALTHY_SECONDS, CircuitBreaker
from camd.publish.rules.rtsp_requests import (
    MOST_HEAD_BYTES,
    RelayError,
    RequestRewriter,
    basic_authorization,
)
from camd.publish.rules.served_paths import (
    PathClaim,
    ViewerAddresses,
    addresses,
    claim_path,
    is_published,
    path_name,
    served_stream,
)

PUBLISHING = PublicationStatus("gate", PublicationState.PUBLISHING)
OURS = MediaServerPath("gate", PathPeer("rtspSession", "1"), online=True, readers=[PathPeer()])
FOREIGN = MediaServerPath("gate", PathPeer("rtspSource", "2"), online=True)
BASES = ViewerAddresses((("rtsp", "rtsp://h:8554"), ("hls", "http://h:8888")))
SERVER = MediaMtxConfig()
HAS_ALL = MediaServerSettings(
    rtsp=True, hls=True, hls_address=":8888", webrtc=True, webrtc_address="127.0.0.1:8889"
)


def test_the_breaker_opens_after_three_failures_and_an_answer_closes_it() -> None:
    """While it is open the pause grows; a server that answers is asked regularly."""
    breaker, opened, pauses = CircuitBreaker(), [], []
    for _ in range(4):
        breaker.failed()
        opened.append(breaker.open)
        pauses.append(breaker.pause_seconds(1.0))
    assert opened == [False, False, True, True]
    assert pauses == [1, 2, 4, 8]
    breaker.succeeded()
    assert not breaker.open
    assert breaker.pause_seconds(1.0) == HEALTHY_SECONDS


@pytest.mark.parametrize(
    ("settings", "path", "claim"),
    [
        (None, None, PathClaim.MISSING),
        (PathSettings(), None, PathClaim.FREE),
        (PathSettings(source="rtsp://camera/1"), None, PathClaim.TAKEN),
        (PathSettings(), OURS, PathClaim.TAKEN),
        (None, FOREIGN, PathClaim.TAKEN),
        (PathSettings(), MediaServerPath("gate"), PathClaim.FREE),
    ],
)
def test_a_path_is_claimed_only_while_nobody_has_it(
    settings: PathSettings | None, path: MediaServerPath | None, claim: PathClaim
) -> None:
    """A path with a source, or configured with one, is somebody else's."""
    assert claim_path(settings, path) is claim


def serve(status: PublicationStatus, path: MediaServerPath | None, *, asked: bool) -> object:
    """Return what is served of an H.264 stream."""
    return served_stream(status, path, asked=asked, bases=BASES, codec="avc1")


def test_a_stream_is_served_only_when_camd_and_the_server_say_so() -> None:
    """Published, listed, ready, and published by RTSP; without an answer, published is enough."""
    assert serve(PUBLISHING, OURS, asked=True) is not None
    assert serve(PUBLISHING, None, asked=True) is None
    assert serve(PUBLISHING, FOREIGN, asked=True) is None
    assert serve(PUBLISHING, MediaServerPath("gate", PathPeer("rtspSession")), asked=True) is None
    assert serve(PUBLISHING, None, asked=False) is not None
    for state in PublicationState:
        if state is not PublicationState.PUBLISHING:
            assert serve(PublicationStatus("gate", state), OURS, asked=True) is None


def test_readers_and_bytes_are_those_of_the_path() -> None:
    """They are shown as the server says them."""
    found = served_stream(PUBLISHING, OURS, asked=True, bases=BASES, codec="avc1")
    assert found is not None
    assert (found.readers, found.bytes_sent, found.protocols) == (1, 0, ("rtsp", "hls"))


def test_only_protocols_that_carry_the_codec_are_told() -> None:
    """MJPEG is watched by RTSP alone."""
    found = served_stream(PUBLISHING, OURS, asked=True, bases=BASES, codec="jpeg")
    assert found is not None
    assert found.addresses == (("rtsp", "rtsp://h:8554/gate"),)


def test_addresses_are_those_that_the_server_has() -> None:
    """Ports come from the server, hosts from the configuration, and `viewers` leaves some out."""
    assert addresses(SERVER, HAS_ALL).bases == (
        ("rtsp", "rtsp://127.0.0.1:8554"),
        ("hls", "http://127.0.0.1:8888"),
        ("webrtc", "http://127.0.0.1:8889"),
    )
    assert addresses(SERVER, None).bases == (("rtsp", "rtsp://127.0.0.1:8554"),)
    assert addresses(SERVER, MediaServerSettings(rtsp=True)).bases == (
        ("rtsp", "rtsp://127.0.0.1:8554"),
    )
    told = MediaMtxConfig(
        viewers=("hls",), viewer_hls="https://cdn.example/live", rtsp="rtsp://[::1]:8554"
    )
    assert addresses(told, HAS_ALL).bases == (("hls", "https://cdn.example/live"),)
    six = MediaMtxConfig(rtsp="rtsp://[::1]:8554")
    assert dict(addresses(six, HAS_ALL).bases)["hls"] == "http://[::1]:8888"


def test_who_is_published_and_where() -> None:
    """A camera's own word counts more than the section's."""
    silent, yes, no = (CameraConfig(CameraId("a"), publish=word) for word in (None, True, False))
    for publish, expected in (("capturing", [1, 1, 0]), ("none", [0, 1, 0]), ("always", [1, 1, 0])):
        server = MediaMtxConfig(publish=publish, prefix="camd/")
        assert [is_published(camera, server) for camera in (silent, yes, no)] == expected
        assert path_name(silent, server) == "camd/a"
    assert path_name(CameraConfig(CameraId("a"), stream_name="yard"), SERVER) == "yard"


def test_answers_of_several_versions_are_understood() -> None:
    """Fields that are new, old, null or unknown are no mistake."""
    page = read_answer(
        b'{"itemCount":2,"pageCount":1,"items":['
        b'{"name":"a","source":null,"ready":true,"readers":null,"bytesSent":7,"what":[{}]},'
        b'{"name":"b","source":{"type":"rtspSession","id":"1"},"ready":true,"online":false,'
        b'"outboundBytes":9,"bytesSent":1}]}',
        PathPage,
    )
    assert [(path.is_ready, path.sent_bytes) for path in page.items] == [(True, 7), (False, 9)]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error_that_says_so(body: bytes) -> None:
    """Nothing else is raised."""
    with suppress(AnswerError):
        assert isinstance(read_answer(body, PathPage), PathPage)


def test_an_answer_that_is_nested_without_end_is_none() -> None:
    """The depth is bounded."""
    with pytest.raises(AnswerError):
        read_answer(b'{"items":' + b"[" * 200_000, PathPage)


def test_names_are_quoted_in_request_targets() -> None:
    """A name never becomes another path, or a query."""
    assert path_target("paths/get", "yard/gate ?#") == "/v3/paths/get/yard/gate%20%3F%23"


def test_what_ffmpeg_says_becomes_a_problem_of_the_server() -> None:
    """The texts are about MediaMTX, and not about a camera."""
    assert problems.publishing_problem(TIMED_OUT) is problems.SILENT
    refused = problems.STREAM_REFUSED
    assert problems.explained(refused, problems.UNAUTHORISED) is problems.UNAUTHORISED
    assert problems.explained(refused, problems.SILENT) is refused
    assert problems.explained(problems.STALLED, problems.UNAUTHORISED) is problems.STALLED
    assert problems.publishing_problem(UNKNOWN).message.startswith(problems.NOT_PUBLISHED.message)


def test_the_command_copies_and_leaves_sound_out_when_told() -> None:
    """Nothing is encoded; RTP goes over the connection."""
    with_sound = publish_arguments("ffmpeg", "rtsp://h/x", sound=True)
    without = publish_arguments("ffmpeg", "rtsp://h/x", sound=False)
    assert with_sound[with_sound.index("-c") :][:2] == ("-c", "copy")
    assert "0:a:0" in with_sound
    assert "0:a:0" not in without
    assert with_sound[-1] == "rtsp://h/x"


# --- the relay's requests

LOCAL, REMOTE = b"rtsp://127.0.0.1:4", b"rtsp://server:8554"
SECRET = basic_authorization("camd", "pass:word")
REQUESTS = (
    b"OPTIONS rtsp://127.0.0.1:4/gate RTSP/1.0\r\nCSeq: 1\r\n\r\n"
    b"ANNOUNCE rtsp://127.0.0.1:4/gate RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 8\r\n\r\nv=0\r\n\r\nx"
    b"RECORD rtsp://127.0.0.1:4/gate RTSP/1.0\r\nCSeq: 3\r\n\r\n"
)
PACKETS = b"$\0\0\4OPTS\r\n\r\nTEARDOWN rtsp://127.0.0.1:4/gate RTSP/1.0\r\n\r\n"


def test_each_request_gets_the_credentials_and_the_servers_address() -> None:
    """Up to RECORD; the body and the packets pass unchanged."""
    passed = RequestRewriter(LOCAL, REMOTE, SECRET).feed(REQUESTS + PACKETS)
    assert passed.count(b"\r\nAuthorization: " + SECRET + b"\r\n") == 3
    assert passed.endswith(PACKETS)
    assert b"\r\n\r\nv=0\r\n\r\nxRECORD rtsp://server:8554/gate" in passed
    assert base64.b64decode(SECRET.removeprefix(b"Basic ")) == b"camd:pass:word"


@given(st.lists(st.integers(0, len(REQUESTS + PACKETS)), max_size=6))
def test_wherever_the_requests_are_cut_the_same_bytes_pass(cuts: list[int]) -> None:
    """No byte is lost or passed twice."""
    data, rewriter = REQUESTS + PACKETS, RequestRewriter(LOCAL, REMOTE, SECRET)
    edges = [0, *sorted(cuts), len(data)]
    pieces = [rewriter.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
    assert b"".join(pieces) == RequestRewriter(LOCAL, REMOTE, SECRET).feed(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"x" * (MOST_HEAD_BYTES + 1),
        b"ANNOUNCE rtsp://h/x RTSP/1.0\r\nContent-Length: 9999999\r\n\r\n",
    ],
)
def test_what_is_no_request_or_too_long_ends_the_relay(data: bytes) -> None:
    """Memory is bounded, and credentials go to no other protocol."""
    with pytest.raises(RelayError):
        RequestRewriter(LOCAL, REMOTE, SECRET).feed(data)


def test_the_credentials_are_in_no_repr() -> None:
    """Neither of the rewriter nor of the configuration."""
    config = MediaMtxConfig(username="camd", password="hunter2hunter2")
    assert "hunter2" not in repr(config)
    assert repr(SECRET) not in repr(RequestRewriter(LOCAL, REMOTE, SECRET))
