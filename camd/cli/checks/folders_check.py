"""What `camd check` says of the folders: writable, on the right volume, with space left?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from camd.cli.checks.filesystem_check import inspect_filesystem
from camd.cli.checks.finding import CheckFinding, Grade, ok, problem, warning
from camd.cli.checks.host_check import inspect_disk_speed, inspect_wear
from camd.cli.checks.snapshots_check import inspect_snapshots_volume
from camd.config.load import SYSTEM_FILE
from camd.config.schema import Config
from camd.errors import STORAGE_NO_INODES
from camd.runtime.file_presence import is_regular_file
from camd.runtime.folders.access_advice import (
    FolderUser,
    explain_access,
    explain_file,
    find_user,
    refused_access,
    this_user,
)
from camd.storage.disk import Disk, PosixDisk
from camd.storage.index.recording_index import FOLDER as INDEX_FOLDER
from camd.storage.index.recording_index import misplaced_folders
from camd.storage.rules.levels import Usage, VolumeFault
from camd.storage.rules.volume_identity import RecognisedAs
from camd.storage.volume import identify_volume, load_known_volume

SERVICE_USER = "camd"  # packaging/debian/camd.sysusers
SERVICE_FOLDER = SYSTEM_FILE.parent


def inspect_folders(config: Config) -> Iterator[CheckFinding]:
    """Report for each folder whether it can be written, and whether there is space."""
    storage = config.storage
    user = find_service_user(config.file) if os.geteuid() == 0 else None
    if user is not None:
        yield ok("user", f"folders are judged for {user.name}, the user of the service")
    hidden = judge_hidden_folders(config)
    yield from hidden
    if not hidden:
        yield from _inspect_own_folders(config, user)
    yield from inspect_snapshots_volume(config, PosixDisk())
    try:
        volume = os.statvfs(_existing(storage.recordings_dir))
        yield grade_space(config, volume)
        yield from grade_inodes(volume)
    except OSError as error:
        yield problem("space", f"cannot be found out: {error.strerror}", "Check the disk.")
    yield from inspect_filesystem(storage.recordings_dir)
    yield from inspect_disk_speed(storage.recordings_dir, config)
    yield from inspect_wear(config)


def judge_hidden_folders(config: Config) -> list[CheckFinding]:
    """Report that this user may not look into the folders, so that nothing can be said of them."""
    folders = (config.storage.state_dir, config.storage.recordings_dir)
    folder = next((each for each in folders if is_hidden(each)), None)
    if folder is None:
        return []
    advice, name = refused_access(folder), this_user().name
    suggestion = f"{advice.suggestion[:1].upper()}{advice.suggestion[1:]}"
    if not is_of_service(config.file):
        suggestion += f"; if the service runs as {name}: chown -R {name}: {folder}"
    return [problem("user", advice.reason, suggestion)]


def is_hidden(folder: Path) -> bool:
    """Tell whether a folder is another user's, who does not let this one look into it."""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return False
    return owner != os.geteuid() and not os.access(folder, os.R_OK | os.X_OK)


def _inspect_own_folders(config: Config, user: FolderUser | None) -> Iterator[CheckFinding]:
    storage = config.storage
    folders = (storage.recordings_dir, storage.snapshots_dir, storage.state_dir)
    for key, folder in zip(("recordings_dir", "snapshots_dir", "state_dir"), folders, strict=True):
        yield inspect_folder(f"storage.{key}", folder, user)
        if is_of_service(config.file):
            yield from judge_lifetime(f"storage.{key}", folder)
    for folder in (storage.recordings_dir / INDEX_FOLDER, storage.state_dir):
        yield from inspect_files(folder, user)
    for path in misplaced_folders(storage.recordings_dir):
        yield problem("index", f"{path} is a directory, not a file", "Move it away.")
    try:
        yield inspect_volume(config, PosixDisk())
    except OSError as error:
        text = f"cannot be found out: {error.strerror}"
        yield problem("volume", text, "Check the disk, as the service's user.")


def is_of_service(file: Path | None) -> bool:
    """Tell whether this is the configuration of the service of the machine. Pure."""
    return file is not None and file.parent == SERVICE_FOLDER


def judge_lifetime(subject: str, folder: Path) -> Iterator[CheckFinding]:
    """Report a folder that goes with the service: systemd gives it temporary ones. Pure."""
    if any(folder.is_relative_to(temporary) for temporary in ("/tmp", "/var/tmp")):  # noqa: S108
        yield problem(
            subject,
            f"{folder} is removed when the service stops: systemd gives it a /tmp of its own",
            "Choose a folder that stays, such as one below /var/lib/camd.",
        )


def find_service_user(file: Path | None) -> FolderUser | None:
    """Return the user of the service, when this is its configuration; root has other rights."""
    return find_user(SERVICE_USER) if is_of_service(file) else None


def inspect_folder(subject: str, folder: Path, user: FolderUser | None = None) -> CheckFinding:
    """Report whether files can be created in a folder, or the folder itself."""
    existing = _existing(folder)
    if not os.path.isdir(existing):
        return problem(subject, f"{existing} is not a folder", "Name another path, or move it.")
    try:
        advice = explain_access(folder, user=user)
    except OSError as error:
        return problem(subject, f"{folder}: {error.strerror}", "Check the disk.")
    if advice is not None:
        return problem(subject, f"{folder}: {advice.reason}", advice.suggestion)
    if existing != folder:
        return ok(subject, f"{folder} (will be made when it is needed)")
    return ok(subject, str(folder))


def inspect_files(folder: Path, user: FolderUser | None = None) -> Iterator[CheckFinding]:
    """Report files of camd that the user cannot use; usually they are of a start as root."""
    user = user or this_user()
    try:
        files = [path for path in sorted(folder.iterdir()) if is_regular_file(path)]
        if os.statvfs(folder).f_flag & os.ST_RDONLY:  # that is another finding
            return
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        files = [folder]
    closed = next((path for path in files if not user.may(path, os.R_OK | os.W_OK)), None)
    if closed is not None:
        with suppress(OSError):
            advice = explain_file(closed, user)
            yield problem("files", f"{closed}: {advice.reason}", advice.suggestion)


def inspect_volume(config: Config, disk: Disk) -> CheckFinding:
    """Report whether the recordings folder is on the disk it was on before. Raises OSError."""
    storage = config.storage
    known = None
    with suppress(OSError):  # as in the service: unreadable counts as unknown
        known = load_known_volume(storage.state_dir, storage.recordings_dir)
    found = identify_volume(
        storage.recordings_dir, disk, known, require_mount=storage.require_mount
    )
    where = (
        f"a mount of its own, {found.location.top}" if found.location.own_mount else "the root disk"
    )
    match found.verdict:
        case VolumeFault(reason=reason, suggestion=suggestion):
            return problem("volume", reason, suggestion)
        case RecognisedAs.CHANGED:
            grade, text = Grade.WARNING, f"another one than last time, on {where}"
        case RecognisedAs.NEW if known is not None:
            grade, text = Grade.WARNING, f"a new one, on {where}; it is marked at the start"
        case _:
            grade, text = Grade.OK, f"on {where}"
    advice = "Nothing, if you have changed the disk." if grade is Grade.WARNING else ""
    return CheckFinding("volume", grade, text, advice)


def grade_inodes(volume: os.statvfs_result) -> Iterator[CheckFinding]:
    """Report when hardly any inodes are free, from statvfs(2)."""
    usage = Usage(0, 0, volume.f_favail if volume.f_files else -1, total_inodes=volume.f_files)
    if usage.short_of_inodes(already=False):
        yield problem(
            "inodes",
            f"{usage.free_inodes} are free; below {usage.inode_line} no recording starts",
            STORAGE_NO_INODES.suggestion,
        )


def grade_space(config: Config, volume: os.statvfs_result) -> CheckFinding:
    """Report whether recordings may start, from statvfs(2) of the recordings folder."""
    total = volume.f_blocks * volume.f_frsize
    available = volume.f_bavail * volume.f_frsize
    used = (total - available) / total * 100 if total else 100.0
    text = f"{used:.1f} % used, {available / 1e9:.1f} GB available"
    storage = config.storage
    if used >= storage.block_percent:
        return problem(
            "space",
            f"{text}; from {storage.block_percent:g} % on no recording starts",
            "Free space, choose another recordings_dir, or raise storage.block_percent.",
        )
    if used >= storage.warn_percent:
        return warning(
            "space",
            f"{text}; clients are warned from {storage.warn_percent:g} % on",
            "Free space soon.",
        )
    return ok("space", text)


def _existing(path: Path) -> Path:
    """Return the path, or its nearest parent that is there and can be reached."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path
