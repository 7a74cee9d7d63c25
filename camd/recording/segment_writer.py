"""The segment that a session is writing now: created, appended to, split, sealed."""

from __future__ import annotations

import errno
from contextlib import suppress
from datetime import datetime, timedelta

import attrs
import structlog

from camd import __version__
from camd.clock import Clock, to_unix_micros
from camd.model import CameraId, Segment, SegmentState, SessionId
from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, Init
from camd.mp4.segment import SegmentLayout
from camd.mp4.segment_metadata import SegmentMetadata
from camd.recording.rules.ledger import OLDEST_FIRST_FRAME_SECONDS, SessionLedger
from camd.storage.rules.naming import candidates
from camd.storage.segment_file import FileHarm, GopHashMark, SegmentFile
from camd.storage.space import SpaceMonitor
from camd.storage.storage import Storage

log = structlog.get_logger("camd.recorder")


@attrs.frozen
class SegmentBeginning:
    """What a file begins with: `first` starts with a key frame, which arrived at `start`."""

    init: Init
    first: Fragment
    start: datetime
    number: int  # of the file in its session


@attrs.frozen(kw_only=True)
class SegmentWriter:
    """One growing file, its place in the session, and its start."""

    file: SegmentFile
    camera_id: CameraId
    session_id: SessionId
    number: int
    begin_seconds: float  # decode time of its first frame in the stream of the capture
    start: datetime
    clock: Clock

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
        """Its size per second of media; 0 while it is empty."""
        seconds = self.file.index.duration_seconds
        return self.file.size_bytes / seconds if seconds > 0 else 0.0

    def account(self, state: SegmentState) -> Segment:
        """Describe the segment as it is now."""
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
            modified=self.clock.now(),
            certain=not self.file.doubtful,
            leading_frames=index.leading_frames,
        )

    async def append(self, storage: Storage, fragment: Fragment, *, sync: bool) -> OSError | None:
        """Append a fragment and sync; return why the sync failed: the fragment is appended anyway.

        Waits for the disk. Raises OSError when the fragment is not in the file, HarmedError when
        the file was removed, moved or truncated by another program.
        """

        def write() -> OSError | None:
            self.file.look()
            self.file.append([fragment])
            try:
                if sync:
                    self.file.sync()
            except OSError as error:
                return error
            return None

        return await storage.on_disk(write)

    async def seal(self, storage: Storage) -> OSError | None:
        """Seal and close the file; return why that failed: it is closed all the same, and playable.

        Waits for the disk. On a full one the reserve makes room. Where the file may not
        become larger (EFBIG), it stays open: see `split`. Raises HarmedError; then it stays open.
        """
        try:
            await storage.on_disk(lambda: self._seal(storage.space))
        except OSError as error:
            if error.errno != errno.EFBIG:
                log.error("seal_failed", file=self.name, error=str(error))
                storage.space.suspect(error)
            return error
        return None

    async def close_harmed(self, storage: Storage, harm: FileHarm) -> Segment:
        """Close a file that another program removed, moved or truncated; describe what is left.

        What was moved is sealed where it is; what was truncated, if anything whole is left.
        Waits for the disk.
        """

        def finish() -> SegmentState:
            try:
                if harm is FileHarm.TRUNCATED:
                    self.file.give_up_torn()
                if harm is not FileHarm.REMOVED:
                    self.file.seal()
            except OSError as error:
                log.error("seal_failed", file=self.name, error=str(error))
                return (
                    SegmentState.MISSING if harm is FileHarm.TRUNCATED else SegmentState.INTERRUPTED
                )
            finally:
                self.file.close()
            return SegmentState.SEALED if harm is FileHarm.TRUNCATED else SegmentState.MISSING

        state = await storage.on_disk(finish)
        account = self.account(state)
        if harm is FileHarm.REMOVED or (
            harm is FileHarm.TRUNCATED and state is SegmentState.MISSING
        ):
            account = attrs.evolve(account, frames=0, size_bytes=0, sha256=None)
            return attrs.evolve(account, end=account.start, duration_seconds=0.0)
        return account

    async def close(self, storage: Storage) -> None:
        """Close a file that could not be sealed. Waits for the disk."""
        with suppress(OSError):
            await storage.on_disk(self.file.close)

    async def split(
        self,
        *,
        storage: Storage,
        ledger: SessionLedger,
        init: Init,
        number: int,
        harm: FileHarm | None,
    ) -> SegmentWriter | None:
        """Move the newest groups of pictures into a file of their own, so that there is room.

        With `harm`, the newest one, out of a file that is not in the folder any more. None when
        that cannot be. The new file is durable before anything is taken off this one:
        a crash in between duplicates frames, and loses none. Waits for the disk. Raises
        OSError; then this file is as it was.
        """

        def split() -> SegmentWriter | None:
            if self.file.limit_bytes is not None:
                storage.disk.learn_file_size_limit(storage.folder, self.file.limit_bytes)
            mark = self.file.newest_mark if harm else self.file.split_for_limit()
            if mark is None and harm is not FileHarm.REMOVED:
                return None
            return self._move_behind(mark, storage, ledger, init, number)

        try:
            return await storage.on_disk(split)
        except MediaError as error:
            raise OSError(errno.EIO, str(error)) from error

    def _move_behind(
        self,
        mark: GopHashMark | None,
        storage: Storage,
        ledger: SessionLedger,
        init: Init,
        number: int,
    ) -> SegmentWriter:
        """Move what is behind a mark, or everything, into a new file."""
        file = self.file
        first, *rest = file.fragments_behind(mark)
        before = file.index_before(mark) if mark else None
        start = self.start + timedelta(seconds=before.duration_seconds if before else 0.0)
        moved = _create(storage, ledger, SegmentBeginning(init, first, start, number), self.clock)
        try:
            moved.file.append(rest)
            moved.file.sync()
            if mark and before:
                file.split_at(mark, before)
            else:
                file.frames_moved = file.index.frames
        except OSError:
            moved.file.close()
            storage.disk.unlink(moved.file.path)
            raise
        return moved

    def _seal(self, space: SpaceMonitor) -> None:
        try:
            with suppress(OSError):  # of a volume that is not there: sealing it fails as well
                self.file.look()
            self._seal_with(space)
        except OSError as error:
            if error.errno != errno.EFBIG:
                self.file.close()
            raise
        self.file.close()

    def _seal_with(self, space: SpaceMonitor) -> None:
        try:
            self.file.seal()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            space.free_reserve()
            self.file.seal()


async def open_segment(
    *, storage: Storage, ledger: SessionLedger, beginning: SegmentBeginning, clock: Clock
) -> SegmentWriter:
    """Create the file with the fragment that it begins with; durable.

    Waits for the disk. Raises OSError, and SegmentError when no file can begin so.
    """
    return await storage.on_disk(lambda: _create(storage, ledger, beginning, clock))


def _create(
    storage: Storage, ledger: SessionLedger, beginning: SegmentBeginning, clock: Clock
) -> SegmentWriter:
    first, start, number = beginning.first, beginning.start, beginning.number
    age = (clock.now() - start).total_seconds()
    oldest = OLDEST_FIRST_FRAME_SECONDS + ledger.request.preroll_seconds
    metadata = SegmentMetadata(
        camera_id=ledger.camera_id,
        identity=ledger.camera_id,
        session_id=ledger.session_id,
        number=number,
        start_micros=to_unix_micros(start),
        monotonic_start=clock.monotonic() - min(max(0.0, age), oldest),
        boot_id=clock.boot_id(),
        synchronised=clock.synchronised(),
        software=f"camd {__version__}",
    )
    index = SegmentLayout(beginning.init, first, metadata)
    taken = {segment.filename for segment in ledger.segments}  # also of removed files
    names = (name for name in candidates(ledger.camera_id, start) if name not in taken)
    file = SegmentFile.create(storage.disk, storage.folder, names, index, first)
    return SegmentWriter(
        file=file,
        camera_id=ledger.camera_id,
        session_id=ledger.session_id,
        number=number,
        begin_seconds=first.start_seconds,
        start=start,
        clock=clock,
    )
