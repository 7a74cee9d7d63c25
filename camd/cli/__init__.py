"""The command line: a command calls the client library, or works on files.

`checks` has parts of `camd check`, `setup` of `camd init` and `camd selftest`, `exporting` of `camd
export`.
"""

from __future__ import annotations

import gc
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import click

from camd import __version__
from camd.cli.exit import EPILOG

__all__ = ["config_option", "main"]

# Of each command, its module and the line that `camd --help` has for it. The module is imported
# when the command runs, or its help is asked for: `camd --help` imports none. Such a module imports
# at its top what the help needs; what its commands work with is imported by their functions.
_COMMANDS = {
    "adopt": ("device_commands", "Assign a device to CAMERA."),
    "check": ("commands.machine_commands", "Find what would keep the service from recording."),
    "cleanup": ("retention_commands", "Carry out the retention policy now."),
    "controls": ("device_commands", "Show or set the controls of CAMERA."),
    "demo": ("commands.machine_commands", "Record two synthetic cameras, to see how it works."),
    "devices": ("device_commands", "Show the cameras that are plugged in."),
    "export": (
        "exporting.export_command",
        "Write what CAMERA recorded between two instants into FILE.",
    ),
    "forget": ("device_commands", "Forget a camera that will not come back."),
    "gaps": ("show", "List missing footage, newest first, with its cause."),
    "info": ("show", "Show everything about the recording NAME."),
    "init": (
        "commands.machine_commands",
        "Write a first configuration for the cameras that are plugged in.",
    ),
    "keys": ("credentials", "Manage API keys."),
    "log-level": ("show", "Show or set how much the service logs."),
    "ls": ("show", "List recordings, newest first; with --snapshots, pictures."),
    "open": ("credentials", "Print a link that opens the web page, signed in."),
    "openrpc": ("show", "Print the OpenRPC document of the service's methods."),
    "pin": ("retention_commands", "Protect the recording NAME from clients and retention."),
    "record": ("record", "Record CAMERA until Ctrl-C, or for a time."),
    "recover": ("commands.file_commands", "Repair a recordings folder that no service uses."),
    "retention": (
        "retention_commands",
        "Show or set the retention policy; without a command: show.",
    ),
    "rm": ("retention_commands", "Remove the recordings NAME, permanently."),
    "sessions": ("show", "List recording sessions, newest first."),
    "snapshot": ("record", "Take a picture of CAMERA."),
    "schedule": ("show", "Show the schedules, and whether their windows are open."),
    "selftest": (
        "commands.machine_commands",
        "Try the whole recorder on this machine: kills, a full disk, checks.",
    ),
    "status": ("show", "Show the service and its cameras."),
    "stop": ("record", "Stop the recording of CAMERA."),
    "storage": ("show", "Show the free space, and how long it lasts."),
    "timeline": ("show", "Show when a camera was recorded, and what is missing."),
    "token": ("credentials", "Make a JWT for USER."),
    "unpin": ("retention_commands", "Remove the pin of the recording NAME."),
    "verify": ("commands.file_commands", "Read recordings back and compare them."),
    "watch": ("show", "Show events as they happen, until Ctrl-C."),
}


class _Commands(click.Group):
    """The commands; each is the object of its name in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of all commands, sorted."""
        return sorted([*_COMMANDS, *super().list_commands(ctx)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of this name."""
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _ = _COMMANDS[cmd_name]
        command = getattr(import_module(f"camd.cli.{module}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; where there is none of this name, say which one may be meant."""
        known = ctx.resilient_parsing or self.get_command(ctx, args[0]) is not None
        if not known:
            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = f"; did you mean {near[0]!r}?" if near else "; --help lists them"
            ctx.fail(f"there is no command {args[0]!r}{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their lines of the table, without importing them."""
        own = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        lines = own | {name: line for name, (_, line) in _COMMANDS.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(lines.items()))


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
    gc.disable()  # what is imported stays: collections would take an eighth of the time for nothing
    from camd.daemon import run_daemon

    gc.enable()
    sys.exit(run_daemon(config_path))
