"""Queries of the V4L2 nodes of this machine; skipped where there are none.

Run as root or a member of the group `video`. Where `v4l2-ctl` is installed, it must list the
same as camd. Controls get their former values back; buttons are not pressed. `modprobe vivid` makes
nodes of all types.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from camd.capture.controls import CameraControls, ControlStore
from camd.devices.query import read_capabilities, read_controls, write_control
from camd.devices.v4l2.control_values import driver_value
from camd.model import CameraId, Capabilities, Control, ControlKind

TIMEOUT_FACTOR = float(os.environ.get("CAMD_TEST_TIMEOUT_FACTOR", "1"))
MOST_TRIED = 40  # controls of one camera
NOT_TRIED = {"timeout_image_io"}  # of v4l2loopback: it changes what the next one to open gets
PATTERNS = ("video*", "vbi*", "radio*", "swradio*", "v4l-touch*", "v4l-subdev*")

# What v4l2-ctl calls the capabilities of a node, and which of them make it no camera.
CAPTURES = {"Video Capture", "Video Capture Multiplanar"}
NO_CAMERA = {
    *("Video Memory-to-Memory", "Video Memory-to-Memory Multiplanar", "Touch Device"),
}


def _nodes() -> list[Path]:
    found = [node for pattern in PATTERNS for node in sorted(Path("/dev").glob(pattern))]
    return [node for node in found if os.access(node, os.R_OK | os.W_OK)]


def _described(node: Path) -> Capabilities | None:
    try:
        return read_capabilities(node)
    except OSError:
        return None


NODES = _nodes()
CAMERAS = {node: found for node in NODES if (found := _described(node)) is not None}
WITH_CONTROLS = [node for node in CAMERAS if read_controls(node)]

needs_node = pytest.mark.skipif(not NODES, reason="this machine has no V4L2 node to open")
needs_camera = pytest.mark.skipif(not CAMERAS, reason="this machine has no V4L2 camera to open")
needs_control = pytest.mark.skipif(
    not WITH_CONTROLS, reason="this machine has no V4L2 camera with controls"
)
needs_v4l2_ctl = pytest.mark.skipif(
    shutil.which("v4l2-ctl") is None, reason="v4l2-ctl is not installed"
)


def v4l2_ctl(node: Path, *arguments: str) -> str:
    """Run `v4l2-ctl`."""
    done = subprocess.run(
        ["v4l2-ctl", "-d", node, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout


def _settable(node: Path) -> list[Control]:
    """Return controls that can be changed and restored."""
    kinds = (ControlKind.INTEGER, ControlKind.BOOLEAN, ControlKind.MENU)
    return [
        control
        for control in read_controls(node)
        if control.kind in kinds
        and control.name not in NOT_TRIED
        and not (control.read_only or control.inactive)
        and control.value is not None
    ][:MOST_TRIED]


def _others(control: Control) -> Iterator[int]:
    """Yield values that the control does not have."""
    choices = [value for value, _ in control.choices]
    steps = (control.default, control.minimum, control.maximum, control.minimum + control.step)
    for value in choices or steps:
        if value != control.value:
            yield value


@needs_node
@needs_v4l2_ctl
@pytest.mark.parametrize("node", NODES, ids=str)
def test_cameras_are_distinguished_from_other_nodes(node: Path) -> None:
    """Metadata, output, VBI, radio, touch and codec nodes are no cameras."""
    said = v4l2_ctl(node, "-D").partition("Device Caps")[2].partition("\nMedia ")[0]
    words = {line.strip() for line in said.splitlines()}
    is_camera = bool(words & CAPTURES) and not words & NO_CAMERA
    assert (node in CAMERAS) is is_camera


@needs_camera
@needs_v4l2_ctl
@pytest.mark.parametrize("node", CAMERAS, ids=str)
def test_formats_are_those_that_v4l2_ctl_lists(node: Path) -> None:
    """Formats, sizes and rates, in the driver's order; rates highest first."""
    listed: list[str] = []
    for pixel_format in CAMERAS[node].formats:
        listed.append(pixel_format.fourcc)
        for size in pixel_format.sizes:
            listed.append(f"{size.width}x{size.height}")
            listed.extend(f"{rate:.3f}" for rate in size.rates.listed)
        if (sizes := pixel_format.size_range) is not None:
            ends = (*sizes.least, *sizes.largest)
            listed.append("{}x{} - {}x{}".format(*ends))
    expected: list[str] = []
    rates: list[str] = []
    for line in [*v4l2_ctl(node, "--list-formats-ext").splitlines(), ""]:
        if rate := re.search(r"Interval: Discrete .*\((\d+\.\d+) fps\)", line):
            rates.append(rate[1])
            continue
        expected += sorted(dict.fromkeys(rates), key=float, reverse=True)
        rates = []
        if found := re.search(r"\[\d+\]: '(.*?)' \(|Size: \w+ (\d+x\d+(?: - \d+x\d+)?)", line):
            expected.append(found[1] or found[2])
    assert listed == expected


@needs_control
@needs_v4l2_ctl
@pytest.mark.parametrize("node", WITH_CONTROLS, ids=str)
def test_controls_are_those_that_v4l2_ctl_lists(node: Path) -> None:
    """Names, numbers, limits, defaults and values of all that are single numbers."""
    line = re.compile(r"^ *(\w+) 0x([0-9a-f]+) \((int|int64|bool|menu|intmenu)\) *: (.*)$", re.M)
    said = {int(match[2], 16): match for match in line.finditer(v4l2_ctl(node, "-L"))}
    kinds = (ControlKind.INTEGER, ControlKind.BOOLEAN, ControlKind.MENU)
    ours = {c.number: c for c in read_controls(node) if c.kind in kinds}
    assert ours.keys() == said.keys()
    for number, control in ours.items():
        facts = dict(re.findall(r"(\w+)=(-?\d+)", said[number][4]))
        assert control.name == said[number][1]
        assert int(facts["default"]) == control.default
        if "flags=inactive" not in said[number][4] and "volatile" not in said[number][4]:
            assert int(facts["value"]) == control.value
        if "min" in facts:
            assert (int(facts["min"]), int(facts["max"])) == (control.minimum, control.maximum)


@needs_control
@pytest.mark.timeout(60 * TIMEOUT_FACTOR)
@pytest.mark.parametrize("node", WITH_CONTROLS, ids=str)
def test_controls_are_set_read_back_and_restored(node: Path) -> None:
    """Most controls take another value, and all have their old one in the end."""
    changed, tried = 0, 0
    for control in _settable(node):
        other = next(_others(control), None)
        if other is None:
            continue
        tried += 1
        assert control.value is not None
        try:
            changed += write_control(node, control, driver_value(control, other)).value == other
        except OSError as error:
            print(f"{node} {control.name} = {other}: {error}")
        finally:
            restored = write_control(node, control, control.value)
        assert restored.value == control.value
    print(f"{node}: {changed} of {tried} controls took another value")
    assert changed >= 0.8 * tried


@needs_control
@pytest.mark.timeout(60 * TIMEOUT_FACTOR)
@pytest.mark.parametrize("node", WITH_CONTROLS, ids=str)
async def test_stored_values_are_set_again(node: Path) -> None:
    """What a client has set is set again after another program has changed it."""
    control = next(c for c in _settable(node) if next(_others(c), None) is not None)
    other = next(_others(control))
    assert control.value is not None
    owner = CameraControls(CameraId("camera0"), (), ControlStore(lambda _: None))
    with trio.fail_after(50 * TIMEOUT_FACTOR):
        try:
            changed = await owner.change(node, control.name, other)
            assert changed.value == other
            write_control(node, control, control.value)
            assert await owner.apply(node) == ()
            after = {each.number: each.value for each in await owner.read(node)}
            assert after[control.number] == other
        finally:
            write_control(node, control, control.value)
