"""What retention leaves on disk: the policy in the state folder, and a line for each cleanup.

`cleanups.jsonl` stands beside the index: one JSON object a line, only ever appended, durable.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import msgspec

from camd.model import CleanupReceipt
from camd.runtime.state_file import StateFile
from camd.storage.disk import Disk, DiskFile
from camd.storage.rules.retention_plan import PolicyType, RetentionPolicy, mistakes_of

POLICY_FILE = "retention.json"
RECEIPTS = "cleanups.jsonl"


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """The policy as it stands in its file."""

    policy_type: PolicyType
    enabled: bool
    max_age_days: float | None = None
    max_size_gb: float | None = None


def load_policy(state_dir: Path) -> RetentionPolicy:
    """Read the policy. Blocks. One that is not there, or not understood, removes nothing."""
    return _policy_file(state_dir).load() or RetentionPolicy()


def save_policy(state_dir: Path, policy: RetentionPolicy) -> None:
    """Store the policy durably. Blocks. Raises OSError."""
    _policy_file(state_dir).save(policy)


def _policy_file(state_dir: Path) -> StateFile[RetentionPolicy]:
    return StateFile(state_dir / POLICY_FILE, _parse, _render, mode=0o600)


def _parse(text: str) -> RetentionPolicy:
    stored = msgspec.json.decode(text, type=_Stored)  # its errors are ValueErrors
    policy = RetentionPolicy(
        stored.policy_type, stored.enabled, stored.max_age_days, stored.max_size_gb
    )
    if mistakes := mistakes_of(policy):
        raise ValueError("; ".join(f"{field} {sentence}" for field, sentence in mistakes))
    return policy


def _render(policy: RetentionPolicy) -> str:
    stored = _Stored(policy.type, policy.enabled, policy.max_age_days, policy.max_size_gb)
    return msgspec.json.encode(stored).decode() + "\n"


def append_receipt(disk: Disk, folder: Path, receipt: CleanupReceipt) -> None:
    """Write a receipt behind the others in `folder`; durable when this returns. Raises OSError.

    A line that a crash has torn stays, and the next one begins on a line of its own.
    """
    file = _opened(disk, folder)
    try:
        size = file.size()
        file.truncate(size)  # cuts nothing: it moves the position to the end
        torn = size > 0 and file.read(size - 1, 1) != b"\n"
        line = msgspec.json.encode(attrs.asdict(receipt)) + b"\n"
        file.append([b"\n" * torn, line])
        file.sync()
    finally:
        file.close()


def _opened(disk: Disk, folder: Path) -> DiskFile:
    path = folder / RECEIPTS
    if RECEIPTS in disk.names(folder):
        return disk.open(path)
    file = disk.create(path)
    try:
        disk.sync_directory(folder)
    except OSError:
        file.close()
        raise
    return file
