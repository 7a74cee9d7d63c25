"""Paths of sysfs, udev's database, and the texts of devices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.devices.v4l2.node import (
    SysfsFacts,
    clean_text,
    find_bus_path,
    find_generation,
    find_number,
    find_usb_place,
    parse_udev,
)

PCI = "devices/pci0000:00/0000:00:14.0"


@pytest.mark.parametrize(
    ("folder", "kernel_name", "ports", "controller"),
    [
        (f"{PCI}/usb1/1-2/1-2:1.0/video4linux/video0", "1-2", "2", "0000:00:14.0"),
        (f"{PCI}/usb1/1-1/1-1.3/1-1.3:1.0/video4linux/video0", "1-1.3", "1.3", "0000:00:14.0"),
        (f"{PCI}/usb2/2-1/2-1.4/2-1.4.10/2-1.4.10:1.2/x", "2-1.4.10", "1.4.10", "0000:00:14.0"),
        (
            "devices/platform/vhci_hcd.0/usb1/1-3/1-3:1.0/x",
            "1-3",
            "3",
            "vhci_hcd.0",
        ),
        ("devices/platform/soc/fe9c0000.xhci/usb1/1-1/1-1:1.0/x", "1-1", "1", "fe9c0000.xhci"),
        (
            "devices/platform/soc/8a00000.usb/xhci-hcd.1.auto/usb3/3-1/3-1:1.0/video4linux/video0",
            *("3-1", "1", "8a00000.usb"),
        ),
        (
            "devices/platform/axi/1000120000.pcie/1f00300000.usb/xhci-hcd.1/usb3/3-2/3-2:1.0/x",
            *("3-2", "2", "1f00300000.usb"),
        ),
        ("devices/platform/xhci-hcd.0/usb1/1-1/1-1:1.0/x", "1-1", "1", "xhci-hcd.0"),
    ],
)
def test_a_usb_device_is_found_in_a_path(
    folder: str, kernel_name: str, ports: str, controller: str
) -> None:
    """The path gives device, ports, and a name of the controller that is the same after a boot."""
    place = find_usb_place(folder)
    assert place is not None
    assert (place.kernel_name, place.ports, place.controller) == (kernel_name, ports, controller)
    assert folder.startswith(f"{place.folder}/")
    assert place.folder.startswith(f"{place.hub}/")


@pytest.mark.parametrize(
    "folder",
    [
        "",
        "devices/platform/vivid.0/video4linux/video0",
        "devices/virtual/video4linux/video40",
        "devices/pci0000:00/0000:00:1c.0/0000:02:00.0/video4linux/video0",
        f"{PCI}/usb1/1-0:1.0/x",
        "usb1/1-1/x",
    ],
)
def test_a_path_without_a_usb_device_has_none(folder: str) -> None:
    """Nodes of other busses, and of a hub itself, are not on USB."""
    assert find_usb_place(folder) is None


@given(st.text(alphabet="usb0123456789-.:/a", max_size=60))
def test_any_path_is_read(folder: str) -> None:
    """Any path can be parsed, and what is found is a part of it."""
    place = find_usb_place(folder)
    assert place is None or folder.startswith(place.folder)


def test_generations_are_the_root_hubs() -> None:
    """The name of a port distinguishes the two busses of one socket."""
    versions = (" 1.10", " 2.00", " 3.10", "")
    assert [find_generation(version) for version in versions] == ["usb1", "usb2", "usb3", "usb0"]


def test_other_busses_have_paths() -> None:
    """Platform devices and PCI cards are named as the kernel's bus names them."""
    assert find_bus_path("devices/platform/vivid.0/video4linux/video0") == "platform:vivid.0"
    card = "devices/pci0000:00/0000:00:1c.0/0000:02:00.0/video4linux/video0"
    assert find_bus_path(card) == "pci:0000:02:00.0"
    assert find_bus_path("devices/virtual/video4linux/video40") == ""


def test_udev_says_what_captures() -> None:
    """Only the property counts; without it the answer is None."""
    assert parse_udev("I:1\nE:ID_V4L_CAPABILITIES=:capture:audio:\nG:seat\n") is True
    assert parse_udev("E:ID_V4L_CAPABILITIES=:video_output:\n") is False
    assert parse_udev("E:ID_V4L_CAPABILITIES=:\n") is False
    assert parse_udev("E:ID_V4L_PRODUCT=:capture:\n") is None


def test_a_node_is_plausible_by_udev_or_else_by_its_index() -> None:
    """udev comes before the index; without both, a node is not plausible."""
    assert SysfsFacts(index=0).plausible
    assert not SysfsFacts(index=1).plausible
    assert not SysfsFacts().plausible
    assert not SysfsFacts(index=0, says_capture=False).plausible
    assert SysfsFacts(index=1, says_capture=True).plausible


def test_texts_of_devices_are_cleaned() -> None:
    """Unprintable bytes and repeated spaces are removed, letters of all languages stay."""
    assert clean_text(b"  LAB\x00\xff\xfe 0001\n") == "LAB 0001"
    assert clean_text("Kamera für\tTür\u200b".encode()) == "Kamera für Tür"
    assert clean_text(b"\x00\x00\xff") == ""


@given(st.binary(max_size=200))
def test_any_bytes_become_a_printable_text(raw: bytes) -> None:
    """Any text of a device becomes printable, and cleaning it again changes nothing."""
    text = clean_text(raw)
    assert text.isprintable()
    assert clean_text(text.encode()) == text


def test_only_video_nodes_have_numbers() -> None:
    """Other nodes, and names that merely look alike, are no video nodes."""
    names = ("video0", "video12", "video01", "video", "video0x", "vbi0", "media0", "video9999999")
    assert [find_number(name) for name in names] == [0, 12, *[None] * 6]
