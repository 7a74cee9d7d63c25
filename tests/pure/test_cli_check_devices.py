"""The findings of `camd check` about cameras of this machine."""

from __future__ import annotations

import attrs
import pytest
from support.fake_devices import denied, entry, usb_camera

from camd.cli.checks.cameras_check import judge_count, judge_devices
from camd.cli.checks.finding import Grade
from camd.config.schema import CameraConfig, Config
from camd.devices.holders import DeviceUsers, Holder
from camd.devices.listing import DeviceList, ListedDevice
from camd.devices.matching.identity import RememberedCamera
from camd.devices.matching.match import assign
from camd.model import CameraId, Device

A1, B2 = usb_camera(0, port="1", serial="A1"), usb_camera(2, port="2", serial="B2")
NOBODY = DeviceUsers((), complete=True)
CHEESE = DeviceUsers((Holder(77, "cheese", "ann"),), complete=True)


def listing(
    *devices: Device,
    entries: tuple[CameraConfig, ...] = (),
    known: tuple[RememberedCamera, ...] = (),
    holders: DeviceUsers = NOBODY,
) -> tuple[DeviceList, Config]:
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
    return DeviceList(tuple(listed), found.bindings, "by hand"), Config(cameras=entries)


def test_a_camera_that_is_there_says_how_it_is_recorded() -> None:
    """The text has node, name, the reason for the id, and the format."""
    (finding,) = judge_devices(*listing(A1))
    assert finding.grade is Grade.OK
    assert finding.subject == "camera camera0"
    for words in ("/dev/video0", A1.name, "serial", "MJPEG at 1280x720"):
        assert words in finding.text


def test_a_format_that_the_camera_lacks_is_a_problem_with_the_possible_ones() -> None:
    """A start would be refused; the check reports it before."""
    wanted = attrs.evolve(entry("gate", serial="A1"), resolution=(1920, 1080))
    (finding,) = judge_devices(*listing(A1, entries=(wanted,)))
    assert finding.grade is Grade.PROBLEM
    assert "1280x720" in finding.advice


@pytest.mark.parametrize(
    ("device", "grade"), [(denied(A1), Grade.PROBLEM), (usb_camera(5, port="1"), Grade.WARNING)]
)
def test_problem_comes_with_advice(device: Device, grade: Grade) -> None:
    """Missing permission is a problem; a device that is not plugged in is a warning."""
    (finding, *_) = judge_devices(*listing(device, entries=(entry("gate", serial="A1"),)))
    assert (finding.subject, finding.grade) == ("camera gate", grade)
    assert finding.advice


def test_another_camera_in_a_known_cameras_place_is_a_problem() -> None:
    """As in the service, somebody has to decide."""
    known = assign([A1], (), ()).known
    other_camera = usb_camera(0, port="1", serial="X9")
    (finding, other) = judge_devices(*listing(other_camera, known=known))
    assert (finding.subject, finding.grade) == ("camera camera0", Grade.PROBLEM)
    assert "adopt camera0" in finding.advice
    assert (other.subject, other.grade) == ("camera camera1", Grade.OK)


def test_a_camera_that_is_open_elsewhere_is_a_warning() -> None:
    """The finding names the program that has the camera open."""
    (finding,) = judge_devices(*listing(A1, holders=CHEESE))
    assert finding.grade is Grade.WARNING
    assert "cheese (process 77)" in finding.text


def test_a_device_that_is_no_camera_yet_is_mentioned() -> None:
    """Two equal cameras of which one has moved: somebody has to say which one it is."""
    twins = [usb_camera(0, port="1"), usb_camera(2, port="2")]
    known = assign(twins, (), ()).known
    moved = usb_camera(4, port="3")
    findings = list(judge_devices(*listing(moved, known=known)))
    assert {f.subject for f in findings} == {"camera camera0", "camera camera1", "/dev/video4"}
    assert CameraId("camera0") in {k.camera_id for k in known}
    assert all(f.grade is not Grade.OK for f in findings)


def test_more_cameras_than_a_service_has_are_a_problem() -> None:
    """The finding has both numbers; as many as it has are none."""
    ids = [f"camera{number}" for number in range(65)]
    assert list(judge_count(ids[:64])) == []
    (finding,) = judge_count(ids)
    assert (finding.grade, finding.subject) == (Grade.PROBLEM, "cameras")
    assert "65 are known, and 64 are the most" in finding.text
    assert "camd forget" in finding.advice
