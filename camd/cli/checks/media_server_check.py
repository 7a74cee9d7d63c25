"""Is the media server of `[mediamtx]` there, does it take camd's credentials, does RTSP work?"""

from __future__ import annotations

import trio

from camd.cli.checks.finding import CheckFinding, ok, warning
from camd.config.schema import Config
from camd.model import Problem
from camd.publish.connecting import client_tls
from camd.publish.rules.served_paths import is_published
from camd.publish.server_check import look_at_server

_API, _RTSP = "mediamtx.api", "mediamtx.rtsp"


async def inspect_media_server(config: Config) -> list[CheckFinding]:
    """Report on the server; recordings do not need it, so nothing here is more than a warning."""
    server = config.mediamtx
    if server is None:
        return []
    tls = await trio.to_thread.run_sync(client_tls, abandon_on_cancel=True)
    look = await look_at_server(server, tls)
    as_whom = f", as {server.username}" if server.username else ""
    answers = f"{server.api} answers{as_whom}, version {look.version or 'unknown'}"
    found = [
        _finding(_API, server.api, look.api_problem) or ok(_API, answers),
        _finding(_RTSP, server.rtsp, look.rtsp_problem) or ok(_RTSP, f"{server.rtsp} answers"),
    ]
    if config.cameras and not any(is_published(camera, server) for camera in config.cameras):
        advice = 'Set mediamtx.publish = "capturing", or publish = true of a camera.'
        found.append(warning("mediamtx.publish", "no camera of the configuration is", advice))
    return found


def _finding(subject: str, where: str, found: Problem | None) -> CheckFinding | None:
    if found is None:
        return None
    return warning(subject, f"{where}: {found.message}", found.suggestion)
