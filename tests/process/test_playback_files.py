"""Playback of real files: what is kept, what is damaged, removed or cut meanwhile, and strips."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import attrs
import imageio_ffmpeg
import pytest
import trio
from support import ffmpeg_media as ffmpeg
from support.recordings import NOON, WHO
from support.recordings_folder import searched_storage

from camd.clock import to_unix_micros
from camd.errors import Refusal
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.model import CameraId, Segment, SegmentState
from camd.mp4.inspect import sealed_moov_offset
from camd.mp4.segment import SegmentLayout
from camd.playback.playback import Playback
from camd.playback.rules.playable_files import PlayableRange
from camd.playback.rules.strip_choice import choose_tiles
from camd.playback.stored_pieces import KEPT_FILES, StoredPieces
from camd.playback.strip import MOST_WAITING, StripMaker
from camd.snapshots.rules.pictures import picture_end, picture_size

PROGRAM = imageio_ffmpeg.get_ffmpeg_exe()
CAMERA = CameraId("camera0")
SECOND = timedelta(seconds=1)


def put_recordings(folder: Path, encoding: str = "h264-aac", since: int = 0) -> list[Path]:
    """Write six seconds in files of two; they begin `since` seconds after noon."""
    init, fragments = ffmpeg.events(ffmpeg.encode(PROGRAM, encoding))
    paths = []
    for number, some in enumerate(ffmpeg.cut(fragments)):
        start = NOON + (since + 2 * number) * SECOND
        who = attrs.evolve(
            WHO, session_id=f"s{since}", number=number, start_micros=to_unix_micros(start)
        )
        index = SegmentLayout(init, some[0], who)
        data = index.header + b"".join(part for each in some for part in index.append(each))
        paths.append(folder / f"camera0_{start:%Y-%m-%d_%H-%M-%S}.mp4")
        paths[-1].write_bytes(ffmpeg.seal(index, data))
    return paths


async def find_program() -> FFmpegBinary:
    """Find the FFmpeg of these tests."""
    return FFmpegBinary(Path(PROGRAM), (9, 0))


async def played(playback: Playback, seconds: float = 60) -> PlayableRange:
    """Return the range from noon on."""
    return await playback.range(CAMERA, NOON, NOON + seconds * SECOND)


async def test_a_damaged_index_of_a_file_is_not_needed(tmp_path: Path) -> None:
    """The fragments are found without it: the same pieces as before."""
    path, *_ = put_recordings(tmp_path)
    async with searched_storage(tmp_path) as storage:
        (whole, *_) = (await played(Playback(storage, find_program))).files
        data = path.read_bytes()
        moov = sealed_moov_offset(data)
        assert moov is not None
        for broken in (data[:moov] + bytes(len(data) - moov), data[: moov + 100], data[:moov]):
            path.write_bytes(broken)
            found = await StoredPieces(storage).of_file(path.name)
            assert found is not None
            assert found.table == whole.pieces.table
        path.write_bytes(data[:20] + data[60:])
        assert await StoredPieces(storage).of_file(path.name) is None


async def test_pieces_are_read_again_when_a_file_has_grown_and_only_then(tmp_path: Path) -> None:
    """Those of a growing file go on where they ended; what is not durable is not there."""
    path, *_ = put_recordings(tmp_path)
    async with searched_storage(tmp_path) as storage:
        (sealed, *_) = (await played(Playback(storage, find_program))).files
        everything, data = sealed.pieces.table, path.read_bytes()
        growing = data[:32] + b"\0\0\0\x10free" + bytes(8) + data[48:]
        name = "camera0_growing.mp4"
        (tmp_path / name).write_bytes(growing[: sealed_moov_offset(data)])
        pieces, ends = StoredPieces(storage), []
        for durable in (everything.media_begin, *everything.begins[1:], everything.media_end):
            for more in (0, 30):  # a fragment that is not whole
                until = min(durable + more, everything.media_end)
                segment = attrs.evolve(
                    a_segment(name), state=SegmentState.OPEN, size_bytes=everything.media_end
                )
                storage.growing(segment, until)
                found = await pieces.of_file(name)
                ends.append(found.table.media_end if found else everything.media_begin)
                assert await pieces.of_file(name) is found
        assert ends == [
            each
            for end in (everything.media_begin, *everything.begins[1:], everything.media_end)
            for each in (end, end)
        ]
        assert found is not None
        assert found.table == everything


def a_segment(name: str) -> Segment:
    """Describe a file of the camera."""
    return Segment(
        filename=name,
        camera_id=CAMERA,
        session_id=WHO.session_id,  # type: ignore[arg-type]
        number=0,
        start=NOON,
        end=NOON + SECOND,
        duration_seconds=1.0,
        frames=30,
        size_bytes=0,
        sha256=None,
        state=SegmentState.SEALED,
        codec="avc1",
        width=320,
        height=180,
        modified=NOON,
    )


async def test_a_file_that_is_gone_is_not_in_the_range(tmp_path: Path) -> None:
    """The others are; the range names those that cannot be played."""
    first, second, third = put_recordings(tmp_path)
    async with searched_storage(tmp_path) as storage:
        second.unlink()
        found = await played(Playback(storage, find_program))
        assert [file.filename for file in found.files] == [first.name, third.name]
        assert found.unplayable == (second.name,)
        assert [gap.cause for gap in found.timeline.gaps] == ["file_removed"]
        with pytest.raises(Refusal) as refused:
            await played(Playback(storage, find_program), 86_401)
        assert "24 hours" in str(refused.value.details)


async def test_pieces_of_a_bounded_number_of_files_are_kept(tmp_path: Path) -> None:
    """The file that was asked for longest ago is read again."""
    path, *_ = put_recordings(tmp_path)
    async with searched_storage(tmp_path) as storage:
        for number in range(KEPT_FILES + 1):
            name = f"camera0_{number}.mp4"
            (tmp_path / name).write_bytes(path.read_bytes())
            storage.growing(attrs.evolve(a_segment(name), state=SegmentState.OPEN), 1 << 40)
        pieces = StoredPieces(storage)
        first = await pieces.of_file("camera0_0.mp4")
        for number in range(1, KEPT_FILES):
            await pieces.of_file(f"camera0_{number}.mp4")
        assert await pieces.of_file("camera0_1.mp4") is await pieces.of_file("camera0_1.mp4")
        await pieces.of_file(f"camera0_{KEPT_FILES}.mp4")
        assert await pieces.of_file("camera0_0.mp4") is not first


def cut_file(path: Path) -> None:
    """Cut a file short."""
    with path.open("r+b") as file:
        file.truncate(1500)


def replace_file(path: Path) -> None:
    """Put another file in its place."""
    data = path.read_bytes()
    path.rename(path.with_suffix(".old"))
    path.write_bytes(bytes(len(data)))


@pytest.mark.parametrize("harm", [Path.unlink, cut_file, replace_file])
async def test_bytes_end_short_when_their_file_changes(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """Never with those of another file; the file is leased as long as it is read."""
    path, *_ = put_recordings(tmp_path)
    data = path.read_bytes()
    async with searched_storage(tmp_path) as storage:
        playback = Playback(storage, find_program)
        found = attrs.evolve(await playback.stored_bytes(path.name, 100, 9000), part_bytes=1000)
        async with found.opened() as reader:
            assert path.name in storage.leased_files
            assert await reader.next() == data[100:1100]
            await trio.to_thread.run_sync(harm, path)
            rest = b""
            while part := await reader.next():
                rest += part
            assert data[1100:].startswith(rest)
            assert len(rest) <= 400
            assert reader.left > 0
        assert path.name not in storage.leased_files
        if harm is Path.unlink:
            with pytest.raises(Refusal) as gone:
                async with found.opened():
                    pass
            assert gone.value.kind.code == -1005


# --- strips


async def make_strip(playback: Playback, count: int = 12, width: int = 64) -> bytes:
    """Make a strip of everything."""
    found = await played(playback, 12)
    tiles = choose_tiles(found, count)
    return await playback.strips.strip(CAMERA, tiles, width)


async def test_a_strip_joins_files_of_different_codecs(tmp_path: Path) -> None:
    """H.264 beside MJPEG, each decoded with its own header."""
    put_recordings(tmp_path)
    put_recordings(tmp_path, "mjpeg", since=6)
    async with searched_storage(tmp_path) as storage:
        playback = Playback(storage, find_program)
        tiles = choose_tiles(await played(playback, 12), 12)
        assert len(tiles) == 12
        assert [tile.time for tile in tiles] == sorted({tile.time for tile in tiles})
        picture = await make_strip(playback)
        assert picture_size(picture) == (12 * 64, 36)
        assert picture_end(picture) == len(picture)
        assert await make_strip(playback) == picture


async def test_a_strip_of_damaged_frames_is_refused(tmp_path: Path) -> None:
    """−1003, and the next one is made."""
    path, *_ = put_recordings(tmp_path)
    async with searched_storage(tmp_path) as storage:
        playback = Playback(storage, find_program)
        (file, *_) = (await played(playback, 2)).files
        data = bytearray(path.read_bytes())
        at = data.index(b"mdat", file.pieces.table.begins[0])
        data[at + 4 : at + 4000] = b"\xff" * 3996
        path.write_bytes(data)
        with pytest.raises(Refusal) as refused:
            await make_strip(playback)
        assert (refused.value.kind.code, refused.value.details["camera_id"]) == (-1003, "camera0")
        path.unlink()
        assert picture_size(await make_strip(playback))[1] == 36


async def test_an_ffmpeg_that_hangs_or_is_missing_is_ended(tmp_path: Path) -> None:
    """A strip has a bounded time, and those who wait for their turn are bounded, too."""
    put_recordings(tmp_path)
    hangs = tmp_path / "hangs"
    hangs.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(1000)\n")
    hangs.chmod(0o755)

    async def find_hanging() -> FFmpegBinary:
        return FFmpegBinary(hangs, (9, 0))

    async def find_nothing() -> FFmpegBinary:
        raise FfmpegMissingError("there is none")

    codes: list[int] = []

    async with searched_storage(tmp_path) as storage:
        playback = Playback(storage, find_nothing)
        found = await played(playback, 6)

        async def ask(maker: StripMaker, count: int) -> None:
            with pytest.raises(Refusal) as refused:
                await maker.strip(CAMERA, choose_tiles(found, count), 64)
            codes.append(refused.value.kind.code)

        await ask(playback.strips, 5)
        maker = StripMaker(storage, playback.pieces, find_hanging, decode_seconds=0.2)
        async with trio.open_nursery() as nursery:
            for count in range(MOST_WAITING + 4):
                nursery.start_soon(ask, maker, count + 1)
    assert codes.count(-32002) == 3
    assert set(codes) == {-1003, -32002}
