"""Commands that remove recordings or keep them: rm, pin, unpin, cleanup, retention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.markup import escape

from camd.cli import tables, terminal
from camd.cli.service_access import (
    ServiceAccess,
    ask,
    ask_each,
    fail_if_refused,
    json_option,
    print_result,
    printed_by,
    remote_options,
)
from camd.cli.terminal import console, messages

_PLAN = {
    "files_to_delete": "files to remove",
    "space_to_free": "space to free",
    "share_percent": "share of all recordings",
    "files_kept": "files kept",
    "files_waiting": "of these, waiting for the clock",
    "clock": "clock",
    "space_short": "space over the limit afterwards",
    "message": "outcome",
}
_POLICY = {
    "policy_type": "policy",
    "enabled": "enabled",
    "max_age_days": "oldest, in days",
    "max_size_gb": "largest size of all, in GB",
    "interval": "runs every",
    "max_delete_percent": "limit of one run (percent)",
    "clock": "clock",
}
_LAST_RUN = {"ended": "last run", "asked_by": "asked for by", "message": "outcome"}


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@remote_options
@json_option
def rm(access: ServiceAccess, as_json: bool, names: tuple[str, ...], yes: bool) -> None:
    """Remove the recordings NAME, permanently.

    A recording that is being recorded or read, or is pinned, is kept; the others are removed.
    """
    if not yes:
        what = names[0] if len(names) == 1 else f"{len(names)} recordings"
        click.confirm(f"Remove {what} permanently?", abort=True, err=True)
    calls: list[dict[str, object]] = [{"filename": name} for name in names]
    removed, failures = ask_each(access, "delete_recording", calls)
    refusals = [
        {"code": error.code, "message": str(error), "data": params | error.data}
        for params, error in failures
    ]
    print_result({"removed": removed, "refused": refusals}, _print_removed, as_json=as_json)
    fail_if_refused((params["filename"], error) for params, error in failures)


def _print_removed(found: Mapping[str, Any]) -> None:
    for each in found["removed"]:
        size = tables.file_size(each.get("space_freed"))
        console().print(f"{escape(str(each.get('filename')))} removed, {size} freed")


def _print_pin(found: Mapping[str, Any]) -> None:
    end = (found.get("pin") or {}).get("until")
    messages().print(f"{escape(found['filename'])} is pinned {f'until {end}' if end else ''}")


@click.command()
@click.argument("name")
@click.option("--reason", metavar="TEXT", help="Why it is kept.")
@click.option(
    "--until",
    metavar="TIME",
    callback=terminal.read_time,
    help="Until when: '2026-01-15 15:30', or 2026-01-15T14:30:00Z.  [default: for ever]",
)
@remote_options
@printed_by(_print_pin)
def pin(access: ServiceAccess, name: str, reason: str | None, until: str | None) -> object:
    """Protect the recording NAME from clients and retention."""
    return ask(access, "pin_recording", filename=name, reason=reason, until=until)


@click.command()
@click.argument("name")
@remote_options
@printed_by(lambda found: messages().print(f"{escape(found['filename'])} is not pinned"))
def unpin(access: ServiceAccess, name: str) -> object:
    """Remove the pin of the recording NAME."""
    return ask(access, "unpin_recording", filename=name)


def _print_cleanup(found: Mapping[str, Any]) -> None:
    out = console()
    for field, what in (("files", "remove"), ("kept", "keep")):
        if found.get(field):
            out.print(tables.planned(found[field], what))
            out.print()
    out.print(tables.pairs(found, _PLAN))


@click.command()
@click.option("--preview", is_flag=True, help="Only show what would be removed.")
@click.option("--force", is_flag=True, help="Ignore max_delete_percent, and trust the wall clock.")
@remote_options
@printed_by(_print_cleanup)
def cleanup(access: ServiceAccess, preview: bool, force: bool) -> object:
    """Carry out the retention policy now."""
    if preview and force:
        raise click.UsageError("--preview changes nothing; there is nothing to force")
    if preview:
        return ask(access, "preview_cleanup")
    return ask(access, "cleanup_old_files", force=force)


class _ShowByDefault(click.Group):
    """A group that runs `show` without a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the command before its options."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShowByDefault)
def retention() -> None:
    """Show or set the retention policy; without a command: show."""


def _print_policy(policy: Mapping[str, Any]) -> None:
    console().print(tables.pairs(policy, _POLICY))
    if policy.get("last_run"):
        console().print()
        console().print(tables.pairs(policy["last_run"], _LAST_RUN))


@retention.command()
@remote_options
@printed_by(_print_policy)
def show(access: ServiceAccess) -> object:
    """Show the policy and its last run."""
    return ask(access, "get_retention_policy")


@retention.command("set")
@click.argument("policy_type", metavar="TYPE", type=click.Choice(["age", "size", "manual"]))
@click.option("--days", type=float, help="Remove what is older (age).")
@click.option("--gb", type=float, help="Remove the oldest above this size, in 10^9 bytes (size).")
@click.option("--off", is_flag=True, help="Store it without carrying it out.")
@remote_options
@printed_by(lambda policy: messages().print(escape(str(policy.get("message")))))
def set_policy(
    access: ServiceAccess, policy_type: str, days: float | None, gb: float | None, off: bool
) -> object:
    """Set the policy: TYPE is age, size or manual.

    `camd cleanup --preview` shows what it will remove.
    """
    limits = {"max_age_days": days, "max_size_gb": gb}
    return ask(access, "set_retention_policy", policy_type=policy_type, enabled=not off, **limits)
