"""The command line: thin commands over the daemon, the client and the files of keys."""

from __future__ import annotations

from importlib import import_module

import click

from camd import __version__
from camd.cli.exits import EPILOG

__all__ = ["main"]

# Which module has which command. A module is imported when its command is run, or `--help` asks
# what it does: a command that only talks to the service starts without the half of the program
# that records.
_MODULES = {
    **dict.fromkeys(("adopt", "devices", "forget"), "devices"),
    **dict.fromkeys(("check", "run"), "service"),
    **dict.fromkeys(("cleanup", "pin", "retention", "rm", "unpin"), "retention"),
    "controls": "controls",
    "demo": "demo",
    **dict.fromkeys(("gaps", "sessions"), "history"),
    **dict.fromkeys(("info", "ls", "status", "storage"), "look"),
    **dict.fromkeys(("keys", "token"), "keys"),
    **dict.fromkeys(("record", "stop"), "record"),
    "recover": "recover",
    "verify": "verify",
    "watch": "watch",
}


class _Commands(click.Group):
    """The commands, each of which is the object of its name in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name them in alphabetical order."""
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None: there is none of this name."""
        if cmd_name not in _MODULES:
            return None
        command = getattr(import_module(f"camd.cli.{_MODULES[cmd_name]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camd")
def main() -> None:
    """Record cameras: every frame is in a file, or in the ledger that says why not.

    `camd demo` shows it at work with synthetic cameras; `camd check` and `camd run` start it for
    real. `camd verify` and `camd recover` look at the recordings themselves. The other commands
    talk to the service that runs on this machine.
    """
