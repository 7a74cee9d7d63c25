"""The other files of the project: the example configuration, the units, the test command."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from camd.config.keys import config_keys_of
from camd.config.load import load_config
from camd.config.schema import SECTIONS, CameraConfig, Config, ServerConfig
from camd.runtime.fd_limits import socket_limit
from camd.server.rules.connection_limits import RESERVED_FOR_ADMINS

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "camd.toml"


def test_the_example_configuration_loads() -> None:
    """The example is valid, and has one synthetic camera."""
    config = load_config(EXAMPLE, {})
    assert [camera.name for camera in config.cameras] == ["Gate"]


def test_the_example_configuration_shows_every_key_with_its_default() -> None:
    """A key that is added to the schema is added to the example, with the same default."""
    text = EXAMPLE.read_text(encoding="utf-8")
    words = "|".join(config_keys_of(SECTIONS["mediamtx"]))
    optional = rf"^# (?=\[mediamtx\]|(?:{words}) =)"
    shown = tomli.loads(re.sub(optional, "", text, flags=re.MULTILINE))
    assert shown.keys() == {*SECTIONS, "camera"}
    for section, cls in SECTIONS.items():
        assert shown[section] == {name: key.written for name, key in config_keys_of(cls).items()}
    for name in config_keys_of(CameraConfig):
        assert re.search(rf"^(# )?{name} = ", text, re.MULTILINE)
    loaded, defaults = load_config(EXAMPLE, {}), Config()
    for section in ("server", "recording", "scrub", "ffmpeg", "discovery"):
        assert getattr(loaded, section) == getattr(defaults, section)


def test_the_comments_of_the_example_are_the_documentation_of_the_keys() -> None:
    """`docs/render.py` writes the documentation of each key behind its first occurrence."""
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    text = EXAMPLE.read_text(encoding="utf-8")
    assert render.annotate(text) == text, "run docs/render.py"
    words = " ".join(re.sub(r"^#?\s*#|\s{2,}#", " ", text, flags=re.MULTILINE).split())
    for cls in (*SECTIONS.values(), CameraConfig):
        for key in config_keys_of(cls).values():
            assert key.doc in words


def unit(name: str) -> configparser.RawConfigParser:
    """Read a unit file; keys keep their case, and of repeated keys the last counts."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(ROOT / "systemd" / name, encoding="utf-8")
    return parser


def test_the_service_keeps_what_the_daemon_relies_on() -> None:
    """Readiness, watchdog, no restart for a wrong configuration, time to seal, SIGHUP."""
    service = unit("camd.service")["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "78")
    assert (service["KillMode"], service["TimeoutStopSec"]) == ("mixed", "30")
    assert service["WatchdogSec"] == "30"
    text = (ROOT / "systemd" / "camd.service").read_text(encoding="utf-8")
    assert "\nExecReload=kill -HUP $MAINPID\n" in text
    assert service["ExecStart"] == "/usr/bin/camd run --config /etc/camd/camd.toml"


def test_the_service_has_files_for_all_its_clients() -> None:
    """The limit of the unit has room for as many connections as are configured by default."""
    hard = int(unit("camd.service")["Service"]["LimitNOFILE"].rpartition(":")[2])
    server = ServerConfig()
    assert (
        socket_limit(hard)
        > server.max_connections + server.max_unauthenticated + RESERVED_FOR_ADMINS
    )


def test_the_socket_unit_listens_where_clients_expect() -> None:
    """The default address, and a Unix socket for a group."""
    text = (ROOT / "systemd" / "camd.socket").read_text(encoding="utf-8")
    assert re.findall("^ListenStream=(.*)$", text, re.MULTILINE) == [
        "127.0.0.1:8002",
        "/run/camd/camd.sock",
    ]
    assert unit("camd.socket")["Socket"]["SocketMode"] == "0660"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` says nothing, with an existing program in camd's place."""
    for file in (ROOT / "systemd").glob("camd.*"):
        text = file.read_text(encoding="utf-8").replace("/usr/bin/camd", sys.executable)
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.glob("camd.*")))],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    errors = [line for line in done.stderr.splitlines() if "camd." in line]
    assert errors == []


def test_ci_reads_the_readmes_test_command() -> None:
    """README.md holds one marker, and a fenced block behind it that runs pytest."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if "<!-- tests -->" not in text:
        pytest.skip("README.md is not written yet")
    (block,) = re.findall(r"^<!-- tests -->\n+```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert "python -m pytest" in block
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_service_is_hardened_as_far_as_recording_allows() -> None:
    """systemd's own rating of the exposure, from 0 (none) to 10, is at most 2.0."""
    done = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager"),
            str(ROOT / "systemd" / "camd.service"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "nrecognized option" in done.stderr or "Unknown" in done.stderr:
        pytest.skip("this systemd-analyze cannot rate a file")
    assert done.returncode == 0, done.stdout[-300:]
