"""Discovery on the video nodes of this machine; skipped where there are none.

Run as root or a member of the group `video`. Tests that plug and unplug need a command that does
it: CAMD_TEST_CAMERA_TOOL names one that understands `start NAME --serial S --port N`,
`start NAME --unplugged --serial S`, and `do NAME unplug | plug [PORT] | hang | unhang | quit`.
CAMD_TEST_TIMEOUT_FACTOR multiplies the time limits on slow machines; the times are printed (-s).
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from camd.config.schema import DiscoveryConfig
from camd.devices.holders import find_holders
from camd.devices.monitor import DeviceMonitor, open_monitor
from camd.devices.sysfs import SYSTEM, list_nodes
from camd.model import Capabilities, Device

TIMEOUT_FACTOR = float(os.environ.get("CAMD_TEST_TIMEOUT_FACTOR", "1"))
TOOL = os.environ.get("CAMD_TEST_CAMERA_TOOL", "")
APPEAR_SECONDS, DISAPPEAR_SECONDS = 2.0, 1.0
QUERYCAP = 0x80685600  # _IOR('V', 0, struct v4l2_capability), 104 bytes
VIDEO_CAPTURE, DEVICE_CAPS = 0x1, 0x80000000

needs_nodes = pytest.mark.skipif(
    not list_nodes(SYSTEM), reason="this machine has no video node at all"
)
needs_tool = pytest.mark.skipif(
    not TOOL, reason="CAMD_TEST_CAMERA_TOOL names no command that plugs and unplugs cameras"
)


def query(node: Path) -> Capabilities | None:
    """Query a node by VIDIOC_QUERYCAP alone."""
    fd = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(fd, QUERYCAP, bytes(104))
    finally:
        os.close(fd)
    driver, card, bus, _, whole, device = struct.unpack_from("=16s32s32sIII", answer)
    if not (device if whole & DEVICE_CAPS else whole) & VIDEO_CAPTURE:
        return None
    texts = [text.split(b"\0")[0].decode() for text in (driver, card, bus)]
    return Capabilities(*texts, formats=())


def do(*words: str) -> str:
    """Run the command that plugs and unplugs."""
    done = subprocess.run([TOOL, *words], capture_output=True, text=True, timeout=300, check=True)
    return done.stdout.strip()


@pytest.fixture
def tool() -> Iterator[Callable[..., str]]:
    """Return the command; afterwards remove the cameras that it has made."""
    yield do
    for name in ("survey0", "survey1", "survey2", "survey3"):
        with suppress(subprocess.CalledProcessError):
            do("do", name, "quit")


def find(devices: tuple[Device, ...], serial: str) -> Device | None:
    """Return the device with a serial number."""
    return next((d for d in devices if d.usb is not None and d.usb.serial == serial), None)


async def timed(monitor: DeviceMonitor, words: list[str], serial: str, *, there: bool) -> float:
    """Plug or unplug; measure how long after the nodes changed the monitor lists it."""
    before = set(list_nodes(SYSTEM))
    done = threading.Event()

    def see_change() -> float:
        while set(list_nodes(SYSTEM)) == before and not done.wait(0.002):
            pass
        return time.monotonic()

    changed: list[float] = []

    async def watch_nodes() -> None:
        changed.append(await trio.to_thread.run_sync(see_change))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_nodes)
        begun = time.monotonic()
        nursery.start_soon(trio.to_thread.run_sync, partial(do, *words))
        await monitor.present.wait_until(lambda all_: (find(all_, serial) is not None) == there)
        seen = time.monotonic()
        done.set()
    seconds = max(0.0, seen - changed[0])
    print(
        f"{' '.join(words)}: shown {seconds:.3f} s after the node changed,"
        f" {seen - begun:.3f} s after the command began",
        flush=True,
    )
    return seconds


@needs_nodes
async def test_capture_nodes_are_listed() -> None:
    """All nodes that capture are listed, with facts and in order; no others."""
    expected = []
    for name in list_nodes(SYSTEM):
        with suppress(OSError):
            if query(SYSTEM.dev / name) is not None:
                expected.append(SYSTEM.dev / name)
    with trio.fail_after(20 * TIMEOUT_FACTOR):
        begun = time.monotonic()
        async with open_monitor(DiscoveryConfig(), query=query) as monitor:
            await monitor.all_queried.wait()
            print(f"all_queried after {time.monotonic() - begun:.2f} s by {monitor.method}")
            await monitor.present.wait_until(
                lambda all_: all(device.problem is None for device in all_)
            )
            devices = monitor.present.value
    for device in devices:
        print(device)
    assert [device.node for device in devices] == expected
    assert all(device.name and device.bus_info and device.capabilities for device in devices)
    for device in devices:
        assert all(link.resolve() == device.node for link in device.links)
        assert (device.usb is not None) == device.bus_info.startswith("usb-")


@needs_nodes
@pytest.mark.timeout(120 * TIMEOUT_FACTOR)
async def test_a_node_that_hangs_delays_no_other_node() -> None:
    """While a driver does not answer, the others are listed, and its node is listed as hung."""
    stuck = threading.Event()
    nodes: list[Path] = []

    def hangs_once(node: Path) -> Capabilities | None:
        answer = query(node)
        if answer is not None and not nodes:
            nodes.append(node)
            stuck.wait(100 * TIMEOUT_FACTOR)
        return answer

    with trio.fail_after(60 * TIMEOUT_FACTOR):
        async with open_monitor(DiscoveryConfig(), query=hangs_once) as monitor:
            await monitor.all_queried.wait()
            if not nodes:
                pytest.skip("no video node of this machine captures")
            (hung,) = [d for d in monitor.present.value if d.problem and d.problem.kind == "hung"]
            assert hung.node == nodes[0]
            stuck.set()
            await monitor.present.wait_until(
                lambda all_: all(device.problem is None for device in all_)
            )


@needs_tool
@pytest.mark.timeout(400 * TIMEOUT_FACTOR)
async def test_plugging_and_unplugging_are_listed_in_time(tool: Callable[..., str]) -> None:
    """A camera is listed within 2 s, gone within 1 s, and each plugging has another id."""
    lives, ports = set(), set()
    with trio.fail_after(300 * TIMEOUT_FACTOR):
        async with open_monitor(DiscoveryConfig(), query=query) as monitor:
            await monitor.all_queried.wait()
            print(monitor.method)
            for number in range(4):
                begin = (
                    ["start", "survey0", "--serial", "SURVEY0", "--port", "0"]
                    if number == 0
                    else ["do", "survey0", "plug", str(number % 3)]
                )
                assert (
                    await timed(monitor, begin, "SURVEY0", there=True)
                    <= APPEAR_SECONDS * TIMEOUT_FACTOR
                )
                await monitor.present.wait_until(
                    lambda all_: bool((d := find(all_, "SURVEY0")) and len(d.links) == 2)
                )
                device = find(monitor.present.value, "SURVEY0")
                assert device is not None
                assert device.usb is not None
                lives.add(device.plug_id)
                ports.add(device.usb.port)
                begin = ["do", "survey0", "unplug"]
                gone = await timed(monitor, begin, "SURVEY0", there=False)
                assert gone <= DISAPPEAR_SECONDS * TIMEOUT_FACTOR
    assert len(lives) == 4
    assert len(ports) == 3


@needs_tool
@pytest.mark.timeout(300 * TIMEOUT_FACTOR)
async def test_equal_cameras_are_distinguished_by_port(tool: Callable[..., str]) -> None:
    """Two cameras of one model without serial numbers are two devices with two ports."""
    with trio.fail_after(200 * TIMEOUT_FACTOR):
        await trio.to_thread.run_sync(tool, "start", "survey0", "--port", "0")
        await trio.to_thread.run_sync(tool, "start", "survey1", "--port", "2")
        async with open_monitor(DiscoveryConfig(), query=query) as monitor:
            await monitor.all_queried.wait()
            twins = [d for d in monitor.present.value if d.usb is not None]
            async with open_monitor(
                DiscoveryConfig(ignore=(twins[0].usb.port,)), query=query
            ) as other:
                await other.all_queried.wait()
                rest = [d.node for d in other.present.value if d.usb is not None]
    assert len({d.usb.port for d in twins if d.usb}) == len(twins) == 2
    assert rest == [twins[1].node]


@needs_nodes
async def test_holders_of_a_node_are_found() -> None:
    """A process that has a node open is found, unless it is left out."""
    node = SYSTEM.dev / list_nodes(SYSTEM)[0]
    try:
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        pytest.skip(f"{node} cannot be opened: {error}")
    try:
        begun = time.monotonic()
        holders = find_holders(node)
        print(f"{holders} in {time.monotonic() - begun:.3f} s")
        assert os.getpid() in [holder.pid for holder in holders.holders]
    finally:
        os.close(fd)


@needs_tool
@pytest.mark.timeout(400 * TIMEOUT_FACTOR)
async def test_a_camera_whose_firmware_hangs_delays_no_other(tool: Callable[..., str]) -> None:
    """While a camera answers nothing, another one is plugged in and listed."""
    with trio.fail_after(300 * TIMEOUT_FACTOR):
        await trio.to_thread.run_sync(tool, "start", "survey0", "--port", "0", "--serial", "HANGS")
        async with open_monitor(DiscoveryConfig(), query=query) as monitor:
            await monitor.all_queried.wait()
            await monitor.present.wait_until(lambda all_: find(all_, "HANGS") is not None)
            device = find(monitor.present.value, "HANGS")
            assert device is not None
            await trio.to_thread.run_sync(tool, "do", "survey0", "hang")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(monitor.query_again, device.node)
                begin = ["start", "survey1", "--port", "1", "--serial", "LIVES"]
                seconds = await timed(monitor, begin, "LIVES", there=True)
            assert seconds <= APPEAR_SECONDS * TIMEOUT_FACTOR
            await trio.to_thread.run_sync(tool, "do", "survey0", "unhang")
