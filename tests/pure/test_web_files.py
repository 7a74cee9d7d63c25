"""The files of the page: what is vendored, what they name, and that words are not left out."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from camd.model import CameraState, GapCause, StorageLevel

WEB = Path(__file__).resolve().parents[2] / "camd" / "web"
MOST_LINES = 300
OWN = sorted(
    path
    for path in WEB.rglob("*")
    if path.suffix in (".js", ".css", ".html") and path.parent.name != "vendor"
)
SCRIPTS = [path for path in OWN if path.suffix == ".js"]


def name(path: Path) -> str:
    return str(path.relative_to(WEB))


def test_vendored_files_are_those_of_their_packages() -> None:
    """Each has its source, version, licences and SHA-256 in the manifest, and there is no other."""
    manifest = json.loads((WEB / "vendor" / "manifest.json").read_text(encoding="utf-8"))
    licences = {file for each in manifest.values() for _, file in each["licences"].values()}
    present = {path.name for path in (WEB / "vendor").iterdir()}
    assert present == {"manifest.json", *manifest, *licences}
    for file, entry in manifest.items():
        content = (WEB / "vendor" / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["version"] in entry["source"]
    texts = [(WEB / "vendor" / file).read_text(encoding="utf-8") for file in sorted(licences)]
    assert "Apache License" in texts[0]
    assert "The MIT License" in texts[1]


@pytest.mark.parametrize("path", OWN, ids=name)
def test_no_file_is_long(path: Path) -> None:
    """A module is one view, or one concept."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_no_folder_is_too_wide() -> None:
    """A folder holds at most a dozen modules, as everywhere."""
    folders = [path.parent for path in SCRIPTS]
    assert {name(each): folders.count(each) for each in folders if folders.count(each) > 12} == {}


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_imports_lead_to_files(path: Path) -> None:
    """Relative, without a build step: browsers find every module by its path."""
    text = path.read_text(encoding="utf-8")
    static = r"""^(?:import|export|\}).*? from ["']([^"']+)["']"""
    found = re.findall(static, text, re.MULTILINE) + re.findall(r"import\('([^']+)'\)", text)
    for target in found:
        assert target.startswith("."), f"{target}: browsers cannot find it"
        assert (path.parent / target).resolve().is_file(), target


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_nothing_makes_markup_or_code_of_text(path: Path) -> None:
    """Names of cameras and messages are text; there is no way by which they become more."""
    text = path.read_text(encoding="utf-8")
    pattern = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert re.search(pattern, text) is None
    assert "dangerouslySetInnerHTML" not in text
    assert re.search(r"localStorage|sessionStorage|document\.cookie", text) is None


class Reader(HTMLParser):
    """Collects what a policy without `unsafe-inline` forbids, and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.loaded: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [key for key in given if key.startswith("on") or key == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.loaded += [str(given[key]) for key in ("src", "href") if key in given]


def test_the_page_itself_holds_no_script_and_no_style() -> None:
    """The policy allows none; everything that it loads is a file of the page."""
    reader = Reader()
    reader.feed((WEB / "index.html").read_text(encoding="utf-8"))
    assert reader.inline == []
    for address in reader.loaded:
        assert address.startswith("/web/")
        assert (WEB / address.removeprefix("/web/")).is_file()


def keys_of_table(table: str) -> set[str]:
    """Return the keys of an object in words.js."""
    text = (WEB / "lib" / "words.js").read_text(encoding="utf-8")
    (block,) = re.findall(rf"const {table} = {{\n(.*?)\n}};", text, re.DOTALL)
    return set(re.findall(r"^  (\w+):", block, re.MULTILINE))


def test_every_cause_has_words_and_a_pattern() -> None:
    """A cause that is added to the ledger is added to the page."""
    assert keys_of_table("CAUSES") == {cause.value for cause in GapCause}
    text = (WEB / "lib" / "words.js").read_text(encoding="utf-8")
    patterns = set(re.findall(r"\['[^']+', '(\w+)'\]", text))
    styles = (WEB / "views.css").read_text(encoding="utf-8")
    assert patterns == set(re.findall(r"^\.p-(\w+) {", styles, re.MULTILINE))


def test_every_state_and_level_has_words() -> None:
    """States of cameras, and levels of the recordings volume as the API names them."""
    assert keys_of_table("STATES") == {state.value for state in CameraState}
    api = {"ok": "normal", "low": "warning"}
    assert keys_of_table("LEVELS") == {api.get(each.value, each.value) for each in StorageLevel}
