"""The segment that a session is writing now, and what is known of it."""

from __future__ import annotations

import errno
from datetime import datetime, timedelta

import attrs
import structlog

from camd import __version__
from camd.camera.sessions import SessionBook
from camd.clock import boot_id, monotonic, now, synchronised, to_unix_micros
from camd.media.fragments import Fragment, Init
from camd.media.identity import SegmentIdentity
from camd.media.mp4 import SegmentIndex
from camd.model import CameraId, Segment, SegmentState, SessionId
from camd.storage.actor import Storage
from camd.storage.guard import Guard
from camd.storage.naming import candidates
from camd.storage.segment import SegmentFile

log = structlog.get_logger("camd.recorder")


@attrs.frozen
class OpenSegment:
    """One growing file, its place in the session, and where it begins."""

    file: SegmentFile
    camera_id: CameraId
    session_id: SessionId
    number: int
    begin_seconds: float  # decode time of its first frame in the child's stream
    start: datetime

    @property
    def name(self) -> str:
        """Its file name."""
        return self.file.path.name

    @property
    def end(self) -> datetime:
        """When the last frame that is in it ends."""
        return self.start + timedelta(seconds=self.file.index.duration_seconds)

    @property
    def bytes_per_second(self) -> float:
        """How fast it grows in media time; 0 while it is empty."""
        seconds = self.file.index.duration_seconds
        return self.file.size_bytes / seconds if seconds > 0 else 0.0

    def account(self, state: SegmentState) -> Segment:
        """Describe it as it is now."""
        index, track = self.file.index, self.file.index.init.video
        return Segment(
            filename=self.name,
            camera_id=self.camera_id,
            session_id=self.session_id,
            number=self.number,
            start=self.start,
            end=self.end,
            duration_seconds=index.duration_seconds,
            frames=index.frames,
            size_bytes=self.file.size_bytes,
            sha256=self.file.sha256,
            state=state,
            codec=track.codec,
            width=track.width,
            height=track.height,
            modified=now(),
            certain=not self.file.doubtful,
            leading_frames=index.leading_frames,
        )

    async def append(self, storage: Storage, fragment: Fragment, *, sync: bool) -> OSError | None:
        """Append a fragment and sync; return why the sync failed: the fragment is in all the same.

        Waits for the disk. Raises OSError when the fragment is not in the file.
        """

        def write() -> OSError | None:
            self.file.append([fragment])
            try:
                if sync:
                    self.file.sync()
            except OSError as error:
                return error
            return None

        return await storage.on_disk(write)

    async def seal(self, storage: Storage) -> OSError | None:
        """Seal and close the file; return why that failed: it is closed all the same, and plays.

        Waits for the disk. On a full one the guard's reserve makes room.
        """
        try:
            await storage.on_disk(lambda: self._seal(storage.guard))
        except OSError as error:
            log.error("seal_failed", file=self.name, error=str(error))
            storage.guard.suspect(error)
            return error
        return None

    def _seal(self, guard: Guard) -> None:
        try:
            self.file.seal()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            guard.give_reserve()
            self.file.seal()
        finally:
            self.file.close()


async def open_segment(
    storage: Storage,
    book: SessionBook,
    identity: str,
    init: Init,
    first: Fragment,
    start: datetime,
    number: int,
) -> OpenSegment:
    """Create the file with the fragment that it begins with, a key frame at `start`; durable.

    Waits for the disk. Raises OSError, and SegmentError when no file can begin so.
    """
    story = SegmentIdentity(
        camera_id=book.camera_id,
        identity=identity,
        session_id=book.session_id,
        number=number,
        start_micros=to_unix_micros(start),
        monotonic_start=monotonic(),
        boot_id=boot_id(),
        synchronised=synchronised(),
        software=f"camd {__version__}",
    )
    index = SegmentIndex(init, first, story)
    names = candidates(book.camera_id, start)
    file = await storage.on_disk(
        lambda: SegmentFile.create(storage.disk, storage.folder, names, index, first)
    )
    return OpenSegment(file, book.camera_id, book.session_id, number, first.start_seconds, start)
