"""`camd --help`: what it says of each command, and what it imports for that."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from camd.cli import main
from camd.logs import LogLevel

CONTEXT = click.Context(main, info_name="camd", **main.context_settings)

LOADED = """
import json, sys
from camd.cli import main
before, loaded = set(sys.modules), {}
for command in json.loads(sys.argv[1]):
    try:
        main([*command, "--help"], prog_name="camd", standalone_mode=False)
    finally:
        loaded[" ".join(command)] = sorted(sys.modules)
        for name in set(sys.modules) - before:
            del sys.modules[name]
print(json.dumps(loaded), file=sys.stderr)
"""
# What takes longest to import; neither is needed to describe a command.
HEAVY = {
    *("asyncio", "cattrs", "h11", "jwt", "msgspec", "prometheus_client", "pyudev", "sqlite3"),
    *("ssl", "starlette", "structlog", "trio", "trio_websocket", "wsproto"),
    *("camd.client", "camd.config.schema", "camd.daemon", "camd.model", "camd.storage"),
}


def subcommands(command: click.Command, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """List a command and those below it, each by its words."""
    if not isinstance(command, click.Group):
        return [path]
    below = (
        subcommands(found, (*path, name))
        for name in command.list_commands(CONTEXT)
        if (found := command.get_command(CONTEXT, name)) is not None
    )
    return [path, *(each for found in below for each in found)]


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


def loaded_for_help(commands: list[tuple[str, ...]]) -> tuple[str, dict[str, set[str]]]:
    """Print the help of each command in another process; return it, and the modules of each."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout, {name: set(names) for name, names in json.loads(done.stderr).items()}


def test_the_list_of_commands_imports_none_of_them() -> None:
    """Neither the event loop nor a table printer is needed to list the commands."""
    said, loaded = loaded_for_help([()])
    assert "record" in said
    assert loaded[""] & {*HEAVY, "rich"} == set()


def test_the_help_of_a_command_imports_nothing_that_takes_long() -> None:
    """What a command works with is imported when it runs, also that of a command in a group."""
    commands = subcommands(main, ())
    assert ("keys", "add") in commands
    said, loaded = loaded_for_help(commands)
    assert said.count("Usage: camd ") == len(commands)
    assert {name: found for name, names in loaded.items() if (found := names & HEAVY)} == {}


def test_the_levels_of_the_log_are_those_that_the_command_offers() -> None:
    """The command has a list of its own, for its help."""
    command = main.get_command(CONTEXT, "log-level")
    assert command is not None
    (level, *_) = (each for each in command.params if each.name == "level")
    assert isinstance(level.type, click.Choice)
    assert list(level.type.choices) == [level.value for level in LogLevel]
