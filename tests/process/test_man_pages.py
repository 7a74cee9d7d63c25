"""The manual pages that packaging makes from the command line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from camd.cli import main

SCRIPT = Path(__file__).parents[2] / "packaging" / "man_pages.py"


def pages() -> dict[str, str]:
    """Make all pages with the script, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("man_pages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made: dict[str, str] = script.pages()
    return made


def test_the_first_page_has_what_scripts_need() -> None:
    """Exit statuses are a section of their own, and both options for help are named."""
    page = pages()["camd.1"]
    assert r"\fB\-h, \-\-help\fR" in page
    _, _, rest = page.partition(".SH EXIT STATUS\n")
    statuses, _, _ = rest.partition(".SH FILES\n")
    assert statuses.splitlines()[:3] == [".TP", r"\fB0\fR", "done"]
    assert statuses.splitlines()[-3:] == [".TP", r"\fB130\fR", r"ended by Ctrl\-C"]


def test_every_command_has_a_page() -> None:
    """None is left out, and each page leads back to the first."""
    made = pages()
    names = main.list_commands(click.Context(main))
    assert len(names) > 20
    assert all(f"camd-{name}.1" in made for name in names)
    assert all(".BR camd (1)" in text for name, text in made.items() if name != "camd.1")
