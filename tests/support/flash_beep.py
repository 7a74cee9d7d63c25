"""Films that flash and beep at the same moments, and when files show and sound that."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import attrs
import imageio_ffmpeg
import media_ffmpeg as ffmpeg

PERIOD = 0.5  # seconds from flash to flash, and from beep to beep
FPS = 20
RATE = 48_000
AAC = ("-c:a", "aac", "-b:a", "96k")

_BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()
_LOUD = 6_000  # of 32768
_FLASH = f"color=black:size=160x90:rate={FPS},drawbox=color=white:t=fill:enable='eq(mod(n,10),5)'"
_BEEP = f"aevalsrc='if(between(mod(t,0.5),0.25,0.3),0.8*sin(2*PI*1000*t),0)':sample_rate={RATE}"
_ONE_PIXEL = "format=gray,lut='if(gt(val,128),255,0)',scale=2:2:flags=neighbor"


@attrs.frozen
class Marks:
    """When a file flashes and beeps, in seconds of its own presentation.

    `intervals` are how long each picture but the last is shown. `uneven` is the longest time by
    which a packet of sound misses the end of the one before it; players that do not look at times
    are wrong by as much.
    """

    flashes: tuple[float, ...]
    beeps: tuple[float, ...]
    intervals: tuple[float, ...]
    uneven: float

    @property
    def lags(self) -> list[float]:
        """By how much each beep is later than its flash, in seconds."""
        pairs = ((flash, beep) for flash in self.flashes for beep in self.beeps)
        return [beep - flash for flash, beep in pairs if abs(beep - flash) < PERIOD / 2]


def make_film(
    path: Path,
    *,
    seconds: float = 4,
    b_frames: int = 0,
    gop: int = FPS,
    sound: Sequence[str] = AAC,
    picture_late: float = 0.0,
    sound_late: float = 0.0,
) -> Path:
    """Make a film that flashes and beeps a quarter of a second into each half; see PERIOD.

    A track may be late by so many seconds.
    """
    done = ffmpeg.run(
        *(_BUNDLED, "-itsoffset", f"{picture_late}", "-f", "lavfi", "-i", _FLASH),
        *("-itsoffset", f"{sound_late}", "-f", "lavfi", "-i", _BEEP, "-t", f"{seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-sc_threshold", "0", "-pix_fmt", "yuv420p"),
        *("-bf", f"{b_frames}", "-g", f"{gop}", "-keyint_min", f"{gop}", *sound, str(path)),
    )
    assert done.returncode == 0, done.stderr
    return path


def measure(program: str, path: Path) -> Marks:
    """Decode a file, and look and listen when it flashes and beeps."""
    pictures, sound = path.with_suffix(".pictures"), path.with_suffix(".pcm")
    done = ffmpeg.run(
        *(program, "-y", "-copyts", "-i", str(path)),
        *("-map", "0:v:0", "-vf", _ONE_PIXEL, "-fps_mode", "passthrough"),
        *("-enc_time_base:v", "1/90000", *_HASHES, str(pictures)),
        *("-map", "0:a:0", "-ac", "1", "-ar", f"{RATE}", "-f", "s16le", str(sound)),
        *("-map", "0:a:0", "-c:a", "pcm_s16le", *_HASHES, "-"),
    )
    assert done.returncode == 0, done.stderr
    seen = list(_rows(pictures.read_text()))
    shades = [shade for _, _, shade in seen]
    black = max(set(shades), key=shades.count)
    flashes = [at for at, _, shade in seen if shade != black]
    heard = list(_rows(done.stdout.decode()))
    gaps = [abs(after[0] - at - length) for (at, length, _), after in pairwise(heard)]
    beeps = [heard[0][0] + at for at in _onsets(sound.read_bytes())]
    intervals = [after[0] - at for (at, *_), after in pairwise(seen)]
    return Marks(tuple(flashes), tuple(beeps), tuple(intervals), max(gaps))


_HASHES = ("-avoid_negative_ts", "disabled", "-f", "framehash", "-hash", "md5")


def _rows(text: str) -> Iterator[tuple[float, float, str]]:
    """Yield the time, the length and the hash of each decoded frame."""
    for line in text.splitlines():
        if line.startswith("#tb 0:"):
            numerator, denominator = map(int, line.split(":")[1].split("/"))
        elif not line.startswith("#"):
            _, _, time, length, _, digest, *_ = (part.strip() for part in line.split(","))
            yield int(time) * numerator / denominator, int(length) * numerator / denominator, digest


def _onsets(pcm: bytes) -> Iterator[float]:
    """Yield when it becomes loud after a silence, in seconds from the first sample."""
    silent_since = -RATE
    for index, value in enumerate(array("h", pcm)):
        if abs(value) > _LOUD:
            if index - silent_since > RATE // 10:
                yield index / RATE
            silent_since = index
