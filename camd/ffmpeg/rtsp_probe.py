"""One short RTSP conversation of our own, after FFmpeg could not open a stream, to see why."""

from __future__ import annotations

import ssl

import trio

from camd.ffmpeg.text.rtsp_messages import (
    MOST_BYTES,
    RtspAddress,
    RtspFindings,
    RtspResponse,
    address_of,
    explain,
    read_answer,
    request,
)
from camd.model import Problem

STEP_SECONDS = 3.0
ABOUT_STREAMS = frozenset(
    ("unauthorised", "no_stream", "timed_out", "closed", "ended", "tls_failed", "unreadable")
)


async def explain_stream(problem: Problem, url: str) -> Problem:
    """Ask the server without credentials, and say more of `problem`, where it shows something.

    Takes at most a few times STEP_SECONDS, and may be cancelled at any time.
    """
    address = address_of(url)
    if address is None or problem.kind not in ABOUT_STREAMS:
        return problem
    seen = None
    with trio.move_on_after(4 * STEP_SECONDS):
        seen = await _look(address, problem)
    return explain(problem, address, seen) if seen is not None else problem


async def still_refuses(url: str) -> bool:
    """Tell whether a port refuses connections; False also when that cannot be told soon."""
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
    """Tell whether every address refused; trio puts several errors into the cause's group."""
    if isinstance(error, ConnectionRefusedError):
        return True
    cause = error.__cause__
    group = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
    return bool(group) and all(isinstance(each, ConnectionRefusedError) for each in group)


async def _look(address: RtspAddress, problem: Problem) -> RtspFindings | None:
    """Connect and ask; None when there is no connection, of which FFmpeg has said it all."""
    try:
        with trio.fail_after(STEP_SECONDS):
            tcp = await trio.open_tcp_stream(address.host, address.port)
    except (OSError, trio.TooSlowError):
        return None
    try:
        if not address.tls:
            return await _ask(tcp, address)
        return await _look_behind_tls(tcp, address, problem)
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError, ssl.SSLError):
        return None
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(1):
            await trio.aclose_forcefully(tcp)


async def _look_behind_tls(
    tcp: trio.SocketStream, address: RtspAddress, problem: Problem
) -> RtspFindings | None:
    verified = ssl.create_default_context()
    if problem.kind != "tls_failed":  # what FFmpeg takes is no matter
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
    answers: list[RtspResponse] = []
    for number, method in enumerate(("OPTIONS", "DESCRIBE"), start=1):
        data, timed_out = b"", False
        try:
            with trio.fail_after(STEP_SECONDS):
                await stream.send_all(request(method, address, number))
                while b"\r\n\r\n" not in data and len(data) < MOST_BYTES:
                    chunk = await stream.receive_some(4096)
                    if not chunk:
                        break
                    data += chunk
        except trio.TooSlowError:
            timed_out = True
        except trio.BrokenResourceError:
            pass
        answers.append(read_answer(method, data, timed_out=timed_out))
        if not answers[-1].status:
            break
    return RtspFindings(tuple(answers))
