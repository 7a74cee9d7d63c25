"""Which camera gets which device: numbers, match rules, and properties for any devices."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_devices import (
    CONTROLLER,
    MJPEG,
    RAW,
    MatchedMachine,
    denied,
    entry,
    unbound_devices,
    usb_camera,
    vivid,
)

from camd.config.schema import CameraConfig
from camd.devices.matching.identity import RememberedCamera, identify_devices
from camd.devices.matching.match import MOST_CAMERAS, assign, forget
from camd.model import CameraId, Device, MatchedBy
from camd.sources import SyntheticSource

BY_ID = Path("/dev/v4l/by-id/usb-Maker_6366-video-index0")


# --- numbers ------------------------------------------------------------------------------


def test_new_cameras_get_numbers_in_the_order_of_their_nodes() -> None:
    """At the first start camera0 is the lowest node, whatever order the devices come in."""
    machine = MatchedMachine()
    cameras = [usb_camera(number, port=str(number)) for number in (10, 9, 2)]
    assert machine.has(*cameras) == {"camera0": "video2", "camera1": "video9", "camera2": "video10"}
    assert machine.messages == [("BOUND", f"camera{number}") for number in range(3)]


def test_a_number_is_not_given_away_while_its_camera_is_unplugged() -> None:
    """A new camera gets the next number, and the old one gets its own again."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    assert machine.has(usb_camera(0, port="2", serial="B")) == {
        "camera0": "(absent)",
        "camera1": "video0",
    }
    both = (usb_camera(0, port="2", serial="B"), usb_camera(1, serial="A"))
    assert machine.has(*both) == {"camera0": "video1", "camera1": "video0"}


def test_ids_of_the_configuration_are_not_used_as_numbers() -> None:
    """camera0 is a test picture and camera1 has a source, so a new camera is camera2."""
    picture = CameraConfig(CameraId("camera0"), SyntheticSource())
    machine = MatchedMachine(picture, entry("camera1", serial="A"))
    assert machine.has(usb_camera(0)) == {"camera1": "(absent)", "camera2": "video0"}


def test_an_entry_without_a_source_is_the_camera_that_gets_its_number() -> None:
    """Settings for "camera1" apply to the camera that gets this number."""
    machine = MatchedMachine(entry("camera1"), entry("entrance"))
    assert machine.has(usb_camera(0, port="1")) == {
        "camera1": "(absent)",
        "entrance": "(absent)",
        "camera0": "video0",
    }
    assert machine.has(usb_camera(0, port="1"), usb_camera(1, port="2"))["camera1"] == "video1"
    assert "camd adopt entrance" in machine.problem("entrance").suggestion


def test_without_discovery_only_configured_cameras_have_devices() -> None:
    """Other devices are unbound, even if their cameras are known."""
    machine = MatchedMachine(entry("entrance", serial="A"))
    cameras = (usb_camera(0, serial="A"), usb_camera(1, port="2"))
    assert machine.has(*cameras) == {"entrance": "video0", "camera0": "video1"}
    machine.auto = False
    assert machine.has(*cameras) == {"entrance": "video0"}
    assert unbound_devices(machine) == {"video1": ()}
    assert MatchedMachine(auto=False).has(*cameras) == {}


def test_the_number_of_known_cameras_is_bounded() -> None:
    """A camera that is forgotten makes room for a new one."""
    machine = MatchedMachine()
    cameras = [usb_camera(number, port=str(number)) for number in range(MOST_CAMERAS + 1)]
    machine.has(*cameras)
    assert len(machine.now.known) == MOST_CAMERAS
    assert list(unbound_devices(machine)) == [f"video{MOST_CAMERAS}"]
    machine.now = attrs.evolve(machine.now, known=forget(machine.now.known, CameraId("camera7")))
    assert machine.has(*cameras[:7], *cameras[8:])["camera7"] == f"video{MOST_CAMERAS}"


# --- the match rules ----------------------------------------------------------------------


def test_a_reboot_that_renumbers_the_nodes_changes_nothing() -> None:
    """Serial number, port and bus address are the same after a reboot; nodes are not."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"), usb_camera(1, port="2"), vivid(2, 0))
    bindings = machine.has(vivid(0, 0), usb_camera(1, serial="A"), usb_camera(2, port="2"))
    assert bindings == {"camera0": "video1", "camera1": "video2", "camera2": "video0"}
    rules = [machine.matched_by(camera_id) for camera_id in bindings]
    assert rules == [MatchedBy.SERIAL, MatchedBy.PORT, MatchedBy.PATH]
    assert machine.messages == []


def test_a_camera_with_a_serial_number_is_found_at_another_port() -> None:
    """It keeps its number, and the log says that it moved."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1", serial="A"))
    assert machine.has(usb_camera(0, port="2.4", serial="A")) == {"camera0": "video0"}
    assert machine.messages == [("MOVED", "camera0")]
    assert machine.now.known[0].identity.port == CONTROLLER + "2.4"


def test_two_cameras_that_swap_their_ports_keep_their_numbers() -> None:
    """Unique serial numbers are matched before ports, and there is no problem."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1", serial="A"), usb_camera(1, port="2", serial="B"))
    bindings = machine.has(usb_camera(0, port="1", serial="B"), usb_camera(1, port="2", serial="A"))
    assert bindings == {"camera0": "video1", "camera1": "video0"}


@pytest.mark.parametrize("serial", ["", "SN0001"])
def test_equal_cameras_are_matched_by_port(serial: str) -> None:
    """Cameras without serial number, or with the same one, are matched by their place."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1", serial=serial), usb_camera(1, port="2", serial=serial))
    bindings = machine.has(
        usb_camera(0, port="2", serial=serial), usb_camera(1, port="1", serial=serial)
    )
    assert bindings == {"camera0": "video1", "camera1": "video0"}
    assert machine.matched_by("camera0") is MatchedBy.PORT


def test_an_equal_camera_that_is_plugged_in_changes_no_binding() -> None:
    """The serial number is not unique any more, and the camera is matched by its port."""
    machine = MatchedMachine()
    machine.has(usb_camera(5, port="2", serial="SN0001"))
    equal = (usb_camera(0, port="1", serial="SN0001"), usb_camera(5, port="2", serial="SN0001"))
    assert machine.has(*equal) == {"camera0": "video5", "camera1": "video0"}
    assert machine.has(equal[1]) == {"camera0": "video5", "camera1": "(absent)"}


def test_the_only_camera_of_its_model_is_found_at_another_port() -> None:
    """Without serial number, name and formats match where no other camera is possible."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1"))
    assert machine.has(usb_camera(0, port="2")) == {"camera0": "video0"}
    assert machine.matched_by("camera0") is MatchedBy.NAME
    assert machine.has(usb_camera(0, port="1"), usb_camera(1, port="2")) == {
        "camera0": "video1",
        "camera1": "video0",
    }


def test_a_camera_with_other_or_unknown_formats_is_not_matched_by_name() -> None:
    """A name alone is not enough."""
    for other in (usb_camera(0, port="2", formats=RAW), denied(usb_camera(0, port="2"))):
        machine = MatchedMachine()
        machine.has(usb_camera(0, port="1", formats=MJPEG))
        assert machine.has(other) == {"camera0": "(ambiguous)"}


def test_equal_cameras_that_moved_are_ambiguous() -> None:
    """Both have a problem that names the devices that they may be."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1"), usb_camera(1, port="2"))
    moved = (usb_camera(0, port="3"), usb_camera(1, port="4"))
    assert machine.has(*moved) == {"camera0": "(ambiguous)", "camera1": "(ambiguous)"}
    assert unbound_devices(machine) == dict.fromkeys(["video0", "video1"], ("camera0", "camera1"))
    assert "usb2-3" in machine.problem("camera0").message
    assert machine.now.adoptable_by(CameraId("camera0")) == moved
    machine.adopt("camera0", moved[1])
    machine.adopt("camera1", moved[0])
    assert machine.has(*moved) == {"camera0": "video1", "camera1": "video0"}


def test_one_of_two_equal_cameras_at_a_third_port_is_ambiguous() -> None:
    """It may be the one that was unplugged, or a new one."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1"), usb_camera(1, port="2"))
    bindings = machine.has(usb_camera(0, port="1"), usb_camera(1, port="3"))
    assert bindings == {"camera0": "video0", "camera1": "(ambiguous)"}
    machine.adopt("camera7", usb_camera(1, port="3"))
    assert machine.has(usb_camera(0, port="1"), usb_camera(1, port="3")) == {
        "camera0": "video0",
        "camera1": "(absent)",
        "camera7": "video1",
    }


def test_virtual_cameras_are_matched_by_their_bus_address() -> None:
    """The link that all of them share identifies none."""
    machine = MatchedMachine()
    machine.has(vivid(0, 0), vivid(1, 1))
    assert machine.has(vivid(3, 1), vivid(4, 0)) == {"camera0": "video4", "camera1": "video3"}
    assert [binding.identity for binding in machine.now.bindings] == [
        "platform:vivid-000",
        "platform:vivid-001",
    ]


def test_a_camera_that_may_not_be_opened_keeps_its_number() -> None:
    """sysfs is enough to match it, and its stored formats are kept."""
    machine = MatchedMachine()
    cameras = (usb_camera(0, serial="A"), usb_camera(1, port="2"))
    machine.has(*cameras)
    before = machine.now.known
    assert machine.has(*map(denied, cameras)) == {"camera0": "video0", "camera1": "video1"}
    assert machine.now.known == before


def test_two_capture_nodes_of_one_device_are_two_cameras() -> None:
    """A colour and an infrared camera in one case share port and serial number."""
    for serial in ("", "SN0001"):
        eyes = [
            usb_camera(number, serial=serial, interface=interface)
            for number, interface in enumerate(["1.0", "1.2"])
        ]
        machine = MatchedMachine()
        assert machine.has(*eyes) == {"camera0": "video0", "camera1": "video1"}
        renumbered = [
            usb_camera(number, serial=serial, interface=interface)
            for number, interface in enumerate(["1.2", "1.0"])
        ]
        assert machine.has(*renumbered) == {"camera0": "video1", "camera1": "video0"}
        assert machine.has(eyes[0]) == {"camera0": "video0", "camera1": "(absent)"}


# --- any devices --------------------------------------------------------------------------


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Device], list[Device], list[CameraConfig]]:
    """Return two lists of devices, one after the other, of few models, serials and ports."""

    def devices() -> list[Device]:
        ports = draw(st.lists(st.sampled_from("12345"), unique=True, max_size=5))
        nodes = draw(st.permutations(range(len(ports))))
        found = [
            usb_camera(
                node,
                port=port,
                serial=draw(st.sampled_from(["", "", "A", "B"])),
                product=draw(st.sampled_from(["6366", "9230"])),
            )
            for node, port in zip(nodes, ports, strict=True)
        ]
        found += [vivid(20 + number, number) for number in range(draw(st.integers(0, 2)))]
        return [denied(device) if draw(st.booleans()) else device for device in found]

    possible = [
        entry("entrance", serial="A", swap="accept"),
        entry("garage", path=Path("/dev/video1")),
        entry("hall", port="1-2", swap="accept"),
        entry("yard", path=BY_ID),
        entry("camera1"),
    ]
    return devices(), devices(), draw(st.lists(st.sampled_from(possible), unique=True))


@given(situations(), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_devices_makes_no_difference(situation, random, auto: bool) -> None:
    """Any order of devices and known cameras gives the same bindings, each one to one."""
    first, second, entries = situation
    known: tuple[RememberedCamera, ...] = assign(first, (), entries, auto=auto).known
    now = assign(second, known, entries, auto=auto)
    shuffled, mixed = random.sample(second, len(second)), random.sample(known, len(known))
    assert assign(shuffled, mixed, entries, auto=auto) == now
    bound = [binding.device for binding in now.bindings if binding.device is not None]
    assert sorted(map(str, (d.node for d in now.devices))) == sorted(str(d.node) for d in second)
    assert len({device.node for device in bound}) == len(bound)
    assert len({binding.camera_id for binding in now.bindings}) == len(now.bindings)
    assert all(
        (binding.device is None) == (binding.problem is not None) for binding in now.bindings
    )


@given(situations())
def test_bindings_are_stable(situation) -> None:
    """With the same devices no binding changes, and nothing has to be stored."""
    first, second, entries = situation
    now = assign(second, assign(first, (), entries).known, entries)
    again = assign(second, now.known, entries)
    bindings = {binding.camera_id: binding.device for binding in now.bindings}
    assert {binding.camera_id: binding.device for binding in again.bindings} == bindings
    assert again.known == now.known


def test_a_guessed_bus_address_is_not_stored() -> None:
    """A camera that was bound by it would be ambiguous as soon as the driver answers."""
    machine = MatchedMachine()
    cards = [vivid(number, number) for number in range(2)]
    assert machine.has(*map(denied, cards)) == {}
    assert machine.has(*cards) == {"camera0": "video0", "camera1": "video1"}
    alone = attrs.evolve(vivid(5, 5), links=(Path("/dev/v4l/by-path/platform-csi-video-index0"),))
    machine = MatchedMachine()
    assert machine.has(denied(alone)) == machine.has(alone) == {"camera0": "video5"}


def test_identities_as_text() -> None:
    """Serial number, else port; bus address of those that are not on USB; else the name."""
    nameless = attrs.evolve(vivid(9, 9), bus_info="", links=())
    seen = identify_devices(
        [usb_camera(0, serial="A"), usb_camera(1, port="1.3"), vivid(2, 0), nameless]
    )
    assert [plugged.identity.describe() for plugged in seen] == [
        "usb:0c45:6366:A",
        "usb:0c45:6366@0000:00:14.0-usb2-1.3",
        "platform:vivid-000",
        "name:vivid-009-vid-cap",
    ]
