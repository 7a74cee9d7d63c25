"""The journal: what the recordings do not contain (sessions, gaps, hashes, removals).

Lines are only appended, and durable when `append` returns. Recordings and journal together are
enough to rebuild the index (I6).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from camd.storage.disk import Disk, DiskFile, open_lines
from camd.storage.rules.journal_records import Record, decode_records, encode_records

MAX_FILE_BYTES = 16 * 1024 * 1024  # then the next file begins
_NAME = re.compile(r"journal-(\d{6})\.jsonl", re.ASCII)


@attrs.frozen(order=True)
class JournalPosition:
    """A place in the journal; everything before it has been read."""

    file: int = 0
    offset: int = 0


@attrs.define(eq=False)
class IndexJournal:
    """The open journal. Every method blocks on the disk; for one thread at a time."""

    disk: Disk
    folder: Path
    max_file_bytes: int = attrs.field(default=MAX_FILE_BYTES, kw_only=True)
    # Where the next line goes.
    position: JournalPosition = attrs.field(default=JournalPosition(1), init=False)
    _file: DiskFile | None = attrs.field(default=None, init=False)
    _torn: bool = attrs.field(default=False, init=False)  # the file may not end with a line

    @classmethod
    def open(
        cls, disk: Disk, folder: Path, *, max_file_bytes: int = MAX_FILE_BYTES
    ) -> IndexJournal:
        """Open the journal in `folder`, which must exist. Raises OSError."""
        journal = cls(disk, folder, max_file_bytes=max_file_bytes)
        if numbers := journal.numbers():
            journal.position = JournalPosition(numbers[-1])
            journal._file = journal._opened()
        return journal

    def numbers(self) -> list[int]:
        """Return the numbers of the existing files, in order. Raises OSError."""
        found = map(_NAME.fullmatch, self.disk.names(self.folder))
        return sorted(int(match[1]) for match in found if match)

    def path(self, number: int) -> Path:
        """Return the path of a file."""
        return self.folder / f"journal-{number:06}.jsonl"

    def read(
        self, since: JournalPosition = JournalPosition()
    ) -> Iterator[tuple[list[Record], JournalPosition]]:
        """Read on from `since`: each file's records, and the position behind them.

        Raises OSError.
        """
        for number in self.numbers():
            if number < since.file:
                continue
            offset = since.offset if number == since.file else 0
            size, data = self._read(number, offset)
            yield list(decode_records(data)), JournalPosition(number, max(size, offset))

    def _read(self, number: int, offset: int) -> tuple[int, bytes]:
        """Return a file's size and its bytes from `offset` on."""
        ours = self._file if number == self.position.file else None
        file = ours or self.disk.open(self.path(number))
        try:
            size = file.size()
            return size, file.read(offset, size - offset) if offset < size else b""
        finally:
            if ours is None:
                file.close()

    def append(self, records: Sequence[Record]) -> None:
        """Append records durably. Raises OSError.

        After an error some of them may be there; each is then a whole line or no line. A file that
        cannot become larger is followed by the next one.
        """
        if not records:
            return
        try:
            self._append(records)
        except OSError as error:
            if error.errno != errno.EFBIG or not self.position.offset:
                raise
            self.position = JournalPosition(self.position.file + 1)
            self._torn = False
            self._append(records)

    def _append(self, records: Sequence[Record]) -> None:
        file = self._writable()
        lines = encode_records(records)
        if self._torn:  # a newline ends the torn line
            lines = b"\n" + lines
        try:
            file.append([lines])
            file.sync()
        except OSError as error:
            if error.errno == errno.EFBIG:
                with suppress(OSError):  # the record goes into the next file only
                    file.truncate(self.position.offset)
            self.close()  # the next append looks at what is there
            raise
        self._torn = False
        self.position = JournalPosition(self.position.file, self.position.offset + len(lines))

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                file.close()

    def _writable(self) -> DiskFile:
        if self.position.offset >= self.max_file_bytes:
            self.close()
            self.position = JournalPosition(self.position.file + 1)
        if self._file is None:
            self._file = self._opened()
        return self._file

    def _opened(self) -> DiskFile:
        """Open or create the present file to append to; a torn line at its end is kept."""
        lines = open_lines(self.disk, self.path(self.position.file))
        self._torn = lines.torn
        self.position = JournalPosition(self.position.file, lines.size)
        return lines.file
