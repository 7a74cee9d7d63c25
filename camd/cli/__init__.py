"""The command line: thin commands over the daemon, the client and the files of keys."""

from __future__ import annotations

import click

from camd import __version__
from camd.cli.controls import controls
from camd.cli.demo import demo
from camd.cli.devices import adopt, devices, forget
from camd.cli.exits import EPILOG
from camd.cli.history import gaps, sessions
from camd.cli.keys import keys, token
from camd.cli.look import info, ls, status, storage
from camd.cli.record import record, stop
from camd.cli.recover import recover
from camd.cli.retention import cleanup, pin, retention, rm, unpin
from camd.cli.service import check, run
from camd.cli.verify import verify
from camd.cli.watch import watch

__all__ = ["main"]


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camd")
def main() -> None:
    """Record cameras: every frame is in a file, or in the ledger that says why not.

    `camd demo` shows it at work with synthetic cameras; `camd check` and `camd run` start it for
    real. `camd verify` and `camd recover` look at the recordings themselves. The other commands
    talk to the service that runs on this machine.
    """


_COMMANDS = (
    *(demo, run, check, status, record, stop),
    *(ls, info, sessions, gaps, rm, pin, unpin),
    *(devices, adopt, forget),
    *(storage, cleanup, retention, watch, controls),
    *(verify, recover, keys, token),
)
for command in _COMMANDS:
    main.add_command(command)
