"""The result of `get_devices`, and the table that the command line makes of it."""

from __future__ import annotations

import io
import os

import msgspec
from json_schema import undescribed
from rich.console import Console
from support.fake_devices import denied, usb_camera

from camd.api.device_methods import device_list
from camd.cli import tables
from camd.contract.device_results import DeviceOverview
from camd.devices.holders import DeviceUsers, Holder
from camd.devices.listing import ListedDevice
from camd.devices.matching.match import assign
from camd.model import CameraId, MatchedBy

A1, B2 = usb_camera(0, port="1", serial="A1"), usb_camera(2, port="2", serial="B2")
HELD = DeviceUsers((Holder(77, "cheese", "ann"),), complete=False)


def seen() -> dict[str, object]:
    """Return the result for a held camera, one that may not be opened, and an absent one."""
    known = assign([A1, B2], (), ()).known
    found = assign([A1], known, ())
    listed = (
        ListedDevice(A1, CameraId("camera0"), MatchedBy.SERIAL, "serial number A1", (), HELD),
        ListedDevice(denied(B2), None, None, "it may be two", (CameraId("a"), CameraId("b")), HELD),
    )
    answer = device_list(listed, found.bindings, "udev")
    assert undescribed(DeviceOverview, answer) == []
    return msgspec.json.decode(msgspec.json.encode(answer))


def test_a_device_is_shown_with_its_camera_and_why() -> None:
    """With its holders, its modes, its camera id and the reason."""
    first, second = seen()["devices"]
    assert (first["device"], first["camera_id"]) == ("/dev/video0", "camera0")
    assert (first["recognised_by"], first["reason"]) == ("serial", "serial number A1")
    assert first["usb"]["serial"] == "A1"
    (holder,) = first["held_by"]
    assert holder == {"pid": 77, "program": "cheese", "user": "ann", "camd": False}
    assert first["held_by_complete"] is False
    assert {"format": "mjpeg", "resolution": "1280x720", "fps": []} in first["modes"]
    assert second["camera_id"] is None
    assert second["candidates"] == ["a", "b"]
    assert (second["cause"], second["modes"]) == ("no_permission", [])


def test_an_absent_camera_is_shown_with_its_identity() -> None:
    """With its problem and what to do."""
    (away,) = seen()["absent"]
    assert (away["camera_id"], away["identity"]) == ("camera1", "usb:0c45:6366:B2")
    assert away["cause"] == "absent"
    assert away["suggestion"]


def test_the_services_own_capture_is_no_other_program() -> None:
    """An FFmpeg process of the service that holds a camera is marked as its own."""
    ours = DeviceUsers((Holder(78, "ffmpeg", "camd", os.getpid()),), complete=True)
    found = assign([A1], (), ())
    listed = (ListedDevice(A1, CameraId("camera0"), MatchedBy.SERIAL, "", (), ours),)
    (device,) = device_list(listed, found.bindings, "udev")["devices"]
    assert device["held_by"][0]["camd"] is True
    screen = io.StringIO()
    Console(file=screen, width=200).print(tables.devices([device]))
    assert "ffmpeg" not in screen.getvalue()


def test_the_table_shows_cameras_and_holders() -> None:
    """One line per device: its camera, or those that it may be, and who has it open."""
    screen = io.StringIO()
    Console(file=screen, width=200).print(tables.devices(seen()["devices"]))
    lines = screen.getvalue().splitlines()
    assert "camera0" in lines[1]
    assert "cheese (77)" in lines[1]
    assert "a?, b?" in lines[2]
    assert "no_permission" in lines[2]
