"""`camd check`: look for what would keep the service from recording; each finding has advice.

Looks without a running service, at the configuration, folders, FFmpeg, cameras and sources.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import attrs
import click
import trio
from rich.markup import escape

from camd.capture.rules.negotiation import FormatSelection, unsupported
from camd.cli import config_option
from camd.cli.checks.filesystem_check import inspect_filesystem
from camd.cli.checks.finding import CheckFinding, Grade, ok, problem, warning
from camd.cli.checks.host_check import (
    inspect_clock,
    inspect_disk_speed,
    inspect_ports,
    inspect_secret,
    inspect_wear,
    usb_findings,
)
from camd.cli.checks.media_server_check import inspect_media_server
from camd.cli.checks.preview_check import inspect_previews
from camd.cli.checks.protocols_check import inspect_protocols
from camd.cli.checks.snapshots_check import inspect_snapshots_volume
from camd.cli.exit import ExitCode
from camd.cli.service_access import configured, json_option
from camd.cli.terminal import console, print_json
from camd.clock import SYSTEM_CLOCK
from camd.config.environment import variables_of
from camd.config.keys import keys_of
from camd.config.schema import ENTRIES, SECTIONS, CameraConfig, Config, ScheduleConfig
from camd.devices.listing import DeviceList, ListedDevice, scan_devices
from camd.devices.query import find_converters
from camd.devices.v4l2.formats import FormatRefusal
from camd.errors import CAMERA_LIMIT, STORAGE_NO_INODES
from camd.ffmpeg.binary import FfmpegMissingError, find_ffmpeg
from camd.ffmpeg.encoder_trial import EncoderTrials
from camd.logs import set_up_logging
from camd.model import CameraId, DeviceBinding, FormatChoice, ProblemKind
from camd.model.ids import MAX_CAMERAS
from camd.model.notation import TcpAddress, parse_listen
from camd.schedules.rules.schedule_findings import describe, describe_due, first_overlap
from camd.schedules.rules.windows import due
from camd.storage.disk import Disk, PosixDisk
from camd.storage.index.recording_index import misplaced_folders
from camd.storage.rules.levels import Usage, VolumeFault
from camd.storage.rules.volume_identity import RecognisedAs
from camd.storage.volume import identify_volume, load_known_volume

# --- cameras of this machine ------------------------------------------------------------------

# Problems that somebody has to remove; others may go away by themselves.
_LASTING = (
    ProblemKind.NO_PERMISSION,
    ProblemKind.TAKEN,
    ProblemKind.AMBIGUOUS,
    ProblemKind.SWAPPED,
)


def judge_devices(found: DeviceList, config: Config) -> Iterator[CheckFinding]:
    """Judge each camera of this machine: is it there, and can it be recorded? Pure."""
    entries = {camera.id: camera for camera in config.cameras}
    listed = {one.camera_id: one for one in found.devices if one.camera_id is not None}
    for binding in found.bindings:
        entry = entries.get(binding.camera_id, CameraConfig(binding.camera_id))
        yield _judge_camera(binding, listed.get(binding.camera_id), entry)
    yield from usb_findings(list(uncompressed_streams(found, entries)))
    for one in found.devices:
        if one.camera_id is None:
            text, advice = f"is no camera: {one.reason}", "Look at `camd devices`."
            yield warning(str(one.device.node), text, advice)


def uncompressed_streams(
    found: DeviceList, entries: Mapping[CameraId, CameraConfig]
) -> Iterator[tuple[str, str, float]]:
    """Yield camera, bus and bytes per second of each stream of USB 2 that is not compressed."""
    for binding in found.bindings:
        device = binding.device
        if device is None or device.usb is None or "-usb2-" not in device.usb.port:
            continue
        entry = entries.get(binding.camera_id, CameraConfig(binding.camera_id))
        choice = FormatSelection(entry).answer(device.capabilities)
        if isinstance(choice, FormatChoice) and choice.fourcc in ("YUYV", "UYVY", "NV12"):
            per_pixel = 1.5 if choice.fourcc == "NV12" else 2
            rate = choice.width * choice.height * choice.fps * per_pixel
            yield binding.camera_id, device.usb.port.partition("-usb")[0], rate


def _judge_camera(
    binding: DeviceBinding, listed: ListedDevice | None, entry: CameraConfig
) -> CheckFinding:
    subject, device = f"camera {binding.camera_id}", binding.device
    found = binding.problem if device is None else device.problem
    if found is not None:
        grade = Grade.PROBLEM if found.kind in _LASTING else Grade.WARNING
        return CheckFinding(subject, grade, found.message, found.suggestion)
    if device is None:
        return warning(subject, binding.reason, "Plug the camera in.")
    where = f"{device.node}, {device.name} ({binding.reason})"
    choice = FormatSelection(entry).answer(device.capabilities)
    if isinstance(choice, FormatRefusal):
        refused = unsupported(choice)
        return problem(subject, f"{where}: {refused.message}", refused.suggestion)
    holders = listed.holders.holders if listed is not None else ()
    if holders:
        names = ", ".join(f"{holder.program} (process {holder.pid})" for holder in holders)
        advice = (
            "That may be camd itself. While another program has it open, it cannot be recorded."
        )
        return warning(subject, f"{where} is open in {names}", advice)
    return ok(subject, f"{where}: {choice.why}" if choice else where)


# --- everything else --------------------------------------------------------------------------

_LOOPBACK = ("127.", "localhost", "::1")


async def inspect(config: Config) -> list[CheckFinding]:
    """Inspect everything that recording needs. Opens devices and folders, changes nothing."""
    findings = [ok("configuration", str(config.file or "no file: built-in defaults"))]
    for inspect_part in (inspect_access, inspect_machine, inspect_folders):
        # In a thread: a disk may hang.
        part = partial(_list_findings, inspect_part, config)
        findings += await trio.to_thread.run_sync(part, abandon_on_cancel=True)
    findings += await inspect_ffmpeg(config)
    findings += await inspect_protocols(config)
    for camera in config.cameras:
        if camera.source.selector is None:  # the others are judged by their devices
            findings.append(await inspect_source(camera))
    findings += await inspect_previews(config, clock=SYSTEM_CLOCK)
    found = await scan_devices(config)
    findings += judge_devices(found, config)
    known = {binding.camera_id for binding in found.bindings} | {c.id for c in config.cameras}
    findings += judge_count(known)
    findings += await inspect_media_server(config)
    return [*findings, *judge_schedules(config.schedules, known, SYSTEM_CLOCK.now())]


def _list_findings(
    inspect_part: Callable[[Config], Iterable[CheckFinding]], config: Config
) -> list[CheckFinding]:
    return list(inspect_part(config))


def inspect_access(config: Config) -> Iterator[CheckFinding]:
    """Report what is open to everybody."""
    addresses = [parse_listen(text) for text in config.server.listen]
    hosts = [address.host for address in addresses if isinstance(address, TcpAddress)]
    outside = [host for host in hosts if not host.startswith(_LOOPBACK)]
    if outside and not config.auth.enabled:
        yield warning(
            "auth.enabled",
            f"everybody who can reach {', '.join(outside)} may do everything",
            "Set auth.enabled = true, or listen on 127.0.0.1 only.",
        )
    if outside and config.server.tls_cert is None:
        yield warning(
            "server.tls_cert",
            "tokens and video cross the network unencrypted",
            "Set server.tls_cert and server.tls_key, or put a TLS proxy in front.",
        )
    file, secret = config.file, config.auth.jwt_secret
    if file and secret and file.stat().st_mode & stat.S_IROTH and secret in file.read_text():
        yield warning(
            "auth.jwt_secret",
            f"everybody on this machine can read {file}",
            f"Run: chmod 640 {file}",
        )


def inspect_folders(config: Config) -> Iterator[CheckFinding]:
    """Report for each folder whether it can be written, and whether there is space."""
    storage = config.storage
    folders = (storage.recordings_dir, storage.snapshots_dir, storage.state_dir)
    for key, folder in zip(("recordings_dir", "snapshots_dir", "state_dir"), folders, strict=True):
        yield inspect_folder(f"storage.{key}", folder)
    for path in misplaced_folders(storage.recordings_dir):
        yield problem("index", f"{path} is a directory, not a file", "Move it away.")
    try:
        yield inspect_volume(config, PosixDisk())
    except OSError as error:
        text = f"cannot be found out: {error.strerror}"
        yield problem("volume", text, "Check the disk, as the service's user.")
    yield from inspect_snapshots_volume(config, PosixDisk())
    try:
        volume = os.statvfs(_existing(storage.recordings_dir))
        yield grade_space(config, volume)
        yield from grade_inodes(volume)
    except OSError as error:
        yield problem("space", f"cannot be found out: {error.strerror}", "Check the disk.")
    yield from inspect_filesystem(storage.recordings_dir)
    yield from inspect_disk_speed(storage.recordings_dir, config)
    yield from inspect_wear(config)


def inspect_machine(config: Config) -> Iterator[CheckFinding]:
    """Report what of the machine keeps camd from serving, or from naming files rightly."""
    yield inspect_clock(SYSTEM_CLOCK.synchronised())
    yield from inspect_ports(config)
    yield from inspect_secret(config.auth.jwt_secret)


def inspect_folder(subject: str, folder: Path) -> CheckFinding:
    """Report whether files can be created in a folder, or the folder itself."""
    existing = _existing(folder)
    if not existing.is_dir():
        return problem(subject, f"{existing} is not a folder", "Name another path, or move it.")
    if not os.access(existing, os.W_OK | os.X_OK):
        return problem(
            subject,
            f"{existing} cannot be written by this user",
            f"Run as the service's user, or give it the folder: chown USER {existing}",
        )
    if existing != folder:
        return ok(subject, f"{folder} (will be made when it is needed)")
    return ok(subject, str(folder))


def inspect_volume(config: Config, disk: Disk) -> CheckFinding:
    """Report whether the recordings folder is on the disk it was on before. Raises OSError."""
    storage = config.storage
    known = None
    with suppress(OSError):  # as in the service: unreadable counts as unknown
        known = load_known_volume(storage.state_dir, storage.recordings_dir)
    found = identify_volume(
        storage.recordings_dir, disk, known, require_mount=storage.require_mount
    )
    where = (
        f"a mount of its own, {found.location.top}" if found.location.own_mount else "the root disk"
    )
    match found.verdict:
        case VolumeFault(reason=reason, suggestion=suggestion):
            return problem("volume", reason, suggestion)
        case RecognisedAs.CHANGED:
            grade, text = Grade.WARNING, f"another one than last time, on {where}"
        case RecognisedAs.NEW if known is not None:
            grade, text = Grade.WARNING, f"a new one, on {where}; it is marked at the start"
        case _:
            grade, text = Grade.OK, f"on {where}"
    advice = "Nothing, if you have changed the disk." if grade is Grade.WARNING else ""
    return CheckFinding("volume", grade, text, advice)


def grade_inodes(volume: os.statvfs_result) -> Iterator[CheckFinding]:
    """Report when hardly any inodes are free, from statvfs(2)."""
    usage = Usage(0, 0, volume.f_favail if volume.f_files else -1, total_inodes=volume.f_files)
    if usage.short_of_inodes(already=False):
        yield problem(
            "inodes",
            f"{usage.free_inodes} are free; below {usage.inode_line} no recording starts",
            STORAGE_NO_INODES.suggestion,
        )


def grade_space(config: Config, volume: os.statvfs_result) -> CheckFinding:
    """Report whether recordings may start, from statvfs(2) of the recordings folder."""
    total = volume.f_blocks * volume.f_frsize
    available = volume.f_bavail * volume.f_frsize
    used = (total - available) / total * 100 if total else 100.0
    text = f"{used:.1f} % used, {available / 1e9:.1f} GB available"
    storage = config.storage
    if used >= storage.block_percent:
        return problem(
            "space",
            f"{text}; from {storage.block_percent:g} % on no recording starts",
            "Free space, choose another recordings_dir, or raise storage.block_percent.",
        )
    if used >= storage.warn_percent:
        return warning(
            "space",
            f"{text}; clients are warned from {storage.warn_percent:g} % on",
            "Free space soon.",
        )
    return ok("space", text)


async def inspect_ffmpeg(config: Config) -> list[CheckFinding]:
    """Report which FFmpeg is used, and whether it can encode."""
    try:
        program = await find_ffmpeg(config.ffmpeg.path)
    except FfmpegMissingError as error:
        return [problem("ffmpeg", error.problem.message, error.problem.suggestion)]
    major, minor = program.version
    origin = " (bundled)" if program.bundled else ""
    findings = [ok("ffmpeg", f"{program.path}, version {major}.{minor}{origin}")]
    codecs = {"h264", *(c.codec for c in config.cameras if c.codec in ("h264", "h265"))}
    tried = EncoderTrials(find_converters, config.ffmpeg.encoder)
    for codec in sorted(codecs):
        choice = await tried.find(program, codec)
        if choice.encoder is not None:
            findings.append(ok(f"encoder {codec}", choice.summary))
            continue
        findings.append(
            warning(
                f"encoder {codec}",
                f"{choice.summary}: only what cameras deliver in {codec} can be recorded in it",
                "Install your distribution's full FFmpeg, or `pip install 'camd[ffmpeg]'`.",
            )
        )
    return findings


async def inspect_source(camera: CameraConfig) -> CheckFinding:
    """Report what a source says of itself."""
    found = await camera.source.check()
    grade = Grade.PROBLEM if found.blocks else Grade.WARNING if found.advice else Grade.OK
    return CheckFinding(f"camera {camera.id}", grade, found.text, found.advice)


def judge_count(known: Collection[str]) -> Iterator[CheckFinding]:
    """Judge how many cameras there are, configured and found. Pure."""
    if len(known) > MAX_CAMERAS:
        text = f"{len(known)} are known, and {MAX_CAMERAS} are the most that one service has"
        yield problem("cameras", text, CAMERA_LIMIT.suggestion)


def judge_schedules(
    schedules: Sequence[ScheduleConfig], known: Collection[str], instant: datetime
) -> Iterator[CheckFinding]:
    """Judge each schedule at an instant: whom it records, when next, and beside whom. Pure."""
    for number, schedule in enumerate(schedules):
        subject = f"schedule {schedule.name}"
        if not schedule.enabled:
            yield warning(subject, "is switched off", "Set enabled = true when it is to record.")
            continue
        yield ok(subject, f"{describe(schedule)}; {describe_due(due((schedule,), instant))}")
        if unknown := schedule.unknown(known):
            text = f"there is no camera {', '.join(unknown)}"
            yield warning(subject, text, "Correct cameras, or plug the camera in.")
        for other in schedules[:number]:
            if both := first_overlap(schedule, other, instant):
                text = f"overlaps with {other.name}, next at {both:%Y-%m-%d %H:%M} UTC"
                yield warning(subject, text, "Nothing, if that is meant: they record together.")


def _existing(path: Path) -> Path:
    """Return the path, or its nearest parent that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


# --- the command ------------------------------------------------------------------------------

_MARKS = {Grade.OK: "[green]✓[/]", Grade.WARNING: "[yellow]![/]", Grade.PROBLEM: "[red]✗[/]"}


@click.command(short_help="Find what would keep the service from recording.")
@click.option("--keys", is_flag=True, help="Print all configuration keys, and check nothing.")
@config_option
@json_option
def check(config_path: Path | None, keys: bool, as_json: bool) -> None:
    """Find what would keep the service from recording, and say what to do.

    Checks the configuration, the clock, the folders with their space, file system and speed,
    FFmpeg, and each camera's source. The service need not run. Temporary files are made beside the
    recordings and removed. Exits with 0 when recording will work, 78 for a wrong configuration, 1
    for other problems.
    """
    if keys:
        print_keys(as_json=as_json)
        return
    config = configured(config_path)
    set_up_logging("error")
    findings = trio.run(inspect, config)
    problems = [finding for finding in findings if finding.grade is Grade.PROBLEM]
    if as_json:
        print_json([attrs.asdict(item, value_serializer=_plain) for item in findings])
    else:
        out = console()
        for finding in findings:
            out.print(_line(finding), soft_wrap=True)
        out.print(_summary(len(problems)))
    if problems:
        sys.exit(ExitCode.FAILED)


def _summary(problems: int) -> str:
    if not problems:
        return "No problems."
    return "1 problem." if problems == 1 else f"{problems} problems."


def print_keys(*, as_json: bool) -> None:
    """Print the declaration of every configuration key."""
    rows = [
        {
            "key": f"{section}.{name}",
            "default": key.written,
            "environment": list(variables_of(section, name)),
            "reload": key.reload,
            "documentation": key.doc,
        }
        for section, cls in (*SECTIONS.items(), *ENTRIES.items())
        for name, key in keys_of(cls).items()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        default = "" if row["default"] is None else f" = {json.dumps(row['default'])}"
        reload = (
            "\n    A running service applies a change when it reloads." if row["reload"] else ""
        )
        text = f"[bold]{row['key']}[/]{escape(default)}\n    {escape(str(row['documentation']))}"
        console().print(text + reload, soft_wrap=True)


def _line(finding: CheckFinding) -> str:
    text = f"{_MARKS[finding.grade]} [bold]{escape(finding.subject)}[/]: {escape(finding.text)}"
    return f"{text}\n    {escape(finding.advice)}" if finding.advice else text


def _plain(instance: object, field: object, value: object) -> object:
    return value.value if isinstance(value, Grade) else value
