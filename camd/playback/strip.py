"""Make strips: one JPEG of many key frames, by FFmpeg processes that yield to everything else."""

from __future__ import annotations

import signal
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import attrs
import structlog
import trio

from camd.errors import RATE_LIMITED, RECORDING_FAILED, Refusal
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.ffmpeg.text.redact import redact
from camd.ffmpeg.text.strip_args import TileSize, row_arguments, tile_arguments
from camd.model import CameraId
from camd.mp4.boxes import MediaError
from camd.mp4.h26x.leading_pictures import begins_anew
from camd.mp4.init import Init, required_box, shown_size, video_trak
from camd.mp4.interrupted import read_head
from camd.mp4.movies.fragment_index import first_sample_at
from camd.mp4.movies.key_frame_movie import key_frame_movie
from camd.playback.rules.strip_choice import Tile
from camd.playback.stored_pieces import StoredPieces, open_recording
from camd.runtime.child_process import (
    keep_last,
    open_child_process,
    write_whole_input,
)
from camd.storage.storage import Storage

log = structlog.get_logger("camd.playback")

MOST_TILES = 60
WIDTHS = (16, 320)  # of a tile, in pixels
KEPT_BYTES = 16 * 1024 * 1024
MOST_WAITING = 16  # strips that wait for their turn
DECODE_SECONDS = 10.0  # for one process
MOST_SAMPLE_BYTES = 64 * 1024 * 1024  # key frames of one strip
_RETRY_MILLISECONDS = 1000
_MOST_STRIP_BYTES = 32 * 1024 * 1024
_WORDS_BYTES = 4096


@attrs.frozen
class _Frames:
    """Key frames that one process decodes: they have one header."""

    init: Init
    samples: tuple[bytes, ...] = attrs.field(repr=False)


@attrs.define(eq=False)
class StripMaker:
    """Makes one strip at a time, and keeps those that were asked for last."""

    _storage: Storage
    _pieces: StoredPieces
    _find_program: Callable[[], Awaitable[FFmpegBinary]]
    _decode_seconds: float = attrs.field(default=DECODE_SECONDS, kw_only=True)
    _turn: trio.CapacityLimiter = attrs.field(factory=partial(trio.CapacityLimiter, 1), init=False)
    _kept: OrderedDict[object, bytes] = attrs.field(factory=OrderedDict, init=False)

    async def strip(self, camera_id: CameraId, tiles: Sequence[Tile], width: int) -> bytes:
        """Return the JPEG of `tiles`, each `width` pixels wide, side by side.

        Raises Refusal: −32002 when too many wait, −1003 when a frame cannot be decoded.
        """
        cache_key = (width, tuple(tile.cache_key for tile in tiles))
        if cache_key not in self._kept and self._turn.statistics().tasks_waiting >= MOST_WAITING:
            raise Refusal(
                RATE_LIMITED,
                "Too many strips are being made",
                retry_after_ms=_RETRY_MILLISECONDS,
                camera_id=camera_id,
            )
        async with self._turn:
            if cache_key not in self._kept:
                self._keep(cache_key, await self._make(camera_id, tiles, width))
        self._kept.move_to_end(cache_key)
        return self._kept[cache_key]

    def _keep(self, cache_key: object, picture: bytes) -> None:
        self._kept[cache_key] = picture
        size = sum(map(len, self._kept.values()))
        while size > KEPT_BYTES and len(self._kept) > 1:
            size -= len(self._kept.popitem(last=False)[1])

    async def _make(self, camera_id: CameraId, tiles: Sequence[Tile], width: int) -> bytes:
        try:
            program = str((await self._find_program()).path)
            found = await self._frames(tiles)
            size = TileSize.of(width, *shown_size(found[0].init))
            rows = [await self._decode(program, size, frames) for frames in found]
            arguments = row_arguments(program, size, len(tiles))
            return await self._run(arguments, b"".join(rows), _MOST_STRIP_BYTES)
        except (OSError, MediaError, FfmpegMissingError) as error:
            log.warning("strip_failed", camera=camera_id, why=str(error))
            raise Refusal(
                RECORDING_FAILED,
                f"The strip could not be made: {error}",
                suggestion="`camd verify` says what is wrong with the files.",
                camera_id=camera_id,
                cause="unreadable",
            ) from error

    async def _frames(self, tiles: Sequence[Tile]) -> list[_Frames]:
        """Read all key frames; those of files with one header are decoded together.

        One at which a decoder does not begin anew gets a process of its own.
        """
        found: list[_Frames] = []
        left = MOST_SAMPLE_BYTES
        for filename, some in groupby(tiles, key=lambda tile: tile.file.filename):
            with self._storage.leased(filename):
                stored = await self._storage.stored_file(filename)
                read = partial(_read_frames, stored.path, tuple(some), left)
                frames = await self._pieces.in_thread(read)
            left -= sum(map(len, frames.samples))
            for sample in frames.samples:
                goes_on = begins_anew(frames.init, sample) and found
                if goes_on and _description(found[-1].init) == _description(frames.init):
                    joined = (*found[-1].samples, sample)
                    found[-1] = attrs.evolve(found[-1], samples=joined)
                else:
                    found.append(_Frames(frames.init, (sample,)))
        return found

    async def _decode(self, program: str, size: TileSize, frames: _Frames) -> bytes:
        """Make raw tiles. Raises MediaError when there is not one for each key frame."""
        wanted = size.raw_bytes * len(frames.samples)
        movie = key_frame_movie(frames.init, frames.samples)
        data = await self._run(tile_arguments(program, size), movie, wanted + 1)
        if len(data) != wanted:
            raise MediaError("a key frame cannot be decoded")
        return data

    async def _run(self, arguments: Sequence[str], given: bytes, most: int) -> bytes:
        """Run FFmpeg with `given` as its input, and return its output, of at most `most` bytes.

        Raises OSError when it cannot be run, MediaError when it fails or takes too long.
        """
        output, words = bytearray(), bytearray()
        with trio.move_on_after(self._decode_seconds):
            async with open_child_process(arguments, takes_input=True) as process:
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(write_whole_input, process, given)
                        nursery.start_soon(keep_last, process.read_errors, words, _WORDS_BYTES)
                        while len(output) < most and (chunk := await process.read_output()):
                            output += chunk[: most - len(output)]
                        nursery.cancel_scope.cancel()
                finally:
                    process.close_input()
                    if len(output) >= most:
                        process.signal(signal.SIGKILL)
                status = await process.wait()
            if status == 0:
                return bytes(output)
            said = redact(words.decode("utf-8", "replace").strip()).splitlines()[-1:]
            raise MediaError(" ".join(said) or f"FFmpeg ended with {status}")
        raise MediaError(f"FFmpeg took more than {self._decode_seconds:g} s")


def _description(init: Init) -> bytes:
    """Return what decoding depends on: the sample description of the video."""
    stbl = required_box(init.moov, b"mdia", b"minf", b"stbl", b"stsd", within=video_trak(init))
    return stbl.bytes_of(init.moov)


# --- reading; blocks


def _read_frames(path: Path, tiles: Sequence[Tile], most: int) -> _Frames:
    """Read the key frames of one file. Raises OSError and MediaError."""
    file = open_recording(path)
    try:
        init, _, _ = read_head(file.read)
        samples = []
        for tile in tiles:
            piece = tile.file.pieces.table[tile.number]
            place = first_sample_at(file.read, init, piece.begin, piece.end)
            if place is None or place[1] > most:
                raise MediaError("a key frame is not where it was, or too large")
            samples.append(file.read(*place))
            most -= place[1]
        return _Frames(init, tuple(samples))
    finally:
        file.close()
