"""The command line: each command is a thin layer over the client, the daemon or a file."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from camd import __version__
from camd.cli.exit import EPILOG

__all__ = ["config_option", "main"]

# The module of each command. It is imported when the command runs, or for `--help`, so that a
# command that only calls the service does not import the modules that record.
_MODULES = {
    **dict.fromkeys(("adopt", "controls", "devices", "forget"), "device_commands"),
    "check": "check",
    **dict.fromkeys(("cleanup", "pin", "retention", "rm", "unpin"), "retention_commands"),
    "demo": "demo",
    **dict.fromkeys(("gaps", "info", "ls", "sessions", "status", "storage", "watch"), "show"),
    **dict.fromkeys(("openrpc", "timeline"), "show"),
    **dict.fromkeys(("keys", "open", "token"), "credentials"),
    **dict.fromkeys(("record", "snapshot", "stop"), "record"),
    **dict.fromkeys(("recover", "verify"), "folder_commands"),
}


class _Commands(click.Group):
    """The commands; each is the object of its name in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of all commands, sorted."""
        return sorted([*_MODULES, *super().list_commands(ctx)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of this name."""
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(f"camd.cli.{_MODULES[cmd_name]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camd")
def main() -> None:
    """Record cameras: every frame is in a file, or in the ledger that says why it is missing.

    Start here: `camd demo` records synthetic cameras; `camd check` finds what would keep this
    machine from recording; `camd run` starts the service. `camd verify` and `camd recover` work on
    the files of the recordings. All other commands call the service on this machine.
    """


# Adds the option that names the configuration file; the command gets it as `config_path`.
config_option = click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The configuration file.  [default: $CAMD_CONFIG, /etc/camd/camd.toml, "
    "~/.config/camd/camd.toml, or built-in defaults]",
)


@main.command(short_help="Run the service in the foreground.")
@config_option
def run(config_path: Path | None) -> None:
    """Run the service in the foreground until SIGTERM or Ctrl-C; SIGHUP reloads."""
    from camd.daemon import run_daemon  # noqa: PLC0415 - other commands start faster without it

    sys.exit(run_daemon(config_path))
