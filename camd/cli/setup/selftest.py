"""`camd selftest`: record on the real volume, kill and fill, and see that every frame is accounted.

A service of its own records a synthetic camera into a scratch folder beside the recordings. Its
FFmpeg process is killed, then a limit of space is reached, then the service itself is killed; the
session has to go on, and the files have to be as the receipt says.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import attrs
import trio
from rich.markup import escape

from camd.cli.checks.disk_speed import measure_disk
from camd.cli.exit import CommandFailed, ExitCode
from camd.cli.service_access import configured, run_to_end
from camd.cli.setup.private_service import (
    PrivateService,
    end_of_log,
    held_port,
    open_service,
    wait_ready,
)
from camd.cli.tables import file_size
from camd.cli.terminal import console, messages, print_json
from camd.client import Client, RemoteError, connect
from camd.ffmpeg.binary import FfmpegMissingError, find_ffmpeg
from camd.runtime.folders.access_advice import explain_refused_access
from camd.storage.verify.folder import FolderVerification, VerifyResult

PART_SECONDS = 4.0  # of recording, before and after each fault
RETURN_SECONDS = 120.0  # for a recording to go on; a slow machine may need most of it
_CONFIGURATION = """\
[server]
listen = "127.0.0.1:{port}"
health_listen = ""
progress_interval = "500ms"

[storage]
recordings_dir = {recordings!r}
warn_percent = {warn}
block_percent = {block}

[recording]
rotation = "3s"

[discovery]
v4l2 = false

[[camera]]
id = "camera0"
source = "test:?size=1280x720&rate=30"

[[camera]]
id = "camera1"
source = "test:?size=320x240&rate=15"
"""


@attrs.frozen
class SelftestService(PrivateService):
    """The service of the trial: state in a temporary folder, recordings on the volume."""

    recordings: Path = attrs.field(kw_only=True)

    def write_configuration(self, block_percent: float = 95) -> None:
        """Write the configuration, with this limit of space."""
        text = _CONFIGURATION.format(
            port=self.port,
            recordings=str(self.recordings),
            warn=block_percent / 2,
            block=block_percent,
        )
        self.config_file.write_text(text, encoding="utf-8")


@attrs.define
class SelftestReport:
    """What was found, by name; `failures` are sentences."""

    values: dict[str, object] = attrs.field(factory=dict)
    failures: list[str] = attrs.field(factory=list)

    def expect(self, holds: bool, failure: str) -> None:
        """Note a failure unless something holds."""
        if not holds:
            self.failures.append(failure)


def try_recorder(config_path: Path | None, *, as_json: bool) -> None:
    """Carry out `camd selftest`."""
    folder = configured(config_path).storage.recordings_dir
    out = messages() if as_json else console()
    with scratch_folders(folder) as (volume, state), held_port() as port:
        service = SelftestService(state, port, out, recordings=volume / "recordings")
        try:
            report = run_to_end(partial(run_trial, service))
        except CommandFailed as error:
            raise CommandFailed("\n  ".join([error.message, *end_of_log(service)])) from None
    if as_json:
        print_json({**report.values, "failures": report.failures})
    for failure in report.failures:
        out.print(f"[red]✗[/] {escape(failure)}", soft_wrap=True)
    if not report.failures:
        out.print("[green]✓[/] Every frame is in a file or in the ledger.")
    sys.exit(ExitCode.FAILED if report.failures else ExitCode.OK)


@contextmanager
def scratch_folders(recordings: Path) -> Iterator[tuple[Path, Path]]:
    """Make a folder on the volume of the recordings, and one for state. Raises CommandFailed."""
    existing = recordings
    while not os.path.exists(existing) and existing != existing.parent:
        existing = existing.parent
    with ExitStack() as folders:
        try:
            volume = folders.enter_context(
                tempfile.TemporaryDirectory(prefix=".camd-selftest-", dir=existing)
            )
        except OSError as error:
            why = explain_refused_access(existing, error, "written into")
            raise CommandFailed(f"nothing was tried: {why}") from None
        state = folders.enter_context(tempfile.TemporaryDirectory(prefix="camd-selftest-"))
        yield Path(volume), Path(state)


async def run_trial(service: SelftestService) -> SelftestReport:
    """Run all parts of the trial; return what was found. Raises CommandFailed."""
    report = SelftestReport()
    try:
        await find_ffmpeg()
    except FfmpegMissingError as error:
        raise CommandFailed(str(error)) from None
    service.recordings.mkdir()
    speed = await trio.to_thread.run_sync(measure_disk, service.recordings)
    report.values["disk"] = {
        "median_ms": round(speed.median * 1000, 1),
        "longest_ms": round(speed.longest * 1000, 1),
        "bytes_per_second": round(speed.bytes_per_second),
    }
    service.say(
        f"[bold]1.[/] Half a second of video is durable after {speed.median * 1000:.0f} ms, "
        f"{speed.longest * 1000:.0f} ms at most; {file_size(speed.bytes_per_second)}/s."
    )
    service.write_configuration()
    async with open_selftest_service(service) as (process, client):
        await record_and_kill_ffmpeg(service, process, client, report)
        await reach_the_limit(service, client, report)
        process.kill()
    killed = trio.current_time()
    async with open_selftest_service(service) as (_, client):
        receipt = await end_session(service, client, report, killed)
    await compare_files(service, receipt, report)
    return report


@asynccontextmanager
async def open_selftest_service(
    service: SelftestService,
) -> AsyncIterator[tuple[Popen[bytes], Client]]:
    """Run the service while the block runs, with a client."""
    async with open_service(service) as process:
        token = await wait_ready(service, process)
        async with connect(service.address, token, reconnect=False, timeout=None) as client:
            yield process, client


async def record_and_kill_ffmpeg(
    service: SelftestService, process: Popen[bytes], client: Client, report: SelftestReport
) -> None:
    """Start a recording, kill its FFmpeg, and wait until it goes on."""
    began = trio.current_time()
    await client.call("start_recording", device="camera0")
    started = report.values["start_seconds"] = round(trio.current_time() - began, 2)
    service.say(f"[bold]3.[/] The first frame was durable {started} s after the call.")
    await trio.sleep(PART_SECONDS)
    (ffmpeg,) = await trio.to_thread.run_sync(find_ffmpeg_processes, process.pid)
    os.kill(ffmpeg, signal.SIGKILL)
    killed = trio.current_time()
    back = await recording_again(client, killed, gaps=1)
    report.values["ffmpeg_killed"] = {"back_after_seconds": back}
    report.expect(back is not None, "the recording did not go on after its FFmpeg was killed")
    if back is not None:
        service.say(f"[bold]4.[/] FFmpeg was killed; {back:.1f} s later the recording went on.")
    await trio.sleep(PART_SECONDS)


async def recording_again(client: Client, since: float, *, gaps: int) -> float | None:
    """Wait until frames are recorded behind so many gaps; return the seconds since a moment.

    None when that has not come after RETURN_SECONDS of waiting.
    """

    async def goes_on() -> bool:
        status = await client.call("get_recording_status", device="camera0")
        return bool(status) and status["status"] == "RECORDING" and len(status["gaps"]) >= gaps

    with trio.move_on_after(RETURN_SECONDS):
        while not await goes_on():  # noqa: ASYNC110 - as a client sees it
            await trio.sleep(0.1)
        return round(trio.current_time() - since, 2)
    return None


async def reach_the_limit(service: SelftestService, client: Client, report: SelftestReport) -> None:
    """Lower the limit of space below what is used: a start is refused; raise it: it is not."""
    used = (await client.call("get_storage_info"))["used_percent"]
    if not 2 < used < 95:
        service.say(f"[bold]5.[/] The limit of space is not tried: {used:.1f} % are used.")
        report.values["space_limit"] = None
        return
    await set_limit(service, client, used - 1)
    refused = await is_refused(client)
    await set_limit(service, client, 95)
    allowed = not await is_refused(client)
    report.values["space_limit"] = {"refused": refused, "then_allowed": allowed}
    report.expect(refused, "a recording was not refused above storage.block_percent")
    report.expect(allowed, "a recording was refused below storage.block_percent")
    service.say("[bold]5.[/] Above the limit of space a new recording was refused, below it not.")


async def set_limit(service: SelftestService, client: Client, percent: float) -> None:
    """Write another limit into the configuration, and have the service read it."""
    await trio.to_thread.run_sync(service.write_configuration, round(percent, 1))
    await client.call("reload_config")


async def is_refused(client: Client) -> bool:
    """Try a short recording of the other camera."""
    try:
        await client.call("start_recording", device="camera1")
    except RemoteError:
        return True
    await client.call("stop_recording", device="camera1")
    return False


async def end_session(
    service: SelftestService, client: Client, report: SelftestReport, killed: float
) -> dict[str, Any]:
    """Wait until the session goes on in the new run, stop it, and return the receipt."""
    back = await recording_again(client, killed, gaps=2)
    report.values["service_killed"] = {"back_after_seconds": back}
    report.expect(back is not None, "the session did not go on after the service was killed")
    if back is not None:
        service.say(
            f"[bold]6.[/] The service was killed; {back:.1f} s later the same session went on."
        )
    await trio.sleep(PART_SECONDS)
    began = trio.current_time()
    receipt: dict[str, Any] = (await client.call("stop_recording", device="camera0"))["receipt"]
    report.values["stop_seconds"] = round(trio.current_time() - began, 2)
    return receipt


async def compare_files(
    service: SelftestService, receipt: dict[str, Any], report: SelftestReport
) -> None:
    """Compare the receipt with the files, and the files with index and ledger."""
    gaps = receipt["gaps"]
    missing = sum(gap["duration"] for gap in gaps)
    report.values |= {"frames": receipt["frames_written"], "gaps": gaps}
    listed = ", ".join(f"{gap['cause']} {gap['duration']:.2f} s" for gap in gaps)
    service.say(
        f"[bold]7.[/] {receipt['frames_written']} frames are in {len(receipt['files'])} files; "
        f"{missing:.2f} s are in the ledger: {listed}."
    )
    causes = {gap["cause"] for gap in gaps}
    report.expect(
        {"encoder_exit", "daemon_down"} <= causes, f"the ledger has only {sorted(causes)}"
    )
    result = await trio.to_thread.run_sync(partial(verify, service.recordings))
    bad = [finding.text for finding in result.findings if not finding.fault.harmless]
    report.values["checked_files"] = result.files
    report.expect(not bad, f"camd verify found: {'; '.join(bad)}")


def verify(recordings: Path) -> VerifyResult:
    """Do what `camd verify` does. Blocks."""
    return FolderVerification(recordings, False, lambda at: None, lambda finding: None).run([])


def find_ffmpeg_processes(parent: int) -> list[int]:
    """List the processes that a process has started, from /proc. Blocks."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found
