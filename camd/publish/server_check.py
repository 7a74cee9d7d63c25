"""One look at a media server, for `camd check`: does it answer, as whom, and does RTSP work?"""

from __future__ import annotations

import ssl

import attrs
import trio

from camd.config.schema import MediaMtxConfig
from camd.model import Problem
from camd.publish.connecting import StreamServerError, connect_to_server
from camd.publish.mediamtx_api import MediaMtxApi
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.api_answers import MediaServerInfo, MediaServerSettings
from camd.publish.rules.served_paths import find_obstacle

RTSP_SECONDS = 5.0
_ANSWER_BYTES = 4096
_RTSP = b"RTSP/1."


@attrs.frozen
class MediaServerFindings:
    """What was found: a problem of the control API, of RTSP, or none; and the version."""

    api_problem: Problem | None
    rtsp_problem: Problem | None
    version: str = ""


async def look_at_server(config: MediaMtxConfig, tls: ssl.SSLContext) -> MediaServerFindings:
    """Ask the control API and the RTSP port; bounded, and nothing is changed at the server."""
    info, settings, api_problem = MediaServerInfo(), None, None
    try:
        api = MediaMtxApi(config, tls)
        info = await api.get("/v3/info", MediaServerInfo) or info
        settings = await api.get("/v3/config/global/get", MediaServerSettings)
        if settings is None:
            api_problem = problems.NO_API
    except StreamServerError as error:
        api_problem = error.problem
    rtsp_problem = find_obstacle(config, settings) or await _ask_rtsp(config, tls)
    return MediaServerFindings(api_problem, rtsp_problem, info.shown_version)


async def _ask_rtsp(config: MediaMtxConfig, tls: ssl.SSLContext) -> Problem | None:
    """Ask an RTSP server for its methods (RFC 2326, 10.1), which needs no credentials."""
    try:
        with trio.fail_after(RTSP_SECONDS):
            stream = await connect_to_server(config.rtsp, tls)
            try:
                request = f"OPTIONS {config.rtsp}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"
                await stream.send_all(request.encode())
                answer = bytes(await stream.receive_some(_ANSWER_BYTES))
            finally:
                await trio.aclose_forcefully(stream)
    except StreamServerError as error:
        return error.problem
    except trio.TooSlowError:
        return problems.SILENT
    except (trio.BrokenResourceError, OSError):
        return problems.NO_RTSP
    return None if answer.startswith(_RTSP) else problems.NO_RTSP
