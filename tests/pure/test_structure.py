"""The tree keeps its order: names, sizes, pure packages, and the words of the glossary."""

from __future__ import annotations

import ast
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import tomli

from camd.sources import SOURCES

ROOT = Path(__file__).resolve().parents[2]
CAMD = ROOT / "camd"
MOST_MODULES = 12  # of one folder
MOST_LINES = 600  # of one file that does not say why
LAYERS = "Imports point down"  # import-linter's contracts
PURE = "Pure packages open nothing, wait for nothing and read no clock"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

# A name that several packages use, and the part that it plays in each of them.
SAME_NAME = {
    "rules": "the pure part of the package in which it is",
    "devices": "the package, and its values in the model",
    "events": "the package that keeps them, and their values in the model",
    "v4l2": "the source `v4l2:`; the kernel's structures in devices",
}

# Folders outside of camd/ whose modules are read for words, too.
TEST_FOLDERS = (
    "bench",
    "tests/daemon",
    "tests/hardware",
    "tests/mutation",
    "tests/support",
    "tests/wire",
)

# Words that are no words of this program, and what to say instead. A word is found in names, too:
# `take_seat` and `SeatTaken` hold "seat"; plurals in -s are found, too. Where a word has a meaning
# of its own, the pattern in MEANT says which use is meant.
FORBIDDEN = {
    "archive": "index, or recordings folder",
    "books": "session accounts, index snapshot",
    "brake": "write backoff; limit of a deletion",
    "brim": "full volume",
    "child": "FFmpeg process",
    "children": "FFmpeg processes",
    "clerk": "index worker",
    "company": "cameras",
    "complain": "report",
    "complaint": "finding",
    "crowd": "clients",
    "desk": "the camera's start and stop of a recording",
    "dice": "random numbers",
    "door": "listener",
    "faceless": "without identity",
    "feed": "hub",
    "film": "stream, video",
    "floor": "say what is passed",
    "gate": "connection authentication",
    "glance": "index snapshot, node status",
    "guard": "space monitor, error boundary",
    "guest": "client, connection",
    "hole": "dropped frames",
    "house": "machine, program",
    "immortal": "unkillable",
    "ladder": "match rules",
    "life": "capture, FFmpeg process",
    "news": "event, notification",
    "noun": "resource",
    "ordeal": "run",
    "orders": "signals",
    "outbox": "send queue",
    "patience": "timeout",
    "patrol": "scrub",
    "perform": "carry out, execute",
    "promise": "reservation",
    "promised": "reserved",
    "rests": "is idle",
    "ring": "pre-roll buffer",
    "roster": "cameras",
    "rung": "match rule",
    "salvage": "recovery",
    "scars": "damage",
    "seat": "binding",
    "seated": "bound",
    "shelf": "recordings folder",
    "site": "HTTP configuration",
    "stage": "state, step",
    "stocktaking": "reconcile",
    "story": "segment metadata",
    "stranger": "unknown device, anonymous client",
    "studio": "launcher",
    "survey": "device monitor",
    "torment": "kill repeatedly",
    "trouble": "problem",
    "welcome": "state sent on connecting",
    "wish": "request, option",
    "wishes": "requests, options",
    "witness": "observer",
}
MEANT = {
    "feed": r"(?<!reader\.)\bfeeds?\b(?! ?\(| (the )?watchdog)",  # not a parser's method
    "floor": r"(?<!math\.)\bfloors?\b",
    # Not the name of a camera in an example, which the page puts between U+2068 and U+2069.
    "gate": r"(?<![\"'])(?<!\\u2068 )\bgates?\b(?![\"'])",
    "studio": r"(?<!obs )\bstudio\b",  # OBS Studio
}
# Where a word is the right one: part of a path, or `*`, and the reason.
ALLOWED = {
    "child": {
        "camd/runtime/": "any process that is started, FFmpeg or not",
        "camd/mp4/": "a box in a box (ISO/IEC 14496-12)",
        "examples/page.html": "an element in an element (DOM)",
    },
    "promise": {
        "tests/daemon/": "JavaScript's Promise",
        "examples/watch.mjs": "JavaScript's Promise",
        "examples/page.html": "JavaScript's Promise",
    },
    "children": {
        "examples/page.html": "elements in an element (DOM)",
        "camd/runtime/": "any processes that are started, FFmpeg or not",
        "camd/mp4/": "boxes in a box (ISO/IEC 14496-12)",
        "camd/storage/verify/": "boxes in a box (ISO/IEC 14496-12)",
        "tests/mutation/": "boxes in a box (ISO/IEC 14496-12)",
        "bench/running.py": "a file below /proc",
        "bench/help.py": "a constant of getrusage(2)",
    },
}
# Names of the interface or of other programs that hold such a word.
ALLOWED_TEXT = {
    "childList": "option of a MutationObserver of browsers",
    "SameSite": "attribute of a cookie",
    "samesite": "the same, as Python names it",
    "same-site": "a value of Sec-Fetch-Site, a header of browsers",
    "cross-site": "as above",
    "sec-fetch-site": "that header",
    "Sec-Fetch-Site": "that header",
    "Sec_Fetch_Site": "that header, in a test",
    "promised_bytes": "field of `storage_status`",
    "storage_guard": "capability in `get_server_info`",
    "child_process": "the module of any process that is started",
    "child process": "any process that is started",
    "ChildProcess": "any process that is started",
    "child_processes": "any processes that are started",
    "iter_child_nodes": "a function of Python's ast",
}


# Words with one meaning in names, the places that have it, and what other things are called.
ONE_MEANING = {
    ("adopt", "adopts", "adopted", "adoption", "adoptable"): (
        "a person binds a device to a camera",
        (
            "api/device_methods",
            "camera/",
            "cli/device_commands",
            "client/",
            "contract/",
            "devices/",
        ),
        "take over, new to the index",
    ),
    ("check", "checks", "checked", "checking"): (
        "`camd check`",
        ("cli/", "sources/", "publish/server_check"),
        "verify (`camd verify`), validate (input), compare, inspect, checksum",
    ),
    ("cut", "cuts"): (
        "the part of a recording that an export takes",
        ("api/http/export_routes", "export/", "mp4/movies/"),
        "truncate, split, end early",
    ),
    ("page", "pages"): (
        "a part of a long list",
        (
            "api/event_methods",
            "api/recording_methods",
            "api/snapshot_methods",
            "cli/",
            "client/client",
            "client/__init__",
            "contract/",
            "events/",
            "export/exports",
            "model/",
            "publish/",
            "server/connection",
            "server/rules/event_delivery",
            "snapshots/",
            "storage/",
        ),
        "web page (`web_page_address`), memory page, reply",
    ),
    ("probe", "probes", "probed"): (
        "FFmpeg looks what a source holds",
        ("capture/", "cli/checks/preview_check", "ffmpeg/", "sources/"),
        "sample (a volume), read (a node), trial",
    ),
    ("settle", "settles", "settled", "settling", "unsettled"): (
        "the exposure of a camera",
        ("snapshots/",),
        "answer, enter, finish, steady",
    ),
}
# Names of Python, of the interface and of other things that hold such a word.
NAMED_BY_OTHERS = {
    "TYPE_CHECKING": "Python",
    "check_same_thread": "sqlite3",
    "files_checked": "field of `get_status`",
    "comes_from_own_web_page": "a web page",
    "load_web_pages": "a web page",
    "memory_page": "a page of memory",
    "WEB_PAGE_HEADERS": "a web page",
    "web_page_host": "a web page",
    "web_pages": "a web page",
    "WebPages": "a web page",
}
FILES_WITH_OTHERS_NAMES = {"camd/runtime/child_process.py": "`check` of subprocess.run"}


# Where "key" alone is a name that others see: elsewhere it says which key, `api_key`, `key_frame`.
BARE_KEYS = {
    "camd/api/recording_methods.py": "parameter of `start_recording`",
    "camd/cli/commands/machine_commands.py": "`camd check --keys`",
    "camd/cli/credentials.py": "`camd keys`",
    "camd/cli/record.py": "`camd record --key`",
    "camd/client/client.py": "calls of the library",
    "camd/contract/sign_in_results.py": "fields of results",
    "camd/model/recordings.py": "field of the journal, parameter of `start_recording`",
}


# Who reads the machine's clocks without being given a `Clock`, and why.
SYSTEM_CLOCKS = {"SYSTEM_CLOCK", "boot_id", "boottime", "monotonic", "now", "synchronised"}
CLOCK_READERS = {
    "camd/daemon.py": "the composition root of the daemon passes its clock to all parts",
    "camd/cli/check.py": "a command is its own composition root",
    "camd/cli/credentials.py": "a command is its own composition root",
    "camd/cli/folder_commands.py": "a command is its own composition root",
    "camd/cli/terminal.py": "the progress of a command, on the terminal's own clock",
    "camd/ffmpeg/encoder_trial.py": "how long one process takes",
    "camd/storage/read_only_disk.py": "how long one read takes; the scrub passes another clock",
}


def modules() -> list[Path]:
    """List the modules of camd."""
    return sorted(CAMD.rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """Parse a module once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def where(path: Path) -> str:
    """Name a file from the top of the tree."""
    return str(path.relative_to(ROOT))


def dotted(path: Path) -> str:
    """Name a module as an import does."""
    name = where(path).removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def test_no_class_name_stands_for_two_things() -> None:
    """Whoever reads a class name knows which class it is."""
    found = defaultdict(list)
    for path in modules():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(where(path))
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_modules_of_one_name_play_the_same_part() -> None:
    """A module's or package's name is used again only where the list says why.

    A package's main module may have its name: `camera/camera.py`.
    """
    found = defaultdict(list)
    for path in modules():
        if path.stem == "__init__":
            found[path.parent.name].append(where(path))
        elif path.stem != path.parent.name:
            found[path.stem].append(where(path))
    twice = {name: files for name, files in found.items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in SAME_NAME} == {}
    assert SAME_NAME.keys() <= twice.keys(), "listed, but used once"


@pytest.mark.parametrize("top", ["camd", "tests/support"])
def test_no_folder_is_too_wide(top: str) -> None:
    """A folder holds at most a dozen modules, so that it can be read at a glance."""
    folders = {path.parent for path in (ROOT / top).rglob("*.py")}
    counts = {
        where(folder): len([p for p in folder.glob("*.py") if p.stem != "__init__"])
        for folder in folders
    }
    assert {folder: n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_a_long_file_says_why() -> None:
    """Past 600 lines the docstring explains it, in a sentence with "long because"."""
    unexplained = [
        where(path)
        for path in modules()
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
        and "long because" not in (ast.get_docstring(parsed(path)) or "").lower()
    ]
    assert unexplained == []


def contracts() -> dict[str, dict[str, list[str]]]:
    """Read import-linter's contracts by their names."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {each["name"]: each for each in project["tool"]["importlinter"]["contracts"]}


def test_pure_packages_say_so_and_are_held_to_it() -> None:
    """A docstring begins with "Pure" exactly where import-linter forbids I/O and clocks."""
    held, wrong = contracts()[PURE]["source_modules"], []
    for path in modules():
        name = dotted(path)
        is_held = any(name == other or name.startswith(f"{other}.") for other in held)
        says = (ast.get_docstring(parsed(path)) or "").startswith("Pure")
        if (name in held and not says) or (path.stem == "__init__" and says and not is_held):
            wrong.append(name)
    assert wrong == []
    known = {dotted(path) for path in modules()}
    assert set(held) <= known


def test_the_layers_are_told_once() -> None:
    """The order of layers in the documentation is import-linter's."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    (block,) = re.findall(r"## Layers\n.*?```\w*\n(.*?)```", text, re.DOTALL)
    told = [re.findall(r"[\w.]+", line.partition("#")[0]) for line in block.splitlines()]
    layers = [re.findall(r"[\w.]+", layer) for layer in contracts()[LAYERS]["layers"]]
    assert told == [[name.removeprefix("camd.") for name in layer] for layer in layers]


def reads_system_clock(tree: ast.AST) -> bool:
    """Return whether a module imports a clock of the machine, or the module that has them."""
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module in {"camd", "camd.clock"}
        and {alias.name for alias in node.names}
        & (SYSTEM_CLOCKS if node.module == "camd.clock" else {"clock"})
        for node in ast.walk(tree)
    )


def test_a_clock_is_passed_in() -> None:
    """No module reads the machine's clocks by itself, except those that are listed."""
    readers = {where(path) for path in modules() if reads_system_clock(parsed(path))}
    assert readers - CLOCK_READERS.keys() == set()
    assert CLOCK_READERS.keys() <= readers, "listed, but given its clock"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from camd.clock import Clock, to_unix_micros", False),
        ("from camd.clock import Clock, now", True),
        ("from camd import clock", True),
        ("from camd import systemd", False),
        ("def f():\n    from camd.clock import SYSTEM_CLOCK", True),
    ],
)
def test_a_reader_of_the_system_clock_is_found(code: str, found: bool) -> None:
    """The search sees each way to import a clock, and no conversion of times."""
    assert reads_system_clock(ast.parse(code)) is found


# What asks a Path whether something is there. Before Python 3.14 it raises the error of the disk;
# from then on it returns False.
ASKS_FOR_PRESENCE = frozenset(
    (
        *("exists", "is_block_device", "is_char_device", "is_dir", "is_fifo", "is_file"),
        *("is_mount", "is_socket", "is_symlink"),
    )
)
# These are no files of a disk that may fail.
PRESENCE_OF_OTHERS = {"camd/api/http/web_pages.py": "files of the package"}


def asks_for_presence(tree: ast.AST) -> list[str]:
    """Find the methods of Path whose answer depends on the Python, called or passed on.

    Those of a Disk and of an entry of a folder are called with an argument.
    """
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    others = {id(call.func) for call in calls if call.args or call.keywords}
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ASKS_FOR_PRESENCE
        and id(node) not in others
        and ast.unparse(node.value) != "os.path"
    ]


def test_an_error_is_not_taken_for_absence() -> None:
    """Every Python says the same of a file whose disk fails: `file_presence.py` asks for it."""
    found = {where(path): asks_for_presence(parsed(path)) for path in modules()}
    assert {file for file, calls in found.items() if calls} == PRESENCE_OF_OTHERS.keys()
    text = "a.exists() or ask(b.is_dir) or disk.exists(c) or d.is_file(follow_symlinks=False)"
    assert asks_for_presence(ast.parse(text)) == ["a.exists", "b.is_dir"]
    assert asks_for_presence(ast.parse("map(os.path.exists, a)")) == []


def doubled_delays(tree: ast.AST) -> list[str]:
    """Find what is called a delay or a pause and is multiplied by a number."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, (ast.Mult, ast.Pow))
        and any(isinstance(part, ast.Constant) for part in (node.left, node.right))
        and re.search("delay|pause|retry", ast.unparse(node), re.IGNORECASE)
    ]


def test_delays_grow_in_one_way() -> None:
    """What is tried again and again waits as `GrowingDelay` says; nobody doubles a delay."""
    found = {where(path): doubled_delays(parsed(path)) for path in modules()}
    assert {file: texts for file, texts in found.items() if texts} == {}
    assert doubled_delays(ast.parse("delay = min(LONGEST, 2 * self._retry_delay)")) == [
        "2 * self._retry_delay"
    ]


def _defined(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield prefix + node.name
            yield from _defined(node, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield prefix + target.id


def named_in_docs() -> list[tuple[str, str, str]]:
    """List what pages name as `file.py` or `file.py:Class.function`, with the page."""
    pages = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]
    pattern = re.compile(r"`((?:camd|tests|bench|docs)/[\w/]+\.py)(?::([\w.]+))?`")
    return [
        (page.name, file, name)
        for page in pages
        for file, name in pattern.findall(page.read_text(encoding="utf-8"))
    ]


def test_code_that_the_documentation_names_exists() -> None:
    """Every file, class and function that a page names is where it says."""
    missing = {}
    for page, file, name in named_in_docs():
        if not (ROOT / file).exists():
            missing[file] = page
        elif name and name not in set(_defined(parsed(ROOT / file))):
            missing[f"{file}:{name}"] = page
    assert missing == {}


# --- sources ------------------------------------------------------------------------------

KINDS = {kind.__name__ for kind in SOURCES}


def kinds_asked_for(tree: ast.AST) -> set[str]:
    """Name the kinds of sources that a module distinguishes, by `isinstance`, `type` or `match`."""
    asked: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "isinstance",
            "issubclass",
        ):
            asked |= names_in(node.args[-1])
        elif isinstance(node, ast.MatchClass):
            asked |= names_in(node.cls)
        elif isinstance(node, ast.Compare) and "type" in names_in(node):
            asked |= names_in(node)
    return asked & KINDS


def names_in(tree: ast.AST) -> set[str]:
    """Name everything that an expression names."""
    return {
        getattr(node, "id", getattr(node, "attr", ""))
        for node in ast.walk(tree)
        if isinstance(node, (ast.Name, ast.Attribute))
    }


def test_nobody_asks_which_kind_a_source_is() -> None:
    """What differs between sources is a property of theirs, so that no place forgets a new kind."""
    found = {where(path): kinds_asked_for(parsed(path)) for path in modules()}
    assert {path: kinds for path, kinds in found.items() if kinds} == {}


def test_kinds_of_sources_do_not_know_each_other() -> None:
    """What two kinds share is in a module of its own; so a kind can be added or taken away."""
    files = {kind.__module__ for kind in SOURCES}
    for name in files:
        tree = parsed(ROOT / f"{name.replace('.', '/')}.py")
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert imported & (files | {"camd.sources"}) == set(), name


def test_a_question_for_the_kind_of_a_source_is_found() -> None:
    """In each form that Python has for it."""
    for text in (
        "isinstance(x, (int, RtspSource))",
        "isinstance(camera.source, sources.FileSource | int)",
        "type(x) is SyntheticSource",
        "match x:\n case V4l2Source(path=p): pass",
        "match x:\n case sources.RtspSource() | int(): pass",
    ):
        assert len(kinds_asked_for(ast.parse(text))) == 1, text
    assert kinds_asked_for(ast.parse("isinstance(x, Source) or x == V4l2Source()")) == set()


# --- the words ----------------------------------------------------------------------------


def texts() -> Iterator[tuple[str, str]]:
    """Read everything whose words are looked at."""
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("[CR]*.md"), *(ROOT / "examples").iterdir()]
    pages += (ROOT / "systemd").iterdir()
    tests = [path for folder in TEST_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in [*modules(), *tests, *sorted(p for p in pages if p.is_file())]:
        if path.name != "CHANGELOG.md":  # it has the words of its time
            text = path.read_text(encoding="utf-8")
            yield where(path), re.sub(r"::test_\w+", "", text)  # names of tests elsewhere


def words_apart(text: str) -> str:
    """Take names apart into their words, in small letters."""
    for name in ALLOWED_TEXT:
        text = text.replace(name, "")
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return text.replace("_", " ").lower()


@cache
def found_words() -> dict[str, list[str]]:
    """Find each forbidden word, with the places in which it is."""
    found: dict[str, list[str]] = {}
    for file, text in texts():
        for number, line in enumerate(words_apart(text).splitlines(), 1):
            present = set(re.findall(r"[a-z]+", line))
            present |= {word.removesuffix("s") for word in present}
            for word in present & FORBIDDEN.keys():
                if any(file.startswith(path) for path in ALLOWED.get(word, ())):
                    continue
                if re.search(MEANT.get(word, rf"\b{word}s?\b"), line):
                    found.setdefault(word, []).append(f"{file}:{number}")
    return found


@pytest.mark.parametrize("word", sorted(FORBIDDEN))
def test_a_word_that_was_replaced_does_not_come_back(word: str) -> None:
    """Names, messages, comments and pages use the words of the glossary."""
    assert found_words().get(word, []) == [], f"say instead: {FORBIDDEN[word]}"


def names_with(words: tuple[str, ...]) -> dict[str, set[str]]:
    """Find the names in which one of these words is, by file."""
    found: dict[str, set[str]] = {}
    for path in modules():
        for name in names_of(path):
            if set(words_apart(name).split()) & set(words) and name not in NAMED_BY_OTHERS:
                found.setdefault(where(path), set()).add(name)
    return found


@cache
def names_of(path: Path) -> frozenset[str]:
    """List all names of a module."""
    with path.open("rb") as file:
        tokens = tokenize.tokenize(file.readline)
        return frozenset(token.string for token in tokens if token.type == tokenize.NAME)


@pytest.mark.parametrize("words", ONE_MEANING, ids=lambda words: words[0])
def test_a_word_in_names_has_one_meaning(words: tuple[str, ...]) -> None:
    """A name with such a word is where its meaning is; what else it could mean has another word."""
    meaning, places, instead = ONE_MEANING[words]
    found = names_with(words)
    elsewhere = {
        file: names
        for file, names in found.items()
        if not file.startswith(tuple(f"camd/{place}" for place in places))
        and file not in FILES_WITH_OTHERS_NAMES
    }
    assert elsewhere == {}, f"{words[0]}: {meaning}; for others: {instead}"
    assert found, "listed, but never used"


def bare_keys(tree: ast.AST) -> Iterator[str]:
    """Find the functions, parameters and fields that are called "key" alone."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
            given = node.args
            yield from (each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs))
        elif isinstance(node, (ast.ClassDef, ast.Module)):
            yield from (name for part in node.body for name in _assigned(part))


def _assigned(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield getattr(target, "id", "")


def test_a_key_says_which_key_it_is() -> None:
    """A name that more than one function knows is a compound; `key` alone is a local matter."""
    found = {
        where(path)
        for path in modules()
        if {name.strip("_") for name in bare_keys(parsed(path))} & {"key", "keys"}
    }
    assert found == BARE_KEYS.keys()


def test_a_bare_key_is_found() -> None:
    """As a parameter, a function or a field; a local variable is none."""
    for text in ("def f(*, key): ...", "async def key(): ...", "class C:\n    _keys: int = 0"):
        assert {name.strip("_") for name in bare_keys(ast.parse(text))} & {"key", "keys"}, text
    assert set(bare_keys(ast.parse("def f():\n    key = 1"))) == {"f"}


def test_words_are_found_in_names_and_sentences() -> None:
    """The search sees parts of names and capital letters, and ignores what is listed."""
    assert words_apart("take_seat SeatTaken promised_bytes") == "take seat seat taken "
    assert re.search(MEANT["feed"], "the feed is")
    assert not re.search(MEANT["feed"], "x.feed(data)")
