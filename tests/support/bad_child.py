"""A capture program that behaves for a while, and then as children do that nobody wants.

It stands in for FFmpeg: `make_bad_child` writes a program whose first life misbehaves in the way
that is asked for; all later lives are the real FFmpeg. Each life notes that it began, and whether
the one before it still existed then.
"""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = """#!{python} -SE
import os, signal, subprocess, sys, time

REAL, NOTES, WAY = {real!r}, {notes!r}, {way!r}
if "-re" not in sys.argv:  # asked for its version, or an encoder is tried out
    os.execv(REAL, [REAL, *sys.argv[1:]])
earlier = open(NOTES).read().split() if os.path.exists(NOTES) else []
alive = bool(earlier) and os.path.exists("/proc/" + earlier[-1].split(":")[0])
with open(NOTES, "a") as notes:
    notes.write(str(os.getpid()) + (":overlaps" if alive else ":alone") + "\\n")
if earlier:
    os.execv(REAL, [REAL, *sys.argv[1:]])
real = subprocess.Popen([REAL, *sys.argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
end = time.monotonic() + 2.0
while time.monotonic() < end:
    os.write(1, os.read(real.stdout.fileno(), 65536))
    if WAY == "floods":
        os.write(2, b"[error] x" * 50000 + b"\\n" * 1000)
real.kill()
real.wait()
if WAY == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif WAY == "stopped":
    os.kill(os.getpid(), signal.SIGSTOP)
elif WAY == "mute":
    os.close(1)
elif WAY == "garbage":
    while True:
        os.write(1, os.urandom(65536))
elif WAY == "floods":
    sys.exit(3)
while True:
    time.sleep(1)
"""


def make_bad_child(folder: Path, real: str, way: str) -> tuple[Path, Path]:
    """Write the program; return its path and that of its notes ("PID:alone" a line)."""
    program, notes = folder / "ffmpeg", folder / "lives"
    text = _PROGRAM.format(python=sys.executable, real=real, notes=str(notes), way=way)
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return program, notes
