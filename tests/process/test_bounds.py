"""What a stranger could make endless is read up to a bound: boxes, files, answers."""

from __future__ import annotations

import struct
import threading
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from support.recordings import NOON, WHO, footage

from camd.clock import SYSTEM_CLOCK
from camd.config.load import load_config
from camd.config.schema import StorageConfig
from camd.devices import binding_store
from camd.errors import ConfigError, Refusal
from camd.model import Event
from camd.mp4.boxes import BoxError, BoxReader
from camd.mp4.interrupted import read_interrupted
from camd.mp4.segment import SegmentLayout
from camd.recording import convert
from camd.runtime.broadcast import Fanout
from camd.runtime.child_process import keep_last
from camd.runtime.state_file import MAX_BYTES
from camd.storage.disk import PosixDisk
from camd.storage.recovery.file_recovery import MOOV_LIMIT, ensure_sealed
from camd.storage.removal import Pins
from camd.storage.rules.timings import StorageLimits
from camd.storage.storage import open_storage

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (b"mdat", 64 * MEBIBYTE),
        (b"moof", 4 * MEBIBYTE),
        (b"moov", 4 * MEBIBYTE),
        (b"xyzw", MEBIBYTE),
    ],
)
def test_a_child_cannot_make_a_box_grow_without_end(kind: bytes, most: int) -> None:
    """A box beyond its limit is refused when its header is here, and before memory is taken."""
    assert BoxReader().feed(struct.pack(">I4s", most, kind)) == []
    with pytest.raises(BoxError, match="at most"):
        BoxReader().feed(struct.pack(">I4s", most + 1, kind))


def test_a_damaged_size_makes_nobody_read_gigabytes() -> None:
    """Sizes in a file that was not sealed may be anything: no read is larger than a fragment."""
    init, fragments = footage(2)
    index = SegmentLayout(init, fragments[0], WHO)
    head, first = index.header, b"".join(index.append(fragments[0]))
    moof = 3 << 29
    check = first[-24:-8] + bytes(8)
    pieces = {
        0: head,
        len(head): struct.pack(">I4s", moof, b"moof"),
        len(head) + moof: struct.pack(">I4s", 16, b"mdat") + bytes(8),
        len(head) + moof + 16: check,
    }

    def read(at: int, size: int) -> bytes:
        assert size <= 65 * MEBIBYTE, f"{size} bytes at {at}"
        for start, data in pieces.items():
            if start <= at < start + len(data):
                return data[at - start :][:size]
        return b""

    assert read_interrupted(read, 1 << 40) is None


def test_a_file_with_an_enormous_index_is_not_read(tmp_path: Path) -> None:
    """What claims to be a sealed recording with gigabytes of index is left alone."""
    init, fragments = footage(1)
    index = SegmentLayout(init, fragments[0], WHO)
    data = index.header + b"".join(index.append(fragments[0]))
    header = index.seal_header(len(data))
    sealed = data[:32] + header + data[48:] + index.final_moov()
    path = tmp_path / "camera0_2026-01-15_14-30-00.mp4"
    path.write_bytes(sealed)
    assert ensure_sealed(PosixDisk(), path) is not None
    with path.open("r+b") as file:  # sparse: nothing is on the disk
        file.truncate(len(data) + MOOV_LIMIT + 1)
    assert ensure_sealed(PosixDisk(), path) is None


def test_an_enormous_marker_is_a_pin_and_is_not_read_whole(tmp_path: Path) -> None:
    """Somebody may put anything there; it holds all the same."""
    markers = Pins.of(PosixDisk(), tmp_path)
    markers.folder.mkdir(parents=True)
    with (markers.folder / "a.mp4").open("wb") as file:
        file.truncate(1 << 40)
    assert markers.find("a.mp4", NOON) is not None


def test_a_configuration_without_an_end_is_refused(tmp_path: Path) -> None:
    """What is too long is a mistake that is told; no part of it is left out in silence."""
    file = tmp_path / "camd.toml"
    file.write_text("#" * 63 + "\n", encoding="utf-8")
    load_config(file, {})
    file.write_text(("#" * 63 + "\n") * 70_000 + "nonsense\n", encoding="utf-8")
    for path, words in ((file, "larger than"), (Path("/dev/zero"), "is a character device")):
        with pytest.raises(ConfigError, match=words):
            load_config(path, {})


def test_an_enormous_configuration_is_not_read_whole(tmp_path: Path) -> None:
    """It is refused, however much more there is: nobody has memory for a file of a terabyte."""
    with (tmp_path / "camd.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="larger than"):
        load_config(tmp_path / "camd.toml", {})


async def test_a_program_that_talks_without_end_takes_no_memory() -> None:
    """Of what a conversion's FFmpeg says, the end is kept, and no more than so much."""
    words, said = bytearray(), iter([*(b"%1000d" % number for number in range(300)), b""])

    async def read() -> bytes:
        return next(said)

    await keep_last(read, words, convert._MOST_OUTPUT)
    assert len(words) == convert._MOST_OUTPUT == 64 * 1024
    assert words.endswith(b" 299")


def test_an_enormous_list_of_cameras_is_set_aside(tmp_path: Path) -> None:
    """A file of known cameras that nobody can have written is damage, and is kept for people."""
    file = tmp_path / "cameras.json"
    with file.open("wb") as stream:
        stream.write(b" " * (MAX_BYTES + 1))
    with capture_logs() as logs:
        assert binding_store.load_known(file) == ()
    assert [entry["error"] for entry in logs] == ["is larger than 1048576 bytes"]
    binding_store.save_known(file, ())
    assert (tmp_path / "cameras.json.damaged").stat().st_size > MEBIBYTE


@attrs.define(eq=False)
class Stuck:
    """Work that returns when it is told to."""

    go_on: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, index: object) -> datetime:
        assert self.go_on.wait(200)
        return datetime.now(UTC)


async def test_an_index_that_does_not_answer_is_a_refusal(tmp_path: Path) -> None:
    """A client is told that the volume does not answer, while the question still hangs."""
    limits = StorageLimits(read_timeout_seconds=0.1)
    config = StorageConfig(recordings_dir=tmp_path / "recordings", state_dir=tmp_path)
    stuck = Stuck()
    with trio.fail_after(300):
        async with open_storage(
            config, Fanout[Event](), clock=SYSTEM_CLOCK, limits=limits
        ) as storage:
            try:
                with pytest.raises(Refusal) as caught:
                    await storage.index_worker.read(stuck)
            finally:
                stuck.go_on.set()
    assert caught.value.kind.code == -1016
