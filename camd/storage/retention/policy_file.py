"""The retention policy in the state folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from camd.runtime.state_file import StateFile
from camd.storage.rules.retention_plan import PolicyType, RetentionPolicy, mistakes_of

POLICY_FILE = "retention.json"


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """The policy as stored in its file."""

    policy_type: PolicyType
    enabled: bool
    max_age_days: float | None = None
    max_size_gb: float | None = None


def load_policy(state_dir: Path) -> RetentionPolicy:
    """Read the policy. Blocks. A missing or unreadable one removes nothing."""
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
