"""Commands that decide what is kept: rm, pin, unpin, cleanup, retention."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape

from camd.cli import tables
from camd.cli.exit import CallRefused, refused
from camd.cli.service_access import ServiceAccess, ask, json_option, remote_options, talk
from camd.cli.terminal import console, messages, print_json
from camd.client import Client, NotAuthenticatedError, RemoteError

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
    removed: list[Any] = []
    failures: list[RemoteError] = []

    async def conversation(client: Client) -> None:
        for name in names:
            try:
                removed.append(await client.call("delete_recording", filename=name))
            except NotAuthenticatedError:
                raise
            except RemoteError as error:
                error.data.setdefault("filename", name)
                failures.append(error)

    talk(access, conversation)
    if as_json:
        refusals = [{"code": e.code, "message": str(e), "data": e.data} for e in failures]
        print_json({"removed": removed, "refused": refusals})
    else:
        for each in removed:
            size = tables.file_size(each.get("space_freed"))
            console().print(f"{escape(str(each.get('filename')))} removed, {size} freed")
    if failures:
        raise CallRefused("\n".join(_why(error) for error in failures))


def _why(error: RemoteError) -> str:
    return f"{error.data['filename']}: {refused(error.code, error.message, error.data).message}"


@click.command()
@click.argument("name")
@click.option("--reason", metavar="TEXT", help="Why it is kept.")
@click.option("--until", metavar="TIME", help="Until when: 2026-01-15T14:30:00Z.  [default: ever]")
@remote_options
@json_option
def pin(
    access: ServiceAccess, as_json: bool, name: str, reason: str | None, until: str | None
) -> None:
    """Keep the recording NAME: nobody and no policy removes it."""
    found = ask(access, "pin_recording", filename=name, reason=reason, until=until)
    if as_json:
        print_json(found)
        return
    end = (found.get("pin") or {}).get("until")
    messages().print(f"{escape(found['filename'])} is pinned {f'until {end}' if end else ''}")


@click.command()
@click.argument("name")
@remote_options
@json_option
def unpin(access: ServiceAccess, as_json: bool, name: str) -> None:
    """Remove the pin of the recording NAME."""
    found = ask(access, "unpin_recording", filename=name)
    if as_json:
        print_json(found)
        return
    messages().print(f"{escape(found['filename'])} is not pinned")


@click.command()
@click.option("--preview", is_flag=True, help="Only show what would be removed.")
@click.option("--force", is_flag=True, help="Ignore max_delete_percent, and trust the wall clock.")
@remote_options
@json_option
def cleanup(access: ServiceAccess, as_json: bool, preview: bool, force: bool) -> None:
    """Carry out the retention policy now."""
    if preview and force:
        raise click.UsageError("--preview changes nothing; there is nothing to force")
    if preview:
        found = ask(access, "preview_cleanup")
    else:
        found = ask(access, "cleanup_old_files", force=force)
    if as_json:
        print_json(found)
        return
    out = console()
    if found.get("files"):
        out.print(tables.planned(found["files"], "remove"))
        out.print()
    if found.get("kept"):
        out.print(tables.planned(found["kept"], "keep"))
        out.print()
    out.print(tables.pairs(found, _PLAN))


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


@retention.command()
@remote_options
@json_option
def show(access: ServiceAccess, as_json: bool) -> None:
    """Show the policy and its last run."""
    policy = ask(access, "get_retention_policy")
    if as_json:
        print_json(policy)
        return
    console().print(tables.pairs(policy, _POLICY))
    if policy.get("last_run"):
        console().print()
        console().print(tables.pairs(policy["last_run"], _LAST_RUN))


@retention.command("set")
@click.argument("policy_type", metavar="TYPE", type=click.Choice(["age", "size", "manual"]))
@click.option("--days", type=float, help="Remove what is older (age).")
@click.option("--gb", type=float, help="Remove the oldest above this size, in 10^9 bytes (size).")
@click.option("--off", is_flag=True, help="Store it without carrying it out.")
@remote_options
@json_option
def set_policy(
    access: ServiceAccess,
    as_json: bool,
    policy_type: str,
    days: float | None,
    gb: float | None,
    off: bool,
) -> None:
    """Set the policy: TYPE is age, size or manual.

    `camd cleanup --preview` shows what it will remove.
    """
    limits = {"max_age_days": days, "max_size_gb": gb}
    policy = ask(access, "set_retention_policy", policy_type=policy_type, enabled=not off, **limits)
    if as_json:
        print_json(policy)
        return
    messages().print(escape(str(policy.get("message"))))
