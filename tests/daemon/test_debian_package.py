"""The Debian package, built by its script: what it installs into a clean root, and leaves there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "packaging" / "build_deb.py"
TOOLS = ("dpkg", "dpkg-deb", "systemd-sysusers", "deb-systemd-helper")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages"),
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"
    ),
]

Dpkg = Callable[..., str]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package for this machine."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this Python has no pip")
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    folder = tmp_path_factory.mktemp("deb")
    done = subprocess.run(
        [sys.executable, BUILD, "--output", folder, "--architecture", architecture],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root without any package."""
    for folder in ("info", "updates", "triggers"):
        (tmp_path / "var/lib/dpkg" / folder).mkdir(parents=True)
    for file in ("status", "available"):
        (tmp_path / "var/lib/dpkg" / file).touch()
    (tmp_path / "etc").mkdir()
    return tmp_path


def dpkg(root: Path, *arguments: object) -> str:
    """Run dpkg on that root; its scripts run outside of it, as in the making of an image."""
    done = subprocess.run(
        [
            *("dpkg", f"--root={root}", "--force-depends", "--force-script-chrootless"),
            *("--no-triggers", *map(str, arguments)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_it_is_installed_removed_and_purged(package: Path, root: Path) -> None:
    """User, units and pages are there, only this machine is served, and recordings outlive it."""
    dpkg(root, "--install", package)
    assert "\ncamd:" in "\n" + (root / "etc/passwd").read_text(encoding="utf-8")
    groups = (root / "etc/group").read_text(encoding="utf-8").splitlines()
    assert {line.partition(":")[0] for line in groups if line.endswith(":camd")} == {
        *("video", "audio", "render"),
    }
    wants = root / "etc/systemd/system"
    assert (wants / "sockets.target.wants/camd.socket").is_symlink()
    assert (wants / "multi-user.target.wants/camd.service").is_symlink()
    configuration = root / "etc/camd/camd.toml"
    assert configuration.stat().st_mode & 0o777 == 0o640
    for page in ("camd.1.gz", "camd-record.1.gz", "camd-keys-add.1.gz"):
        assert (root / "usr/share/man/man1" / page).is_file()

    socket = (root / "usr/lib/systemd/system/camd.socket").read_text(encoding="utf-8")
    listened = [line for line in socket.splitlines() if line.startswith("ListenStream=")]
    assert listened
    assert all("=127.0.0.1:" in line or "=/run/" in line for line in listened)
    assert 'listen = ["127.0.0.1:8002", "unix:/run/camd/camd.sock"]' in configuration.read_text(
        "utf-8"
    )

    recording = root / "var/lib/camd/recordings/a.mp4"
    recording.parent.mkdir(parents=True)
    recording.write_bytes(b"footage")
    dpkg(root, "--remove", "camd")
    assert not (root / "usr/bin/camd").exists()
    assert configuration.exists()
    assert "were kept" in dpkg(root, "--purge", "camd")
    assert not configuration.exists()
    assert not (wants / "multi-user.target.wants/camd.service").is_symlink()
    assert recording.read_bytes() == b"footage"


def test_its_command_works_and_is_described(package: Path, root: Path) -> None:
    """With its own modules alone `camd check` runs; shells complete, and pages have all options."""
    dpkg(root, "--install", package)
    modules = root / "usr/lib/camd"
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c", LAUNCHER, modules),
            *("check", "--config", root / "etc/camd/camd.toml", "--json"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert '"subject": "configuration"' in done.stdout, done.stderr

    for file in (
        "bash-completion/completions/camd",
        "zsh/vendor-completions/_camd",
        "fish/vendor_completions.d/camd.fish",
    ):
        assert "_CAMD_COMPLETE" in (root / "usr/share" / file).read_text(encoding="utf-8")
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    page = subprocess.run(
        ["man", "--warnings=w", "-l", root / "usr/share/man/man1/camd-record.1.gz"],
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert page.stderr == ""
    assert "camd record [OPTIONS] CAMERA" in page.stdout
    assert "--for DURATION" in page.stdout


LAUNCHER = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from camd.__main__ import main
main()
"""
