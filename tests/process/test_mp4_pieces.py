"""Pieces of files that real FFmpegs encoded: found by the `moov` as by a walk, and played alone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import attrs
import pytest
from support import ffmpeg_media as ffmpeg

from camd.mp4.init import Init, read_init
from camd.mp4.inspect import sealed_moov_offset
from camd.mp4.interrupted import read_head
from camd.mp4.movies.fragment_index import PieceTable, sealed_fragments, walked_fragments
from camd.mp4.movies.key_frame_movie import key_frame_movie
from camd.mp4.movies.playback_init import PlaybackInit, playback_init


@attrs.frozen
class Recorded:
    """A sealed file of six seconds, its own header, and its pieces."""

    program: str
    path: Path
    data: bytes
    init: Init
    table: PieceTable

    @property
    def beginning(self) -> PlaybackInit:
        """What a player gets first."""
        return playback_init(self.init, 1_700_000_000_000_000)

    def written(self, *pieces: int) -> Path:
        """Write what a player gets: the beginning, and these pieces."""
        path = self.path.with_name(f"{'-'.join(map(str, pieces))}.mp4")
        parts = [self.data[self.table[n].begin : self.table[n].end] for n in pieces]
        path.write_bytes(self.beginning.data + b"".join(parts))
        return path


@pytest.fixture(params=sorted(ffmpeg.ENCODINGS))
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Recorded:
    """A file with B-frames, sound or late sound, in H.264, H.265 or MJPEG."""
    program: str = ffmpeg.PROGRAMS[1].values[0]
    init, fragments = ffmpeg.events(ffmpeg.encode(program, request.param))
    index, grown = ffmpeg.grow(init, fragments)
    path, data = tmp_path / "whole.mp4", ffmpeg.seal(index, grown)
    path.write_bytes(data)
    init, _, begin = read_head(lambda at, size: data[at : at + size])
    end = sealed_moov_offset(data)
    assert end is not None
    found = list(sealed_fragments(read_init(b"", data[end:]), begin, end))
    walked = list(walked_fragments(lambda at, size: data[at : at + size], init, begin, end))
    assert found == walked
    assert len(found) == len(fragments)
    table = PieceTable.of(init.video.timescale, found)
    assert table is not None
    return Recorded(program, path, data, init, table)


def test_all_pieces_are_the_file(recorded: Recorded) -> None:
    """Every packet of picture and sound, and at the same distances as in the file."""
    joined = recorded.written(*range(len(recorded.table)))
    shifts = set()
    for kind in "va":
        whole = ffmpeg.packets(recorded.program, recorded.path, kind)
        played = ffmpeg.packets(recorded.program, joined, kind)
        assert [each[1:] for each in played] == [each[1:] for each in whole]
        shifts |= {round((a[0] - b[0]) / 1000) for a, b in zip(played, whole, strict=True)}
    assert max(shifts) - min(shifts) <= 1, "picture and sound have moved apart"


def test_a_piece_is_decoded_alone_and_knows_its_time(recorded: Recorded) -> None:
    """Its first frame is the one that the table says, at `time` behind the first one's offset."""
    whole = ffmpeg.packets(recorded.program, recorded.path, "v")
    shown = recorded.table.seconds(recorded.table.first_shown)
    offset = float(shown + recorded.beginning.shift)
    for number in (0, len(recorded.table) // 2, len(recorded.table) - 1):
        path = recorded.written(number)
        (time, *key), *_ = ffmpeg.packets(recorded.program, path, "v")
        assert tuple(key) in {each[1:] for each in whole}
        expected = offset + float(recorded.table[number].time)
        assert time / 1e6 == pytest.approx(expected, abs=1e-4)
        done = ffmpeg.run(recorded.program, "-i", str(path), "-map", "0:v:0", "-f", "null", "-")
        assert done.returncode == 0, done.stderr


def test_the_beginning_has_edits_that_browsers_know(recorded: Recorded) -> None:
    """One entry a track, never an empty one: the tracks that begin earlier skip some."""
    init = read_init(b"", recorded.beginning.data[len(recorded.init.ftyp) :])
    delays = {track.track_id: track.delay for track in init.tracks}
    assert max(delays.values()) <= 0
    before = {track.track_id: track.delay for track in recorded.init.tracks}
    distances = {track: delays[track] - before[track] for track in before}
    assert max(distances.values()) - min(distances.values()) < Fraction(1, 10_000)


def test_a_movie_of_key_frames_shows_each_of_them(recorded: Recorded, tmp_path: Path) -> None:
    """As many pictures as key frames, and of each the whole."""
    frames, at = [], 0
    _, fragments = ffmpeg.events(
        recorded.beginning.data
        + recorded.data[recorded.table.media_begin : recorded.table.media_end]
    )
    for fragment in fragments:
        if fragment.starts_with_sync:
            at, size = next(fragment.video_samples())
            frames.append(fragment.mdat[at : at + size])
    path = tmp_path / "keys.mp4"
    path.write_bytes(key_frame_movie(recorded.init, frames))
    done = ffmpeg.run(recorded.program, "-i", str(path), "-f", "framemd5", "-")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [line for line in done.stdout.splitlines() if not line.startswith(b"#")]
    assert len(lines) == len(frames) == len(recorded.table)
    with pytest.raises(ValueError, match="sample"):
        key_frame_movie(recorded.init, [])
