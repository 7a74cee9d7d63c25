"""`camd init`: it writes a file once, and needs no configuration that is right."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli
from click.testing import CliRunner, Result
from support.fake_devices import denied, usb_camera, vivid

from camd.cli import main
from camd.cli.setup import first_config
from camd.cli.setup.first_config import FoundCamera, FoundDevices
from camd.model import CameraId


def init(*arguments: str, config: Path) -> Result:
    """Run the command with a configuration that applies now."""
    environ = {"CAMD_CONFIG": str(config)}
    return CliRunner().invoke(main, ["init", *arguments], env=environ, catch_exceptions=False)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a configuration without cameras of this machine."""
    file = tmp_path / "old.toml"
    file.write_text("[discovery]\nv4l2 = false\n")
    return file


def test_a_file_is_replaced_only_on_demand(tmp_path: Path, old: Path) -> None:
    """A second run changes nothing; with --force the file is a new one. Others may not read it."""
    file = tmp_path / "camd.toml"
    assert init(str(file), config=old).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o640
    file.write_text("# mine\n")
    again = init(str(file), config=old)
    assert (again.exit_code, file.read_text()) == (1, "# mine\n")
    assert "exists; --force replaces it" in again.stderr
    assert init(str(file), "--force", config=old).exit_code == 0
    assert "recordings_dir" in tomli.loads(file.read_text())["storage"]


@pytest.mark.parametrize("text", ["x = [", "[recordings]\nrotation = 3\n", None])
def test_a_wrong_configuration_does_not_prevent_a_first_one(
    tmp_path: Path, text: str | None
) -> None:
    """A configuration that cannot be read, has mistakes or is not there is told and left alone."""
    old, file = tmp_path / "old.toml", tmp_path / "camd.toml"
    if text is not None:
        old.write_text(text)
    done = init(str(file), config=old)
    assert done.exit_code == 0
    assert "! The present configuration was not read, so that ids may differ: " in done.stderr
    assert ("recordings: unknown section" if text and text[0] == "[" else str(old)) in done.stderr
    assert tomli.loads(file.read_text())["server"]["listen"] == "127.0.0.1:8002"


def test_a_configuration_that_cannot_be_looked_for_does_not_prevent_a_first_one(
    tmp_path: Path,
) -> None:
    """Such as one in a folder that this user may not enter; here its name is too long."""
    file = tmp_path / "camd.toml"
    environ = {"CAMD_CONFIG": None, "XDG_CONFIG_HOME": f"/{'x' * 300}"}
    done = CliRunner().invoke(main, ["init", str(file)], env=environ, catch_exceptions=False)
    assert done.exit_code == 0
    assert "! The present configuration was not read, so that ids may differ: /xxx" in done.stderr
    assert "camd.toml: cannot be read: File name too long" in done.stderr
    assert "recordings_dir" in tomli.loads(file.read_text())["storage"]


def test_what_to_do_next_is_for_the_installed_service_where_it_is(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file has its sockets, and root is not told to run it; without the units neither is so.

    No test writes below /etc, so the folder counts as such.
    """
    monkeypatch.setattr(first_config, "_is_below_etc", lambda file: True)
    monkeypatch.setattr(first_config, "_SOCKET_FOLDER", tmp_path)
    installed = init(str(tmp_path / "installed.toml"), config=old)
    assert "systemctl reload-or-restart camd" in installed.stdout
    assert "unix:/run/camd/camd.sock" in (tmp_path / "installed.toml").read_text()
    monkeypatch.setattr(first_config, "_SOCKET_FOLDER", tmp_path / "none")
    alone = init(str(tmp_path / "alone.toml"), config=old)
    assert f"camd run --config {tmp_path / 'alone.toml'}" in alone.stdout
    assert "unix:" not in (tmp_path / "alone.toml").read_text()


def test_what_is_wrong_with_a_device_is_told(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command names cameras that cannot be asked, and devices that get no entry.

    No machine of the tests has such devices, so the search is replaced.
    """
    camera = FoundCamera(CameraId("camera0"), denied(usb_camera(0, serial="A1")), None)

    async def find() -> FoundDevices:
        return FoundDevices((camera,), ((denied(vivid(3, 0)), "it may be camera0"),))

    monkeypatch.setattr(first_config, "find_cameras", find)
    for file in (str(tmp_path / "camd.toml"), "-"):
        done = init(file, config=old)
        assert "! camera0, /dev/video0: It cannot be opened. Join the group video." in done.stderr
        assert "! /dev/video3, vivid-000-vid-cap, has no entry: it may be camera0" in done.stderr
        assert ("1 camera. Look through it, then:" in done.stdout) == (file != "-")
