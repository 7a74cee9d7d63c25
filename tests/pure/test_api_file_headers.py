"""What is said to browsers and proxies about footage."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from camd.api.http.files import DurableFileResponse
from camd.model import ReadableRecording


def test_footage_is_for_one_reader_and_is_what_it_says() -> None:
    """No cache between keeps it for others, and no browser takes it for a page."""
    file = ReadableRecording(
        filename="camera0.mp4",
        path=Path("/recordings/camera0.mp4"),
        size_bytes=1000,
        sealed=True,
        modified=datetime(2026, 1, 15, tzinfo=UTC),
    )
    headers = DurableFileResponse(file).headers
    assert headers["cache-control"] == "private, no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"] == 'attachment; filename="camera0.mp4"'
    assert headers["content-type"] == "video/mp4"
