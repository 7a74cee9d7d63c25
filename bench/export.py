"""How long the head of an export takes, how large it is, and how a day is sent.

    python bench/export.py [--hours 24] [--rounds 10] [--sent-hours 24]

One camera, 1080p30 with B-frames and sound, recorded into files of half an hour. Each file has a
minute of real footage, whose samples the tables repeat; the rest of it is not written, so that a
day needs little disk. Head: plan, tables of all files, edit lists and hash, in one thread, as
`get_export` and a download do; the last column is the largest memory of this process so far.

Then the service sends an export of a day: small pictures of a low bit rate, 30 frames a second with
sound, of which every file is whole. Seconds to the first byte, bytes per second, CPU time and the
largest memory of the service; the second half again, by Range, must be the same bytes; FFmpeg,
which reads every packet, must say nothing.
"""

from __future__ import annotations

import argparse
import http.client
import re
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from running import Camd, cpu_seconds, find_ffmpeg, running

from camd.clock import to_unix_micros
from camd.export.rules.export_plan import ExportRange, plan_files
from camd.export.source_files import find_piece, finish_movie
from camd.model import CameraId, ReadableRecording, Segment, SegmentState, SessionId
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.movies.cut_movie import CutBuilder, CutMovie
from camd.mp4.segment import FTYP_SIZE, SegmentLayout
from camd.mp4.segment_metadata import SegmentMetadata

MINUTES = 30  # of one file
_STREAM = (
    *("-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30"),
    *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "60"),
    *("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30", "-b:v", "4M"),
    *("-pix_fmt", "yuv420p", "-c:a", "aac"),
    *("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-frag_duration", "500000"),
    *("-use_editlist", "0", "-f", "mp4", "pipe:1"),
)


def footage(stream: Sequence[str]) -> tuple[Init, list[Fragment]]:
    """Encode a minute."""
    command = [find_ffmpeg(), "-nostdin", "-v", "error", *stream]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    reader, found = FragmentReader(), []
    for at in range(0, len(data), 1 << 20):
        found += reader.feed(data[at : at + (1 << 20)])
    init, *fragments = found
    assert isinstance(init, Init)
    return init, [each for each in fragments if isinstance(each, Fragment)]


def begin_file(
    init: Init, first: Fragment, start: datetime, number: int
) -> tuple[str, SegmentLayout]:
    """Return the name of a file that begins at `start`, and its layout."""
    metadata = SegmentMetadata(
        *("camera0", "camera0", "bench", number, to_unix_micros(start), 0.0, "boot"),
        synchronised=True,
        software="camd",
    )
    return f"camera0_{start:%Y-%m-%d_%H-%M-%S}.mp4", SegmentLayout(init, first, metadata)


def write_file(
    folder: Path, init: Init, minute: list[Fragment], start: datetime, number: int
) -> Segment:
    """Write a sealed file of half an hour; after the first minute, its samples are zeros."""
    name, layout = begin_file(init, minute[0], start, number)
    with (folder / name).open("wb") as file:
        file.write(layout.header)
        for lap in range(MINUTES):
            for fragment in minute:
                moved = later(fragment, 60 * lap)
                if lap == 0:
                    file.write(b"".join(layout.append(moved)))
                else:
                    layout.record(moved.runs, moved.size_bytes)
        end = layout.size_bytes
        file.seek(end)
        file.write(layout.final_moov())
        size = file.tell()
        file.seek(FTYP_SIZE)
        file.write(layout.seal_header(end))
    return Segment(
        filename=name,
        camera_id=CameraId("camera0"),
        session_id=SessionId("bench"),
        number=number,
        start=start,
        end=layout.end,
        duration_seconds=layout.duration_seconds,
        frames=layout.frames,
        size_bytes=size,
        sha256="",
        state=SegmentState.SEALED,
        codec="avc1",
        width=1920,
        height=1080,
        modified=start,
        leading_frames=0,
    )


def later(fragment: Fragment, seconds: int) -> Fragment:
    """Move a fragment on the stream's timeline."""
    runs = tuple(
        attrs.evolve(run, decode_time=run.decode_time + seconds * run.timescale)
        for run in fragment.runs
    )
    return attrs.evolve(fragment, runs=runs)


def head_of(files: list[Segment], folder: Path, wanted: ExportRange) -> CutMovie:
    """Build the head of an export as the daemon does, in one thread."""
    builder, before = None, None
    for planned in plan_files(files, (), wanted):
        path = folder / planned.segment.filename
        stored = ReadableRecording(path, path.name, planned.segment.size_bytes, True, wanted.end)
        found = find_piece(planned, stored, continued=before is not None)
        if found is None:
            continue
        if builder is not None and before is not None:
            builder.add(before.piece, goes_on=True)
        builder, before = builder or CutBuilder(found.piece), found
    assert builder is not None
    assert before is not None
    builder.add(before.piece)
    return finish_movie(builder, to_unix_micros(wanted.begin), b"")[0]


def show(files: list[Segment], folder: Path, seconds: int, rounds: int) -> None:
    """Print a row: milliseconds of CPU, size of the head, frames, largest memory of the process."""
    begin = files[0].start + timedelta(seconds=0 if seconds == 86400 else 7.3)
    wanted = ExportRange(CameraId("camera0"), begin, begin + timedelta(seconds=seconds))
    taken = []
    for _ in range(rounds):
        before = time.process_time()
        movie = head_of(files, folder, wanted)
        taken.append(1000 * (time.process_time() - before))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{timedelta(seconds=seconds)!s:18}{statistics.median(taken):9.1f}{max(taken):9.1f}"
        f"{len(movie.head) / 1000:10.1f}{movie.frames:10}{memory:9.0f}"
    )


# --- a day, sent

_SMALL = (
    *("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30"),
    *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000", "-t", "60"),
    *("-c:v", "libx264", "-preset", "veryslow", "-bf", "2", "-g", "300", "-crf", "45"),
    *("-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "12k"),
    *("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-frag_duration", "500000"),
    *("-use_editlist", "0", "-f", "mp4", "pipe:1"),
)


def write_whole_file(
    folder: Path, init: Init, minute: list[Fragment], start: datetime, number: int
) -> None:
    """Write a sealed file of half an hour, all of it."""
    name, layout = begin_file(init, minute[0], start, number)
    with (folder / name).open("wb") as file:
        file.write(layout.header)
        for lap in range(MINUTES):
            for fragment in minute:
                file.writelines(layout.append(later(fragment, 60 * lap)))
        end = file.tell()
        file.write(layout.final_moov())
        file.seek(FTYP_SIZE)
        file.write(layout.seal_header(end))


def send_day(folder: Path, hours: int) -> None:
    """Let the service send an export of so many hours; print what that takes."""
    init, minute = footage(_SMALL)
    start = datetime(2026, 1, 15, tzinfo=UTC)
    count = hours * 60 // MINUTES
    for number in range(count):
        write_whole_file(folder, init, minute, start + timedelta(minutes=MINUTES * number), number)
    with running("", storage__recordings_dir=str(folder)) as camd:
        while camd.call("list_recordings", limit=1)["total"] < count:
            time.sleep(0.1)
        end = start + timedelta(hours=hours)
        query = f"from={start:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"
        path = folder / "export.mp4"
        before = cpu_seconds(camd.pid)
        head, taken = download(camd, query, {}, path)
        cpu, size = cpu_seconds(camd.pid) - before, path.stat().st_size
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{camd.pid}/status").read_text())[0])
        print(f"{hours} hours, {size / 1e6:.0f} MB: first byte after {head:.2f} s,", end=" ")
        print(f"then {size / 1e6 / max(0.001, taken - head):.0f} MB/s; CPU {cpu:.2f} s,", end=" ")
        print(f"memory {peak / 1024:.0f} MiB at most", flush=True)
        part = folder / "part.mp4"
        head, _ = download(camd, query, {"Range": f"bytes={size // 2}-"}, part)
        with path.open("rb") as whole:
            whole.seek(size // 2)
            assert whole.read() == part.read_bytes()
        print(f"resumed in the middle: first byte after {head:.2f} s, the same bytes", flush=True)
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-i", str(path), "-map", "0"]
    begin = time.perf_counter()
    command += ["-c", "copy", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b"", done.stderr[:500]
    print(f"FFmpeg has read every packet in {time.perf_counter() - begin:.1f} s and said nothing")


def download(camd: Camd, query: str, headers: dict[str, str], path: Path) -> tuple[float, float]:
    """Write an export to a file; return the seconds to its first byte, and to its last one."""
    address = camd.url.removeprefix("ws://").removesuffix("/ws")
    key = (camd.folder / "state" / "admin.key").read_text().strip()
    connection = http.client.HTTPConnection(address, timeout=300)
    begin, first = time.perf_counter(), 0.0
    connection.request(
        "GET", f"/export/camera0.mp4?{query}", headers={"Authorization": f"Bearer {key}", **headers}
    )
    answer = connection.getresponse()
    assert answer.status in (200, 206), answer.read()
    with path.open("wb") as file:
        while data := answer.read(1 << 20):
            first = first or time.perf_counter() - begin
            file.write(data)
    connection.close()
    return first, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sent-hours", type=int, default=24)
    options = parser.parse_args()
    if options.hours:
        measure_heads(options.hours, options.rounds)
    if options.sent_hours:
        with tempfile.TemporaryDirectory() as name:
            send_day(Path(name), options.sent_hours)


def measure_heads(hours: int, rounds: int) -> None:
    """Print a row for each length of an export."""
    init, minute = footage(_STREAM)
    start = datetime(2026, 1, 15, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [
            write_file(folder, init, minute, start + timedelta(minutes=MINUTES * number), number)
            for number in range(hours * 60 // MINUTES)
        ]
        print(f"{'range':18}{'CPU p50':>9}{'worst':>9}{'head kB':>10}{'frames':>10}{'MiB':>9}")
        for seconds in (10, 60, 600, 3600, 6 * 3600, 86400):
            if seconds <= hours * 3600:
                show(files, folder, seconds, rounds if seconds < 86400 else 3)


if __name__ == "__main__":
    main()
