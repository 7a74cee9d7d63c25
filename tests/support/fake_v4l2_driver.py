"""A fake V4L2 driver in memory, which answers ioctls with the kernel's structures."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from pathlib import Path

import attrs

from camd.devices.query import V4l2Syscalls, read_controls, write_control
from camd.devices.v4l2 import videodev2
from camd.model import Control

VIDEO, OUTPUT, METADATA = 0x04200001, 0x04200002, 0x04A00000
WHOLE = 0x84A00001  # of a UVC camera: of both its nodes, and that device_caps is filled in
NODE = Path("/dev/video0")


def failure(number: int) -> OSError:
    """Return the error of an ioctl; one of `open` has a file name."""
    return OSError(number, os.strerror(number))


@attrs.define(eq=False)
class FakeSize:
    """A size with its frame intervals; `upto` makes it a range of sizes, in steps."""

    least: tuple[int, int]
    intervals: list[tuple[int, int]] = attrs.field(factory=list)  # numerator, denominator
    upto: tuple[int, int] | None = None
    step: tuple[int, int] | None = None
    stepwise_intervals: bool = False  # the two `intervals` are the shortest and the longest


@attrs.define(eq=False)
class FakeFormat:
    """A pixel format."""

    fourcc: str
    description: str
    compressed: bool = False
    sizes: list[FakeSize] = attrs.field(factory=list)


@attrs.define(eq=False)
class FakeControl:
    """A control; `denied` is the errno of writing it, `unreadable` that of reading it."""

    number: int
    label: str
    type: int = videodev2.TYPE_INTEGER
    minimum: int = 0
    maximum: int = 255
    step: int = 1
    default: int = 128
    value: int | str = 128
    flags: int = 0
    menu: dict[int, str | int] = attrs.field(factory=dict)
    dimensions: int = 0
    element_bytes: int = 4
    denied: int = 0
    unreadable: int = 0
    silences: int = 0  # the control that is inactive while this one is not 0 and not "manual" (1)


@attrs.define(eq=False)
class FakeDriver:
    """One node. `log` lists what was written; every call waits for the event `stuck`."""

    device_caps: int = VIDEO
    caps: int = WHOLE
    formats: list[FakeFormat] = attrs.field(factory=list)
    controls: list[FakeControl] = attrs.field(factory=list)
    endless: bool = False  # repeats its last entry for ever
    not_v4l2: bool = False
    gone: int = 0  # the errno of opening it
    stuck: threading.Event | None = None
    called: threading.Event = attrs.field(factory=threading.Event)
    calls: int = 0
    opened: int = 0
    open_now: int = 0
    log: list[tuple[str, int | str]] = attrs.field(factory=list)

    # --- what the tested code takes ---

    def kernel(self) -> V4l2Syscalls:
        """Return the system calls that reach this driver."""
        return V4l2Syscalls(self.open, self.ioctl, self.close)

    def read(self, node: Path) -> tuple[Control, ...]:
        """Read the controls, as CameraControls calls it."""
        return read_controls(node, self.kernel())

    def write(self, node: Path, control: Control, value: int | str) -> Control:
        """Write a control, as CameraControls calls it."""
        return write_control(node, control, value, self.kernel())

    def control(self, label: str) -> FakeControl:
        """Find a control by its label."""
        return next(control for control in self.controls if control.label == label)

    # --- system calls ---

    def open(self, node: Path) -> int:
        """Open the node, or raise its error."""
        if self.gone:
            raise OSError(self.gone, os.strerror(self.gone), str(node))
        self.opened += 1
        self.open_now += 1
        return 7

    def close(self, descriptor: int) -> None:
        """Count the node as closed."""
        self.open_now -= 1

    def ioctl(self, descriptor: int, number: int, structure: bytearray) -> None:
        """Write the answer into the structure."""
        self.calls += 1
        self.called.set()
        if self.stuck is not None:
            self.stuck.wait()
        if self.not_v4l2:
            raise failure(errno.ENOTTY)
        calls = {
            videodev2.QUERYCAP: self._capability,
            videodev2.ENUM_FMT: self._format,
            videodev2.ENUM_FRAMESIZES: self._size,
            videodev2.ENUM_FRAMEINTERVALS: self._interval,
            videodev2.QUERY_EXT_CTRL: self._query,
            videodev2.QUERYMENU: self._menu,
            videodev2.G_EXT_CTRLS: self._get,
            videodev2.S_EXT_CTRLS: self._set,
        }
        calls[number](structure)

    def _capability(self, into: bytearray) -> None:
        names = (b"fake", b"Fake Camera", b"usb-fake-1")
        videodev2.CAPABILITY.pack_into(into, 0, *names, 0x060100, self.caps, self.device_caps)

    def _entry(self, entries: list, index: int):
        if index >= len(entries):
            if not (self.endless and entries):
                raise failure(errno.EINVAL)
            return entries[-1]
        return entries[index]

    def _format(self, into: bytearray) -> None:
        index, kind = struct.unpack_from("=II", into)
        entry = self._entry(self.formats, index)
        code = int.from_bytes(entry.fourcc.encode(), "little")
        flags = int(entry.compressed)
        videodev2.FORMAT.pack_into(into, 0, index, kind, flags, entry.description.encode(), code)

    def _sizes(self, code: int) -> list[FakeSize]:
        name = code.to_bytes(4, "little").decode()
        return next((each.sizes for each in self.formats if each.fourcc == name), [])

    def _size(self, into: bytearray) -> None:
        index, code = struct.unpack_from("=II", into)
        size = self._entry(self._sizes(code), index)
        if size.upto is None:
            answer = (1, *size.least, 0, 0, 0, 0)
        else:
            step = size.step or (1, 1)
            width, height = zip(size.least, size.upto, step, strict=True)
            answer = (3 if size.step else 2, *width, *height)
        videodev2.FRAME_SIZE.pack_into(into, 0, index, code, *answer)

    def _interval(self, into: bytearray) -> None:
        index, code, *wanted = struct.unpack_from("=IIII", into)
        sizes = self._sizes(code)
        size = next(s for s in sizes if tuple(wanted) in (s.least, s.upto))
        if size.stepwise_intervals:
            shortest, longest = size.intervals
            answer = (3, *shortest, *longest, 1, 1000)
        else:
            answer = (1, *self._entry(size.intervals, index), 0, 0, 0, 0)
        videodev2.FRAME_INTERVAL.pack_into(into, 0, index, code, *wanted, *answer)

    def _query(self, into: bytearray) -> None:
        (wanted,) = struct.unpack_from("=I", into)
        number = wanted & 0x0FFFFFFF
        if wanted & videodev2.NEXT_CONTROL and not self.endless:
            found = [each for each in self.controls if each.number > number]
        elif wanted & videodev2.NEXT_CONTROL:
            found = [each for each in self.controls if each.number > number] or self.controls
        else:
            found = [each for each in self.controls if each.number == number]
        if not found:
            raise failure(errno.EINVAL)
        one = found[0]
        payload = one.dimensions or one.type == videodev2.TYPE_STRING
        flags = one.flags | (videodev2.FLAG_HAS_PAYLOAD if payload else 0)
        flags |= videodev2.FLAG_INACTIVE if self._silenced(one) else 0
        videodev2.QUERY_CONTROL.pack_into(
            *(into, 0, one.number, one.type, one.label.encode()),
            *(one.minimum, one.maximum, one.step, one.default, flags, one.element_bytes),
            *(1, one.dimensions, b""),
        )

    def _silenced(self, control: FakeControl) -> bool:
        return any(c.silences == control.number and c.value not in (0, 1) for c in self.controls)

    def _menu(self, into: bytearray) -> None:
        number, index = struct.unpack_from("=II", into)
        entry = next(c for c in self.controls if c.number == number).menu.get(index)
        if entry is None:
            raise failure(errno.EINVAL)
        name = struct.pack("=q", entry) if isinstance(entry, int) else entry.encode()
        videodev2.QUERY_MENU.pack_into(into, 0, number, index, name)

    # --- values: the structure holds the address of another one ---

    def _pointed(self, structure: bytearray) -> tuple[FakeControl, int, int]:
        *_, address = videodev2.CONTROL_LIST.unpack(structure)
        number, size = struct.unpack("=II", ctypes.string_at(address, 8))
        return next(c for c in self.controls if c.number == number), size, address

    def _payload(self, address: int) -> int:
        return struct.unpack("=Q", ctypes.string_at(address + 12, 8))[0]

    def _get(self, into: bytearray) -> None:
        control, size, address = self._pointed(into)
        if control.unreadable:
            raise failure(control.unreadable)
        if isinstance(control.value, str):
            data = control.value.encode() + b"\0"
            assert size >= len(data)
            ctypes.memmove(self._payload(address), data, len(data))
            return
        wide = control.type == videodev2.TYPE_INTEGER64
        mask = (1 << (64 if wide else 32)) - 1
        data = struct.pack("=Q" if wide else "=I", control.value & mask)
        ctypes.memmove(address + 12, data, len(data))

    def _set(self, into: bytearray) -> None:
        control, size, address = self._pointed(into)
        if control.denied:
            raise failure(control.denied)
        if self._silenced(control):
            raise failure(errno.EACCES)
        value: int | str
        if control.type == videodev2.TYPE_STRING:
            value = ctypes.string_at(self._payload(address), size).split(b"\0")[0].decode()
        else:
            wide = control.type == videodev2.TYPE_INTEGER64
            layout = "=q" if wide else "=I" if control.type == videodev2.TYPE_BITMASK else "=i"
            data = ctypes.string_at(address + 12, 8)
            (value,) = struct.unpack_from(layout, data)
        self.log.append((control.label, value))
        control.value = value


AUTO_EXPOSURE, EXPOSURE_TIME = 0x9A0901, 0x9A0902


def webcam() -> FakeDriver:
    """Return a usual camera: exposure with an automatic mode, focus, and a few other controls."""
    exposure = {1: "Manual Mode", 3: "Aperture Priority Mode"}
    lines = {0: "Disabled", 1: "50 Hz", 2: "60 Hz"}
    return FakeDriver(
        formats=[
            FakeFormat("MJPG", "Motion-JPEG", True, [FakeSize((640, 360), [(1, 30), (1, 15)])]),
            FakeFormat("YUYV", "YUYV 4:2:2", False, [FakeSize((320, 180), [(1, 15)])]),
        ],
        controls=[
            FakeControl(0x980900, "Brightness"),
            FakeControl(
                *(0x980918, "Power Line Frequency", videodev2.TYPE_MENU, 0, 2, 1, 2, 2), menu=lines
            ),
            FakeControl(0x98091A, "Zoom Motor", maximum=100, step=10, default=0, value=0),
            FakeControl(
                *(AUTO_EXPOSURE, "Auto Exposure", videodev2.TYPE_MENU, 0, 3, 1, 3, 3),
                menu=exposure,
                silences=EXPOSURE_TIME,
            ),
            FakeControl(
                *(
                    EXPOSURE_TIME,
                    "Exposure Time, Absolute",
                    videodev2.TYPE_INTEGER,
                    3,
                    2047,
                    1,
                    250,
                    250,
                )
            ),
            FakeControl(
                *(0x9A090C, "Focus, Automatic Continuous", videodev2.TYPE_BOOLEAN, 0, 1, 1, 1, 1)
            ),
        ],
    )
