"""Fields of the recordings volume and of the retention policy."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import Time, doc, one_of


@attrs.frozen(kw_only=True)
class SyncTimes:
    """Seconds that the latest syncs took; null while `count` is 0."""

    count: Annotated[int, doc("of syncs, at most 256")]
    latest: float | None
    median: float | None
    p95: float | None
    worst: float | None


@attrs.frozen(kw_only=True)
class StorageInfo:
    """The recordings volume; `code`, `message` and `suggestion` where its level is not normal."""

    total_space: int
    used_space: int
    available_space: int
    usage_percentage: float
    usage_percent: Annotated[float, doc("the same")]
    used_percent: Annotated[float, doc("the same")]
    recordings_size: int
    snapshots_size: int
    low_space_warning: bool
    critical_space_warning: bool
    warn_threshold: Annotated[float, doc("percent, as the other thresholds")]
    block_threshold: float
    critical_threshold: float
    threshold_status: Annotated[
        str,
        one_of(
            *("normal", "warning", "blocked", "critical"),
            *("no_inodes", "missing", "read_only", "failing", "unresponsive"),
        ),
    ]
    promised_bytes: Annotated[float, doc("reserved for running sessions")]
    seconds_until_blocked: Annotated[float | None, doc("at the present rate")]
    write_rate: Annotated[float, doc("bytes a second")]
    free_inodes: int | None
    sync_latency: SyncTimes
    pending_seconds: Annotated[float, doc("for how long the oldest operation has run")]
    slow: bool
    notes_waiting: Annotated[int, doc("that the index does not have yet")]
    notes_lost: int
    code: int | None = None
    message: str | None = None
    suggestion: str | None = None


# --- Retention.


@attrs.frozen(kw_only=True)
class PolicyInfo:
    """A retention policy."""

    policy_type: Annotated[str, one_of("age", "size", "manual")]
    enabled: bool
    max_age_days: float | None
    max_size_gb: Annotated[float | None, doc("10⁹ bytes")]


@attrs.frozen(kw_only=True)
class StoredPolicy(PolicyInfo):
    """A policy that was put in force."""

    message: str


@attrs.frozen(kw_only=True)
class CleanupInfo:
    """The receipt of a run of the retention policy."""

    began: Time
    ended: Time
    asked_by: Annotated[str, doc("`schedule` when it ran by itself")]
    policy_type: str
    rule: Annotated[str, doc("in words")]
    files_planned: int
    files_deleted: int
    space_freed: int
    files: Annotated[tuple[str, ...], doc("that were deleted; the first thousand")]
    files_skipped: Annotated[int, doc("in use or pinned meanwhile, or the disk failed")]
    files_kept: Annotated[int, doc("that the policy would take and must not")]
    space_short: Annotated[int, doc("how much more than the policy allows is left")]
    stopped_by_limit: Annotated[bool, doc("by `max_delete_percent`")]
    complete: Annotated[bool, doc("false: it was stopped")]
    message: str


@attrs.frozen(kw_only=True)
class RetentionState(PolicyInfo):
    """The retention policy in force, and its last run."""

    interval: Annotated[float, doc("seconds between two runs")]
    max_delete_percent: float
    clock_trusted: bool
    clock: Annotated[str, doc("`trusted`, or why not")]
    last_run: CleanupInfo | None


@attrs.frozen(kw_only=True)
class PlannedFile:
    """A recording that a cleanup would remove."""

    filename: str
    file_size: int
    camera_id: str
    start_time: Time
    reason: str


@attrs.frozen(kw_only=True)
class KeptFile:
    """A recording that the policy would remove, and why it is kept."""

    filename: str
    file_size: int
    reason: Annotated[str, one_of("pinned", "busy", "interrupted", "clock")]


@attrs.frozen(kw_only=True)
class CleanupReport:
    """What a cleanup would do, or has done."""

    policy: PolicyInfo
    files: Annotated[tuple[PlannedFile, ...], doc("the first thousand")]
    files_to_delete: int
    space_to_free: int
    kept: tuple[KeptFile, ...]
    files_kept: int
    total_size: Annotated[int, doc("of all recordings")]
    share_percent: Annotated[float, doc("of them that would go")]
    space_short: Annotated[int, doc("how much more than the policy allows would be left")]
    enough: bool
    stopped_by_limit: Annotated[bool, doc("by `max_delete_percent`")]
    files_waiting: Annotated[int, doc("until the clock is trusted")]
    clock: Annotated[str, doc("`trusted`, or why not")]
    cleanup_executed: bool
    files_deleted: int
    space_freed: int
    message: str
    receipt: CleanupInfo | None
