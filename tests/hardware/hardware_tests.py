"""Runs `pytest tests/hardware` in a machine of a lab: with no camera, with vivid, with USB cameras.

    python tests/hardware/hardware_tests.py --lab COMMAND [--timeout-factor FACTOR] [GROUP..]
                                            [--pytest ARGUMENTS]

In the last setup, `plugging`, the tests plug cameras in and out by themselves. On top of what
camera_lab.py asks for, the machine has the kernel's test driver `vivid`. Exit status: 0, 1 when a
test failed or none was run, 2 when the lab failed.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from camera_lab import CameraLab  # noqa: E402
from lab_machine import HERE, PYTHON, ROOT, LabError, Machine, lab_options, parse  # noqa: E402

PACKAGES = ("pytest>=8.2", "pytest-trio>=0.8", "pytest-timeout>=2.3", "hypothesis>=6.100")
GROUPS = {
    "nothing": "true",
    "vivid": "modprobe vivid n_devs=2 node_types=0x1,0x1",
    "usb": "uvc-camera start one --port 5 --serial TEST1"
    " && uvc-camera start two --port 6 --serial TEST2 --modes mjpeg:640x360@10/5"
    " && uvc-camera start bare --port 7 --modes yuyv:320x180@10/5",
    "plugging": "true",
}
COUNTS = re.compile(r"\b(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)\b")


def project() -> dict[str, str]:
    """Read the files that the tests need, besides camd."""
    tests = [*(ROOT / "tests").glob("*.py"), *(ROOT / "tests/support").glob("*.py")]
    tests += (ROOT / "tests/hardware").glob("*.py")
    paths = [ROOT / "pyproject.toml", *tests]
    return {f"project/{path.relative_to(ROOT)}": path.read_text() for path in paths}


def run_group(lab: CameraLab, group: str, arguments: str) -> bool:
    """Plug in the cameras of a setup and run the tests; tell whether they passed."""
    lab.plug_all({})
    lab.machine.ssh(f"modprobe -r vivid; {GROUPS[group]}; udevadm settle")
    tool = "CAMD_TEST_CAMERA_TOOL=uvc-camera" if group == "plugging" else ""
    command = (
        f"cd {HERE}/project && {tool} CAMD_TEST_TIMEOUT_FACTOR={lab.timeout_factor:g}"
        f" timeout 3500 {PYTHON} -m pytest tests/hardware -v -rs -p no:cacheprovider {arguments}"
        " 2>&1; true"
    )
    print(f"== {group}", flush=True)
    said = lab.machine.ssh(command, seconds=3600)
    print(said, flush=True)
    counts = {word: int(n) for n, word in COUNTS.findall(said.strip().splitlines()[-1])}
    enough = bool(counts) if group == "nothing" else "passed" in counts
    return enough and set(counts) <= {"passed", "skipped"}


def main() -> int:
    parser = lab_options(__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], metavar="GROUP")
    parser.add_argument("--pytest", default="", help="more arguments, such as '-k controls'")
    options = parse(parser)
    lab = CameraLab(Machine(shlex.split(options.lab)), options.timeout_factor)
    try:
        lab.machine.ssh("systemctl stop camd-watch camd 2>/dev/null; true")
        lab.machine.install(project(), *PACKAGES)
        well = [run_group(lab, group, options.pytest) for group in options.groups or GROUPS]
    except LabError as error:
        print(f"The lab failed: {error}")
        return 2
    return int(not all(well))


if __name__ == "__main__":
    sys.exit(main())
