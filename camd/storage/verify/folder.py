"""Verifies a whole recordings folder beside whatever else uses it, and changes nothing in it.

A finding is verified again when index or journal have changed meanwhile: the file may just have
been sealed, converted or removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from camd.model import Segment, SessionId
from camd.storage.index.memory_index import InMemoryIndex
from camd.storage.read_only_disk import ReadOnlyDisk
from camd.storage.recovery.file_recovery import is_locked, parts_in
from camd.storage.rules.naming import is_plain, may_be_footage
from camd.storage.verify.recording_file import inspect_recording
from camd.storage.verify.rules.findings import (
    FileContents,
    FileKind,
    Finding,
    FindingKind,
    compare_file,
)
from camd.storage.verify.rules.sessions import (
    compare_session,
    inspect_index,
    unaccounted_session,
)

_LARGE = 1 << 20  # pieces in which files are read whole
_MAX_TRIES = 3  # for one file, while the index keeps changing


@attrs.frozen
class VerifyProgress:
    """How far a verification has come; sizes in bytes."""

    files: int
    files_total: int
    done_bytes: int  # without structure, which is read in addition
    total_bytes: int
    filename: str = ""


@attrs.frozen
class VerifyResult:
    """What a verification found. `busy` files are being recorded and were left out."""

    files: int
    read_bytes: int
    busy: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing has to be done."""
        return all(finding.fault.harmless for finding in self.findings)


@attrs.define(eq=False)
class FolderVerification:
    """One verification of one folder. Blocks on the disk; for one thread at a time.

    `on_finding` is called for every finding as soon as it is certain.
    """

    folder: Path
    fast: bool
    progress: Callable[[VerifyProgress], None]
    on_finding: Callable[[Finding], None]
    inspect: Callable[..., FileContents] = attrs.field(default=inspect_recording, kw_only=True)
    _disk: ReadOnlyDisk = attrs.field(init=False)
    _snapshot: InMemoryIndex = attrs.field(init=False)
    _at: VerifyProgress = attrs.field(default=VerifyProgress(0, 0, 0, 0), init=False)
    _read_bytes: int = attrs.field(default=0, init=False)  # structure included
    _busy: list[str] = attrs.field(factory=list, init=False)
    _findings: list[Finding] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._disk = ReadOnlyDisk(self._read)

    def run(self, names: Sequence[str] = ()) -> VerifyResult:
        """Verify the files of these `names`, or everything.

        Raises OSError when the folder itself cannot be listed.
        """
        there = self._recordings()
        self._snapshot = InMemoryIndex.open(self.folder)
        try:
            if not names:
                self._verify_index(len(there))
            wanted = names or sorted({*there, *self._snapshot.database.filenames()})
            sizes = [_size(self.folder / name) for name in wanted]
            self._at = VerifyProgress(0, len(wanted), 0, sum(sizes))
            for name, size in zip(wanted, sizes, strict=True):
                before = self._at
                self._verify_file(name, asked=bool(names))
                done = before.done_bytes + size
                self._at = attrs.evolve(before, files=before.files + 1, done_bytes=done)
                self.progress(self._at)
            if not names:
                self._verify_sessions()
                self._verify_parts()
        finally:
            self._snapshot.close()
        files, busy = self._at.files, tuple(self._busy)
        return VerifyResult(files, self._read_bytes, busy, tuple(self._findings))

    def _recordings(self) -> list[str]:
        """Name what may be a recording; folders such as `lost+found` are not camd's."""
        with os.scandir(self.folder) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and (entry.is_file(follow_symlinks=False) or may_be_footage(entry.name))
            ]

    def _read(self, size_bytes: int, seconds: float) -> None:
        self._read_bytes += size_bytes
        if size_bytes >= _LARGE:  # otherwise it is structure, and read again
            self._at = attrs.evolve(self._at, done_bytes=self._at.done_bytes + size_bytes)
        self.progress(self._at)

    def _report(self, findings: Sequence[Finding]) -> None:
        self._findings += findings
        for finding in findings:
            self.on_finding(finding)

    # --- the parts of a verification ---

    def _verify_index(self, files: int) -> None:
        snapshot = self._snapshot
        known = files + len(snapshot.database.filenames()) + bool(snapshot.journal.files)
        self._report(inspect_index(snapshot.index_problem, snapshot.journal, known))

    def _verify_parts(self) -> None:
        """Report partial Matroska files that no service is writing."""
        for name in [] if is_locked(self.folder) else parts_in(self.folder):
            text = "is what is left of a conversion that was interrupted"
            advice = "It is removed when the service starts, and made again."
            self._report([Finding(name, FindingKind.UNFINISHED, text, advice)])

    def _verify_file(self, name: str, *, asked: bool) -> None:
        """Verify one file, and again while its findings may come from a changed index."""
        self._at = attrs.evolve(self._at, filename=name)
        for _ in range(_MAX_TRIES):
            seen, findings = self._inspect(name, asked)
            if not findings or not self._snapshot.stale:
                break
            self._snapshot = self._snapshot.reopen()
        if seen.shape is FileKind.BUSY:
            self._busy.append(name)
        self._report(findings)

    def _inspect(self, name: str, asked: bool) -> tuple[FileContents, list[Finding]]:
        if not is_plain(name):
            text, advice = "has a name that clients cannot use", "Rename it to have it checked."
            fault = FindingKind.UNKNOWN if asked else FindingKind.FOREIGN
            return FileContents(name, FileKind.FOREIGN), [Finding(name, fault, text, advice)]
        known = self._snapshot.database.segment(name)
        expected = known.sha256 if known else None
        seen = self.inspect(self._disk, self.folder / name, fast=self.fast, expected=expected)
        if seen.shape is FileKind.GONE and asked:
            text, advice = "is not in the folder", "Check its name."
            if known is not None:
                text, advice = "was removed outside of camd", "Put it back, under any name."
            return seen, [Finding(name, FindingKind.MISSING, text, advice)]
        return seen, compare_file(seen, known, self._twin(seen, known))

    def _twin(self, seen: FileContents, known: Segment | None) -> str | None:
        """Name another file that holds the same segment, with "-" before it when it is gone."""
        if known is not None or seen.identity is None:
            return None
        twin = self._snapshot.database.segment_of_session(
            SessionId(seen.identity.session_id), seen.identity.number
        )
        if twin is None:
            return None
        return (
            twin.filename if os.path.lexists(self.folder / twin.filename) else f"-{twin.filename}"
        )

    def _verify_sessions(self) -> None:
        if self._snapshot.stale:
            self._snapshot = self._snapshot.reopen()
        suspects = {
            account.session.session_id: account
            for account in self._snapshot.sessions()
            if compare_session(account)
        }
        # What camd removed itself is no gap. Only the journal knows, and it is long.
        removed = self._snapshot.removed(suspects) if suspects else {}
        for session_id, account in suspects.items():
            self._report(compare_session(account, removed.get(session_id, {})))
        self._report([unaccounted_session(name) for name in self._snapshot.unaccounted_sessions()])


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
