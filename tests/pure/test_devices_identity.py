"""Which camera is which: each story that people tell of mixed-up cameras, once."""

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
    usb_camera,
    vivid,
    without_camera,
)

from camd.config.schema import CameraConfig
from camd.devices.matching.identity import KnownCamera, look
from camd.devices.matching.match import MOST_CAMERAS, assign, forget
from camd.model import CameraId, Device, MatchedBy, TestSource

BY_ID = Path("/dev/v4l/by-id/usb-Maker_6366-video-index0")


# --- numbers ------------------------------------------------------------------------------


def test_new_cameras_get_numbers_in_the_order_of_their_nodes() -> None:
    """At the first start camera0 is the lowest node, whatever order the kernel told them in."""
    machine = MatchedMachine()
    cameras = [usb_camera(number, port=str(number)) for number in (10, 9, 2)]
    assert machine.has(*cameras) == {"camera0": "video2", "camera1": "video9", "camera2": "video10"}
    assert machine.told == [("BOUND", f"camera{number}") for number in range(3)]


def test_a_number_is_not_given_away_while_its_camera_is_unplugged() -> None:
    """A new camera gets the next number, and the old one finds its own again."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"))
    assert machine.has(usb_camera(0, port="2", serial="B")) == {
        "camera0": "(absent)",
        "camera1": "video0",
    }
    both = (usb_camera(0, port="2", serial="B"), usb_camera(1, serial="A"))
    assert machine.has(*both) == {"camera0": "video1", "camera1": "video0"}


def test_numbers_of_the_configuration_are_left_alone() -> None:
    """camera0 is a test picture and camera1 a camera with a source, so a new one is camera2."""
    rig = CameraConfig(CameraId("camera0"), TestSource())
    machine = MatchedMachine(rig, entry("camera1", serial="A"))
    assert machine.has(usb_camera(0)) == {"camera1": "(absent)", "camera2": "video0"}


def test_an_entry_without_a_source_is_the_camera_that_gets_its_number() -> None:
    """Settings for "camera1" wait until there is one."""
    machine = MatchedMachine(entry("camera1"), entry("door"))
    assert machine.has(usb_camera(0, port="1")) == {
        "camera1": "(absent)",
        "door": "(absent)",
        "camera0": "video0",
    }
    assert machine.has(usb_camera(0, port="1"), usb_camera(1, port="2"))["camera1"] == "video1"
    assert "camd adopt door" in machine.problem("door").suggestion


def test_without_discovery_only_configured_cameras_have_seats() -> None:
    """Others are devices that nobody uses, be they known from before."""
    machine = MatchedMachine(entry("door", serial="A"))
    cameras = (usb_camera(0, serial="A"), usb_camera(1, port="2"))
    assert machine.has(*cameras) == {"door": "video0", "camera0": "video1"}
    machine.auto = False
    assert machine.has(*cameras) == {"door": "video0"}
    assert without_camera(machine) == {"video1": ()}
    assert MatchedMachine(auto=False).has(*cameras) == {}


def test_no_more_cameras_are_remembered_than_fit() -> None:
    """What is remembered is bounded, and a forgotten camera makes room."""
    machine = MatchedMachine()
    cameras = [usb_camera(number, port=str(number)) for number in range(MOST_CAMERAS + 1)]
    machine.has(*cameras)
    assert len(machine.now.known) == MOST_CAMERAS
    assert list(without_camera(machine)) == [f"video{MOST_CAMERAS}"]
    machine.now = attrs.evolve(machine.now, known=forget(machine.now.known, CameraId("camera7")))
    assert machine.has(*cameras[:7], *cameras[8:])["camera7"] == f"video{MOST_CAMERAS}"


# --- the ladder ---------------------------------------------------------------------------


def test_a_reboot_that_renumbers_the_nodes_changes_nothing() -> None:
    """Serial number, port and bus address are the same after a reboot; nodes are not."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, serial="A"), usb_camera(1, port="2"), vivid(2, 0))
    bindings = machine.has(vivid(0, 0), usb_camera(1, serial="A"), usb_camera(2, port="2"))
    assert bindings == {"camera0": "video1", "camera1": "video2", "camera2": "video0"}
    rungs = [machine.rung(camera_id) for camera_id in bindings]
    assert rungs == [MatchedBy.SERIAL, MatchedBy.PORT, MatchedBy.PATH]
    assert machine.told == []


def test_a_camera_with_a_serial_number_is_found_in_another_port() -> None:
    """It keeps its number, and the log says that it moved."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1", serial="A"))
    assert machine.has(usb_camera(0, port="2.4", serial="A")) == {"camera0": "video0"}
    assert machine.told == [("MOVED", "camera0")]
    assert machine.now.known[0].identity.port == CONTROLLER + "2.4"


def test_two_cameras_that_swap_their_ports_keep_their_numbers() -> None:
    """Unique serial numbers win over ports; nothing is alarming about it."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1", serial="A"), usb_camera(1, port="2", serial="B"))
    bindings = machine.has(usb_camera(0, port="1", serial="B"), usb_camera(1, port="2", serial="A"))
    assert bindings == {"camera0": "video1", "camera1": "video0"}


@pytest.mark.parametrize("serial", ["", "SN0001"])
def test_twins_are_told_apart_by_their_ports(serial: str) -> None:
    """Cameras without serial number, or with the same one, are known by where they are."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1", serial=serial), usb_camera(1, port="2", serial=serial))
    bindings = machine.has(
        usb_camera(0, port="2", serial=serial), usb_camera(1, port="1", serial=serial)
    )
    assert bindings == {"camera0": "video1", "camera1": "video0"}
    assert machine.rung("camera0") is MatchedBy.PORT


def test_a_twin_that_is_plugged_in_moves_nobody() -> None:
    """The serial number is not unique any more, and the camera stays where it is."""
    machine = MatchedMachine()
    machine.has(usb_camera(5, port="2", serial="SN0001"))
    twins = (usb_camera(0, port="1", serial="SN0001"), usb_camera(5, port="2", serial="SN0001"))
    assert machine.has(*twins) == {"camera0": "video5", "camera1": "video0"}
    assert machine.has(twins[1]) == {"camera0": "video5", "camera1": "(absent)"}


def test_the_only_camera_of_its_kind_is_found_in_another_port() -> None:
    """Without serial number, name and formats do where no other could be meant."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1"))
    assert machine.has(usb_camera(0, port="2")) == {"camera0": "video0"}
    assert machine.rung("camera0") is MatchedBy.NAME
    assert machine.has(usb_camera(0, port="1"), usb_camera(1, port="2")) == {
        "camera0": "video1",
        "camera1": "video0",
    }


def test_a_camera_whose_formats_differ_or_are_unknown_is_not_taken_by_its_name() -> None:
    """A name alone recognises nobody."""
    for other in (usb_camera(0, port="2", formats=RAW), denied(usb_camera(0, port="2"))):
        machine = MatchedMachine()
        machine.has(usb_camera(0, port="1", formats=MJPEG))
        assert machine.has(other) == {"camera0": "(ambiguous)"}


def test_twins_that_moved_are_not_guessed() -> None:
    """Both say that they are ambiguous, and which devices they may be."""
    machine = MatchedMachine()
    machine.has(usb_camera(0, port="1"), usb_camera(1, port="2"))
    moved = (usb_camera(0, port="3"), usb_camera(1, port="4"))
    assert machine.has(*moved) == {"camera0": "(ambiguous)", "camera1": "(ambiguous)"}
    assert without_camera(machine) == dict.fromkeys(["video0", "video1"], ("camera0", "camera1"))
    assert "usb2-3" in machine.problem("camera0").message
    assert machine.now.offered(CameraId("camera0")) == moved
    machine.adopt("camera0", moved[1])
    machine.adopt("camera1", moved[0])
    assert machine.has(*moved) == {"camera0": "video1", "camera1": "video0"}


def test_one_of_two_twins_in_a_third_port_may_be_a_new_one() -> None:
    """Whether it is the twin that was unplugged, or a third one, nobody can know."""
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


def test_virtual_cameras_are_known_by_their_bus_address() -> None:
    """The link that all of them share identifies nobody."""
    machine = MatchedMachine()
    machine.has(vivid(0, 0), vivid(1, 1))
    assert machine.has(vivid(3, 1), vivid(4, 0)) == {"camera0": "video4", "camera1": "video3"}
    assert [binding.identity for binding in machine.now.bindings] == [
        "platform:vivid-000",
        "platform:vivid-001",
    ]


def test_a_camera_that_may_not_be_opened_keeps_its_number() -> None:
    """What sysfs knows of it is enough, and what it offers is not forgotten."""
    machine = MatchedMachine()
    cameras = (usb_camera(0, serial="A"), usb_camera(1, port="2"))
    machine.has(*cameras)
    before = machine.now.known
    assert machine.has(*map(denied, cameras)) == {"camera0": "video0", "camera1": "video1"}
    assert machine.now.known == before


def test_both_eyes_of_one_device_are_cameras() -> None:
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


# --- whatever is plugged in ---------------------------------------------------------------


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Device], list[Device], list[CameraConfig]]:
    """Two sets of devices, one after the other, from few models, serial numbers and ports."""

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
        entry("door", serial="A", swap="accept"),
        entry("gate", path=Path("/dev/video1")),
        entry("hall", port="1-2", swap="accept"),
        entry("yard", path=BY_ID),
        entry("camera1"),
    ]
    return devices(), devices(), draw(st.lists(st.sampled_from(possible), unique=True))


@given(situations(), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_devices_plays_no_part(situation, random, auto: bool) -> None:
    """Any permutation of devices and bindings gives the same; nobody has two of the other."""
    first, second, entries = situation
    known: tuple[KnownCamera, ...] = assign(first, (), entries, auto=auto).known
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
def test_what_is_decided_stays(situation) -> None:
    """With the same devices once more nobody moves, and nothing has to be written."""
    first, second, entries = situation
    now = assign(second, assign(first, (), entries).known, entries)
    again = assign(second, now.known, entries)
    bindings = {binding.camera_id: binding.device for binding in now.bindings}
    assert {binding.camera_id: binding.device for binding in again.bindings} == bindings
    assert again.known == now.known


def test_an_address_that_no_driver_has_told_is_not_kept() -> None:
    """The first look may be too early; who was bound by a guess would be ambiguous from then on."""
    machine = MatchedMachine()
    cards = [vivid(number, number) for number in range(2)]
    assert machine.has(*map(denied, cards)) == {}
    assert machine.has(*cards) == {"camera0": "video0", "camera1": "video1"}
    alone = attrs.evolve(vivid(5, 5), links=(Path("/dev/v4l/by-path/platform-csi-video-index0"),))
    machine = MatchedMachine()
    assert machine.has(denied(alone)) == machine.has(alone) == {"camera0": "video5"}


def test_who_a_camera_is_in_one_word() -> None:
    """Serial number, else port; bus address of those that are not USB; else the name."""
    nameless = attrs.evolve(vivid(9, 9), bus_info="", links=())
    seen = look([usb_camera(0, serial="A"), usb_camera(1, port="1.3"), vivid(2, 0), nameless])
    assert [plugged.identity.describe() for plugged in seen] == [
        "usb:0c45:6366:A",
        "usb:0c45:6366@0000:00:14.0-usb2-1.3",
        "platform:vivid-000",
        "name:vivid-009-vid-cap",
    ]
