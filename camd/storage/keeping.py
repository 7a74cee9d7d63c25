"""What stays and what goes, as a client or a policy asks for it: pins and removals."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs
import structlog

from camd.clock import now
from camd.errors import STORAGE_UNRESPONSIVE, Refusal
from camd.model import Segment
from camd.storage.actor import Storage
from camd.storage.archive import RecordingIndex
from camd.storage.pins import Pin, Pins
from camd.storage.removal import Removal, Remover

log = structlog.get_logger("camd.storage")

T = TypeVar("T")


@attrs.frozen
class FileActions:
    """Pins and removals of one storage; all of it in the archive's thread, in order."""

    storage: Storage

    @property
    def _pins(self) -> Pins:
        return Pins.of(self.storage.disk, self.storage.folder)

    async def pins(self, filenames: Sequence[str]) -> dict[str, Pin]:
        """Look up which recordings are pinned. Raises Refusal when the volume does not answer."""
        return await self.storage.clerk.read(lambda _: self._pins.among(filenames, now()))

    async def pin(self, filename: str, pin: Pin) -> Segment:
        """Pin a recording; durable when this returns. Raises Refusal."""
        segment = await self.storage.find(filename)
        await self._change(lambda _: self._pins.put(segment.filename, pin))
        log.info("pinned", filename=segment.filename, by=pin.by, reason=pin.reason)
        return segment

    async def unpin(self, filename: str) -> Segment:
        """Take a recording's pin away, if it has one. Raises Refusal."""
        segment = await self.storage.find(filename)
        await self._change(lambda _: self._pins.drop(segment.filename))
        log.info("unpinned", filename=segment.filename)
        return segment

    async def remove(self, filenames: Sequence[str], why: str) -> list[Removal]:
        """Remove recordings, and say of each what became of it.

        The archive is theirs meanwhile, so few at a time. What has begun is done to its end,
        also when the caller is cancelled. Raises Refusal when the archive cannot be used.
        """
        storage = self.storage

        def remove(archive: RecordingIndex) -> list[Removal]:
            remover = Remover(
                *(storage.disk, storage.folder, archive, self._pins, storage.busy), now=now()
            )
            return remover.remove(filenames, why)

        answers = await self._change(remove)
        for answer in answers:
            storage.guard.stored_bytes -= answer.freed_bytes
            if answer.removed:
                log.info("removed", filename=answer.filename, why=why)
            if answer.detail:
                log.error("removal_failed", filename=answer.filename, error=answer.detail)
        return answers

    async def remove_one(self, filename: str, why: str) -> Removal:
        """Remove one recording by a name from outside. Raises Refusal when it stays."""
        segment = await self.storage.find(filename)
        (answer,) = await self.remove([segment.filename], why)
        if answer.refused is not None:
            raise answer.refusal()
        return answer

    async def _change(self, work: Callable[[RecordingIndex], T]) -> T:
        try:
            return await self.storage.clerk.ask(work)
        except (OSError, sqlite3.Error) as error:
            self.storage.guard.suspect()
            raise Refusal(STORAGE_UNRESPONSIVE, f"It could not be done: {error}") from error
