"""How far behind live view is, how soon a picture comes, and what viewers cost.

    python bench/live.py [--seconds 9] [--rounds 10] [--viewers 0,1,10,30] [--sound]

Needs Chromium and Playwright. A synthetic 1280x720 camera at 30 frames a second shows the wall time
as a bar code; a page with the player reads it back from the video element (encoder and browser
included, lens and screen not). A first picture is that of a camera that captures already, from the
call of `watch` on. Then the CPU time of the daemon with viewers of a 1080p camera of 8 Mbit/s,
which is copied: viewers that read everything, in another process. With `--sound` both cameras have
sound beside their pictures; that of the first one is taken at the same moments as its pictures, and
comes in pieces of 10 ms, as from a sound card.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from running import Camd, cpu_seconds, find_ffmpeg, make_clip, running
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

sys.path.append(str(Path(__file__).parents[1] / "tests" / "daemon"))

from served_folder import served_folder

WEB = Path(__file__).resolve().parents[1] / "camd" / "web"
WIDTH, HEIGHT, RATE, BITS = 1280, 720, 30, 20
BAR = WIDTH // BITS
PAGE = f"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<div style="position: relative; width: 640px"><video muted style="width: 100%"></video></div>
<script type="module">
import {{ watch }} from "/player/live.js";
const video = document.querySelector("video"), row = new OffscreenCanvas({WIDTH}, 1);
const context = row.getContext("2d", {{ willReadFrequently: true }});
window.seen = [];
video.addEventListener("waiting", () => window.stalls++);
const look = () => {{
  const now = Date.now();
  context.drawImage(video, 0, {HEIGHT // 2}, {WIDTH}, 1, 0, 0, {WIDTH}, 1);
  const {{ data }} = context.getImageData(0, 0, {WIDTH}, 1);
  let code = 0;
  for (let bit = 0; bit < {BITS}; bit++)
    code += (data[4 * (bit * {BAR} + {BAR // 2})] > 128) * 2 ** bit;
  const behind = (now - code + 2 ** {BITS}) % 2 ** {BITS};
  window.seen.push([performance.now() - window.began, behind]);
  window.frame = video.requestVideoFrameCallback(look);
}};
window.begin = (url, token) => {{
  window.seen = [];
  window.stalls = 0;
  window.began = performance.now();
  window.player?.close();
  if (window.frame) video.cancelVideoFrameCallback(window.frame);
  window.player = watch(video, {{ url, token }});
  window.frame = video.requestVideoFrameCallback(look);
}};
window.ready = true;
</script>"""
SOUND_RATE, SOUND_PIECE = 48000, 480  # samples a second, and in a piece
# In FFmpeg's place: the synthetic picture is replaced by one that shows the time, and the tone by
# sound of the same clock. Two inputs with clocks of their own begin at different moments: FFmpeg
# would keep each picture until the sound with its time stamp has come, by so much later. Nothing is
# analysed before: what gathers meanwhile would be read at the pace of a file, always late.
FFMPEG = """#!{python}
import os, subprocess, sys
given = sys.argv[1:]
def replace(form):
    at = given.index("lavfi") - 1
    begin = at
    while given[begin - 1] == "-re" or given[begin - 2].startswith("-readrate"):
        begin -= 1 if given[begin - 1] == "-re" else 2
    given[begin:at + 4] = ("-probesize 32 -analyzeduration 0 " + form).split()
if "lavfi" in given and "pipe:1" in given:
    heard, sound = os.pipe()
    replace("-f rawvideo -pixel_format gray -video_size {size} -framerate {rate} -i pipe:0")
    command = [sys.executable, {bench!r}, "--pictures"]
    if "lavfi" in given:
        replace(f"-f s16le -ar {sound_rate} -ac 1 -i pipe:{{heard}}")
        command += ["--sound-pipe", str(sound)]
    os.set_inheritable(heard, True)
    pictures = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[sound])
    os.close(sound)
    os.dup2(pictures.stdout.fileno(), 0)
os.execv({program!r}, [{program!r}, *given])
"""


def show_time(sound_pipe: int) -> None:
    """Write pictures of the wall time to stdout, as a camera would send them, and sound to a pipe.

    No sound with −1.
    """
    with contextlib.suppress(BrokenPipeError):
        write_picture()  # longer than a pipe: FFmpeg reads when this returns
        begin = time.time()
        if sound_pipe >= 0:
            threading.Thread(target=write_sound, args=(sound_pipe, begin), daemon=True).start()
        for number in range(1, 1 << 30):
            time.sleep(max(0.0, begin + number / RATE - time.time()))
            write_picture()


def write_picture() -> None:
    """Write one picture that shows the time."""
    code = int(time.time() * 1000) % (1 << BITS)
    bars = b"".join(bytes([235 if code >> bit & 1 else 16]) * BAR for bit in range(BITS))
    sys.stdout.buffer.write(bars * HEIGHT)
    sys.stdout.buffer.flush()


def write_sound(pipe: int, begin: float) -> None:
    """Write a tone of 100 Hz; each piece when its last sample has been taken."""
    period = SOUND_RATE // 100
    tone = (int(8000 * math.sin(2 * math.pi * each / period)) for each in range(SOUND_PIECE))
    piece = struct.pack(f"<{SOUND_PIECE}h", *tone)
    with contextlib.suppress(BrokenPipeError):
        for number in range(1, 1 << 30):
            time.sleep(max(0.0, begin + number * SOUND_PIECE / SOUND_RATE - time.time()))
            os.write(pipe, piece)


@contextlib.contextmanager
def clock_ffmpeg() -> Iterator[Path]:
    """Write the program that takes FFmpeg's place."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ffmpeg"
        names = {"python": sys.executable, "size": f"{WIDTH}x{HEIGHT}", "rate": RATE}
        names["sound_rate"] = SOUND_RATE
        program.write_text(
            FFMPEG.format(**names, bench=str(Path(__file__).resolve()), program=find_ffmpeg())
        )
        program.chmod(0o755)
        yield program


def key_of(camd: Camd) -> str:
    """Return the administrator's key."""
    return (camd.folder / "state" / "admin.key").read_text().strip()


def live_url(camd: Camd) -> str:
    """Return where the camera is watched."""
    return camd.url.replace("/ws", "/live/camera0")


def percentile(values: list[float], share: float) -> float:
    """Return a percentile of at least one value."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def watch(page: Page, camd: Camd, seconds: float) -> tuple[list[Any], int]:
    """Watch for so long; return (moment, how far behind) of each picture, and the stalls."""
    page.evaluate("(given) => window.begin(...given)", [live_url(camd), key_of(camd)])
    page.wait_for_function("window.seen.length > 0", timeout=30_000)
    page.wait_for_timeout(seconds * 1000)
    return page.evaluate("window.seen"), page.evaluate("window.stalls")


def measure_delay(seconds: float, rounds: int, *, sound: bool) -> None:
    """Print glass to glass, and the time to the first picture."""
    chromium = shutil.which("chromium") or shutil.which("chrome")
    source = f"test:?size={WIDTH}x{HEIGHT}&rate={RATE}&audio={str(sound).lower()}"
    camera = f'[[camera]]\nsource = "{source}"\nalways_on = true\n'
    with (
        clock_ffmpeg() as program,
        running(camera, ffmpeg__path=str(program), ffmpeg__encoder="libx264") as camd,
        served_folder(WEB, PAGE.encode()) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function("window.ready")
        watch(page, camd, 2)
        seen, stalls = watch(page, camd, seconds)
        behind = [each for moment, each in seen if moment > 1000]
        firsts = [watch(page, camd, 0.2)[0][0][0] for _ in range(rounds)]
        browser.close()
    p50, p95 = percentile(behind, 0.5), percentile(behind, 0.95)
    print(f"glass to glass: {p50:.0f} / {p95:.0f} ms (p50 / p95), {len(behind)} pictures")
    print(f"waiting events in {seconds:g} s: {stalls}")
    first, late = statistics.median(firsts), percentile(firsts, 0.95)
    print(f"first picture: {first:.0f} / {late:.0f} ms (p50 / p95 of {rounds})")


def read_as_viewers(count: int) -> None:
    """Watch with so many viewers until stdin ends; address and key come from there."""
    url, key = json.loads(sys.stdin.readline())

    def view() -> None:
        with (
            contextlib.suppress(ConnectionClosed),
            connect(
                url,
                subprotocols=["camd.live.1"],
                max_size=None,
                compression=None,  # type: ignore[list-item]
            ) as socket,
        ):
            socket.send(json.dumps({"auth_token": key}))
            while True:
                socket.recv()

    for _ in range(count):
        threading.Thread(target=view, daemon=True).start()
    sys.stdin.read()


def measure_cost(counts: list[int], seconds: float, *, sound: bool) -> None:
    """Print the CPU time of the daemon with so many viewers."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, size="1920x1080", rate=30, bitrate="8M", seconds=20, sound=sound)
        camera = f'[[camera]]\nsource = "file:{clip}"\ncodec = "copy"\nalways_on = true\n'
        with running(camera) as camd:
            time.sleep(3)
            for count in counts:
                command = [sys.executable, __file__, "--read", str(count)]
                with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as viewers:
                    assert viewers.stdin is not None
                    print(
                        json.dumps([live_url(camd), key_of(camd)]), file=viewers.stdin, flush=True
                    )
                    time.sleep(3)
                    before = cpu_seconds(camd.pid)
                    time.sleep(seconds)
                    used = (cpu_seconds(camd.pid) - before) / seconds * 100
                    viewers.stdin.close()
                print(f"{count} viewers: {used:.1f} % of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=9.0)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--viewers", default="0,1,10,30")
    parser.add_argument("--sound", action="store_true", help="with sound beside the pictures")
    parser.add_argument("--read", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--pictures", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sound-pipe", type=int, default=-1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pictures:
        show_time(options.sound_pipe)
    elif options.read or "--read" in sys.argv:
        read_as_viewers(options.read)
    else:
        print(f"load average before: {os.getloadavg()[0]:.1f}")
        measure_delay(options.seconds, options.rounds, sound=options.sound)
        counts = [int(each) for each in options.viewers.split(",")]
        measure_cost(counts, 10.0, sound=options.sound)


if __name__ == "__main__":
    main()
