"""The documentation says what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from camd.api.camera_methods import CamerasApi
from camd.api.control_methods import ControlsApi
from camd.api.device_methods import DevicesApi
from camd.api.event_methods import EventsApi
from camd.api.recording_methods import HistoryApi, RecordingsApi
from camd.api.retention_methods import FilesApi, RetentionApi
from camd.api.system_methods import StorageApi, SystemApi
from camd.rpc.openrpc import fields_of
from camd.rpc.registry import Method, Registry

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


REGISTRY = Registry(
    (
        *(CamerasApi(None), ControlsApi(None), DevicesApi(None), FilesApi(None)),
        EventsApi(None, None),
        *(RecordingsApi(None, None), HistoryApi(None, None), RetentionApi(None)),
        *(StorageApi(None), SystemApi(None, None, None)),
    )
)


def _documented_methods() -> dict[str, tuple[str, str]]:
    """Read the table of methods in docs/api.md: role and parameters by name."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = page.partition("## Methods")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|(.*?) \|", table, re.MULTILINE)
    return {name: (role, params) for name, role, params in rows}


def test_every_method_is_documented() -> None:
    """The API page has a row for each method that the daemon offers, and no other."""
    roles = {name: role for name, (role, _) in _documented_methods().items()}
    assert roles == {method.name: method.role.value for method in REGISTRY.methods}


def test_every_api_object_is_in_the_registry() -> None:
    """The registry of this test has every class of `camd.api` that declares methods."""
    source = "".join(path.read_text() for path in (ROOT / "camd" / "api").glob("*.py"))
    assert len(REGISTRY.methods) == source.count("@method(")


@pytest.mark.parametrize("method", REGISTRY.methods, ids=lambda method: method.name)
def test_every_parameter_is_documented(method: Method) -> None:
    """The row of a method names each of its parameters, or the method that has the same ones."""
    rows = _documented_methods()
    text = rows[method.name][1]
    if same := re.fullmatch(r" as `(\w+)`", text):
        text = rows[same.group(1)][1]
    names = {field.metadata.get("name", field.name) for field in fields_of(method)}
    assert names <= set(re.findall(r"`(\w+)`", text))
    assert names or not text.strip(), "the method has no parameters"
