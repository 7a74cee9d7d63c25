"""Installs the Debian package in a machine with systemd, and does to the service what happens.

    python tests/hardware/service_lab.py --lab COMMAND [--watchdog 6] [--before PACKAGE]
        [--steps STEP..] [--json FILE]

The steps: install, a first configuration, the first client starts the service, reload, restart,
kill, a stopped process, a disk that hangs, one that comes late, a wrong clock, a USB camera, more
sandboxing, an upgrade, a newer format, removal. With `--before PACKAGE` that older package is
installed first, and upgraded once it has recorded. The machine is as for power_cuts.py, with
`uvc-camera` and Python 3.11; dpkg needs no network. With `--steps` the machine and the package that
it has are used as they are. docs/operations.md shows what was seen.
Exit status: 0, 1 when a check failed, 2 when the lab failed.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from lab_machine import ROOT, LabError, Machine, lab_options, parse  # noqa: E402
from service_lab_checks import CHECKS, check_step  # noqa: E402

AGENT = Path(__file__).with_name("service_lab_agent.py")
PYTHON = "3.11"  # of the machine
NEXT_VERSION = "999.0"  # of the package that replaces the first
STEPS = tuple(CHECKS)
EARLY = ("set_up", "socket", "upgrade")
EARLY_UPGRADE = (*EARLY, *(step for step in CHECKS if step not in EARLY))


def build_packages(folder: Path) -> tuple[Path, Path]:
    """Build the package, and the same one with a higher version."""
    script = [sys.executable, str(ROOT / "packaging/build_deb.py"), "--python", PYTHON]
    options = ["--architecture", "amd64", "--output", str(folder)]
    done = subprocess.run([*script, *options], check=True, stdout=subprocess.PIPE, text=True)
    first, tree = Path(done.stdout.strip()), folder / "tree"
    subprocess.run(["dpkg-deb", "-R", first, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text(
        "".join(
            f"Version: {NEXT_VERSION}\n" if x.startswith("Version:") else f"{x}\n" for x in lines
        )
    )
    following = folder / "camd-next.deb"
    pack = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, following]
    subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
    return first, following


def install(machine: Machine, before: Path | None) -> None:
    """Build and install the first package, or the older one; put the second one beside it."""
    with tempfile.TemporaryDirectory() as name:
        first, following = build_packages(Path(name))
        machine.run("push", str(before or first), "/root/camd.deb")
        machine.run("push", str(following), "/root/camd-next.deb")
    # A slow machine needs longer for the first start than the unit gives it.
    limits = "/etc/systemd/system/camd.service.d"
    machine.ssh(
        f"mkdir -p {limits} && printf '[Service]\\nTimeoutStartSec=600\\n' > {limits}/lab.conf"
    )
    print(machine.ssh("dpkg -i /root/camd.deb 2>&1").strip(), flush=True)


def do_steps(machine: Machine, steps: Sequence[str], watchdog: float) -> list[dict[str, Any]]:
    """Do the steps in the machine, and print what was seen and what is wrong."""
    machine.run("push", str(AGENT), "/root/")
    seen: list[dict[str, Any]] = []
    for step in steps:
        said = machine.ssh(f"python3 /root/{AGENT.name} {step} --watchdog {watchdog:g}")
        facts: dict[str, Any] = json.loads(said.splitlines()[-1])
        facts["findings"] = check_step(step, facts)
        seen.append(facts)
        print(json.dumps(facts), flush=True)
        for finding in facts["findings"]:
            print(f"   WRONG {finding}", flush=True)
    return seen


def main() -> int:
    parser = lab_options(__doc__)
    parser.add_argument("--watchdog", type=float, default=6.0, help="WatchdogSec, in seconds")
    parser.add_argument("--before", type=Path, help="an older package, to be upgraded")
    parser.add_argument("--steps", nargs="+", choices=STEPS, help="only these; installs nothing")
    options = parse(parser)
    machine = Machine(shlex.split(options.lab))
    try:
        if not options.steps:
            machine.start(fresh=True)
            install(machine, options.before)
        steps = options.steps or (EARLY_UPGRADE if options.before else STEPS)
        seen = do_steps(machine, steps, options.watchdog)
    except (LabError, subprocess.CalledProcessError, ValueError) as error:
        print(f"The lab failed: {error}")
        return 2
    if options.json:
        options.json.write_text(json.dumps(seen, indent=1))
    return int(any(facts["findings"] for facts in seen))


if __name__ == "__main__":
    sys.exit(main())
