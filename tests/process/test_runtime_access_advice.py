"""What is said of a folder that cannot be written: whose it is, or why it is read-only."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from camd.runtime.folders.access_advice import (
    AccessAdvice,
    FolderUser,
    MountState,
    explain_access,
    explain_read_only,
    explain_rights,
    find_mount,
    find_user,
    mode_allows,
)

MOUNTS = """\
21 1 8:2 / / ro,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro
35 21 8:17 / /media/stick\\040one rw,nosuid - vfat /dev/sdb1 rw,fmask=0022
36 21 8:33 / /media/card ro shared:9 master:1 - exfat /dev/sdc1 ro
37 36 8:34 / /media/card/inner rw - ext4 /dev/sdd1 rw
38 21 8:35 / /srv rw - ext4 /dev/sde1 rw
39 21 8:36 / /srv ro - ext4 /dev/sdf1 ro
40 21 8:2 /var/lib/camd /var/lib/camd rw,relatime - ext4 /dev/sda2 rw
torn line
41 21 - -
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/opt/recordings", MountState(Path("/"), read_only=True, disk_read_only=False)),
        ("/var/lib/camd/recordings", MountState(Path("/var/lib/camd"), False, False)),
        ("/var/lib/camdother", MountState(Path("/"), True, False)),
        ("/media/stick one/a", MountState(Path("/media/stick one"), False, False)),
        ("/media/card/a", MountState(Path("/media/card"), True, True)),
        ("/media/card/inner", MountState(Path("/media/card/inner"), False, False)),
        ("/srv/x", MountState(Path("/srv"), True, True)),  # the later mount covers the earlier
    ],
)
def test_the_mount_of_a_path_is_the_innermost(path: str, found: MountState) -> None:
    """Names are compared by parts, escapes are decoded, and torn lines are left out."""
    assert find_mount(Path(path), MOUNTS) == found


def test_a_sandbox_is_told_from_a_disk() -> None:
    """Only the first is mended in the unit, only the second by a look at the disk."""
    sandbox = explain_read_only(Path("/opt/r"), "folder", find_mount(Path("/opt/r"), MOUNTS))
    assert "its disk is not" in sandbox.reason
    assert "ReadWritePaths=-/opt/r" in sandbox.suggestion
    disk = explain_read_only(Path("/srv/r"), "folder", find_mount(Path("/srv/r"), MOUNTS))
    assert disk.reason == "The disk of the folder is mounted read-only"
    assert "dmesg" in disk.suggestion
    assert disk.suggestion.endswith("remount,rw /srv")
    assert "ReadWritePaths" not in disk.suggestion


def rights(folder: str, place: str, *, enters: bool = True) -> AccessAdvice:
    """Explain a folder of root for the user of the service."""
    return explain_rights(
        Path(folder), Path(place), "folder", owner="root", user="camd", enters=enters
    )


def test_the_advice_is_the_command_that_helps() -> None:
    """Another user's folder is given away, a missing one is made, a closed one is opened."""
    own = rights("/srv/r", "/srv/r")
    assert own.reason == "The folder belongs to root, and camd cannot write into it"
    assert own.suggestion.endswith("chown -R camd: /srv/r")
    missing = rights("/srv/a/b", "/srv")
    assert missing.reason == "The folder is not there, and camd cannot make it"
    assert missing.suggestion.endswith("install -d -o camd /srv/a/b")
    closed = rights("/srv/a/b", "/srv/a", enters=False)
    assert "camd may not enter" in closed.reason
    assert closed.suggestion.endswith("chmod o+x /srv/a")
    for place in ("/home", "/home/pi"):
        assert "ProtectHome=no" in rights("/home/pi/r", place, enters=False).suggestion
    assert "ProtectHome" not in rights("/homes/r", "/homes").suggestion


def without(*refused: Path) -> FolderUser:
    """Return a user without any rights in these folders: root has them all."""
    return FolderUser("camd", lambda path, _: path not in refused)


def test_folders_of_a_real_disk_are_explained(tmp_path: Path) -> None:
    """What can be written or made has no reason; what cannot names the folder in the way."""
    assert explain_access(tmp_path) is None
    assert explain_access(tmp_path / "a" / "b") is None
    (tmp_path / "file").touch()
    assert explain_access(tmp_path / "file" / "b") is None  # the folder beside it could be made
    me = getpass.getuser()
    own = explain_access(tmp_path, user=without(tmp_path))
    assert own is not None
    assert own.reason == f"The folder belongs to {me}, and camd cannot write into it"
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    beyond = explain_access(inner, user=without(tmp_path / "a"))
    assert beyond is not None
    assert beyond.suggestion.endswith(f"chmod o+x {tmp_path / 'a'}")


def test_modes_say_what_another_user_may(tmp_path: Path) -> None:
    """Owner, group and others each have their own bits, and the first that fits counts."""
    status = tmp_path.stat()
    mine, strangers = status.st_uid, status.st_uid + 1
    group, none = {status.st_gid}, frozenset[int]()
    writing = os.W_OK | os.X_OK
    tmp_path.chmod(0o730)
    assert mode_allows(mine, none, tmp_path, writing | os.R_OK)
    assert mode_allows(strangers, group, tmp_path, writing)
    assert not mode_allows(strangers, group, tmp_path, writing | os.R_OK)
    assert not mode_allows(strangers, none, tmp_path, os.X_OK)
    tmp_path.chmod(0o077)
    assert not mode_allows(mine, group, tmp_path, os.X_OK)
    tmp_path.chmod(0o700)
    assert not mode_allows(mine, none, tmp_path / "none", os.F_OK)


def test_a_user_is_found_by_name(tmp_path: Path) -> None:
    """The rights are those of the user with all its groups; a name that nobody has is none."""
    me = find_user(getpass.getuser())
    assert me is not None
    assert me.may(tmp_path, os.W_OK | os.X_OK)
    assert find_user("no-such-user-of-camd") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_mount_that_is_read_only_here_is_told_from_a_read_only_disk(tmp_path: Path) -> None:
    """A bind mount stands for the sandbox: the disk behind it can be written elsewhere."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    said = {}
    for name, command in {
        "sandbox": "mount --bind $0 $0 && mount -o remount,bind,ro $0",
        "disk": "mount -t tmpfs -o ro camd-test $0",
    }.items():
        said[name] = explained_in_namespace(tmp_path, command)
    assert "its disk is not" in said["sandbox"]
    assert "is mounted read-only" in said["disk"]


def explained_in_namespace(folder: Path, command: str) -> str:
    """Explain a folder in a mount namespace of its own, after a command has mounted something."""
    code = (
        "import sys; from pathlib import Path\n"
        "from camd.runtime.folders.access_advice import explain_access\n"
        "print(explain_access(Path(sys.argv[1]) / 'recordings').reason)"
    )
    python = f'{command} && exec "$1" -c "$2" "$0"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", python, folder, sys.executable, code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"this machine does not let tests mount: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout
