"""Keeps the known cameras over restarts; nobody waits long for a disk that hangs or is full."""

from __future__ import annotations

import operator
from functools import partial
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio

from camd.devices.bindings import load_known, save_known
from camd.devices.identity import KnownCamera
from camd.runtime.published import Published

log = structlog.get_logger("camd.cameras")

PATIENCE_SECONDS = 2.0
AGAIN_SECONDS = 30.0  # until the next try


class BindingFile(Protocol):
    """Where the known cameras are kept."""

    async def load(self) -> tuple[KnownCamera, ...]:
        """Return what was kept last."""

    async def save(self, known: tuple[KnownCamera, ...]) -> None:
        """Keep this from now on. Raises OSError."""


@attrs.frozen
class BindingFileOnDisk:
    """The known cameras in a file of the state folder, which threads read and write."""

    file: Path

    async def load(self) -> tuple[KnownCamera, ...]:
        """Read the file; nothing when there is none, or none that can be understood."""
        return await trio.to_thread.run_sync(load_known, self.file)

    async def save(self, known: tuple[KnownCamera, ...]) -> None:
        """Replace the file, durably, if anything is new. Raises OSError."""
        await trio.to_thread.run_sync(save_known, self.file, known)


_Latest = tuple[KnownCamera, ...] | None  # None: none yet


@attrs.define(eq=False)
class BindingStore:
    """The latest known cameras on their way to the disk (keep the latest only)."""

    kept: BindingFile
    _wanted: Published[_Latest] = attrs.field(factory=lambda: Published[_Latest](None), init=False)
    _tried: Published[_Latest] = attrs.field(factory=lambda: Published[_Latest](None), init=False)

    async def keep(self, known: tuple[KnownCamera, ...]) -> None:
        """Keep these from now on; returns when they are, or cannot be, or after the patience."""
        self._wanted.publish(known)
        with trio.move_on_after(PATIENCE_SECONDS):
            await self._tried.wait_until(partial(operator.is_, known))
            return
        log.warning("cameras_not_kept_yet")

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save what is wanted, one after another, and again what could not be saved."""
        task_status.started()
        saved: _Latest = None
        while True:
            known = await self._wanted.wait_until(partial(operator.is_not, saved))
            assert known is not None
            try:
                await self.kept.save(known)
                saved = known
            except OSError as error:  # they are recognised for as long as the service runs
                log.error("cameras_not_kept", error=str(error))
            self._tried.publish(known)
            if saved is not known:
                with trio.move_on_after(AGAIN_SECONDS):
                    await self._wanted.wait_until(partial(operator.is_not, known))
