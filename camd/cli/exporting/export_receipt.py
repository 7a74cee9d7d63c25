"""The receipt of an export: what a file holds, where it comes from, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from camd.cli.exit import CommandFailed

if TYPE_CHECKING:
    from camd.client import DownloadedExport, ExportInfo, ExportPartInfo

_READ_BYTES = 1024 * 1024


def receipt_path(path: Path) -> Path:
    """Return the file of a part's receipt."""
    return path.with_name(f"{path.name}.json")


def export_receipt(
    found: ExportInfo, part: ExportPartInfo, done: DownloadedExport, asked: Mapping[str, str]
) -> dict[str, Any]:
    """Describe a file for those who get it: what it holds, where it comes from, what is missing.

    Gaps are those of the whole range, all parts included.
    """
    from camd.model.notation import format_instant

    return {
        "file": done.path.name,
        "size": done.size,
        "sha256": done.sha256,
        "camera_id": found.camera_id,
        **asked,
        "start_time": format_instant(part.start_time),
        "end_time": format_instant(part.end_time),
        "duration": part.duration,
        "frames": part.frames,
        "lead_in": part.lead_in,
        "codec": part.codec,
        "resolution": part.resolution,
        "part": part.part,
        "parts": len(found.parts),
        "gaps": [
            {
                "from": format_instant(gap.start),
                "to": format_instant(gap.end),
                "duration": gap.duration,
                "frames": gap.frames,
                "cause": gap.cause,
                "exact": gap.exact,
            }
            for gap in found.gaps
        ],
        "sources": [
            attrs.asdict(source, filter=lambda field, _: field.name != "part")
            for source in found.sources
            if source.part == part.part
        ],
    }


def write_receipt(done: DownloadedExport, receipt: Mapping[str, Any]) -> None:
    """Read the file back, compare its hash, and write the receipt. Raises CommandFailed."""
    try:
        if _hash_of(done.path) != done.sha256:
            raise CommandFailed(f"{done.path} is not what was received; check the disk")
        with receipt_path(done.path).open("x", encoding="utf-8") as file:
            file.write(json.dumps(receipt, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise CommandFailed(f"{done.path}: no receipt: {error.strerror or error}") from None


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()
