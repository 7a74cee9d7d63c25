"""Whether camd may publish on a path of the server, and the addresses that viewers get."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import attrs

from camd.config.schema import CameraConfig, MediaMtxConfig
from camd.model import Problem, PublicationState, PublicationStatus, ServedStream
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.api_answers import (
    PUBLISHED,
    MediaServerPath,
    MediaServerSettings,
    PathSettings,
)

# The codecs of the server's other protocols; RTSP has every codec that FFmpeg can publish.
_CARRIED = {
    "hls": frozenset(("avc1", "avc3", "hvc1", "hev1", "av01", "vp09")),
    "webrtc": frozenset(("avc1", "avc3", "av01", "vp08", "vp09")),
}


class PathClaim(enum.Enum):
    """Whether a camera can be published on a path of the server."""

    FREE = "free"  # yes: it is configured, and nobody publishes there
    MISSING = "missing"  # it has to be added to the server's configuration first
    TAKEN = "taken"  # no: it has another source, which camd does not replace


def claim_path(settings: PathSettings | None, path: MediaServerPath | None) -> PathClaim:
    """Decide whether camd may publish on a path, by its configuration and its present source.

    Called while camd does not publish there: a present source is somebody else's.
    """
    if path is not None and path.source is not None:
        return PathClaim.TAKEN
    if settings is None:
        return PathClaim.MISSING
    return PathClaim.FREE if settings.source in ("publisher", "") else PathClaim.TAKEN


def find_obstacle(server: MediaMtxConfig, settings: MediaServerSettings | None) -> Problem | None:
    """Return why nothing can be published to a server with these settings; None: no reason known.

    `settings` None: they are not known.
    """
    if settings is None:
        return None
    if not settings.rtsp:
        return problems.RTSP_OFF
    if "tcp" not in settings.rtsp_transports:
        return problems.NO_TCP
    if server.username and "basic" not in settings.rtsp_auth_methods:
        return problems.RTSP_BY_DIGEST
    return None


def is_published(camera: CameraConfig, server: MediaMtxConfig) -> bool:
    """Whether a camera is published at all."""
    return server.publish != "none" if camera.publish is None else camera.publish


def is_another_server(old: MediaMtxConfig, new: MediaMtxConfig) -> bool:
    """Whether camd has to connect anew: the addresses or the credentials have changed."""
    return _connection(old) != _connection(new)


def _connection(server: MediaMtxConfig) -> tuple[str, ...]:
    return server.api, server.rtsp, server.username, server.password


def path_name(camera: CameraConfig, server: MediaMtxConfig) -> str:
    """Return the path of a camera on the server."""
    return camera.stream_name or f"{server.prefix}{camera.id}"


@attrs.frozen
class ViewerAddresses:
    """Base addresses that viewers use, by protocol; only of protocols that the server has."""

    bases: tuple[tuple[str, str], ...] = ()

    def of(self, name: str, codec: str) -> tuple[tuple[str, str], ...]:
        """Return protocol and URL of a path, for protocols that support the codec."""
        path = quote(name, safe="/~")
        return tuple(
            (protocol, f"{base}/{path}{'/index.m3u8' if protocol == 'hls' else ''}")
            for protocol, base in self.bases
            if codec in _CARRIED.get(protocol, (codec,))
        )


def addresses(server: MediaMtxConfig, settings: MediaServerSettings | None) -> ViewerAddresses:
    """Return the addresses that viewers get.

    `settings` None: it is not known which protocols the server has. Then only RTSP is listed, by
    which camd publishes, and no other protocol, even if its address is configured.
    """
    host = urlsplit(server.rtsp).hostname or ""
    host = f"[{host}]" if ":" in host else host
    found = {"rtsp": server.viewer_rtsp or server.rtsp}
    if settings is not None:
        has: Mapping[str, tuple[bool, str, bool, str]] = {
            "hls": (
                settings.hls,
                settings.hls_address,
                settings.hls_encryption,
                server.viewer_hls,
            ),
            "webrtc": (
                settings.webrtc,
                settings.webrtc_address,
                settings.webrtc_encryption,
                server.viewer_webrtc,
            ),
        }
        for protocol, (present, address, encrypted, configured) in has.items():
            port = address.rpartition(":")[2]
            if present and (configured or port.isdigit()):
                scheme = "https" if encrypted else "http"
                found[protocol] = configured or f"{scheme}://{host}:{port}"
    shown = [protocol for protocol in ("rtsp", "hls", "webrtc") if protocol in server.viewers]
    return ViewerAddresses(tuple((each, found[each]) for each in shown if each in found))


def served_stream(
    status: PublicationStatus,
    path: MediaServerPath | None,
    *,
    asked: bool,
    bases: ViewerAddresses,
    codec: str,
) -> ServedStream | None:
    """Return the stream of a camera that viewers can get; None: none.

    It has to be published now. Where the control API answers (`asked`), the server has to say that
    the path is ready, too, and that its source publishes by RTSP.
    """
    if status.state is not PublicationState.PUBLISHING:
        return None
    if asked and not _is_ready(path):
        return None
    urls = bases.of(status.name, codec)
    if not urls:
        return None
    if path is None or not asked:
        return ServedStream(status.name, urls)
    return ServedStream(status.name, urls, len(path.readers or ()), path.sent_bytes)


def _is_ready(path: MediaServerPath | None) -> bool:
    if path is None or path.source is None:
        return False
    return path.is_ready and path.source.type in PUBLISHED
