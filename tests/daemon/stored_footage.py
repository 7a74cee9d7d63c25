"""Recordings at chosen instants: made before a daemon starts, which finds them in its folder."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import attrs
from support import ffmpeg_media as ffmpeg
from support.recordings import WHO

from camd.clock import to_unix_micros
from camd.model import CameraId
from camd.mp4.fragments import Fragment, Init
from camd.mp4.segment import SegmentLayout
from camd.storage.rules.naming import stem


@attrs.define(eq=False)
class FootageFolder:
    """The recordings of one session of a camera."""

    folder: Path
    camera_id: str = "camera0"
    files: list[Path] = attrs.field(factory=list)

    def put(self, start: datetime, clip: Path, seconds: float = 60) -> datetime:
        """Store the first seconds of a clip as a file that begins at `start`; return its end."""
        init, fragments = ffmpeg.events(ffmpeg.as_stream(clip))
        chosen: list[Fragment] = []
        for each in fragments:
            if sum(part.duration_seconds for part in chosen) >= seconds - 0.01:
                break
            chosen.append(each)
        return self.put_fragments(start, init, chosen)

    def put_fragments(self, start: datetime, init: Init, fragments: list[Fragment]) -> datetime:
        """Store fragments as a file that begins at `start`; return its end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        who = attrs.evolve(
            WHO,
            camera_id=self.camera_id,
            session_id=f"{self.camera_id}-session",
            number=len(self.files),
            start_micros=to_unix_micros(start),
        )
        layout = SegmentLayout(init, fragments[0], who)
        data = layout.header + b"".join(part for each in fragments for part in layout.append(each))
        path = self.folder / f"{stem(CameraId(self.camera_id), start)}.mp4"
        path.write_bytes(ffmpeg.seal(layout, data))
        self.files.append(path)
        return start + timedelta(seconds=sum(each.duration_seconds for each in fragments))
