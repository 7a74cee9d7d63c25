"""Ask an RTSP server why FFmpeg could not open its stream."""

from __future__ import annotations

import ssl

import trio

from camd.ffmpeg.text.rtsp_messages import (
    MAX_RESPONSE_BYTES,
    RtspAddress,
    RtspFindings,
    RtspResponse,
    address_of,
    explain,
    read_response,
    request,
)
from camd.model import Problem, ProblemKind

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
    return explain(problem, address, findings) if findings is not None else problem


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
