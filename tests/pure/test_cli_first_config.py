"""The configuration that `camd init` writes: it is valid, whatever cameras call themselves."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import tomli
from hypothesis import given
from hypothesis import strategies as st
from support.fake_devices import denied, usb_camera, vivid

from camd.cli.setup.first_config import FoundCamera, FoundDevices, write_configuration
from camd.config.parse import parse_config
from camd.config.values import PathBases
from camd.model import CameraId, Device, FormatChoice

CHOICE = FormatChoice("MJPG", "mjpeg", 1280, 720, 30.0, True, "", "1280x720 at 30 as MJPEG")
LINK = Path("/dev/v4l/by-id/usb-Maker_Camera_4E1F-video-index0")


def plugged(*devices: Device) -> FoundDevices:
    """Return devices that were found, each as a camera."""
    return FoundDevices(
        tuple(
            FoundCamera(
                CameraId(f"camera{number}"), device, CHOICE if device.capabilities else None
            )
            for number, device in enumerate(devices)
        )
    )


def found(name: str, *links: Path) -> FoundDevices:
    """Return a camera that was found, with this name and these links."""
    return plugged(attrs.evolve(usb_camera(0, serial="4E1F"), name=name, links=links))


@given(st.text(max_size=40))
def test_every_name_makes_a_valid_configuration(name: str) -> None:
    """Quotes, line ends and control characters of a device's name stay inside its string."""
    parsed = tomli.loads(write_configuration(Path("recordings"), found(name, LINK)))
    (camera,) = parsed["camera"]
    assert camera.keys() == {"id", "name", "source"}
    assert camera["source"] == f"v4l2:{LINK}"
    assert len(camera["name"]) == len(name)


def sources_of(text: str) -> list[str]:
    """Return the sources of all entries, without their scheme."""
    return [str(camera["source"]).removeprefix("v4l2:") for camera in tomli.loads(text)["camera"]]


def test_a_camera_is_named_by_what_stays() -> None:
    """By its serial number, else by its port; without links by the node, with a remark."""
    serial = usb_camera(0, serial="4E1F")
    port = usb_camera(1, port="2")
    bare = attrs.evolve(serial, links=())
    texts = [write_configuration(Path("r"), plugged(device)) for device in (serial, port, bare)]
    assert [source for text in texts for source in sources_of(text)] == [
        "/dev/v4l/by-id/usb-Maker_6366_4E1F-video-index0",
        "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:2:1.0-video-index0",
        "/dev/video0",
    ]
    assert ["it has no stable link" in text for text in texts] == [False, False, True]


def test_a_link_that_several_devices_have_names_none() -> None:
    """Cameras with the same serial number are named by their ports, those of vivid by their nodes.

    The link by serial number of such cameras is there once, and leads to the one that came last.
    """
    first = usb_camera(0, serial="A1", port="1")
    twin = usb_camera(1, serial="A1", port="2")
    without = attrs.evolve(first, links=first.links[1:])
    other = usb_camera(2, serial="B2", port="3")
    text = write_configuration(Path("r"), plugged(without, twin, other, vivid(3, 0), vivid(4, 1)))
    assert sources_of(text) == [
        "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0",
        "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:2:1.0-video-index0",
        "/dev/v4l/by-id/usb-Maker_6366_B2-video-index0",
        "/dev/video3",
        "/dev/video4",
    ]
    alone = FoundDevices(plugged(first).cameras, ((twin, "it may be camera0"),))
    (source,) = sources_of(write_configuration(Path("r"), alone))
    assert source == "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0"


def test_two_nodes_of_one_camera_have_their_links() -> None:
    """A colour and an infrared node have one serial number and one port, and links of their own."""
    colour = usb_camera(0, serial="A1")
    infrared = attrs.evolve(
        usb_camera(2, serial="A1", interface="1.2"),
        links=(Path("/dev/v4l/by-id/usb-Maker_6366_A1-video-index2"),),
    )
    assert sources_of(write_configuration(Path("r"), plugged(colour, infrared))) == [
        "/dev/v4l/by-id/usb-Maker_6366_A1-video-index0",
        "/dev/v4l/by-id/usb-Maker_6366_A1-video-index2",
    ]


def test_why_a_camera_could_not_be_asked_is_in_the_file() -> None:
    """The entry of a camera that may not be opened says so, and what to do."""
    text = write_configuration(Path("r"), plugged(denied(usb_camera(0, serial="A1"))))
    assert "# It could not be asked for its formats: It cannot be opened. Join the group" in text
    assert len(sources_of(text)) == 1


@given(st.text(max_size=40))
def test_a_device_without_an_entry_is_named_with_the_reason(name: str) -> None:
    """It is a comment of one line, whatever the device calls itself; nothing says "no camera"."""
    device = attrs.evolve(denied(vivid(3, 0)), name=name)
    text = write_configuration(Path("r"), FoundDevices((), ((device, "nobody may open it"),)))
    assert "camera" not in tomli.loads(text)
    (line,) = [line for line in text.splitlines() if line.startswith("# /dev/video3, ")]
    assert line.endswith(", has no entry: nobody may open it")
    assert "No USB camera" not in text


def test_the_service_of_the_system_keeps_its_sockets() -> None:
    """A file below /etc has the addresses of systemd's sockets: a reload changes nothing there."""
    units = (Path(__file__).parents[2] / "systemd/camd.socket").read_text(encoding="utf-8")
    sockets = re.findall(r"^ListenStream=(.*)$", units, re.MULTILINE)
    parsed = tomli.loads(write_configuration(Path("r"), FoundDevices(), system=True))
    assert [each.removeprefix("unix:") for each in parsed["server"]["listen"]] == sockets
    alone = tomli.loads(write_configuration(Path("r"), FoundDevices()))
    assert alone["server"]["listen"] == "127.0.0.1:8002"


def test_what_is_commented_out_is_valid_too() -> None:
    """Each commented key can be switched on by removing its `# `."""
    text = write_configuration(Path("r"), found("Webcam", LINK))
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
    text = write_configuration(Path('/srv/a "b"'), FoundDevices())
    parsed = tomli.loads(text)
    assert "camera" not in parsed
    assert parsed["storage"]["recordings_dir"] == '/srv/a "b"'
    assert "No USB camera was plugged in" in text
