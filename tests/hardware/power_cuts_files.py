"""Inspects a recording's file: its metadata, its hash, and the errors that FFmpeg finds."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
from power_cut_checks import Footage

from camd.mp4.boxes import MediaError
from camd.mp4.inspect import HEAD_SIZE, read_segment_head, sealed_moov_offset
from camd.mp4.segment import HASHED_FROM

FFMPEG = os.environ.get("TEST_FFMPEG") or shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


def inspect_all(paths: Iterable[Path]) -> dict[str, Footage]:
    """Inspect files, two at a time; by name."""
    with ThreadPoolExecutor(2) as pool:
        return {footage.filename: footage for footage in pool.map(inspect, paths)}


def inspect(path: Path) -> Footage:
    """Inspect one file; a file without frames has a finding. Never raises."""
    data = path.read_bytes()
    digest = hashlib.sha256(data[HASHED_FROM:]).hexdigest()
    try:
        _, metadata = read_segment_head(data[:HEAD_SIZE])
        sealed = sealed_moov_offset(data[:HASHED_FROM]) is not None
    except MediaError as error:
        return Footage(path.name, len(data), digest, sealed=False, complaint=str(error))
    frames, seconds, complaint = play(path)
    if not frames and not sealed:
        return Footage(path.name, len(data), digest, sealed=False, complaint="no frame")
    return Footage(
        *(path.name, len(data), digest, sealed, complaint),
        *(metadata.camera_id, metadata.session_id, metadata.number, metadata.boot_id, frames),
        start=metadata.start_micros / 1e6,
        end=metadata.start_micros / 1e6 + seconds,
    )


def play(path: Path) -> tuple[int, float, str]:
    """Decode a file; return its frames, their seconds, and FFmpeg's errors."""
    arguments = f"-v error -nostdin -i {path} -map 0:v:0 -fps_mode passthrough -f null -"
    arguments += " -map 0:v:0 -c copy -f framecrc -"
    command = [FFMPEG, *arguments.split()]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    lines = done.stdout.decode().splitlines()
    packets = [line.split(",") for line in lines if line and not line.startswith("#")]
    bases = [line.split(": ")[1] for line in lines if line.startswith("#tb 0")]
    said = done.stderr.decode(errors="replace").strip()[:200]
    if not packets:
        return 0, 0.0, said or "no frame"
    end = max(int(packet[2]) + int(packet[3]) for packet in packets)
    complaint = said or ("" if done.returncode == 0 else f"status {done.returncode}")
    return len(packets), float(end * Fraction(bases[0])), complaint
