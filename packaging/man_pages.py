"""Manual pages made from the command line's own help: `python packaging/man_pages.py FOLDER`.

One page for `camd` and one for each command, in the `man` macros (groff_man(7)).
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from camd import __version__
from camd.cli import main as camd

FILES = (
    ("/etc/camd/camd.toml", "the configuration of the service"),
    ("~/.config/camd/camd.toml", "the configuration of a user's own service"),
    ("/var/lib/camd", "recordings and state of the service"),
    ("/run/camd/camd.sock", "the socket that the command line uses first"),
)


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    root = click.Context(camd, info_name="camd", **camd.context_settings)
    written = {}
    for context in _contexts(root):
        name = context.command_path.replace(" ", "-")
        written[f"{name}.1"] = "\n".join(_page(context, name)) + "\n"
    return written


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield a command and all commands below it."""
    yield context
    for name, command in _commands(context):
        yield from _contexts(click.Context(command, info_name=name, parent=context))


def _commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield name, command


def _page(context: click.Context, name: str) -> Iterator[str]:
    command = context.command
    summary = command.get_short_help_str(200).rstrip(".")
    yield f'.TH {name.upper()} 1 "" "camd {__version__}" "User commands"'
    yield from (".SH NAME", rf"{_text(name)} \- {_text(summary[:1].lower() + summary[1:])}")
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (".SH SYNOPSIS", rf"\fB{_text(context.command_path)}\fR {_text(usage)}")
    yield from (".SH DESCRIPTION", *_paragraphs(command.help or ""))
    yield from _section("OPTIONS", _options(context))
    yield from _section(
        "COMMANDS",
        ((sub, command.get_short_help_str(200)) for sub, command in _commands(context)),
    )
    if context.parent is None:
        yield from _exit_statuses(command.epilog or "")
        yield from _section("FILES", FILES)
    else:
        yield from (".SH SEE ALSO", ".BR camd (1)")


def _exit_statuses(epilog: str) -> Iterator[str]:
    """Write the list below the help of `camd`: after its heading, a number and a text a line."""
    rows = (line.strip().partition(" ") for line in epilog.strip("\b\n").splitlines()[1:])
    yield from _section("EXIT STATUS", ((number, text.strip()) for number, _, text in rows))


def _options(context: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            yield record


def _section(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = tuple(rows)
    if rows:
        yield f".SH {title}"
    for term, text in rows:
        yield from (".TP", rf"\fB{_text(term)}\fR", _text(text))


def _paragraphs(text: str) -> Iterator[str]:
    """Write the paragraphs of click's help; those that begin with a backspace keep their lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", *map(_text, paragraph.lstrip("\b").strip("\n").splitlines()), ".fi")
        else:
            yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """Escape what troff would take for a request or a special character."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main() -> None:
    """Write all pages into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gzip", action="store_true", help="compress them, as Debian does")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        if options.gzip:
            (options.folder / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            (options.folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
