"""The documentation says what the code does."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import click
import pytest
import tomli

from camd.api.camera_methods import CamerasApi
from camd.api.device_methods import ControlsApi, DevicesApi
from camd.api.event_methods import EventsApi
from camd.api.footage.export_methods import ExportsApi
from camd.api.footage.playback_methods import PlaybackApi
from camd.api.http.key_methods import ApiKeysApi
from camd.api.http.sign_in_routes import SignInApi
from camd.api.metrics_methods import MetricsApi
from camd.api.recording_methods import RecordingsApi, SchedulesApi, SessionsApi
from camd.api.retention_methods import FilesApi, RetentionApi
from camd.api.snapshot_methods import SnapshotsApi
from camd.api.stream_methods import StreamsApi
from camd.api.system_methods import StorageApi, SystemApi
from camd.cli import main
from camd.clock import SYSTEM_CLOCK
from camd.config.keys import config_keys_of
from camd.config.parse import find_mistakes, parse_config
from camd.config.schema import SECTIONS
from camd.config.values import PathBases
from camd.contract.event_results import NOTIFICATIONS
from camd.rpc.openrpc import fields_of, openrpc_document, registry_with_discovery
from camd.rpc.registry import Caller, Method
from camd.rpc.roles import ANONYMOUS
from camd.server.connection_auth import AUTHENTICATE_METHOD
from camd.storage.rules.volume_identity import RecognisedAs

ROOT = Path(__file__).parents[2]


def _render():
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["errors.md", "states.md", "faults.md", "results.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    """What is generated from the code equals what is in the repository."""
    page = _render().PAGES[name]()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page, "run docs/render.py"


def test_the_table_of_sources_is_up_to_date() -> None:
    """Each kind of source has its row, as its class says."""
    page = (ROOT / "docs" / "cameras.md").read_text(encoding="utf-8")
    assert _render().list_sources(page) == page, "run docs/render.py"
    assert "| `test:` | a synthetic" in _render().list_sources(page.replace("| `test:` |", "| x |"))


def test_the_table_of_methods_is_up_to_date() -> None:
    """Each method has its row, and each result and heading that is linked to is there."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert _render().list_methods(page) == page, "run docs/render.py"
    assert _render().list_methods(page.replace("| viewer | List all cameras", "| x | y")) == page
    pages = [page, *(_render().PAGES[name]() for name in ("methods.md", "results.md"))]
    for name in ("methods.md", "results.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w-]", "", line.lstrip("# ").lower())
            for line in text.splitlines()
            if line.startswith("##")
        }
        targets = {each for one in pages for each in re.findall(rf"{name}#([\w-]+)", one)}
        assert targets <= headings
        assert len(targets) > 40


def test_links_between_the_pages_lead_somewhere() -> None:
    """Every relative link in a page names a file that exists."""
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


REGISTRY = registry_with_discovery(
    (
        EventsApi(None, None),
        *(
            CamerasApi(None, clock=SYSTEM_CLOCK),
            ControlsApi(None),
            DevicesApi(None, None),
            FilesApi(None, clock=SYSTEM_CLOCK),
        ),
        *(RecordingsApi(None, None), SessionsApi(None, None), RetentionApi(None)),
        *(StorageApi(None), SystemApi(None, None, None, clock=SYSTEM_CLOCK)),
        SnapshotsApi(None, None),
        ExportsApi(None, None),
        StreamsApi(None, None),
        SchedulesApi(None, None),
        MetricsApi(None, clock=SYSTEM_CLOCK),
        PlaybackApi(None, None),
        SignInApi(None, clock=SYSTEM_CLOCK),
        ApiKeysApi(None, clock=SYSTEM_CLOCK),
    ),
    others=(AUTHENTICATE_METHOD,),
    notifications=NOTIFICATIONS,
)


def _documented_methods() -> dict[str, str]:
    """Read the table of methods in docs/api.md: the role of each."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = page.partition("## Methods")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| \[`([\w.]+)`\]\([^)]*\) \| (\w+) \|", table, re.MULTILINE))


def test_every_method_is_documented() -> None:
    """The API page has a row for each method that the daemon offers, and no other."""
    roles = {method.name: method.role.value for method in REGISTRY.methods}
    assert _documented_methods() == roles


def test_every_api_object_is_in_the_registry() -> None:
    """The registry of this test has every class of `camd.api` that declares methods."""
    source = "".join(path.read_text() for path in (ROOT / "camd" / "api").rglob("*.py"))
    discover = 1  # of `camd.rpc`
    assert len(REGISTRY.methods) == source.count("@method(") + discover


@pytest.mark.parametrize("method", REGISTRY.methods, ids=lambda method: method.name)
def test_every_parameter_is_documented(method: Method) -> None:
    """Clients are told what each parameter means, and the page of methods says the same."""
    (described,) = openrpc_document([method], title="", version="")["methods"]
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    section = page.partition(f"### `{method.name}`\n")[2].partition("\n##")[0]
    plain = re.sub(r"\[(\w+\.md)\]\(\w+\.md\)", r"\1", section)
    rows = dict(re.findall(r"^\| `(\w+)`.*\| ([^|]+) \|$", plain, re.MULTILINE))
    assert {each["name"]: each["description"] for each in described["params"]} == rows
    assert all(len(each["description"].split()) > 1 for each in described["params"])


async def test_discovery_describes_what_the_page_describes() -> None:
    """The document of `rpc.discover` has the methods, roles and parameters of the API page."""
    caller = Caller(ANONYMOUS, "test")
    raw = await REGISTRY.prepare("rpc.discover", {}, caller).run()
    described = {each["name"]: each for each in json.loads(bytes(raw))["methods"]}
    assert "x-role" not in described.pop("authenticate")
    roles = {name: each["x-role"] for name, each in described.items()}
    assert roles == _documented_methods()
    for method in REGISTRY.methods:
        assert described[method.name]["summary"] == method.summary
        assert {param["name"] for param in described[method.name]["params"]} == {
            field.metadata.get("name", field.name) for field in fields_of(method)
        }


def _pages() -> dict[str, str]:
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return {page.name: page.read_text(encoding="utf-8") for page in pages}


def _unknown_words(text: str) -> list[str]:
    """Return the commands and options of a `camd …` command line that do not exist."""
    command: click.Command = main
    context, unknown = click.Context(main, **main.context_settings), []
    for word in text.partition("#")[0].split()[1:]:
        options = {option for param in command.get_params(context) for option in param.opts}
        if word.startswith("-"):
            unknown += [] if word.partition("=")[0] in options else [word]
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return [*unknown, word]
            command = found
    return unknown


def test_commands_that_texts_name_exist() -> None:
    """Every `camd …` in a page or a message has a command and options of this program."""
    wrong = {}
    sources = {str(path): path.read_text("utf-8") for path in (ROOT / "camd").rglob("*.py")}
    for page, text in (_pages() | sources).items():
        spans = re.findall(r"`(camd [a-z-][^`\n]*)`", text)
        fenced = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
        lines = re.findall(r"^(camd [a-z].*)$", fenced, re.MULTILINE)
        for command in [part.strip() for each in spans + lines for part in each.split(";")]:
            if command.startswith("camd ") and (unknown := _unknown_words(command)):
                wrong[f"{page}: {command}"] = unknown
    assert wrong == {}
    assert _unknown_words("camd ls --nothing") == ["--nothing"]
    assert _unknown_words("camd nothing") == ["nothing"]


def test_configuration_keys_that_pages_name_exist() -> None:
    """A name such as `storage.durability` is a key of that section."""
    known = {
        f"{name}.{key}" for name, section in SECTIONS.items() for key in config_keys_of(section)
    }
    wrong = {}
    for page, text in _pages().items():
        for name in re.findall(r"`([a-z]+\.[a-z_]+)`", text):
            if name.partition(".")[0] in SECTIONS and name not in known:
                wrong[name] = page
    assert wrong == {}
    assert "storage.durability" in known


def test_configurations_in_pages_have_no_mistakes() -> None:
    """Each block of a page that begins with a section or an entry is a valid configuration."""
    wrong, found = {}, 0
    for page, text in _pages().items():
        for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
            if not re.match(r"(?:#.*\n)*\[\[?[a-z]+\]\]?$", block, re.MULTILINE):
                continue
            found += 1
            parsed = parse_config(
                tomli.loads(block), {}, PathBases(Path("/c"), Path("/d"), Path("/h"))
            )
            if mistakes := [*parsed.mistakes, *find_mistakes(parsed.sections, parsed.cameras)]:
                wrong[f"{page}: {block}"] = mistakes
    assert wrong == {}
    assert found >= 5


def test_error_codes_that_pages_name_exist() -> None:
    """A number such as -1008 is the code of an error, in the table of errors."""
    table = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    known = {*re.findall(r"^\| (-\d+) \|", table, re.MULTILINE)}
    wrong = {}
    for page, text in _pages().items():
        for code in re.findall(r"(?<![\w.)])[\u2212-](?:10\d\d|320\d\d|32[67]\d\d)\b", text):
            if code.replace("\u2212", "-") not in known:
                wrong[code] = page
    assert wrong == {}
    assert "-1016" in known


# Of others: a key of MediaMTX, a fixture of pytest, shells as Click names them.
FOREIGN = {"all_others", "tmp_path", "fish_source", "zsh_source"}


def test_names_that_pages_have_are_in_the_code() -> None:
    """A name such as `connections_limited` is an event, a field, a cause or a key of this program.

    Metrics have a test of their own.
    """
    folders = ("camd", "tests/hardware", "examples")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    code = "".join(file.read_text("utf-8") for file in files if file.suffix in (".py", ".js"))
    known = {*re.findall(r"[a-z]+(?:_[a-z]+)+", code), *FOREIGN}
    known |= {f"volume_{verdict.value}" for verdict in RecognisedAs}
    wrong = {}
    for page, text in _pages().items():
        for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text):
            if name not in known and not name.startswith(("camd_", "process_")):
                wrong[name] = page
    assert wrong == {}
    assert "no_such_name" not in known
