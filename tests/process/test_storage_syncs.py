"""What the kernel is asked to put on stable storage, and before what: on real files."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from support.recordings import segment

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.ffmpeg.binary import FFmpegBinary
from camd.model import Event, Segment
from camd.recording.convert import to_mkv
from camd.runtime.broadcast import Fanout
from camd.runtime.state_file import replace_file
from camd.storage import disk
from camd.storage.disk import PosixDisk, PosixFile
from camd.storage.retention.cleanup import save_policy
from camd.storage.rules.retention_plan import PolicyType, RetentionPolicy
from camd.storage.storage import Storage, open_storage
from camd.storage.volume_sample import writing_works

# Prints one hash for whatever it is asked about, and copies what it is to convert.
COPIER = """#!/bin/sh
case "$*" in *streamhash*) echo 0,v,SHA256=ab; exit;; esac
while [ "$1" != -i ]; do shift; done
from=${2#file:}
for to in "$@"; do :; done
exec cp "$from" "${to#file:}"
"""


@attrs.define(eq=False)
class Kernel:
    """Writes down which files were synced, with their sizes, and which names were changed."""

    folder: Path
    steps: list[str] = attrs.field(factory=list)

    def synced(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def sync(fd: int) -> None:
            path = Path(f"/proc/self/fd/{fd}").readlink()
            size = "" if path.is_dir() else f" {path.stat().st_size}"
            if path.is_relative_to(self.folder):
                self.steps.append(f"{call.__name__} {self._name(path)}{size}")
            call(fd)

        return sync

    def named(self, call: Callable[..., None]) -> Callable[..., None]:
        def name(*paths: Path, **options: object) -> None:
            call(*paths, **options)
            if Path(paths[-1]).is_relative_to(self.folder):
                self.steps.append(f"{call.__name__} {self._name(Path(paths[-1]))}")

        return name

    def _name(self, path: Path) -> str:
        """Name a file without what is drawn by lot, and the folder as `.`."""
        name = str(path.relative_to(self.folder))
        return name.rpartition(".")[0] if name.startswith(".policy") else name


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernel:
    """Listen to what the kernel is asked for in the test's folder."""
    kernel = Kernel(tmp_path)
    # The system calls themselves are what is asserted; nothing else shows that they were made.
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, kernel.synced(getattr(os, name)))
    for name in ("replace", "link", "unlink"):
        monkeypatch.setattr(os, name, kernel.named(getattr(os, name)))
    monkeypatch.setattr(disk, "move_exclusively", kernel.named(disk.move_exclusively))
    return kernel


async def test_the_syncs_of_a_recording_reach_the_kernel(kernel: Kernel, tmp_path: Path) -> None:
    """Behind every sync that the recorder waits for stands a system call, after the bytes."""
    folder = tmp_path / "recordings"
    config = StorageConfig(recordings_dir=folder, state_dir=tmp_path / "state")
    with trio.fail_after(300):
        async with open_storage(config, Fanout[Event](), clock=SYSTEM_CLOCK) as storage:
            kernel.steps.clear()
            file = storage.disk.create(folder / "a.mp4")
            file.append([b"0123456789"])
            file.sync()
            file.append([b"0123456789"])
            file.overwrite(3, b"abc")
            file.sync()
            file.close()
            storage.disk.sync_directory(folder)
            reopened = storage.disk.open(folder / "a.mp4")
            reopened.sync()
            reopened.close()
    assert kernel.steps[:4] == [
        "fdatasync recordings/a.mp4 10",
        "fdatasync recordings/a.mp4 20",
        "fsync recordings",
        "fdatasync recordings/a.mp4 20",
    ]


def test_a_small_file_is_whole_before_it_has_its_name(kernel: Kernel, tmp_path: Path) -> None:
    """After a power cut it is the old one or the new one, and the new one once that was said."""
    target = tmp_path / "policy"
    for text in ("first\n", "longer\n"):
        replace_file(target, text)
        size = len(text)
        assert kernel.steps == [f"fsync .policy {size}", "replace policy", "fsync ."]
        assert target.read_text() == text
        kernel.steps.clear()


def test_a_policy_is_durable_when_it_is_answered(kernel: Kernel, tmp_path: Path) -> None:
    """What somebody was told holds survives a power cut: it is synced, and so is its name."""
    save_policy(tmp_path, RetentionPolicy(PolicyType.AGE, True, max_age_days=3.0))
    synced, renamed, named = kernel.steps
    assert synced.startswith("fsync .retention.json.")
    assert (renamed, named) == ("replace retention.json", "fsync .")


@asynccontextmanager
async def before_a_conversion(
    place: Path, copier: str
) -> AsyncIterator[tuple[FFmpegBinary, Storage, Segment]]:
    """Write a program that passes for FFmpeg, and note a sealed file in `place`/recordings."""
    path, folder = place / "ffmpeg", place / "recordings"
    path.write_text(copier)
    path.chmod(0o755)
    config = StorageConfig(recordings_dir=folder, state_dir=place / "state")
    with trio.fail_after(300):
        async with open_storage(config, Fanout[Event](), clock=SYSTEM_CLOCK) as storage:
            made = segment(size_bytes=1000)
            (folder / made.filename).write_bytes(bytes(1000))
            await storage.note_segment(made)
            yield FFmpegBinary(path, (5, 1)), storage, made


async def test_an_mp4_goes_when_its_mkv_is_durable(kernel: Kernel, tmp_path: Path) -> None:
    """I5: bytes, then the new name, then the ledger of files; and only then the old one goes."""
    folder = tmp_path / "recordings"
    async with before_a_conversion(tmp_path, COPIER) as (program, storage, made):
        kernel.steps.clear()
        mkv = await to_mkv(program, storage, made, clock=SYSTEM_CLOCK)
        steps = list(kernel.steps)
    assert mkv is not None
    assert (folder / mkv.filename).read_bytes() == bytes(1000)
    part = steps.index(f"fsync recordings/.camd/{mkv.filename}.part 1000")
    link = steps.index(f"move_exclusively recordings/{mkv.filename}")
    named = steps.index("fsync recordings", link)
    noted = next(n for n, s in enumerate(steps) if s.startswith("fdatasync recordings/.camd/journ"))
    gone = steps.index(f"unlink recordings/{made.filename}")
    over = steps.index("fsync recordings", gone)
    assert part < link < named < noted < gone < over


def test_a_trial_that_cannot_be_synced_has_failed(tmp_path: Path) -> None:
    """A disk that takes bytes and cannot keep them does not work."""

    class Unsyncable(PosixFile):
        def sync(self) -> None:
            raise OSError(5, "Input/output error")

    class Bad(PosixDisk):
        def create(self, path: Path) -> PosixFile:
            return Unsyncable(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))

    assert writing_works(tmp_path, PosixDisk())
    assert not writing_works(tmp_path, Bad())
    assert list((tmp_path / ".camd").iterdir()) == []


async def test_an_mp4_stays_when_its_mkv_holds_something_else(tmp_path: Path) -> None:
    """I5: packets are compared before the MP4 goes; where they differ, nothing is left of the
    conversion."""
    folder = tmp_path / "recordings"
    liar = COPIER.replace("SHA256=ab", 'SHA256=ab$(echo "$*" | cksum | cut -c1-6)')
    async with before_a_conversion(tmp_path, liar) as (program, storage, made):
        assert await to_mkv(program, storage, made, clock=SYSTEM_CLOCK) is None
    assert [path.name for path in folder.iterdir() if path.is_file()] == [made.filename]
