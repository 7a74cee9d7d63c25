"""The commands recover and verify."""

from __future__ import annotations

from pathlib import Path

import click

from camd.cli import config_option
from camd.cli.service_access import json_option


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--reindex", is_flag=True, help="Set the index aside and make a new one.")
@config_option
@json_option
def recover(dry_run: bool, reindex: bool, config_path: Path | None, as_json: bool) -> None:
    """Repair a recordings folder that no service uses.

    Seals interrupted files, adds unknown ones to the index, marks missing ones, and computes
    missing hashes; the service does the same when it starts. Nothing is deleted except partial
    Matroska files. --reindex makes a new index from the journal and the files; the old one stays
    beside it.

    Exits with 0 when everything is repaired; with 1 when something could not be done or, with
    --dry-run, has to be done, also when only the index is missing.
    """
    from camd.cli.folder_commands import recover_folder

    recover_folder(config_path, dry_run=dry_run, reindex=reindex, as_json=as_json)


@click.command(short_help="Read recordings back and compare them.")
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option(
    "--fast", is_flag=True, help="Only structure, index and ledger: no file is read whole."
)
@config_option
@json_option
def verify(files: tuple[str, ...], fast: bool, config_path: Path | None, as_json: bool) -> None:
    """Check recordings: structure, hashes, and that index, ledger and files agree.

    Checks all recordings, or the given FILEs. The service may run meanwhile: files being recorded
    are left out, and nothing is changed. A file that camd removed itself is not a finding. Warnings
    (!) are about files that another program removed, or that are not camd's; findings (✗) need
    attention.

    Exits with 0 when there are no findings, with or without warnings; with 1 when there are, when a
    FILE is not there, or when the folder cannot be listed.
    """
    from camd.cli.folder_commands import verify_folder

    verify_folder(config_path, files, fast=fast, as_json=as_json)
