"""The manual pages that packaging makes from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from camd.cli import main

SCRIPT = Path(__file__).parents[2] / "packaging" / "man_pages.py"


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, str]:
    """Make all pages in a process of their own: click keeps options that others asked for."""
    subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], check=True, timeout=300)
    return {path.name: path.read_text() for path in tmp_path.iterdir()}


def test_the_first_page_has_what_scripts_need(pages: dict[str, str]) -> None:
    """Exit statuses are a section of their own, and both options for help are named."""
    page = pages["camd.1"]
    assert r"\fB\-h, \-\-help\fR" in page
    _, _, rest = page.partition(".SH EXIT STATUS\n")
    statuses, _, _ = rest.partition(".SH FILES\n")
    assert statuses.splitlines()[:3] == [".TP", r"\fB0\fR", "done"]
    assert statuses.splitlines()[-3:] == [".TP", r"\fB130\fR", r"ended by Ctrl\-C"]


def test_every_command_has_a_page(pages: dict[str, str]) -> None:
    """None is left out, and each page leads back to the first."""
    names = main.list_commands(click.Context(main, **main.context_settings))
    assert len(names) > 20
    assert all(f"camd-{name}.1" in pages for name in names)
    assert all(".BR camd (1)" in text for name, text in pages.items() if name != "camd.1")
