"""`rtsp:` and `rtsps:`: a stream of a network camera or a relay.

When FFmpeg could not open a stream, one short conversation of camd's own with the server, without
credentials, shows why.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Self

import attrs
import trio

from camd.ffmpeg.text.args import CaptureOptions, StreamAccess, format_micros
from camd.ffmpeg.text.encoder_table import Arguments
from camd.ffmpeg.text.redact import redact
from camd.ffmpeg.text.rtsp_messages import (
    MAX_RESPONSE_BYTES,
    RtspAddress,
    RtspFindings,
    RtspResponse,
    address_of,
    explain_refusal,
    read_response,
    request,
)
from camd.model import Problem, ProblemKind
from camd.sources.source import CONNECT_STEPS, FileStamp, Source, SourceFinding
from camd.sources.stream_url import split_stream_url, try_tcp_port

STEP_SECONDS = 3.0
EXPLAINED = frozenset(
    (
        ProblemKind.UNAUTHORISED,
        ProblemKind.NO_STREAM,
        ProblemKind.TIMED_OUT,
        ProblemKind.CLOSED,
        ProblemKind.ENDED,
        ProblemKind.TLS_FAILED,
        ProblemKind.UNREADABLE,
    )
)
_LEAST_PROBE_BYTES = "32"  # FFmpeg takes no less


@attrs.frozen
class RtspSource(Source):
    """An RTSP stream. `repr` leaves out the URL, which may contain credentials."""

    url: str = attrs.field(repr=False)

    schemes = ("rtsp", "rtsps")
    beginnings = ("rtsp://…", "rtsps://…")
    form = (
        "rtsp://user:password@host/path",
        "an RTSP stream, `rtsps://` over TLS; credentials are redacted in logs and answers",
    )
    transport_option = "-rtsp_transport"
    connect_steps = CONNECT_STEPS
    has_audio_header = True  # in the description of the stream (SDP)

    @classmethod
    def parse(cls, text: str, folder: Path, home: Path | None) -> Self:
        """Check a URL, and keep it as it is."""
        split_stream_url(text, "an rtsp source", "rtsp://user:password@host:554/stream")
        return cls(text)

    @property
    def fitting_keys(self) -> frozenset[str]:
        """A transport; with TLS a certificate to verify."""
        return frozenset(("transport", "tls_verify") if self._tls else ("transport",))

    @property
    def _tls(self) -> bool:
        return self.url.lower().startswith("rtsps:")

    def input(self, options: CaptureOptions) -> Arguments:
        """Connect, with a time-out for each step."""
        return self.probe_input(options.version, options.access)

    def probe_input(self, version: tuple[int, int], access: StreamAccess) -> Arguments:
        """Connect, with a time-out for each step."""
        timeout = "-timeout" if version >= (5, 0) else "-stimeout"
        verify: Arguments = ()
        if access.tls_verify is not None:
            verify = ("-tls_verify", "1" if access.tls_verify else "0")
        return (
            *(
                self.transport_option,
                access.transport,
                timeout,
                format_micros(access.timeout),
                *verify,
            ),
            *("-i", self.url),
        )

    def analysis(self, access: StreamAccess) -> Arguments:
        """Skip FFmpeg's guess of the frame rate, which takes a second; only encoders need it."""
        quick: Arguments = ("-fpsprobesize", "0")
        if access.analysis is not None:
            quick += ("-analyzeduration", format_micros(access.analysis))
        if access.rare:  # otherwise FFmpeg takes seven pictures, and invents their decode times
            quick += ("-probesize", _LEAST_PROBE_BYTES)
        return quick

    def cache_name(self, facts: FileStamp | None) -> str:
        """A changed password makes no other stream."""
        return f"rtsp {redact(self.url)}"

    async def still_refuses(self) -> bool:
        """Try the port; False also when it does not answer soon."""
        return await still_refuses(self.url)

    async def explain(self, problem: Problem, *, delivered: bool) -> Problem:
        """Ask the server why no picture came."""
        return problem if delivered else await explain_stream(problem, self.url)

    async def check(self) -> SourceFinding:
        """Connect to the stream's host; does not try or show credentials and path."""
        address = address_of(self.url)
        assert address is not None, "checked by `parse`"
        return await try_tcp_port(address.host, address.port)


# --- a conversation with the server


async def explain_stream(problem: Problem, url: str) -> Problem:
    """Ask the server without credentials; return `problem` with what its answers show.

    Takes at most four times STEP_SECONDS, and may be cancelled at any time.
    """
    address = address_of(url)
    if address is None or problem.kind not in EXPLAINED:
        return problem
    findings = None
    with trio.move_on_after(4 * STEP_SECONDS):
        findings = await _connect_and_ask(address, problem)
    return explain_refusal(problem, address, findings) if findings is not None else problem


async def still_refuses(url: str) -> bool:
    """Tell whether a port refuses connections; False also when it does not answer soon."""
    address = address_of(url)
    if address is None:
        return False
    try:
        with trio.fail_after(STEP_SECONDS):
            stream = await trio.open_tcp_stream(address.host, address.port)
    except (OSError, trio.TooSlowError) as error:
        return _refused(error)
    with trio.CancelScope(shield=True), trio.move_on_after(1):
        await trio.aclose_forcefully(stream)
    return False


def _refused(error: BaseException) -> bool:
    """Tell whether every address refused; trio groups the errors in the cause."""
    if isinstance(error, ConnectionRefusedError):
        return True
    cause = error.__cause__
    group = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
    return bool(group) and all(isinstance(each, ConnectionRefusedError) for each in group)


async def _connect_and_ask(address: RtspAddress, problem: Problem) -> RtspFindings | None:
    """Connect and ask; None without a connection, because FFmpeg's error says why."""
    try:
        with trio.fail_after(STEP_SECONDS):
            tcp = await trio.open_tcp_stream(address.host, address.port)
    except (OSError, trio.TooSlowError):
        return None
    try:
        if not address.tls:
            return await _ask(tcp, address)
        return await _ask_over_tls(tcp, address, problem)
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError, ssl.SSLError):
        return None
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(1):
            await trio.aclose_forcefully(tcp)


async def _ask_over_tls(
    tcp: trio.SocketStream, address: RtspAddress, problem: Problem
) -> RtspFindings | None:
    verified = ssl.create_default_context()
    if problem.kind != ProblemKind.TLS_FAILED:  # else the certificate is not the question
        verified.check_hostname, verified.verify_mode = False, ssl.CERT_NONE
    stream = trio.SSLStream(tcp, verified, server_hostname=address.host)
    try:
        with trio.fail_after(STEP_SECONDS):
            await stream.do_handshake()
    except trio.TooSlowError:
        return None
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RtspFindings(certificate=cause.verify_message)
        return None
    return await _ask(stream, address)


async def _ask(stream: trio.abc.Stream, address: RtspAddress) -> RtspFindings:
    responses: list[RtspResponse] = []
    for number, method in enumerate(("OPTIONS", "DESCRIBE"), start=1):
        data, timed_out = b"", False
        try:
            with trio.fail_after(STEP_SECONDS):
                await stream.send_all(request(method, address, number))
                while b"\r\n\r\n" not in data and len(data) < MAX_RESPONSE_BYTES:
                    chunk = await stream.receive_some(4096)
                    if not chunk:
                        break
                    data += chunk
        except trio.TooSlowError:
            timed_out = True
        except trio.BrokenResourceError:
            pass
        responses.append(read_response(method, data, timed_out=timed_out))
        if not responses[-1].status:
            break
    return RtspFindings(tuple(responses))
