"""The documentation says what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _render():
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["errors.md", "states.md", "faults.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    """What is generated from the code equals what is in the repository."""
    page = _render().PAGES[name]()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page, "run docs/render.py"


def test_links_between_the_pages_lead_somewhere() -> None:
    """Every relative link in a page names a file that exists."""
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_method_is_documented() -> None:
    """The API page has a row for each method that the daemon offers, and no other."""
    from camd.api.camera_methods import CamerasApi
    from camd.api.control_methods import ControlsApi
    from camd.api.device_methods import DevicesApi
    from camd.api.recording_methods import HistoryApi, RecordingsApi
    from camd.api.retention_methods import FilesApi, RetentionApi
    from camd.api.system_methods import StorageApi, SystemApi

    nothing = None
    nouns = (
        CamerasApi(nothing),
        ControlsApi(nothing),
        DevicesApi(nothing),
        RecordingsApi(nothing, nothing),
        HistoryApi(nothing, nothing),
        FilesApi(nothing),
        RetentionApi(nothing),
        StorageApi(nothing),
        SystemApi(nothing, nothing, nothing),
    )
    offered = {method.name: method.role.value for noun in nouns for method in noun.methods()}
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = page.partition("## Methods")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE))
    assert documented == offered
