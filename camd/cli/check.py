"""`camd check`: look for what would keep the service from recording; each finding has advice.

Looks without a running service, at the configuration, folders, FFmpeg, cameras and sources.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import attrs
import trio
from rich.markup import escape

from camd.cli.checks.cameras_check import judge_count, judge_devices
from camd.cli.checks.finding import CheckFinding, Grade, ok, problem, warning
from camd.cli.checks.folders_check import inspect_folders, is_hidden
from camd.cli.checks.host_check import (
    inspect_clock,
    inspect_ports,
    inspect_secret,
)
from camd.cli.checks.media_server_check import inspect_media_server
from camd.cli.checks.preview_check import inspect_previews
from camd.cli.checks.protocols_check import inspect_protocols
from camd.cli.exit import ExitCode
from camd.cli.service_access import configured
from camd.cli.terminal import console, print_json
from camd.clock import SYSTEM_CLOCK
from camd.config.environment import variables_of
from camd.config.keys import config_keys_of
from camd.config.schema import ENTRIES, SECTIONS, CameraConfig, Config, ScheduleConfig
from camd.devices.listing import scan_devices
from camd.devices.query import find_converters
from camd.ffmpeg.binary import FfmpegMissingError, find_ffmpeg
from camd.ffmpeg.encoder_trial import EncoderTrials
from camd.logs import set_up_logging
from camd.model.notation import TcpAddress, parse_listen
from camd.schedules.rules.schedule_findings import describe_due, describe_schedule, first_overlap
from camd.schedules.rules.windows import window_state

_LOOPBACK = ("127.", "localhost", "::1")


async def inspect(config: Config) -> list[CheckFinding]:
    """Inspect everything that recording needs. Opens devices and folders, changes nothing."""
    findings = [inspect_config(config)]
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
    if found.remark and not is_hidden(config.storage.state_dir):
        findings.append(warning("cameras", found.remark, "Look at the file."))
    known = {binding.camera_id for binding in found.bindings} | {c.id for c in config.cameras}
    findings += judge_count(known)
    findings += await inspect_media_server(config)
    return [*findings, *judge_schedules(config.schedules, known, SYSTEM_CLOCK.now())]


def _list_findings(
    inspect_part: Callable[[Config], Iterable[CheckFinding]], config: Config
) -> list[CheckFinding]:
    return list(inspect_part(config))


def inspect_config(config: Config) -> CheckFinding:
    """Report where the configuration is, which was read and is valid."""
    return ok("configuration", str(config.file or "no file: built-in defaults"))


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


def inspect_machine(config: Config) -> Iterator[CheckFinding]:
    """Report what of the machine keeps camd from serving, or from naming files rightly."""
    yield inspect_clock(SYSTEM_CLOCK.synchronised())
    yield from inspect_ports(config)
    yield from inspect_secret(config.auth.jwt_secret)


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
                "Install your distribution's full FFmpeg, or set ffmpeg.path to another one.",
            )
        )
    return findings


async def inspect_source(camera: CameraConfig) -> CheckFinding:
    """Report what a source says of itself."""
    found = await camera.source.check()
    grade = Grade.PROBLEM if found.blocks else Grade.WARNING if found.advice else Grade.OK
    return CheckFinding(f"camera {camera.id}", grade, found.text, found.advice)


def judge_schedules(
    schedules: Sequence[ScheduleConfig], known: Collection[str], instant: datetime
) -> Iterator[CheckFinding]:
    """Judge each schedule at an instant: whom it records, when next, and beside whom. Pure."""
    for number, schedule in enumerate(schedules):
        subject = f"schedule {schedule.name}"
        if not schedule.enabled:
            yield warning(subject, "is switched off", "Set enabled = true when it is to record.")
            continue
        yield ok(
            subject,
            f"{describe_schedule(schedule)}; {describe_due(window_state((schedule,), instant))}",
        )
        if unknown := schedule.unknown(known):
            text = f"there is no camera {', '.join(unknown)}"
            yield warning(subject, text, "Correct cameras, or plug the camera in.")
        for other in schedules[:number]:
            if both := first_overlap(schedule, other, instant):
                text = f"overlaps with {other.name}, next at {both:%Y-%m-%d %H:%M} UTC"
                yield warning(subject, text, "Nothing, if that is meant: they record together.")


# --- printing -----------------------------------------------------------------------------------

_MARKS = {Grade.OK: "[green]✓[/]", Grade.WARNING: "[yellow]![/]", Grade.PROBLEM: "[red]✗[/]"}


def run_checks(config_path: Path | None, *, config_only: bool, as_json: bool) -> None:
    """Print all findings; exit with 1 when there is a problem. Raises Misconfigured."""
    config = configured(config_path)
    set_up_logging("error")
    findings = [inspect_config(config)] if config_only else trio.run(inspect, config)
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


def print_config_keys(*, as_json: bool) -> None:
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
        for name, key in config_keys_of(cls).items()
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
