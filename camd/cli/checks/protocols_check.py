"""Does this FFmpeg have the protocols that the cameras' sources need?"""

from __future__ import annotations

from camd.cli.checks.finding import CheckFinding, problem
from camd.config.schema import Config
from camd.ffmpeg.binary import FfmpegMissingError, find_ffmpeg, protocols


async def inspect_protocols(config: Config) -> list[CheckFinding]:
    """Report the sources whose protocol FFmpeg lacks, such as SRT where it has no libsrt."""
    needs = [(camera, camera.source.protocol) for camera in config.cameras]
    if not any(protocol for _, protocol in needs):
        return []
    try:
        known = await protocols(await find_ffmpeg(config.ffmpeg.path))
    except FfmpegMissingError:  # which is told by itself
        return []
    return [
        problem(
            f"camera {camera.id}",
            f"FFmpeg was built without {protocol}",
            f"Install an FFmpeg with {protocol} (`ffmpeg -protocols` lists it), or use another "
            "kind of source.",
        )
        for camera, protocol in needs
        if protocol and protocol not in known
    ]
