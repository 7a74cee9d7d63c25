"""The commands check, demo, init and selftest."""

from __future__ import annotations

from pathlib import Path

import click

from camd.cli import config_option
from camd.cli.service_access import json_option


@click.command(short_help="Find what would keep the service from recording.")
@click.option("--keys", is_flag=True, help="Print all configuration keys, and check nothing.")
@click.option("--config-only", is_flag=True, help="Check nothing but the configuration.")
@config_option
@json_option
def check(config_path: Path | None, keys: bool, config_only: bool, as_json: bool) -> None:
    """Find what would keep the service from recording, and say what to do.

    Checks the configuration, the clock, the folders with their space, file system and speed,
    FFmpeg, and each camera's source. The service need not run. Temporary files are made beside the
    recordings and removed. Exits with 0 when recording will work, 78 for a wrong configuration, 1
    for other problems.
    """
    from camd.cli import check as checks

    if keys:
        checks.print_config_keys(as_json=as_json)
    else:
        checks.run_checks(config_path, config_only=config_only, as_json=as_json)


@click.command(short_help="Record two synthetic cameras, to see how it works.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Use this folder, and keep it.  [default: a temporary folder]",
)
@click.option(
    "--once", is_flag=True, help="End after the recording; do not leave the service running."
)
def demo(folder: Path | None, once: bool) -> None:
    """Start a service with two synthetic cameras, record them, and show the receipts.

    Needs FFmpeg and nothing else: no camera, no root, no configuration. Afterwards the service
    keeps running, so that you can try other commands; Ctrl-C ends it.
    """
    from camd.cli.demo import demonstrate

    demonstrate(folder, once=once)


@click.command(short_help="Write a first configuration for the cameras that are plugged in.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="camd.toml")
@click.option(
    "--recordings",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the recordings.  [default: recordings, beside the state]",
)
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
def init(file: Path, recordings: Path | None, force: bool) -> None:
    """Write a first configuration into FILE (camd.toml), with a comment at each line.

    There is an entry for each USB camera that is plugged in. `-` writes to standard output. An
    existing FILE is kept, unless --force is given.
    """
    from camd.cli.setup.first_config import make_first_config

    make_first_config(file, recordings, force=force)


@click.command(short_help="Try the whole recorder on this machine: kills, a full disk, checks.")
@config_option
@json_option
def selftest(config_path: Path | None, as_json: bool) -> None:
    """Record a synthetic camera on the real volume, with faults, and check every frame.

    Takes half a minute, writes about 100 MB beside the recordings and removes them. A service that
    runs is not touched. Measures the disk, kills FFmpeg in a recording, reaches a limit of space,
    kills the service, and checks files and ledger. Exits with 0 when all is well, else with 1.
    """
    from camd.cli.setup.selftest import try_recorder

    try_recorder(config_path, as_json=as_json)
