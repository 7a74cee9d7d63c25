"""The wheel and the source distribution: what is kept in the repository is in them, all of it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = """
import sys
from {backend} import build_sdist, build_wheel
build_wheel(sys.argv[1])
build_sdist(sys.argv[1])
"""


@pytest.fixture(scope="module")
def kept() -> set[str]:
    """List what is kept, or would be with the next commit."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        pytest.skip("this is no clone of the repository")
    return {name for name in done.stdout.splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both with what pyproject.toml asks for."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this Python has no pip")
    folder = tmp_path_factory.mktemp("built")
    system = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    script = BUILD.format(backend=system["build-backend"])
    for command in (
        [*pip, "--target", folder / "backend", *system["requires"]],
        [sys.executable, "-c", script, folder],
    ):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(folder / "backend")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_has_the_whole_program(built: Path, kept: set[str]) -> None:
    """Modules, the files of the web page and the marker of types; nothing else but metadata."""
    (wheel,) = built.glob("camd-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    installed = {name for name in names if ".dist-info/" not in name}
    assert installed == {name for name in kept if name.startswith("camd/")}
    assert {"camd/py.typed", "camd/web/index.html"} <= installed


def test_the_source_distribution_has_the_whole_repository(built: Path, kept: set[str]) -> None:
    """So its tests run, and the Debian package can be built of it."""
    (archive,) = built.glob("camd-*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert names - {"PKG-INFO"} == kept
