"""Structures of videodev2.h, compared with a kernel's answers and a compiler's sizes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.devices.v4l2 import videodev2

# What kernel 6.1 on x86-64 answered; zeroes at the end are left out.
UVC_CAPABILITY = (
    "757663766964656f00000000000000004c61622043616d6572613a204c61622043616d657261000000000000"
    "000000007573622d766863695f6863642e302d3100000000000000000000000000000000c00106000100a084"
    "01002004"
)
UVC_FORMAT = (
    "0000000001000000010000004d6f74696f6e2d4a504547000000000000000000000000000000000000000000"
    "4d4a5047"
)
UVC_SIZE = "000000004d4a504701000000800200006801"
UVC_RATE = "000000004d4a5047800200006801000001000000010000000f"
VIVID_MENU_CONTROL = (
    "00f0f0000300000054657374205061747465726e000000000000000000000000000000000000000000000000"
    "00000000150000000000000001000000000000000000000000000000000000000400000001"
)
VIVID_WIDE_CONTROL = (
    "03f9980005000000496e7465676572203634204269747300000000000000000000000000000000000000000000"
    "000080ffffffffffffff7f01000000000000000000000000000000000000000800000001"
)
VIVID_CHOICE = "00f0f000010000003130302520436f6c6f72626172"
VIVID_NUMBER_CHOICE = "07f99800080000002a"


def answer(text: str, layout: struct.Struct) -> bytes:
    """Complete an answer with the zeroes at its end."""
    return bytes.fromhex(text).ljust(layout.size, b"\0")


def test_sizes_and_numbers_are_the_kernels() -> None:
    """A C compiler with linux/videodev2.h on 64 bits gives exactly these."""
    sizes = {
        videodev2.CAPABILITY: 104,
        videodev2.FORMAT: 64,
        videodev2.FRAME_SIZE: 44,
        videodev2.FRAME_INTERVAL: 52,
        videodev2.QUERY_CONTROL: 232,
        videodev2.QUERY_MENU: 44,
        videodev2.CONTROL_VALUE: 20,
    }
    assert {layout: layout.size for layout in sizes} == sizes
    assert videodev2.QUERYCAP == 0x80685600
    assert videodev2.ENUM_FMT == 0xC0405602
    assert videodev2.ENUM_FRAMESIZES == 0xC02C564A
    assert videodev2.ENUM_FRAMEINTERVALS == 0xC034564B
    assert videodev2.QUERY_EXT_CTRL == 0xC0E85667
    assert videodev2.QUERYMENU == 0xC02C5625


@pytest.mark.skipif(struct.calcsize("P") != 8, reason="the pointer in it has another size")
def test_the_pointer_of_a_control_list_is_aligned() -> None:
    """Four bytes of padding precede the address; the ioctl numbers follow the size."""
    assert videodev2.control_list(0x1122334455667788)[:4] == bytes(4)
    assert videodev2.control_list(0x1122334455667788)[4:8] == struct.pack("=I", 1)
    assert videodev2.control_list(0x1122334455667788)[8:24] == bytes(16)
    assert videodev2.control_list(0x1122334455667788)[24:] == struct.pack("=Q", 0x1122334455667788)
    assert (videodev2.G_EXT_CTRLS, videodev2.S_EXT_CTRLS) == (0xC0205647, 0xC0205648)


def test_a_real_capability_is_read() -> None:
    """Names, and the capabilities of the node instead of those of its device."""
    facts = videodev2.read_capability(answer(UVC_CAPABILITY, videodev2.CAPABILITY))
    assert (facts.driver, facts.card) == ("uvcvideo", "Lab Camera: Lab Camera")
    assert (facts.bus_info, facts.caps) == ("usb-vhci_hcd.0-1", 0x04200001)
    assert facts.is_camera


def test_real_formats_sizes_and_rates_are_read() -> None:
    """The recorded answers of a UVC camera are parsed to its formats, sizes and rates."""
    entry = videodev2.read_format(answer(UVC_FORMAT, videodev2.FORMAT))
    assert (videodev2.fourcc(entry.code), entry.description) == ("MJPG", "Motion-JPEG")
    assert entry.flags & videodev2.FORMAT_COMPRESSED
    assert videodev2.read_size(answer(UVC_SIZE, videodev2.FRAME_SIZE)) == videodev2.SizeEntry(
        (640, 360), (640, 360)
    )
    assert videodev2.read_rate(answer(UVC_RATE, videodev2.FRAME_INTERVAL)) == videodev2.RateEntry(
        15, 15, True
    )


def test_real_controls_are_read() -> None:
    """Names, 64-bit limits, menu entries, and entries of integer menus."""
    menu = videodev2.read_control(answer(VIVID_MENU_CONTROL, videodev2.QUERY_CONTROL))
    assert (menu.number, menu.type, menu.label) == (0xF0F000, videodev2.TYPE_MENU, "Test Pattern")
    assert (menu.minimum, menu.maximum, menu.step, menu.default) == (0, 21, 1, 0)
    assert (menu.element_bytes, menu.dimensions, menu.is_simple) == (4, 0, True)
    wide = videodev2.read_control(answer(VIVID_WIDE_CONTROL, videodev2.QUERY_CONTROL))
    assert (wide.minimum, wide.maximum) == (-(2**63), 2**63 - 1)
    choice = answer(VIVID_CHOICE, videodev2.QUERY_MENU)
    assert videodev2.read_choice(choice, videodev2.TYPE_MENU) == "100% Colorbar"
    number = answer(VIVID_NUMBER_CHOICE, videodev2.QUERY_MENU)
    assert videodev2.read_choice(number, videodev2.TYPE_INTEGER_MENU) == "42"


@pytest.mark.parametrize(
    ("whole", "device", "camera"),
    [
        (0x84A00001, 0x04200001, True),  # UVC, its capture node
        (0x84A00001, 0x04A00000, False),  # UVC, its metadata node
        (0x04000001, 0, True),  # an old driver without device_caps
        (0x84000001, 0x04001000, True),  # multi-planar
        (0x84000003, 0x04000003, True),  # v4l2loopback without exclusive_caps
        (0x84000001, 0x04000002, False),  # output
        (0x84000011, 0x04000010, False),  # VBI
        (0x84040001, 0x00040000, False),  # radio
        (0x84008001, 0x04008000, False),  # memory to memory
        (0x84005000, 0x04005000, False),  # the same, multi-planar
        (0x94000001, 0x14000001, False),  # touch
        (0xA4000001, 0x24000001, False),  # delivers only through a media graph
    ],
)
def test_the_nodes_own_capabilities_decide_what_is_a_camera(
    whole: int, device: int, camera: bool
) -> None:
    """Those of the whole device count only where the node has none of its own."""
    raw = videodev2.CAPABILITY.pack(b"d", b"c", b"b", 0, whole, device)
    assert videodev2.read_capability(raw).is_camera is camera


@pytest.mark.parametrize("driver", [b"bcm2835-isp", b"pispbe"])
def test_an_image_processor_is_no_camera(driver: bytes) -> None:
    """The Raspberry Pi's have capture nodes that deliver only pictures written to them."""
    raw = videodev2.CAPABILITY.pack(driver, b"c", b"b", 0, 0x84000001, 0x04000001)
    assert not videodev2.read_capability(raw).is_camera


def test_ranges_of_sizes_and_rates_are_read() -> None:
    """Stepwise and continuous ranges: limits in the kernel's order, shortest interval first."""
    raw = videodev2.FRAME_SIZE.pack(0, 0, 3, 16, 1920, 2, 18, 1080, 4)
    assert videodev2.read_size(raw) == videodev2.SizeEntry((16, 18), (1920, 1080), (2, 4))
    raw = videodev2.FRAME_SIZE.pack(0, 0, 2, 16, 1920, 0, 18, 1080, 0)
    assert videodev2.read_size(raw) == videodev2.SizeEntry((16, 18), (1920, 1080), (1, 1))
    raw = videodev2.FRAME_INTERVAL.pack(0, 0, 0, 0, 3, 1, 60, 1, 5, 1, 60)
    assert videodev2.read_rate(raw) == videodev2.RateEntry(5, 60, False)


def test_unusual_fourccs_have_a_name() -> None:
    """Big-endian variants end in -BE, spaces stay, unprintable characters are question marks."""
    assert videodev2.fourcc(int.from_bytes(b"Y16 ", "little") | 1 << 31) == "Y16 -BE"
    assert videodev2.fourcc(0x01020304) == "????"


@given(st.integers(-(2**31), 2**31 - 1))
def test_numbers_of_32_bits_come_back(value: int) -> None:
    """Negative numbers too, in the structure's fixed 20 bytes."""
    raw = videodev2.number_value(1, videodev2.TYPE_INTEGER, value)
    assert len(raw) == 20
    assert videodev2.read_number(raw, videodev2.TYPE_INTEGER) == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_of_64_bits_come_back(value: int) -> None:
    """The whole width, with its sign."""
    raw = videodev2.number_value(1, videodev2.TYPE_INTEGER64, value)
    assert videodev2.read_number(raw, videodev2.TYPE_INTEGER64) == value


@given(st.integers(0, 2**32 - 1))
def test_bit_masks_have_no_sign(value: int) -> None:
    """The highest bit of a mask does not make it negative."""
    raw = videodev2.number_value(1, videodev2.TYPE_BITMASK, value)
    assert videodev2.read_number(raw, videodev2.TYPE_BITMASK) == value


@given(st.binary(min_size=232, max_size=232), st.sampled_from(range(12)))
def test_any_answer_is_read(raw: bytes, kind: int) -> None:
    """Random answers never raise: texts may not be UTF-8, intervals may lack a denominator."""
    videodev2.read_capability(raw)
    videodev2.fourcc(videodev2.read_format(raw).code)
    videodev2.read_size(raw)
    videodev2.read_rate(raw)
    assert isinstance(videodev2.read_control(raw).is_simple, bool)
    videodev2.read_choice(raw, kind)
    videodev2.read_number(raw, kind)
