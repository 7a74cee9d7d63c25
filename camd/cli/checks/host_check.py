"""What of this machine keeps camd from serving or recording well: clock, port, disk speed."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from camd.cli.checks.disk_speed import DiskSpeed, measure_disk
from camd.cli.checks.finding import CheckFinding, ok, warning
from camd.cli.checks.flash_wear import ENDURANCE_BYTES, daily_writes
from camd.config.schema import Config
from camd.model.notation import TcpAddress, parse_listen

ASSUMED_BITS_PER_SECOND = 8_000_000  # of a camera whose bit rate is not configured
_SPARE = 2.0  # a disk should be so many times as fast as the cameras
_SLOW_SYNC_SECONDS = 1.0


def inspect_clock(synchronised: bool) -> CheckFinding:
    """Judge whether the wall clock is right: files are named by it. Pure."""
    if synchronised:
        return ok("clock", "synchronised")
    return warning(
        "clock",
        "no time service keeps it right: files may be named by a wrong time",
        "Enable systemd-timesyncd or chrony (`timedatectl set-ntp true`).",
    )


def inspect_ports(config: Config) -> Iterator[CheckFinding]:
    """Report addresses of the configuration that another program has. Blocks for moments."""
    health = config.server.health_listen
    for text in (*config.server.listen, *([health] if isinstance(health, str) and health else [])):
        address = parse_listen(text)
        if isinstance(address, TcpAddress) and address.port and _in_use(address):
            yield warning(
                "server.listen",
                f"{text} is in use by camd, by systemd for it (camd.socket), or by another program",
                "`ss -ltnp` shows which; if it is another program, end it, or choose another port.",
            )


def _in_use(address: TcpAddress) -> bool:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address.host, address.port))
            trial.listen(1)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def inspect_secret(secret: str) -> Iterator[CheckFinding]:
    """Report a secret for JWTs that can be guessed: few different characters. Pure."""
    if secret and len(set(secret)) < 12:
        yield warning(
            "auth.jwt_secret",
            f"it has only {len(set(secret))} different characters, and can be guessed",
            "Make another one: openssl rand -hex 32",
        )


def bits_per_second_of(config: Config) -> float:
    """Return the bits per second of all cameras, assumed where none are set. Pure."""
    return float(sum(camera.bitrate or ASSUMED_BITS_PER_SECOND for camera in config.cameras))


def inspect_disk_speed(folder: Path, config: Config) -> Iterator[CheckFinding]:
    """Measure the disk of the recordings against the cameras. Writes 5 MB; blocks for seconds."""
    if not os.access(folder, os.W_OK | os.X_OK) or not os.path.isdir(folder):
        return
    try:
        speed = measure_disk(folder, 10)
    except OSError:
        return  # the folder is judged elsewhere
    yield judge_speed(speed, bits_per_second_of(config) / 8)


def judge_speed(speed: DiskSpeed, needed: float) -> CheckFinding:
    """Judge a measured disk; `needed` are the bytes per second of all cameras. Pure."""
    text = (
        f"{speed.bytes_per_second / 1e6:.0f} MB/s with a sync each half second of video, "
        f"{speed.longest * 1000:.0f} ms for the slowest; {needed / 1e6:.1f} MB/s are needed"
    )
    if speed.bytes_per_second < needed * _SPARE:
        return warning(
            "disk speed",
            text,
            "Use a faster disk, a lower bitrate, or storage.durability = 5s, which syncs less.",
        )
    if speed.longest > _SLOW_SYNC_SECONDS:
        return warning(
            "disk speed", text, "Look for other programs that write, or for a failing disk."
        )
    return ok("disk speed", text)


def inspect_wear(config: Config) -> Iterator[CheckFinding]:
    """Say how much is written in a day of recording, and what that means for flash. Pure."""
    if not config.cameras:
        return
    writes = daily_writes(
        bits_per_second_of(config),
        len(config.cameras),
        config.storage.durability,
        config.recording.rotation.total_seconds(),
    )
    yield ok(
        "writes",
        f"about {writes.total / 1e9:.0f} GB in a day of recording, {writes.syncs / 1e9:.1f} GB of "
        f"it for durability {config.storage.durability}; the {ENDURANCE_BYTES / 1e12:.0f} TB that "
        f"a small SSD may take last {_span(writes.years)}",
    )


def _span(years: float) -> str:
    return f"{years:.1f} years" if years >= 1 else f"{years * 12:.0f} months"


def usb_findings(streams: Sequence[tuple[str, str, float]]) -> Iterator[CheckFinding]:
    """Report USB 2.0 buses whose cameras ask for more than they carry. Pure.

    `streams` has for each uncompressed stream its camera, its bus, and its bytes per second.
    """
    for bus in sorted({bus for _, bus, _ in streams}):
        sharing = [(camera, rate) for camera, its_bus, rate in streams if its_bus == bus]
        total = sum(rate for _, rate in sharing)
        if total > USB2_BYTES_PER_SECOND:
            yield warning(
                f"USB bus {bus}",
                f"{', '.join(camera for camera, _ in sharing)} ask for {total / 1e6:.0f} MB/s of "
                f"uncompressed video, and USB 2.0 carries {USB2_BYTES_PER_SECOND / 1e6:.0f}",
                "Choose MJPEG or H.264, a smaller size or rate, or a port of another controller.",
            )


USB2_BYTES_PER_SECOND = 24e6  # isochronous: 3 packets of 1024 bytes in each of 8000 microframes
