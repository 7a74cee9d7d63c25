"""Files and receipts of `camd export`: their names, what a receipt says, and when there is none."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from support.recordings import NOON

from camd.cli.exit import CommandFailed
from camd.cli.exporting.export_command import file_of_part, progress_bar
from camd.cli.exporting.export_receipt import export_receipt, receipt_path, write_receipt
from camd.client import (
    DownloadedExport,
    ExportGapInfo,
    ExportInfo,
    ExportPartInfo,
    ExportSourceInfo,
)
from camd.client.downloads import download_part, partial_path
from camd.client.service_connection import ServiceAddress


def part(number: int) -> ExportPartInfo:
    """Describe a part of a minute."""
    return ExportPartInfo(
        part=number,
        url="/export/camera0.mp4",
        size=5,
        etag='"x"',
        duration=60.0,
        frames=1800,
        start_time=NOON,
        end_time=NOON + timedelta(minutes=1),
        lead_in=7,
        codec="h264",
        resolution="320x180",
    )


FOUND = ExportInfo(
    camera_id="camera0",
    url="/export/camera0.mp4",
    size=10,
    duration=120.0,
    frames=3600,
    start_time=NOON,
    end_time=NOON + timedelta(minutes=2),
    lead_in=7,
    gaps=(
        ExportGapInfo(
            start=NOON, end=NOON, duration=0.0, frames=None, cause="not_recorded", exact=False
        ),
    ),
    sources=tuple(
        ExportSourceInfo(file=f"{number}.mp4", sha256="ab", begin=48, end=53, part=number)
        for number in (1, 2)
    ),
    parts=(part(1), part(2)),
)


def test_parts_have_names_of_their_own() -> None:
    """The number comes before the suffix; the first part has the name that was given."""
    path = Path("/tmp/my.clip.mp4")
    names = [file_of_part(path, number).name for number in (1, 2, 3)]
    assert names == ["my.clip.mp4", "my.clip-2.mp4", "my.clip-3.mp4"]
    assert file_of_part(Path("clip"), 2).name == "clip-2"
    assert receipt_path(path).name == "my.clip.mp4.json"


def test_a_receipt_says_what_a_file_is(tmp_path: Path) -> None:
    """Its hash, its own sources, all gaps; as UTF-8 that other programs read."""
    path = tmp_path / "Hof – 2.mp4"
    path.write_bytes(b"video")
    digest = hashlib.sha256(b"video").hexdigest()
    done = DownloadedExport(path=path, size=5, sha256=digest)
    receipt = export_receipt(FOUND, part(2), done, {"from": "a", "to": "b"})
    write_receipt(done, receipt)
    written = json.loads(receipt_path(path).read_text(encoding="utf-8"))
    assert written == receipt
    assert (written["file"], written["sha256"], written["size"]) == (path.name, digest, 5)
    assert (written["part"], written["parts"], written["lead_in"]) == (2, 2, 7)
    assert written["sources"] == [{"file": "2.mp4", "sha256": "ab", "begin": 48, "end": 53}]
    assert written["start_time"] == "2026-01-15T12:00:00Z"
    assert written["gaps"][0]["cause"] == "not_recorded"


def test_a_file_that_is_not_what_was_received_has_no_receipt(tmp_path: Path) -> None:
    """It is read back; and a receipt that exists is not overwritten."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"other")
    done = DownloadedExport(path=path, size=5, sha256=hashlib.sha256(b"video").hexdigest())
    with pytest.raises(CommandFailed, match="not what was received"):
        write_receipt(done, {})
    assert not receipt_path(path).exists()
    path.write_bytes(b"video")
    receipt_path(path).write_text("mine")
    with pytest.raises(CommandFailed, match="no receipt"):
        write_receipt(done, {})
    assert receipt_path(path).read_text() == "mine"


async def test_a_download_is_durable_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are synced while the file has its partial name; only a power cut shows it."""
    path, synced = tmp_path / "a.mp4", []
    left = partial_path(path, part(1).etag)
    left.write_bytes(b"video")
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino == left.stat().st_ino, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    done = await download_part(ServiceAddress("ws://nowhere"), part(1), path, lambda _: None)
    assert synced == [(True, False)]
    assert (done.resumed_at, path.read_bytes(), left.exists()) == (5, b"video", False)


def test_the_progress_bar_grows() -> None:
    """A bar, per cent, what is there, and how fast; nothing at all is complete."""
    assert progress_bar("a.mp4", 0, 100, 0.0).startswith("a.mp4  " + "░" * 24 + "   0 %")
    half = progress_bar("a.mp4", 5_000_000, 10_000_000, 2.0)
    assert half == "a.mp4  " + "█" * 12 + "░" * 12 + "   50 %  5.0 MB  2.5 MB/s".replace(
        "   50", "  50"
    )
    assert "100 %" in progress_bar("a.mp4", 0, 0, 1.0)
