"""Make the Matroska files that were not finished when the daemon ended."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

import attrs
import structlog

from camd.camera.camera import Camera
from camd.config.schema import Config
from camd.errors import Refusal
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError, find_ffmpeg
from camd.model import CameraId, Segment
from camd.recording.convert import remove_superseded, to_mkv
from camd.storage.storage import Storage

log = structlog.get_logger("camd.remux")


class RunningCameras(Protocol):
    """Finds cameras."""

    def get(self, camera_id: CameraId) -> Camera | None:
        """Look a camera up by its id."""


@attrs.frozen
class PendingConversions:
    """Converts what is left over, one file after the other."""

    _config: Config
    _storage: Storage
    _cameras: RunningCameras

    async def catch_up(self) -> None:
        """Convert what waits; what fails is tried again at the next start."""
        superseded = await self._storage.superseded()
        waiting = await self._storage.unconverted()
        if not waiting and not superseded:
            return
        try:
            program = await find_ffmpeg(self._config.ffmpeg.path)
        except FfmpegMissingError as error:
            log.error("mkv_failed", files=len(waiting), error=str(error))
            return
        for name in superseded:
            with suppress(OSError):
                if await remove_superseded(program, self._storage, name):
                    log.info("mp4_removed", file=name)
        for segment in waiting:
            await self._convert(program, segment)

    async def _convert(self, program: FFmpegBinary, segment: Segment) -> None:
        with suppress(Refusal):  # its own session may have been quicker
            if not await self._storage.knows(segment.filename):
                return
        made = await to_mkv(program, self._storage, segment)
        if made is None:
            return
        log.info("mkv_made", file=made.filename)
        camera = self._cameras.get(segment.camera_id)
        if camera is not None:
            camera.file_replaced(made)
