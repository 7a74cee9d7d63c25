"""Another camera in a known one's place, and what the configuration says of who is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_devices import CONTROLLER, MatchedMachine, entry, usb_camera, without_camera

from camd.config.schema import CameraConfig
from camd.devices.matching.match import AdoptionError
from camd.devices.matching.messages import MatchMessageKind
from camd.model import CameraId, Cause, TestSource

BY_ID = Path("/dev/v4l/by-id/usb-Maker_6366-video-index0")


# --- the alarm ----------------------------------------------------------------------------


def test_another_camera_at_a_known_port_raises_the_alarm() -> None:
    """It does not record under the old one's name, and the message says what was expected."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    assert machine.has(usb_camera(0, serial="B")) == {"camera0": "(swapped)", "camera1": "video0"}
    problem = machine.problem("camera0")
    assert problem.ledger_cause is Cause.CAMERA_SWAPPED
    assert "usb:0c45:6366:A" in problem.message
    assert "usb:0c45:6366:B" in problem.message
    assert "camd adopt camera0" in problem.suggestion
    assert machine.has(usb_camera(0, serial="B"))["camera0"] == "(swapped)"
    bindings = machine.has(usb_camera(0, serial="A"))
    assert bindings == {"camera0": "video0", "camera1": "(swapped)"}


def test_a_stranger_without_serial_number_gets_no_number_where_an_alarm_stands() -> None:
    """It may be the replacement; it gets one when the old camera is there again."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1", serial="A"))
    stranger = usb_camera(0, port="1", product="9230")
    assert machine.has(stranger) == {"camera0": "(swapped)"}
    assert without_camera(machine) == {"video0": ("camera0",)}
    old = usb_camera(1, port="2", serial="A")
    assert machine.has(stranger, old) == {"camera0": "video1", "camera1": "video0"}


def test_a_replacement_is_adopted() -> None:
    """It is the old camera from now on; the number that was made for it disappears."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    new = usb_camera(0, serial="B")
    machine.has(new)
    assert machine.now.offered(CameraId("camera0")) == (new,)
    machine.adopt("camera0", new)
    assert machine.has(new) == {"camera0": "video0"}
    assert machine.has(usb_camera(3, port="7", serial="B")) == {"camera0": "video3"}


def test_a_replacement_is_accepted_where_the_configuration_says_so() -> None:
    """With swap = "accept" whatever is plugged in there takes over, and is remembered."""
    machine = MatchedMachine(entry("door", port="1-1", swap="accept"))
    machine.has(usb_camera(0, serial="A"))
    assert machine.has(usb_camera(0, serial="B", product="9230")) == {"door": "video0"}
    assert machine.told == [("REPLACED", "door")]
    assert machine.now.known[0].identity.serial == "B"
    assert machine.has(usb_camera(0, serial="B", product="9230")) == {"door": "video0"}
    assert machine.told == []


def test_a_camera_of_its_own_is_not_taken_over() -> None:
    """swap = "accept" is for strangers: a known camera in another's port stays itself."""
    machine = MatchedMachine(entry("camera0", swap="accept"))
    machine.has(usb_camera(0, port="1", serial="A"), usb_camera(1, port="2", serial="B"))
    bindings = machine.has(usb_camera(0, port="1", serial="B"))
    assert bindings == {"camera0": "(swapped)", "camera1": "video0"}


def test_what_may_be_another_absent_camera_is_not_accepted() -> None:
    """One of two twins without number stands in a third one's port: nobody knows which."""
    machine = MatchedMachine(entry("door", port="1-3", swap="accept"))
    machine.has(*[usb_camera(n, port=str(n)) for n in (1, 2)], usb_camera(3, port="3", serial="A"))
    bindings = machine.has(usb_camera(1, port="3"))
    assert bindings == {"door": "(swapped)", "camera0": "(ambiguous)", "camera1": "(ambiguous)"}


# --- the configuration --------------------------------------------------------------------


def test_a_node_designates_the_camera_that_is_there_at_the_first_sight() -> None:
    """Its settings follow the camera and not the node."""
    machine = MatchedMachine(entry("door", path=Path("/dev/video0")))
    machine.has(usb_camera(0, serial="A"), usb_camera(1, port="2", serial="B"))
    bindings = machine.has(usb_camera(1, serial="A"), usb_camera(0, port="2", serial="B"))
    assert bindings == {"door": "video1", "camera0": "video0"}


def test_a_link_by_id_with_two_owners_is_ambiguous_until_a_port_is_remembered() -> None:
    """Twins without serial number claim the same link; neither is guessed."""
    twins = (usb_camera(0, port="1"), usb_camera(1, port="2"))
    machine = MatchedMachine(entry("door", path=BY_ID))
    assert machine.has(*twins) == {"door": "(ambiguous)"}
    assert f"v4l2:port={CONTROLLER}1" in machine.problem("door").suggestion
    machine = MatchedMachine(entry("door", path=BY_ID))
    assert machine.has(twins[1]) == {"door": "video1"}
    assert machine.has(*twins) == {"door": "video1", "camera0": "video0"}


def test_a_serial_number_in_the_configuration_is_that_camera_and_no_other() -> None:
    """Several with it are ambiguous; a stranger is refused even where swap says "accept"."""
    machine = MatchedMachine(entry("door", serial="A", swap="accept"))
    assert machine.has(usb_camera(0, serial="B")) == {"door": "(absent)", "camera0": "video0"}
    twins = (usb_camera(0, port="1", serial="A"), usb_camera(1, port="2", serial="A"))
    assert machine.has(*twins)["door"] == "(ambiguous)"
    assert machine.has(twins[0])["door"] == "video0"
    assert machine.has(*twins)["door"] == "video0"
    assert machine.has(usb_camera(0, port="1", serial="C"))["door"] == "(swapped)"
    assert "correct its source" in machine.problem("door").suggestion


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
def test_a_port_goes_by_all_its_names(port: str) -> None:
    """As the kernel, as camd and as udev call it; the camera does not leave it."""
    source = {"path": Path(port)} if port.startswith("/dev") else {"port": port}
    machine = MatchedMachine(entry("door", **source))
    assert machine.has(usb_camera(0, port="1.3")) == {"door": "video0"}
    assert machine.has(usb_camera(0, port="1.4")) == {"door": "(absent)", "camera0": "video0"}


def test_a_configured_camera_takes_its_device_from_a_mere_number() -> None:
    """An entry for a camera that was found before: the entry's id is its name from now on."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    machine.entries = (entry("door", serial="A"),)
    assert machine.has(usb_camera(0, serial="A")) == {"door": "video0"}
    assert machine.told == [("FORGOTTEN", "camera0"), ("BOUND", "door")]


def test_an_entry_that_is_changed_is_looked_for_anew() -> None:
    """The old binding is dropped; the camera that it had is a camera with a number."""
    cameras = (usb_camera(0, serial="A"), usb_camera(1, port="2", serial="B"))
    machine = MatchedMachine(entry("door", serial="A"))
    machine.has(*cameras)
    machine.entries = (entry("door", serial="B"),)
    assert machine.has(*cameras) == {"door": "video1", "camera1": "video0"}


def test_two_entries_that_mean_one_device_do_not_share_it() -> None:
    """The first has it, the second says who does."""
    entries = (entry("door", serial="A"), entry("gate", path=Path("/dev/video0")))
    machine = MatchedMachine(*entries)
    assert machine.has(usb_camera(0, serial="A")) == {"door": "video0", "gate": "(taken)"}
    assert "door" in machine.problem("gate").message


def test_an_adopted_device_is_not_taken_back_by_an_entry() -> None:
    """A configured camera that lost its device by hand has none."""
    machine = MatchedMachine(entry("door", path=Path("/dev/video0")))
    camera = usb_camera(0, serial="A")
    machine.has(camera)
    machine.adopt("garden", camera)
    assert machine.has(camera) == {"door": "(taken)", "garden": "video0"}


def test_what_the_configuration_denies_is_not_adopted() -> None:
    """Serial numbers, ports and other kinds of sources are changed where they are written."""
    camera = usb_camera(0, serial="B")
    rig = CameraConfig(CameraId("stage"), TestSource())
    machine = MatchedMachine(entry("door", serial="A"), entry("gate", port="1-9"), rig)
    machine.has(camera)
    for camera_id in ("door", "gate", "stage"):
        with pytest.raises(AdoptionError, match="configuration"):
            machine.adopt(camera_id, camera)
    with pytest.raises(AdoptionError, match="not plugged in"):
        machine.adopt("camera5", usb_camera(9))


def test_news_is_told_once() -> None:
    """An alarm that lasts is no news."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    before = machine.now
    machine.has(usb_camera(0, serial="B"))
    kinds = [news.kind for news in machine.now.news_since(before)]
    assert kinds == [MatchMessageKind.BOUND, MatchMessageKind.SWAPPED]
    before = machine.now
    machine.has(usb_camera(0, serial="B"))
    assert machine.now.news_since(before) == ()
