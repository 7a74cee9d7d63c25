"""Why this user cannot write into a folder, and what an operator has to do about it.

Tells apart what `EACCES` and `EROFS` do not: a folder of another user, a disk that is mounted
read-only, and a service manager that shows the service a folder read-only, or hides it.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs

MOUNTINFO = Path("/proc/self/mountinfo")  # proc(5)
# By ProtectHome=, systemd.exec(5).
_HIDDEN_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


Access = Callable[[Path, int], bool]  # as access(2) answers; False for what is not there


@attrs.frozen
class AccessAdvice:
    """Why a folder cannot be written, and what to do."""

    reason: str
    suggestion: str


@attrs.frozen
class FolderUser:
    """Whose rights are asked for."""

    name: str
    may: Access


@attrs.frozen
class MountState:
    """Whether a mount, and the file system behind it, are read-only."""

    point: Path
    read_only: bool
    disk_read_only: bool


def explain_access(
    folder: Path,
    called: str = "folder",
    *,
    user: FolderUser | None = None,
    mountinfo: Path = MOUNTINFO,
) -> AccessAdvice | None:
    """Say why files cannot be made in `folder`, or why it cannot be made itself; None: they can.

    The reason names no path, since health pages show it to everybody: it says what the folder is
    `called`. Blocks on the file system and on the database of users. Raises OSError when the disk
    fails.
    """
    user = user or this_user()
    place = nearest_folder(folder, may=user.may)
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return explain_read_only(folder, called, find_mount(place.resolve(), _read(mountinfo)))
    if user.may(place, os.W_OK | os.X_OK):
        return None
    names = {"owner": _name_of(place.stat().st_uid), "user": user.name}
    return explain_rights(folder, place, called, **names, enters=user.may(place, os.X_OK))


def this_user() -> FolderUser:
    """Return the user of this process. Blocks on the database of users."""
    return FolderUser(_name_of(os.geteuid()), os.access)


def find_user(name: str) -> FolderUser | None:
    """Return another user, by the modes of files alone, without access lists. Blocks."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = frozenset(os.getgrouplist(name, entry.pw_gid))
    return FolderUser(name, partial(mode_allows, entry.pw_uid, groups))


def mode_allows(uid: int, gids: Collection[int], path: Path, wanted: int) -> bool:
    """Tell whether the mode of a file gives a user what access(2) calls `wanted`. Blocks."""
    try:
        status = path.stat()
    except OSError:
        return False
    shift = 6 if status.st_uid == uid else 3 if status.st_gid in gids else 0
    return status.st_mode >> shift & wanted == wanted


def explain_error(error: OSError) -> str | None:
    """Say what to do about an error that names a file of another user; None: others. Blocks."""
    if not isinstance(error, PermissionError) or error.filename is None:
        return None
    try:
        advice = explain_file(Path(error.filename))
    except OSError:
        return None
    return f"{error.filename}: {advice.reason}. {advice.suggestion}"


def explain_file(path: Path, user: FolderUser | None = None) -> AccessAdvice:
    """Say whose a file or folder of camd is that a user cannot use. Blocks; raises OSError."""
    owner, name = _name_of(path.stat().st_uid), (user or this_user()).name
    return AccessAdvice(
        f"it belongs to {owner}, and {name} cannot use it",
        f"Give the folder to the user of the service: chown -R {name}: {path.parent}",
    )


def explain_refused_access(path: Path, error: OSError, wanted: str = "read") -> str:
    """Say to a person why this user cannot do with a file or folder what is `wanted`. Blocks.

    Where another user may: whose it is, and how to run the command as that user.
    """
    if not isinstance(error, PermissionError):
        return f"{path} cannot be {wanted}: {error.strerror or error}"
    advice = refused_access(path, wanted)
    return f"{advice.reason}; {advice.suggestion}"


def refused_access(path: Path, wanted: str = "read") -> AccessAdvice:
    """Say whose a file or folder is, and how to run a command as that user. Blocks."""
    uid = _owner_of(path)
    user, owner = this_user().name, _name_of(uid)
    number = f"'#{uid}'" if owner == str(uid) else owner
    sudo = "sudo" if uid == 0 else f"sudo -u {number}"
    return AccessAdvice(
        f"{path} cannot be {wanted} by {user}: it belongs to {owner}",
        f"put `{sudo}` before this command",
    )


def _owner_of(path: Path) -> int:
    """Return the owner of a path, or of the nearest folder above it that says who has it."""
    for place in (path, *path.parents):
        with suppress(OSError):
            return place.stat().st_uid
    return 0


def nearest_folder(folder: Path, *, may: Access = os.access) -> Path:
    """Return the folder, or what of the way to it there is and can be entered. Blocks."""
    found = Path(folder.anchor or ".")
    for place in (*reversed(folder.parents), folder):
        try:
            is_folder = stat.S_ISDIR(place.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            break
        if is_folder:
            found = place
        if not is_folder or not may(place, os.X_OK):
            break
    return found


def find_mount(path: Path, mounts: str) -> MountState:
    """Find the mount that `path` (resolved) is on, in the text of mountinfo. Pure."""
    found = MountState(Path("/"), read_only=False, disk_read_only=False)
    for line in mounts.splitlines():
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        point = Path(_unescape(fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= len(found.point.parts):
            disk = fields[fields.index("-", 6) + 1 :][2:3]
            found = MountState(
                point,
                read_only="ro" in fields[5].split(","),
                disk_read_only="ro" in ",".join(disk).split(","),
            )
    return found


def explain_read_only(folder: Path, called: str, mount: MountState) -> AccessAdvice:
    """Say why a folder is on a read-only mount: its disk, or the sandbox of the service. Pure."""
    if mount.read_only and not mount.disk_read_only:
        return AccessAdvice(
            f"The {called} is read-only for this service, though its disk is not",
            f"systemd shows a service only its own folders writable: `systemctl edit camd`, write "
            f"[Service] and ReadWritePaths=-{folder}, and `systemctl restart camd`. Elsewhere: "
            f"mount -o remount,rw {mount.point}",
        )
    return AccessAdvice(
        f"The disk of the {called} is mounted read-only",
        f"Look at `dmesg`: after an error the kernel makes a disk read-only, and fsck mends it. A "
        f"sound one becomes writable by: mount -o remount,rw {mount.point}",
    )


def explain_rights(
    folder: Path, place: Path, called: str, *, owner: str, user: str, enters: bool
) -> AccessAdvice:
    """Say whose the folder is, or the `place` that it would be made in. Pure.

    `enters`: the user may enter the place, and cannot write into it.
    """
    if place == folder:
        reason = f"The {called} belongs to {owner}, and {user} cannot write into it"
        advice = f"Give it to the user of the service: chown -R {user}: {folder}"
    elif enters:
        reason = f"The {called} is not there, and {user} cannot make it"
        advice = f"Make it for the user of the service: install -d -o {user} {folder}"
    else:
        reason = f"The {called} is in a folder of {owner} that {user} may not enter"
        advice = f"Choose a folder elsewhere, or let {user} enter: chmod o+x {place}"
    if any(folder.is_relative_to(home) for home in _HIDDEN_HOMES):
        advice += "; a folder in a home also needs ProtectHome=no (`systemctl edit camd`)"
    return AccessAdvice(reason, advice)


def _read(mountinfo: Path) -> str:
    try:
        return mountinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _unescape(text: str) -> str:
    """Decode the octal escapes of proc(5): space, tab, newline, backslash."""
    for code, character in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        text = text.replace(f"\\{code}", character)
    return text


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
