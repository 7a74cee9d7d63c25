"""Queries over a fake driver: capabilities, controls, and drivers that misbehave."""

from __future__ import annotations

import errno
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_v4l2_driver import (
    METADATA,
    NODE,
    OUTPUT,
    VIDEO,
    FakeControl,
    FakeDriver,
    FakeFormat,
    FakeSize,
    webcam,
)

from camd.devices.query import (
    MOST_CALLS,
    MOST_CHOICES,
    MOST_FORMATS,
    MOST_SIZES,
    V4l2Syscalls,
    read_capabilities,
    read_controls,
    write_control,
)
from camd.devices.v4l2 import videodev2
from camd.model import (
    Capabilities,
    Control,
    ControlKind,
    FrameSize,
    PixelFormat,
    Rates,
    SizeRange,
)


def capabilities(driver: FakeDriver) -> Capabilities | None:
    """Ask what the node can do."""
    return read_capabilities(NODE, driver.kernel())


def test_a_webcam_is_described() -> None:
    """Formats are in the driver's order, rates highest first, and the node is closed afterwards."""
    driver = webcam()
    assert capabilities(driver) == Capabilities(
        driver="fake",
        card="Fake Camera",
        bus_info="usb-fake-1",
        formats=(
            PixelFormat(
                "MJPG", "Motion-JPEG", True, (FrameSize(640, 360, Rates((30.0, 15.0))),), None
            ),
            PixelFormat("YUYV", "YUYV 4:2:2", False, (FrameSize(320, 180, Rates((15.0,))),), None),
        ),
    )
    assert (driver.opened, driver.open_now) == (1, 0)


def test_intervals_become_rates() -> None:
    """333333/10000000 s is 30 frames/s, 1001/30000 s is 29.97; equal rates are listed once."""
    odd = [(333333, 10_000_000), (1001, 30_000), (1, 30), (0, 1)]
    driver = FakeDriver(formats=[FakeFormat("MJPG", "", True, [FakeSize((64, 48), odd)])])
    described = capabilities(driver)
    assert described is not None
    assert described.formats[0].sizes[0].rates == Rates((30.0, 29.97))


def test_ranges_of_sizes_and_rates_are_described() -> None:
    """The rates of a range are those of its largest size."""
    steps = FakeSize((16, 16), [(1, 60), (1, 1)], (1920, 1080), (2, 4), stepwise_intervals=True)
    driver = FakeDriver(formats=[FakeFormat("YUYV", "", False, [steps])])
    described = capabilities(driver)
    assert described is not None
    assert described.formats[0].sizes == ()
    assert described.formats[0].size_range == SizeRange(
        (16, 16), (1920, 1080), (2, 4), Rates(limits=(1.0, 60.0))
    )


@pytest.mark.parametrize("caps", [METADATA, OUTPUT])
def test_other_nodes_of_a_camera_are_no_cameras(caps: int) -> None:
    """The result is None although the whole device can capture; nothing more is queried."""
    driver = FakeDriver(device_caps=caps, formats=webcam().formats)
    assert capabilities(driver) is None
    assert (driver.calls, driver.open_now) == (1, 0)


def test_what_is_no_v4l2_node_is_no_camera() -> None:
    """A node that does not know QUERYCAP gives None."""
    assert capabilities(FakeDriver(not_v4l2=True)) is None


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EBUSY])
def test_an_error_of_opening_is_raised_unchanged(number: int) -> None:
    """It has a file name, which distinguishes it from an error of an ioctl."""
    with pytest.raises(OSError, match=r".") as caught:
        capabilities(FakeDriver(gone=number))
    assert (caught.value.errno, caught.value.filename) == (number, str(NODE))


def test_an_error_of_an_ioctl_is_raised_and_the_node_is_closed() -> None:
    """A camera that is unplugged in the middle of a list is not one with a short list."""
    driver = webcam()
    driver.control("Zoom Motor").unreadable = errno.ENODEV
    with pytest.raises(OSError, match=r".") as caught:
        read_controls(NODE, driver.kernel())
    assert (caught.value.errno, caught.value.filename) == (errno.ENODEV, None)
    assert driver.open_now == 0


def test_a_driver_that_repeats_its_last_entry_is_bounded() -> None:
    """Each list has the entries before the repetition."""
    driver = webcam()
    driver.endless = True
    honest = webcam()
    assert capabilities(driver) == capabilities(honest)
    assert read_controls(NODE, driver.kernel()) == read_controls(NODE, honest.kernel())


def test_lists_are_bounded() -> None:
    """A driver that invents entries cannot make a query endless."""
    many = [FakeSize((16 * n, 16)) for n in range(1, MOST_SIZES + 50)]
    formats = [FakeFormat("MJPG", "the first", True, many)]
    formats += [FakeFormat("none", f"number {n}") for n in range(MOST_FORMATS + 50)]
    described = capabilities(FakeDriver(formats=formats))
    assert described is not None
    assert len(described.formats) == MOST_FORMATS
    assert len(described.formats[0].sizes) == MOST_SIZES
    wide = FakeControl(1, "Menu", videodev2.TYPE_MENU, 0, 2**31 - 1, menu={0: "a", 2**31 - 1: "b"})
    driver = FakeDriver(controls=[wide])
    (control,) = read_controls(NODE, driver.kernel())
    assert control.choices == ((0, "a"),)
    assert driver.calls < MOST_CHOICES + 10


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_random_answers_give_valid_values(seed: int) -> None:
    """Whatever a driver answers, values of the right types come out, in bounded time."""
    chance, calls = Random(seed), 0
    kinds = {
        videodev2.QUERY_EXT_CTRL: (4, 12),
        videodev2.ENUM_FRAMESIZES: (8, 3),
        videodev2.ENUM_FRAMEINTERVALS: (16, 3),
    }

    def nonsense(descriptor: int, number: int, structure: bytearray) -> None:
        nonlocal calls
        calls += 1
        structure[:] = chance.randbytes(len(structure))
        if number == videodev2.QUERYCAP:
            videodev2.CAPABILITY.pack_into(structure, 0, b"", b"", b"", 0, VIDEO, VIDEO)
        if number in kinds:  # one that there is, so that the answer is not put aside at once
            place, most = kinds[number]
            structure[place : place + 4] = chance.randint(0, most).to_bytes(4, "little")
        if number == videodev2.QUERY_EXT_CTRL:
            structure[80:88] = bytes(8)  # no array

    kernel = V4l2Syscalls(lambda _: 7, nonsense, lambda _: None)
    described = read_capabilities(NODE, kernel)
    assert described is not None
    assert len(described.formats) <= MOST_FORMATS
    assert all(isinstance(one.name, str) for one in read_controls(NODE, kernel))
    wanted = Control(1, "gain", "Gain", ControlKind.INTEGER, 0, 1, 1, 0, 0)
    with suppress(OSError):
        assert isinstance(write_control(NODE, wanted, 1, kernel), Control)
    assert calls < 2 * MOST_CALLS


def test_controls_are_listed_with_their_limits() -> None:
    """Name, kind, limits, choices and value; missing menu entries are left out."""
    by_name = {control.name: control for control in read_controls(NODE, webcam().kernel())}
    assert list(by_name) == [
        *("brightness", "power_line_frequency", "zoom_motor"),
        *("auto_exposure", "exposure_time_absolute", "focus_automatic_continuous"),
    ]
    exposure = by_name["auto_exposure"]
    assert (exposure.kind, exposure.value, exposure.default) == (ControlKind.MENU, 3, 3)
    assert exposure.choices == ((1, "Manual Mode"), (3, "Aperture Priority Mode"))
    assert by_name["exposure_time_absolute"].inactive
    zoom = by_name["zoom_motor"]
    assert (zoom.minimum, zoom.maximum, zoom.step, zoom.inactive) == (0, 100, 10, False)


def test_compound_controls_are_left_out() -> None:
    """Headings, arrays, structures and disabled controls are not listed."""
    others = [
        FakeControl(0x980001, "User Controls", videodev2.TYPE_CLASS),
        FakeControl(0x980901, "Region", 0x0107),
        FakeControl(0x980902, "Matrix", dimensions=2),
        FakeControl(0x980903, "Old", flags=videodev2.FLAG_DISABLED),
        FakeControl(0x980904, "Gain"),
    ]
    controls = read_controls(NODE, FakeDriver(controls=others).kernel())
    assert [control.name for control in controls] == ["gain"]


def test_values_that_cannot_be_read_are_none() -> None:
    """Buttons, write-only controls, and values that the camera refuses to read."""
    controls = [
        FakeControl(1, "Reset", videodev2.TYPE_BUTTON),
        FakeControl(2, "Pan", flags=videodev2.FLAG_WRITE_ONLY),
        FakeControl(3, "Tilt", unreadable=errno.EIO),
        FakeControl(4, "Kept", flags=videodev2.FLAG_READ_ONLY),
    ]
    read = read_controls(NODE, FakeDriver(controls=controls).kernel())
    assert [(each.name, each.value, each.read_only) for each in read] == [
        *(("reset", None, False), ("pan", None, False)),
        *(("tilt", None, False), ("kept", 128, True)),
    ]


def test_a_control_without_a_usable_label_is_named_by_its_number() -> None:
    """Every control can be addressed."""
    (control,) = read_controls(NODE, FakeDriver(controls=[FakeControl(0x980900, "ß")]).kernel())
    assert control.name == "control_00980900"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (videodev2.TYPE_INTEGER, -5),
        (videodev2.TYPE_INTEGER64, -(2**62)),
        (videodev2.TYPE_BITMASK, 0x80000001),
        (videodev2.TYPE_STRING, "grün"),
    ],
)
def test_what_is_written_is_read_back(kind: int, value: int | str) -> None:
    """Numbers of each width, and text."""
    start = "old" if kind == videodev2.TYPE_STRING else 0
    one = FakeControl(9, "Thing", kind, maximum=2**31, value=start, element_bytes=16)
    driver = FakeDriver(controls=[one])
    (control,) = read_controls(NODE, driver.kernel())
    assert control.value == start
    written = write_control(NODE, control, value, driver.kernel())
    assert (written.value, driver.log) == (value, [("Thing", value)])
    assert driver.open_now == 0


def test_a_refusal_of_the_driver_is_raised() -> None:
    """An inactive control gives EACCES, without a file name."""
    driver = webcam()
    by_name = {control.name: control for control in read_controls(NODE, driver.kernel())}
    with pytest.raises(OSError, match=r".") as caught:
        write_control(NODE, by_name["exposure_time_absolute"], 100, driver.kernel())
    assert (caught.value.errno, caught.value.filename) == (errno.EACCES, None)
    assert (driver.log, driver.open_now) == ([], 0)
