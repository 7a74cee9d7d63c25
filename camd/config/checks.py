"""What must hold between keys: combinations that are wrong although each value is right."""

from __future__ import annotations

from collections.abc import Mapping

from camd.config.schema import CameraConfig, ServerConfig, StorageConfig
from camd.model import RtspSource, TestSource, V4l2Source


def check(sections: Mapping[str, object], cameras: Mapping[int, CameraConfig]) -> list[str]:
    """Return every wrong combination, by path; `cameras` are keyed by their place in the file."""
    mistakes: list[str] = []
    server, storage = sections.get("server"), sections.get("storage")
    if isinstance(server, ServerConfig):
        mistakes += _check_server(server)
    if isinstance(storage, StorageConfig):
        mistakes += _check_storage(storage)
    return mistakes + _check_cameras(cameras)


def _check_server(server: ServerConfig) -> list[str]:
    mistakes = []
    if (server.tls_cert is None) != (server.tls_key is None):
        missing = "tls_cert" if server.tls_cert is None else "tls_key"
        mistakes.append(
            f"server.{missing}: is missing; TLS needs both server.tls_cert and server.tls_key"
        )
    if server.health_listen in server.listen and not server.health_listen.endswith(":0"):
        mistakes.append(
            "server.health_listen: is an address of server.listen, where health is served anyway; "
            'choose another one or ""'
        )
    return mistakes


def _check_storage(storage: StorageConfig) -> list[str]:
    mistakes = []
    if storage.warn_percent >= storage.block_percent:
        mistakes.append(
            f"storage.warn_percent: {storage.warn_percent:g} must be below "
            f"storage.block_percent, which is {storage.block_percent:g}"
        )
    folders = (storage.recordings_dir, storage.snapshots_dir, storage.state_dir)
    if len(set(folders)) < len(folders):
        mistakes.append(
            "storage.recordings_dir: must be another folder than storage.snapshots_dir and "
            "storage.state_dir; all three must be different"
        )
    return mistakes


def _check_cameras(cameras: Mapping[int, CameraConfig]) -> list[str]:
    """Names that clients use for a camera belong to one camera; so does a V4L2 node."""
    mistakes = []
    names: dict[str, int] = {}
    nodes: dict[str, int] = {}
    for index, camera in cameras.items():
        if camera.controls and not isinstance(camera.source, V4l2Source):
            mistakes.append(f"camera[{index}].controls: only cameras of this machine have controls")
        mistakes += _check_stream(f"camera[{index}]", camera)
        if isinstance(camera.source, V4l2Source) and (words := str(camera.source)):
            owner = nodes.setdefault(words, index)
            if owner != index:
                mistakes.append(
                    f"camera[{index}].source: camera[{owner}] has this node, and only one can"
                )
                continue
        for key, name in (("id", str(camera.id)), ("device", camera.device)):
            owner = names.setdefault(name, index) if name else index
            if owner != index:
                mistakes.append(f"camera[{index}].{key}: {name!r} is taken by camera[{owner}]")
                break
        if isinstance(camera.source, TestSource) and camera.codec == "copy":
            mistakes.append(
                f"camera[{index}].codec: a synthetic source has no stream to copy; "
                'choose "auto", "h264", "h265" or "mjpeg"'
            )
    return mistakes


def _check_stream(path: str, camera: CameraConfig) -> list[str]:
    """What is about a connection needs a source that is connected to."""
    mistakes = []
    stream = isinstance(camera.source, RtspSource)
    if camera.transport != "auto" and not stream:
        mistakes.append(f"{path}.transport: only rtsp and rtsps sources have a transport")
    if camera.tls_verify is not None and not (
        isinstance(camera.source, RtspSource) and camera.source.url.lower().startswith("rtsps:")
    ):
        mistakes.append(f"{path}.tls_verify: only rtsps sources have a certificate to verify")
    return mistakes
