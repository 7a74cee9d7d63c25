"""The format of a folder: which versions of camd can use what is in it.

A marker names the format and the version that wrote it. An older camd refuses a newer format and
changes nothing; so does every camd when it cannot tell the format. A newer camd copies what it is
about to change into a backup, which the older one can be given back.
"""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import structlog

from camd import __version__
from camd.runtime.file_presence import is_there
from camd.runtime.folders.folder_lock import FolderRefusedError
from camd.runtime.small_files import read_small_file
from camd.runtime.state_file import replace_file

log = structlog.get_logger("camd.state")

MARKER = "format.json"
FORMAT = 1  # grows when an older camd would misread what this one writes
_MARKER_BYTES = 4096


class FormatRefusedError(FolderRefusedError):
    """A folder whose format this camd does not know; nothing in it was changed."""


class NewerFormatError(FormatRefusedError):
    """A newer version of camd has written into this folder."""


class UnreadableFormatError(FormatRefusedError):
    """The marker of this folder does not tell its format."""


def claim_format(folder: Path, known: int = FORMAT, version: str = __version__) -> None:
    """Refuse a newer format; back up an older one; mark the folder. Blocks.

    To be called with the folder locked, before anything in it is changed. Raises NewerFormatError,
    UnreadableFormatError and OSError.
    """
    present = _read(folder / MARKER, version)
    if present is not None and present[0] > known:
        raise NewerFormatError(
            f"{folder} was last used by camd {present[1]}, in format {present[0]}; camd {version} "
            f"knows formats up to {known}, and has changed nothing. Start camd {present[1]} or a "
            f"newer one, or put the files of {folder}/backup-format-{known} in the place of the "
            "present ones: what was noted since then is missing in them."
        )
    if present is not None and present[0] == known:
        return
    if present is not None:
        back_up(folder, present[0])
    text = json.dumps({"version": known, "written_by": version}) + "\n"
    replace_file(folder / MARKER, text)


def back_up(folder: Path, present: int) -> Path:
    """Copy the files of a folder into a backup in it, whole or not at all. Blocks; raises OSError.

    A backup of the same format is kept as it is: it is of the first start of a newer version.
    """
    backup, part = folder / f"backup-format-{present}", folder / "backup-part"
    if is_there(backup):
        return backup
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    for path in sorted(folder.iterdir()):
        if stat.S_ISREG(path.lstat().st_mode) and path.name not in ("lock", "reserve"):
            shutil.copy2(path, part / path.name)
    part.replace(backup)
    log.info("format_backed_up", folder=str(folder), format=present, backup=str(backup))
    return backup


def _read(marker: Path, version: str) -> tuple[int, str] | None:
    """Return format and version of a marker; None when there is none.

    Raises UnreadableFormatError, and OSError when the disk does not give the file.
    """
    try:
        return _parsed(read_small_file(marker, _MARKER_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's fault, which others report
            raise
        why = error.strerror if isinstance(error, OSError) else f"is damaged: {error}"
        raise UnreadableFormatError(
            f"{marker} {why}; so it is unknown which version of camd has used {marker.parent} "
            f"last, and camd {version} has changed nothing. If it was camd {version} or an older "
            f"one, move that file away (mv {marker} {marker}.damaged) and start camd again; else "
            "start the newer camd."
        ) from None


def _parsed(content: bytes) -> tuple[int, str]:
    """Parse a marker to its format and version. Raises ValueError and RecursionError."""
    found = json.loads(content.decode())
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    present, version = found.get("version"), found.get("written_by")
    if type(present) is not int or present < 1:
        raise ValueError("it has no version")
    if not isinstance(version, str):
        raise ValueError("it does not say who has written it")
    return present, version
