"""Other cameras at the place of known ones, and the selectors of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_devices import CONTROLLER, MatchedMachine, entry, unbound_devices, usb_camera

from camd.config.schema import CameraConfig
from camd.devices.matching.match import AdoptionError
from camd.devices.matching.messages import MatchMessageKind
from camd.model import CameraId, GapCause
from camd.sources import SyntheticSource

BY_ID = Path("/dev/v4l/by-id/usb-Maker_6366-video-index0")


# --- swaps ----------------------------------------------------------------------------------


def test_another_camera_at_a_known_port_is_a_swap() -> None:
    """It does not get the old camera's id, and the message says which camera was expected."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    assert machine.has(usb_camera(0, serial="B")) == {"camera0": "(swapped)", "camera1": "video0"}
    problem = machine.problem("camera0")
    assert problem.ledger_cause is GapCause.CAMERA_SWAPPED
    assert "usb:0c45:6366:A" in problem.message
    assert "usb:0c45:6366:B" in problem.message
    assert "camd adopt camera0" in problem.suggestion
    assert machine.has(usb_camera(0, serial="B"))["camera0"] == "(swapped)"
    bindings = machine.has(usb_camera(0, serial="A"))
    assert bindings == {"camera0": "video0", "camera1": "(swapped)"}


def test_a_swapped_in_camera_without_serial_number_gets_no_number() -> None:
    """It may be the replacement; it gets a number when the old camera is plugged in again."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1", serial="A"))
    other = usb_camera(0, port="1", product="9230")
    assert machine.has(other) == {"camera0": "(swapped)"}
    assert unbound_devices(machine) == {"video0": ("camera0",)}
    old = usb_camera(1, port="2", serial="A")
    assert machine.has(other, old) == {"camera0": "video1", "camera1": "video0"}


def test_a_replacement_is_adopted() -> None:
    """It has the old camera's id from now on; the number that it had disappears."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    new = usb_camera(0, serial="B")
    machine.has(new)
    assert machine.now.adoptable_by(CameraId("camera0")) == (new,)
    machine.adopt("camera0", new)
    assert machine.has(new) == {"camera0": "video0"}
    assert machine.has(usb_camera(3, port="7", serial="B")) == {"camera0": "video3"}


def test_a_replacement_is_accepted_where_the_configuration_says_so() -> None:
    """With swap = "accept" any camera that is plugged in there takes over, and is stored."""
    machine = MatchedMachine(entry("entrance", port="1-1", swap="accept"))
    machine.has(usb_camera(0, serial="A"))
    assert machine.has(usb_camera(0, serial="B", product="9230")) == {"entrance": "video0"}
    assert machine.messages == [("REPLACED", "entrance")]
    assert machine.now.known[0].identity.serial == "B"
    assert machine.has(usb_camera(0, serial="B", product="9230")) == {"entrance": "video0"}
    assert machine.messages == []


def test_a_known_camera_is_not_accepted_as_a_replacement() -> None:
    """swap = "accept" is for new cameras: a known one at another's port keeps its own id."""
    machine = MatchedMachine(entry("camera0", swap="accept"))
    machine.has(usb_camera(0, port="1", serial="A"), usb_camera(1, port="2", serial="B"))
    bindings = machine.has(usb_camera(0, port="1", serial="B"))
    assert bindings == {"camera0": "(swapped)", "camera1": "video0"}


def test_what_may_be_another_absent_camera_is_not_accepted() -> None:
    """One of two equal cameras is at a third one's port, and it is unknown which one it is."""
    machine = MatchedMachine(entry("entrance", port="1-3", swap="accept"))
    machine.has(*[usb_camera(n, port=str(n)) for n in (1, 2)], usb_camera(3, port="3", serial="A"))
    bindings = machine.has(usb_camera(1, port="3"))
    assert bindings == {"entrance": "(swapped)", "camera0": "(ambiguous)", "camera1": "(ambiguous)"}


# --- the configuration --------------------------------------------------------------------


def test_a_node_selects_the_camera_that_is_there_first() -> None:
    """Later the entry follows the camera and not the node."""
    machine = MatchedMachine(entry("entrance", path=Path("/dev/video0")))
    machine.has(usb_camera(0, serial="A"), usb_camera(1, port="2", serial="B"))
    bindings = machine.has(usb_camera(1, serial="A"), usb_camera(0, port="2", serial="B"))
    assert bindings == {"entrance": "video1", "camera0": "video0"}


def test_a_by_id_link_of_two_cameras_is_ambiguous_until_a_port_is_stored() -> None:
    """Equal cameras without serial numbers have the same link; none is chosen."""
    equal = (usb_camera(0, port="1"), usb_camera(1, port="2"))
    machine = MatchedMachine(entry("entrance", path=BY_ID))
    assert machine.has(*equal) == {"entrance": "(ambiguous)"}
    assert f"v4l2:port={CONTROLLER}1" in machine.problem("entrance").suggestion
    machine = MatchedMachine(entry("entrance", path=BY_ID))
    assert machine.has(equal[1]) == {"entrance": "video1"}
    assert machine.has(*equal) == {"entrance": "video1", "camera0": "video0"}


def test_a_configured_serial_number_selects_only_that_camera() -> None:
    """Several with it are ambiguous; another one is refused even with swap = "accept"."""
    machine = MatchedMachine(entry("entrance", serial="A", swap="accept"))
    assert machine.has(usb_camera(0, serial="B")) == {"entrance": "(absent)", "camera0": "video0"}
    equal = (usb_camera(0, port="1", serial="A"), usb_camera(1, port="2", serial="A"))
    assert machine.has(*equal)["entrance"] == "(ambiguous)"
    assert machine.has(equal[0])["entrance"] == "video0"
    assert machine.has(*equal)["entrance"] == "video0"
    assert machine.has(usb_camera(0, port="1", serial="C"))["entrance"] == "(swapped)"
    assert "correct its source" in machine.problem("entrance").suggestion


@pytest.mark.parametrize(
    "port",
    [
        "1-1.3",
        "0000:00:14.0-usb2-1.3",
        "pci-0000:00:14.0-usb-0:1.3:1.0",
        "pci-0000:00:14.0-usb-0:1.3:1.0-video-index0",
        "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1.3:1.0-video-index0",
    ],
)
def test_a_port_is_found_by_all_its_names(port: str) -> None:
    """The kernel's, camd's and udev's name work; the entry stays with the port."""
    source = {"path": Path(port)} if port.startswith("/dev") else {"port": port}
    machine = MatchedMachine(entry("entrance", **source))
    assert machine.has(usb_camera(0, port="1.3")) == {"entrance": "video0"}
    assert machine.has(usb_camera(0, port="1.4")) == {"entrance": "(absent)", "camera0": "video0"}


def test_an_entry_takes_the_device_of_a_numbered_camera() -> None:
    """A camera that had a number has the entry's id from now on."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    machine.entries = (entry("entrance", serial="A"),)
    assert machine.has(usb_camera(0, serial="A")) == {"entrance": "video0"}
    assert machine.messages == [("FORGOTTEN", "camera0"), ("BOUND", "entrance")]


def test_a_changed_entry_is_matched_anew() -> None:
    """The old binding is deleted, and its device becomes a camera with a number."""
    cameras = (usb_camera(0, serial="A"), usb_camera(1, port="2", serial="B"))
    machine = MatchedMachine(entry("entrance", serial="A"))
    machine.has(*cameras)
    machine.entries = (entry("entrance", serial="B"),)
    assert machine.has(*cameras) == {"entrance": "video1", "camera1": "video0"}


def test_two_entries_for_one_device_do_not_share_it() -> None:
    """The first one has it; the problem of the second one names the first."""
    entries = (entry("entrance", serial="A"), entry("garage", path=Path("/dev/video0")))
    machine = MatchedMachine(*entries)
    assert machine.has(usb_camera(0, serial="A")) == {"entrance": "video0", "garage": "(taken)"}
    assert "entrance" in machine.problem("garage").message


def test_an_adopted_device_is_not_taken_back_by_an_entry() -> None:
    """A configured camera whose device was adopted by another one has none."""
    machine = MatchedMachine(entry("entrance", path=Path("/dev/video0")))
    camera = usb_camera(0, serial="A")
    machine.has(camera)
    machine.adopt("garden", camera)
    assert machine.has(camera) == {"entrance": "(taken)", "garden": "video0"}


def test_the_configuration_limits_adoption() -> None:
    """Serial numbers, ports and other kinds of sources are changed in the configuration only."""
    camera = usb_camera(0, serial="B")
    picture = CameraConfig(CameraId("picture"), SyntheticSource())
    machine = MatchedMachine(entry("entrance", serial="A"), entry("garage", port="1-9"), picture)
    machine.has(camera)
    for camera_id in ("entrance", "garage", "picture"):
        with pytest.raises(AdoptionError, match="configuration"):
            machine.adopt(camera_id, camera)
    with pytest.raises(AdoptionError, match="not plugged in"):
        machine.adopt("camera5", usb_camera(9))


def test_a_message_is_new_once() -> None:
    """A swap that lasts is reported once."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    before = machine.now
    machine.has(usb_camera(0, serial="B"))
    kinds = [message.kind for message in machine.now.messages_since(before)]
    assert kinds == [MatchMessageKind.BOUND, MatchMessageKind.SWAPPED]
    before = machine.now
    machine.has(usb_camera(0, serial="B"))
    assert machine.now.messages_since(before) == ()
