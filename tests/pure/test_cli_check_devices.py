"""What `camd check` says of this machine's cameras."""

from __future__ import annotations

import attrs
import pytest
from support.fake_devices import denied, entry, usb_camera

from camd.cli.check import Grade, judge_devices
from camd.config.schema import CameraConfig, Config
from camd.devices.holders import Holder, Holders
from camd.devices.listing import DeviceListing, ListedDevice
from camd.devices.matching.identity import KnownCamera
from camd.devices.matching.match import assign
from camd.model import CameraId, Device

A1, B2 = usb_camera(0, port="1", serial="A1"), usb_camera(2, port="2", serial="B2")
NOBODY = Holders((), complete=True)
CHEESE = Holders((Holder(77, "cheese", "ann"),), complete=True)


def listing(
    *devices: Device,
    entries: tuple[CameraConfig, ...] = (),
    known: tuple[KnownCamera, ...] = (),
    holders: Holders = NOBODY,
) -> tuple[DeviceListing, Config]:
    """Look at a machine in which these devices are plugged in."""
    found = assign(devices, known, entries)
    bound = {binding.device: binding for binding in found.bindings if binding.device is not None}
    listed = [
        ListedDevice(
            device,
            bound[device].camera_id if device in bound else None,
            None,
            bound[device].reason if device in bound else "nobody knows",
            (),
            holders,
        )
        for device in devices
    ]
    return DeviceListing(tuple(listed), found.bindings, "by hand"), Config(cameras=entries)


def test_a_camera_that_is_there_says_how_it_is_recorded() -> None:
    """Node, name, why it has its id, and what it is asked for."""
    (finding,) = judge_devices(*listing(A1))
    assert finding.grade is Grade.OK
    assert finding.subject == "camera camera0"
    for words in ("/dev/video0", A1.name, "serial", "MJPEG at 1280x720"):
        assert words in finding.text


def test_a_wish_that_the_camera_cannot_fulfil_is_a_problem_with_what_is_possible() -> None:
    """It would be refused at the start of a recording; here it is said before."""
    wish = attrs.evolve(entry("gate", serial="A1"), width=1920, height=1080)
    (finding,) = judge_devices(*listing(A1, entries=(wish,)))
    assert finding.grade is Grade.PROBLEM
    assert "1280x720" in finding.advice


@pytest.mark.parametrize(
    ("device", "grade"), [(denied(A1), Grade.PROBLEM), (usb_camera(5, port="1"), Grade.WARNING)]
)
def test_problem_comes_with_advice(device: Device, grade: Grade) -> None:
    """What may not be opened has to be mended; what is not plugged in may come."""
    (finding, *_) = judge_devices(*listing(device, entries=(entry("gate", serial="A1"),)))
    assert (finding.subject, finding.grade) == ("camera gate", grade)
    assert finding.advice


def test_a_stranger_in_a_known_cameras_place_is_a_problem() -> None:
    """The same alarm as in the service."""
    known = assign([A1], (), ()).known
    stranger = usb_camera(0, port="1", serial="X9")
    (finding, other) = judge_devices(*listing(stranger, known=known))
    assert (finding.subject, finding.grade) == ("camera camera0", Grade.PROBLEM)
    assert "adopt camera0" in finding.advice
    assert (other.subject, other.grade) == ("camera camera1", Grade.OK)


def test_who_holds_a_camera_is_named() -> None:
    """Whoever has it open keeps camd from recording it."""
    (finding,) = judge_devices(*listing(A1, holders=CHEESE))
    assert finding.grade is Grade.WARNING
    assert "cheese (process 77)" in finding.text


def test_a_device_that_is_no_camera_yet_is_mentioned() -> None:
    """Twins of which one moved: nobody can tell which, and somebody should."""
    twins = [usb_camera(0, port="1"), usb_camera(2, port="2")]
    known = assign(twins, (), ()).known
    moved = usb_camera(4, port="3")
    findings = list(judge_devices(*listing(moved, known=known)))
    assert {f.subject for f in findings} == {"camera camera0", "camera camera1", "/dev/video4"}
    assert CameraId("camera0") in {k.camera_id for k in known}
    assert all(f.grade is not Grade.OK for f in findings)
