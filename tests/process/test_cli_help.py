"""`camd --help`: what it says of each command, and what it imports for that."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from camd.cli import main

CONTEXT = click.Context(main, info_name="camd")

LOADED = """
import json, sys
from camd.cli import main
main(["--help"], standalone_mode=False)
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def listed() -> dict[str, str]:
    """Return the line of each command in the output of `camd --help`."""
    formatter = click.HelpFormatter(width=200)
    main.format_commands(CONTEXT, formatter)
    rows = [line.strip().split(maxsplit=1) for line in formatter.getvalue().splitlines()[1:]]
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("name", main.list_commands(CONTEXT))
def test_the_line_of_a_command_is_its_own(name: str) -> None:
    """The table says of a command what its own help says."""
    command = main.get_command(CONTEXT, name)
    assert command is not None
    assert listed()[name] == command.get_short_help_str(80)


@pytest.mark.parametrize(
    ("given", "said"),
    [("statu", "did you mean 'status'?"), ("qqq", "--help lists them"), ("", "--help lists them")],
)
def test_a_command_that_there_is_not_is_told_with_the_nearest(given: str, said: str) -> None:
    """A mistake of typing is answered with what was meant."""
    with pytest.raises(click.UsageError) as caught:
        main([given], standalone_mode=False)
    assert caught.value.message == f"there is no command {given!r}; {said}"


def test_the_list_of_commands_imports_none_of_them() -> None:
    """Neither the event loop nor a table printer is needed to list the commands."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=100, check=True
    )
    loaded = set(json.loads(done.stderr))
    assert "record" in done.stdout
    assert loaded & {"trio", "rich", "cattrs", "camd.config.schema", "camd.daemon"} == set()
