"""The commands keys add, keys list, keys revoke, token and open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from camd import clock
from camd.cli import config_option, terminal
from camd.cli.exit import CommandFailed, Misconfigured
from camd.cli.service_access import (
    ServiceAccess,
    ask,
    configured,
    json_option,
    remote_options,
    web_page_address,
)
from camd.cli.tables import table_of
from camd.cli.terminal import console, messages, print_json
from camd.rpc.roles import Role

if TYPE_CHECKING:
    from camd.auth.key_file import KeyFile

_MINUTE = "%Y-%m-%d %H:%M"
_ROLES = [role.value for role in Role]


def lifetime(context: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """Read a duration such as 12h or 30d for an option; it must not be 0."""
    duration = terminal.read_duration(context, param, value)
    if duration is not None and not duration:
        raise click.BadParameter("must be longer than 0", param=param)
    return duration


_role_option = click.option(
    "--role",
    type=click.Choice(_ROLES),
    default="viewer",
    show_default=True,
    help="What its user may do.",
)


@click.group(short_help="Manage API keys.")
def keys() -> None:
    """Manage API keys; a running service notices changes within seconds."""


@keys.command()
@click.argument("name")
@_role_option
@click.option(
    "--for",
    "valid",
    callback=lifetime,
    metavar="DURATION",
    help="Let the key expire after this time, such as 30d.",
)
@config_option
def add(config_path: Path | None, name: str, role: str, valid: timedelta | None) -> None:
    """Create the key NAME and print it. Only its hash is stored: it cannot be shown again."""
    created = clock.now()
    with _key_file(config_path) as file:
        try:
            expires = created + valid if valid else None
            secret = file.add(name, Role(role), created=created, expires=expires)
        except (ValueError, OverflowError) as error:
            raise CommandFailed(str(error)) from None
    messages().print(f"The key {escape(name)}, role {role}. Keep it: it is not shown again.")
    click.echo(secret)


@keys.command("list", short_help="Show names, roles and expiry of the keys.")
@terminal.utc_option
@config_option
@json_option
def list_keys(config_path: Path | None, as_json: bool) -> None:
    """Show names, roles and expiry of the keys; the keys themselves are not stored."""
    with _key_file(config_path) as file:
        found = file.load()
    if as_json:
        print_json(
            [
                {
                    "name": key.name,
                    "role": key.role.value,
                    "created": key.created.isoformat(),
                    "expires": key.expires and key.expires.isoformat(),
                }
                for key in found
            ]
        )
        return
    table = table_of("name", "role", "created", "expires")
    for key in found:
        expired = key.identity.expired(clock.now().timestamp())
        expires = terminal.format_time(key.expires, _MINUTE) if key.expires else "never"
        table.add_row(
            escape(key.name),
            key.role.value,
            terminal.format_time(key.created, _MINUTE),
            f"[red]{expires}[/]" if expired else expires,
        )
    console().print(table)


@keys.command()
@click.argument("name")
@config_option
def revoke(config_path: Path | None, name: str) -> None:
    """Revoke the key NAME; clients that use it are disconnected."""
    with _key_file(config_path) as file:
        if not file.revoke(name):
            raise CommandFailed(f"there is no key called {name}; `camd keys list` shows them")
    messages().print(f"The key {escape(name)} is revoked.")


@click.command(short_help="Make a JWT for USER.")
@click.argument("user")
@_role_option
@click.option(
    "--for",
    "valid",
    callback=lifetime,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long the JWT is valid, such as 12h.",
)
@config_option
def token(config_path: Path | None, user: str, role: str, valid: timedelta) -> None:
    """Make a JWT for USER, signed with the configured secret, and print it."""
    from camd.auth.tokens import mint_token

    secret = configured(config_path).auth.jwt_secret
    if not secret:
        raise Misconfigured(
            "no secret is configured, so JWTs are refused; set auth.jwt_secret or "
            "CAMERA_SERVICE_JWT_SECRET (`openssl rand -hex 32` makes one)"
        )
    now = clock.now().timestamp()
    seconds = valid.total_seconds()
    click.echo(mint_token(secret, user_id=user, role=Role(role), now=now, lifetime=seconds))


@click.command(short_help="Print a link that opens the web page, signed in.")
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    help="What the browser may do.  [default: what you may]",
)
@json_option
@remote_options
def open(access: ServiceAccess, role: str | None, as_json: bool) -> None:
    """Print a link to the web page of the service that signs a browser in: once, within 60 s."""
    address = web_page_address(access)
    made = ask(access, "create_sign_in_code", role=role)
    link = f"{address}{made['path']}"
    if as_json:
        print_json({"link": link, **made})
        return
    click.echo(link)
    messages().print(f"It works once, within {made['expires_in']:.0f} s, as {made['role']}.")


@contextmanager
def _key_file(config_path: Path | None) -> Iterator[KeyFile]:
    """Open the configured file of keys. Raises CommandFailed when it cannot be used."""
    from camd.auth.key_file import KeyFile, KeyFileError
    from camd.runtime.folders.access_advice import explain_refused_access

    path = configured(config_path).auth.keys_file
    assert path is not None  # a loaded configuration names it
    try:
        yield KeyFile(path)
        _give_to_owner(path)
    except (KeyFileError, OSError) as error:
        cause = error.__cause__ if isinstance(error, KeyFileError) else error
        if isinstance(cause, OSError):
            file = Path(cause.filename or path)
            raise CommandFailed(explain_refused_access(file, cause, "used")) from None
        raise CommandFailed(f"the keys cannot be used: {error}") from None


def _give_to_owner(path: Path) -> None:
    """Give a file that root has replaced to the owner of its folder: the service must read it."""
    if os.geteuid() == 0 and os.path.exists(path):
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
