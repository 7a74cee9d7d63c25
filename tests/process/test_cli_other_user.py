"""The commands beside a service of another user: one sentence says whose its files are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recordings_folder import Recordings

SERVICE, PERSON = 64001, 64002  # nobody has these numbers
CONFIGURATION = """
[server]
listen = "127.0.0.1:1"
health_listen = ""
[storage]
recordings_dir = "{0}/recordings"
snapshots_dir = "{0}/snapshots"
state_dir = "{0}/state"
[discovery]
v4l2 = false
"""
SUDO = f"sudo -u '#{SERVICE}'"


def command_as_person(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command as a user who owns what root owns, so that it has the interpreter, and is not
    root: in a user namespace (user_namespaces(7)) in which root has the number of the person.

    Returns the exit code, standard output and standard error.
    """
    environ = {
        **os.environ,
        "CAMD_CONFIG": str(folder / "camd.toml"),
        "HOME": str(folder / "home"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = (sys.executable, "-m", "camd", *arguments)
    with subprocess.Popen(
        ["unshare", "--user", "sh", "-c", 'echo; read _; exec "$@"', "sh", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "\n", process.communicate(timeout=300)
        for kind in ("uid_map", "gid_map"):
            numbers = f"{PERSON} 0 1\n{SERVICE} {SERVICE} 1\n"
            Path(f"/proc/{process.pid}/{kind}").write_text(numbers, encoding="ascii")
        out, err = process.communicate("\n", timeout=300)
    return process.returncode, out, err


def has_user_namespaces() -> bool:
    """Tell whether this machine lets root make one."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(
    not has_user_namespaces(), reason="only root, with user namespaces, can be somebody else"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make the folders of a service, which only its user may look into, and a configuration."""
    with tempfile.TemporaryDirectory(prefix="camd-other-user-") as name:
        made = Path(name)
        made.chmod(0o755)
        (made / "camd.toml").write_text(CONFIGURATION.format(made), encoding="utf-8")
        recordings = Recordings(made / "recordings")
        recordings.put(0)
        state = made / "state"
        state.mkdir()
        for file in ("cameras.json", "keys.toml", "admin.key"):
            (state / file).touch(mode=0o600)
        (made / "home").mkdir()
        for path in (made / "recordings", *(made / "recordings").rglob("*"), state):
            os.chown(path, SERVICE, SERVICE)
        for path in (made / "recordings", state):
            path.chmod(0o750)
        yield made


def camd(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command as the person; it says nothing that is meant for programmers."""
    code, out, err = command_as_person(folder, *arguments)
    for word in ("Traceback", "Errno", "[error", '"level"'):
        assert word not in out + err
    return code, out, err


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (("verify",), "recordings"),
        (("verify", "--fast"), "recordings"),
        (("recover", "--dry-run"), "recordings/.camd"),
        (("recover",), "recordings/.camd"),
        (("selftest",), "recordings"),
        (("keys", "list"), "state/keys.toml"),
        (("keys", "revoke", "x"), "state"),
    ],
)
def test_a_command_on_files_says_whose_they_are(
    folder: Path, command: tuple[str, ...], path: str
) -> None:
    """One line has the path, its owner, and what to put before the command."""
    code, _, err = camd(folder, *command)
    assert code == 1
    (line,) = err.splitlines()
    assert f"{folder}/{path}" in line
    assert f"by {PERSON}: it belongs to {SERVICE}; put `{SUDO}` before this command" in line


def test_a_demonstration_needs_a_folder_of_its_own(folder: Path) -> None:
    """A folder below one of the service is refused before anything is started."""
    code, out, err = camd(folder, "demo", "--once", "--dir", str(folder / "recordings" / "demo"))
    assert (code, out) == (1, "")
    assert f"cannot be used by {PERSON}: it belongs to {SERVICE}" in err


def test_a_check_says_once_that_it_may_not_look(folder: Path) -> None:
    """What cannot be seen is not judged, and nobody is told to take the folders away."""
    code, out, _ = camd(folder, "check")
    assert code == 1
    assert f"✗ user: {folder}/state cannot be read by {PERSON}: it belongs to {SERVICE}" in out
    assert f"Put `{SUDO}` before this command; if the service runs as {PERSON}: chown -R" in out
    for subject in ("storage.recordings_dir:", "storage.state_dir:", "files:", "volume:"):
        assert subject not in out


def test_a_first_configuration_needs_no_state_without_cameras(folder: Path) -> None:
    """Where no device is plugged in, ids do not matter, and nothing is said."""
    code, _, err = camd(folder, "init", str(folder / "home" / "new.toml"))
    assert (code, err) == (0, "")
