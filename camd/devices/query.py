"""Queries a V4L2 node by ioctl: capabilities, and controls, which it also sets.

Everything here blocks: on a camera that hangs, opening alone may take minutes. Call it in a thread
that can be abandoned. OSErrors are not translated; those of opening have a `filename`.

Every enumeration is bounded, since a faulty driver may never end it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

import attrs

from camd.devices.sysfs import follow
from camd.devices.v4l2 import videodev2
from camd.devices.v4l2.control_values import variable_name
from camd.model import (
    Capabilities,
    Control,
    ControlKind,
    FrameSize,
    PixelFormat,
    Rates,
    SizeRange,
)

T = TypeVar("T")

MOST_FORMATS, MOST_SIZES, MOST_RATES = 256, 256, 128
MOST_CONTROLS, MOST_CHOICES = 512, 256
MOST_TEXT = 64 * 1024  # bytes of a text control
MOST_CALLS = 50_000  # for the lists of one node; vivid with its 83 formats needs 6000

_END = (errno.EINVAL, errno.ENOTTY)  # no more entries; the driver has no such list
_GONE = (errno.ENODEV, errno.ENXIO, errno.EBADF)

_KINDS = {
    videodev2.TYPE_INTEGER: ControlKind.INTEGER,
    videodev2.TYPE_INTEGER64: ControlKind.INTEGER,
    videodev2.TYPE_BOOLEAN: ControlKind.BOOLEAN,
    videodev2.TYPE_MENU: ControlKind.MENU,
    videodev2.TYPE_INTEGER_MENU: ControlKind.MENU,
    videodev2.TYPE_BUTTON: ControlKind.BUTTON,
    videodev2.TYPE_BITMASK: ControlKind.BITMASK,
    videodev2.TYPE_STRING: ControlKind.STRING,
}


def _open(node: Path) -> int:
    return os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _ioctl(descriptor: int, number: int, structure: bytearray) -> None:
    fcntl.ioctl(descriptor, number, structure, True)


@attrs.frozen
class V4l2Syscalls:
    """The system calls of a query; tests replace them by a fake driver."""

    open: Callable[[Path], int] = _open
    ioctl: Callable[[int, int, bytearray], None] = _ioctl  # changes the structure in place
    close: Callable[[int], None] = os.close


KERNEL = V4l2Syscalls()


@attrs.define(eq=False)
class _Node:
    """An open node."""

    kernel: V4l2Syscalls
    descriptor: int
    calls: int = 0

    def call(self, number: int, structure: bytearray) -> bytes:
        self.calls += 1
        self.kernel.ioctl(self.descriptor, number, structure)
        return bytes(structure)

    def listed(
        self, number: int, ask: Callable[[int], bytearray], read: Callable[[bytes], T]
    ) -> Iterator[T]:
        """Yield the driver's entries from index 0 to the end of its list.

        An entry that repeats the last one is the end too: some drivers never report it.
        """
        index, last = 0, None
        while self.calls < MOST_CALLS:
            try:
                answer = self.call(number, ask(index))
            except OSError as error:
                if error.errno in _END:
                    return
                raise
            entry = read(answer)
            if entry == last:
                return
            yield entry
            index, last = index + 1, entry


@contextmanager
def _opened(kernel: V4l2Syscalls, path: Path) -> Iterator[_Node]:
    descriptor = kernel.open(path)
    try:
        yield _Node(kernel, descriptor)
    finally:
        kernel.close(descriptor)


# --- capabilities -----------------------------------------------------------------------------


def is_converter(path: Path, kernel: V4l2Syscalls = KERNEL) -> bool:
    """Tell whether a node is a codec or a scaler. Blocks. Raises OSError."""
    with _opened(kernel, path) as node:
        facts = videodev2.read_capability(
            node.call(videodev2.QUERYCAP, bytearray(videodev2.CAPABILITY.size))
        )
    return facts.is_converter


def find_converters(dev: Path) -> Iterator[Path]:
    """Yield the V4L2 nodes of codecs and scalers in `dev`. Blocks.

    USB devices are never opened: they are cameras, and may hang.
    """
    for path in sorted(dev.glob("video*")):
        if "/usb" not in follow(Path("/sys/class/video4linux", path.name)):
            with suppress(OSError):
                if is_converter(path):
                    yield path


def read_capabilities(path: Path, kernel: V4l2Syscalls = KERNEL) -> Capabilities | None:
    """Query a node's capabilities and formats; None when it is no camera, or no V4L2 node.

    Metadata, output, VBI, radio and touch nodes and codecs are no cameras: the capabilities of the
    node decide, not those of its whole device. Blocks. Raises OSError.
    """
    with _opened(kernel, path) as node:
        try:
            facts = videodev2.read_capability(
                node.call(videodev2.QUERYCAP, bytearray(videodev2.CAPABILITY.size))
            )
        except OSError as error:
            if error.errno in _END:
                return None
            raise
        if not facts.is_camera:
            return None
        entries = node.listed(
            videodev2.ENUM_FMT,
            lambda index: videodev2.format_query(index, facts.buffer_type),
            videodev2.read_format,
        )
        formats = tuple(_format(node, entry) for entry in islice(entries, MOST_FORMATS))
    return Capabilities(facts.driver, facts.card, facts.bus_info, formats)


def _format(node: _Node, entry: videodev2.FormatEntry) -> PixelFormat:
    entries = node.listed(
        videodev2.ENUM_FRAMESIZES,
        lambda index: videodev2.size_query(index, entry.code),
        videodev2.read_size,
    )
    sizes: list[FrameSize] = []
    size_range = None
    for size in islice(entries, MOST_SIZES):
        # Rates are enumerated for one size: of a range the largest, which has the fewest.
        rates = _rates(node, entry.code, size.largest)
        if size.step is not None:
            size_range = SizeRange(size.least, size.largest, size.step, rates)
            break
        sizes.append(FrameSize(*size.largest, rates))
    return PixelFormat(
        fourcc=videodev2.fourcc(entry.code),
        description=entry.description,
        compressed=bool(entry.flags & videodev2.FORMAT_COMPRESSED),
        sizes=tuple(sizes),
        size_range=size_range,
    )


def _rates(node: _Node, code: int, size: tuple[int, int]) -> Rates:
    entries = node.listed(
        videodev2.ENUM_FRAMEINTERVALS,
        lambda index: videodev2.rate_query(index, code, size),
        videodev2.read_rate,
    )
    listed: set[float] = set()
    for rate in islice(entries, MOST_RATES):
        if not rate.single:
            return Rates(limits=(rate.lowest, rate.highest))
        if rate.highest > 0:
            listed.add(rate.highest)
    return Rates(tuple(sorted(listed, reverse=True)))


# --- controls ---------------------------------------------------------------------------------


def read_controls(path: Path, kernel: V4l2Syscalls = KERNEL) -> tuple[Control, ...]:
    """Read a node's controls with their values. Blocks. Raises OSError.

    Arrays and other compound controls are left out. A value that cannot be read is None.
    """
    with _opened(kernel, path) as node:
        return tuple(_control(node, facts) for facts in _control_facts(node) if facts.is_simple)


def write_control(
    path: Path, control: Control, value: int | str, kernel: V4l2Syscalls = KERNEL
) -> Control:
    """Set a control and return it with the value that the driver has set.

    Blocks. Raises OSError: EACCES while it is inactive, EBUSY while it is locked, ERANGE or EINVAL
    when the driver refuses the value.
    """
    with _opened(kernel, path) as node:
        facts = _facts_of(node, control.number)
        if not facts.is_simple:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # the control has changed
        if facts.type == videodev2.TYPE_STRING:
            payload = str(value).encode() + b"\0"
            room = max(len(payload), min(facts.element_bytes, MOST_TEXT))
            memory = ctypes.create_string_buffer(payload, room)
            text = videodev2.payload_value(control.number, room, ctypes.addressof(memory))
            _transfer(node, videodev2.S_EXT_CTRLS, text)
        else:
            number = videodev2.number_value(control.number, facts.type, int(value))
            _transfer(node, videodev2.S_EXT_CTRLS, number)
        after = _facts_of(node, control.number)
        return _control(node, after if after.type == facts.type else facts)


def _control_facts(node: _Node) -> Iterator[videodev2.ControlFacts]:
    """Yield the driver's controls; a number that does not increase ends the list."""
    number = 0
    for _ in range(MOST_CONTROLS):
        try:
            facts = videodev2.read_control(
                node.call(videodev2.QUERY_EXT_CTRL, videodev2.control_query(number, following=True))
            )
        except OSError as error:
            if error.errno in _END:
                return
            raise
        if facts.number <= number:
            return
        number = facts.number
        yield facts


def _facts_of(node: _Node, number: int) -> videodev2.ControlFacts:
    return videodev2.read_control(
        node.call(videodev2.QUERY_EXT_CTRL, videodev2.control_query(number))
    )


def _control(node: _Node, facts: videodev2.ControlFacts) -> Control:
    return Control(
        number=facts.number,
        name=variable_name(facts.label) or f"control_{facts.number:08x}",
        label=facts.label,
        kind=_KINDS[facts.type],
        minimum=facts.minimum,
        maximum=facts.maximum,
        step=facts.step,
        default=facts.default,
        value=_value(node, facts),
        choices=tuple(_choices(node, facts)),
        inactive=bool(facts.flags & videodev2.FLAG_INACTIVE),
        read_only=bool(facts.flags & videodev2.FLAG_READ_ONLY),
    )


def _choices(node: _Node, facts: videodev2.ControlFacts) -> Iterator[tuple[int, str]]:
    """Yield the entries of a menu; a driver may omit some numbers."""
    if facts.type not in (videodev2.TYPE_MENU, videodev2.TYPE_INTEGER_MENU):
        return
    first = max(facts.minimum, 0)
    last = min(facts.maximum, first + MOST_CHOICES - 1, 0xFFFFFFFF)
    for index in range(first, last + 1):
        try:
            answer = node.call(videodev2.QUERYMENU, videodev2.choice_query(facts.number, index))
        except OSError as error:
            if error.errno in _END:
                continue
            raise
        yield index, videodev2.read_choice(answer, facts.type)


def _value(node: _Node, facts: videodev2.ControlFacts) -> int | str | None:
    """Read a control's value; None where the camera cannot read it."""
    if facts.flags & videodev2.FLAG_WRITE_ONLY or facts.type == videodev2.TYPE_BUTTON:
        return None
    try:
        if facts.type == videodev2.TYPE_STRING:
            memory = ctypes.create_string_buffer(min(max(facts.element_bytes, 1), MOST_TEXT))
            value = videodev2.payload_value(facts.number, len(memory), ctypes.addressof(memory))
            _transfer(node, videodev2.G_EXT_CTRLS, value)
            return videodev2.read_text(memory.raw)
        value = videodev2.number_value(facts.number, facts.type, 0)
        return videodev2.read_number(_transfer(node, videodev2.G_EXT_CTRLS, value), facts.type)
    except OSError as error:
        if error.errno in _GONE:
            raise
        return None


def _transfer(node: _Node, number: int, value: bytes) -> bytes:
    """Pass one struct v4l2_ext_control to the driver, and return what the driver made of it."""
    memory = ctypes.create_string_buffer(value, len(value))
    node.call(number, videodev2.control_list(ctypes.addressof(memory)))
    return memory.raw
