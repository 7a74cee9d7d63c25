"""The configuration that `camd init` writes: it is valid, whatever cameras call themselves."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from support.fake_devices import usb_camera

from camd.cli.setup.first_config import FoundCamera, is_read_by_unit, write_configuration
from camd.config.load import SYSTEM_FILE
from camd.config.parse import parse_config
from camd.config.values import PathBases
from camd.model import CameraId, FormatChoice

CHOICE = FormatChoice("MJPG", "mjpeg", 1280, 720, 30.0, True, "", "1280x720 at 30 as MJPEG")
LINK = Path("/dev/v4l/by-id/usb-Maker_Camera_4E1F-video-index0")


def found(name: str, *links: Path, choice: FormatChoice | None = CHOICE) -> FoundCamera:
    """Return a camera that was found, with this name and these links."""
    device = attrs.evolve(usb_camera(0, serial="4E1F"), name=name, links=links)
    return FoundCamera(CameraId("camera0"), device, choice)


@given(st.text(max_size=40))
def test_every_name_makes_a_valid_configuration(name: str) -> None:
    """Quotes, line ends and control characters of a device's name stay inside its string."""
    parsed = tomli.loads(write_configuration(Path("recordings"), [found(name, LINK)]))
    (camera,) = parsed["camera"]
    assert camera.keys() == {"id", "name", "source"}
    assert camera["source"] == f"v4l2:{LINK}"
    assert len(camera["name"]) == len(name)


def source_of(text: str) -> str:
    """Return the source of the only camera."""
    (camera,) = tomli.loads(text)["camera"]
    return str(camera["source"])


def test_a_camera_is_named_by_what_stays() -> None:
    """By its serial number, else by its port; without links by the node, with a remark."""
    serial = usb_camera(0, serial="4E1F")
    port = usb_camera(1, port="2")
    bare = attrs.evolve(serial, links=())
    texts = [
        write_configuration(Path("r"), [FoundCamera(CameraId("camera0"), device, CHOICE)])
        for device in (serial, port, bare)
    ]
    assert [source_of(text).removeprefix("v4l2:") for text in texts] == [
        "/dev/v4l/by-id/usb-Maker_6366_4E1F-video-index0",
        "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:2:1.0-video-index0",
        "/dev/video0",
    ]
    assert ["it has no stable link" in text for text in texts] == [False, False, True]


def test_what_is_commented_out_is_valid_too() -> None:
    """Each commented key can be switched on by removing its `# `."""
    text = write_configuration(Path("r"), [found("Webcam", LINK)])
    uncommented = re.sub(r"^# (?=[a-z_]+ = |\[\[)", "", text, flags=re.MULTILINE)
    structured = parse_config(
        tomli.loads(uncommented), {}, PathBases(Path("/c"), Path("/d"), Path("/h"))
    )
    assert structured.mistakes == []
    usb, network = structured.cameras.values()
    assert (usb.width, usb.height, usb.fps, usb.always_on) == (1280, 720, 30.0, True)
    assert network.name == "Yard"


def test_without_a_camera_it_says_so() -> None:
    """No entry is made up."""
    text = write_configuration(Path('/srv/a "b"'), [])
    parsed = tomli.loads(text)
    assert "camera" not in parsed
    assert parsed["storage"]["recordings_dir"] == '/srv/a "b"'
    assert "No USB camera was plugged in" in text


@pytest.mark.parametrize("file", ["packaging/camd.toml", "systemd/camd.socket"])
def test_the_service_of_systemd_keeps_its_sockets(file: str) -> None:
    """What replaces the configuration of the package listens where that does, as the units do."""
    parsed = tomli.loads(write_configuration(Path("recordings"), [], has_unit=True))
    text = (Path(__file__).parents[2] / file).read_text(encoding="utf-8")
    assert parsed["server"]["listen"] == (
        tomli.loads(text)["server"]["listen"]
        if file.endswith(".toml")
        else [
            f"unix:{address}" if address.startswith("/") else address
            for address in re.findall("^ListenStream=(.*)$", text, re.MULTILINE)
        ]
    )
    alone = tomli.loads(write_configuration(Path("recordings"), []))
    assert alone["server"]["listen"] == "127.0.0.1:8002"


def test_the_file_of_the_units_is_known(tmp_path: Path) -> None:
    """Only where they are installed, and only the file that they name."""
    folders = (tmp_path / "etc", tmp_path / "lib")
    assert not is_read_by_unit(SYSTEM_FILE, folders)
    folders[1].mkdir()
    (folders[1] / "camd.socket").touch()
    assert is_read_by_unit(SYSTEM_FILE, folders)
    assert not is_read_by_unit(tmp_path / "camd.toml", folders)
    unit = Path(__file__).parents[2] / "systemd" / "camd.service"
    assert f" --config {SYSTEM_FILE}\n" in unit.read_text(encoding="utf-8")
