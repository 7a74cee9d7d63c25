"""The API methods of retention: the policy, cleanups, and pins and removal of single files."""

from __future__ import annotations

from datetime import datetime

import attrs

from camd.api import result_fields
from camd.api.event_publisher import RETENTION, STORAGE
from camd.api.recording_methods import ByName
from camd.clock import now
from camd.rpc.params import ParamError, refuse
from camd.rpc.registry import Caller, Method, NoParams
from camd.rpc.roles import Role
from camd.storage.removal import Pin
from camd.storage.retention.cleanup import Retention
from camd.storage.rules.retention_plan import (
    MOST_LISTED,
    CleanupPlan,
    PolicyType,
    RetentionPolicy,
    mistakes_of,
    outcome,
)
from camd.storage.storage import Storage


@attrs.frozen
class PolicyRequest:
    """A policy to put in force."""

    policy_type: PolicyType
    enabled: bool
    max_age_days: float | None = None
    max_size_gb: float | None = None


@attrs.frozen
class CleanupRequest:
    """How to clean up; `force` ignores max_delete_percent and trusts the wall clock."""

    force: bool = False


@attrs.define(eq=False)
class RetentionApi:
    """Methods of the retention policy."""

    _retention: Retention

    def methods(self) -> tuple[Method, ...]:
        """Return the methods."""
        admin = Role.ADMIN
        return (
            Method(
                "set_retention_policy",
                admin,
                PolicyRequest,
                self.set_retention_policy,
                "Set which recordings are removed automatically; durable when answered.",
            ),
            Method(
                "get_retention_policy",
                admin,
                NoParams,
                self.get_retention_policy,
                "The retention policy, and its last run.",
                immediate=True,
            ),
            Method(
                "preview_cleanup",
                admin,
                NoParams,
                self.preview_cleanup,
                "What the policy would remove now, and what it would keep; changes nothing.",
            ),
            Method(
                "cleanup_old_files",
                admin,
                CleanupRequest,
                self.cleanup_old_files,
                "Carry out the policy once; answered with a receipt.",
            ),
        )

    async def set_retention_policy(
        self, caller: Caller, params: PolicyRequest
    ) -> result_fields.View:
        """Put a policy in force."""
        policy = RetentionPolicy(
            params.policy_type, params.enabled, params.max_age_days, params.max_size_gb
        )
        if mistakes := mistakes_of(policy):
            raise refuse([ParamError(field, sentence) for field, sentence in mistakes])
        caller.link.hold(RETENTION)
        await self._retention.set_policy(policy)
        state = "enabled" if policy.enabled else "disabled"
        message = f"Retention policy {policy.type.value} is stored and {state}: {policy.rule}"
        return _policy(policy) | {"message": message}

    async def get_retention_policy(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Return the policy and its last run."""
        config, last = self._retention.config, self._retention.last
        return _policy(self._retention.policy) | {
            "interval": config.interval.total_seconds(),
            "max_delete_percent": config.max_delete_percent,
            "clock_trusted": not self._retention.doubt,
            "clock": self._retention.doubt or "trusted",
            "last_run": result_fields.cleanup_receipt(last) if last else None,
        }

    async def preview_cleanup(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Return what a cleanup would do."""
        plan = await self._retention.preview()
        would = plan.policy.removes and not plan.stopped_by_limit
        message = f"{len(plan.to_delete)} files would be removed" if would else outcome(plan, 0, 0)
        if would and plan.waiting_files:
            message += f"; {plan.waits}"
        return _plan(plan) | {
            "cleanup_executed": False,
            "files_deleted": 0,
            "space_freed": 0,
            "message": message,
            "receipt": None,
        }

    async def cleanup_old_files(self, caller: Caller, params: CleanupRequest) -> result_fields.View:
        """Clean up."""
        caller.link.hold(RETENTION)
        caller.link.hold(STORAGE)
        done = await self._retention.clean_up(caller.name, force=params.force)
        receipt = done.receipt
        return _plan(done.plan) | {
            "cleanup_executed": done.executed,
            "files_deleted": receipt.files_deleted,
            "space_freed": receipt.space_freed,
            "message": receipt.message,
            "receipt": result_fields.cleanup_receipt(receipt),
        }


def _policy(policy: RetentionPolicy) -> result_fields.View:
    return {
        "policy_type": policy.type.value,
        "enabled": policy.enabled,
        "max_age_days": policy.max_age_days,
        "max_size_gb": policy.max_size_gb,
    }


def _plan(plan: CleanupPlan) -> result_fields.View:
    return {
        "policy": _policy(plan.policy),
        "files": [
            {
                "filename": each.filename,
                "file_size": each.size_bytes,
                "camera_id": each.camera_id,
                "start_time": each.start,
                "reason": plan.policy.rule,
            }
            for each in plan.to_delete[:MOST_LISTED]
        ],
        "files_to_delete": len(plan.to_delete),
        "space_to_free": plan.freed_bytes,
        "kept": [
            {
                "filename": each.filename,
                "file_size": each.size_bytes,
                "reason": each.reason.value,
            }
            for each in plan.kept
        ],
        "files_kept": plan.kept_files,
        "total_size": plan.total_bytes,
        "share_percent": round(plan.share_percent, 2),
        "space_short": plan.short_bytes,
        "enough": plan.enough,
        "stopped_by_limit": plan.stopped_by_limit,
        "files_waiting": plan.waiting_files,
        "clock": plan.clock or "trusted",
    }


# --- Single files: pin, unpin, remove

LONGEST_REASON = 1000


@attrs.frozen
class PinRequest:
    """Which file to keep, why, and until when (without it, for ever)."""

    filename: str
    reason: str = ""
    until: datetime | None = None

    def pin(self, by: str, since: datetime) -> Pin:
        """Return the pin. Raises Refusal when it would have no effect."""
        if len(self.reason) > LONGEST_REASON:
            raise refuse([ParamError("reason", f"must have at most {LONGEST_REASON} characters")])
        if self.until is not None and self.until <= since:
            raise refuse([ParamError("until", "must be in the future")])
        return Pin(self.reason, by, since, self.until)


@attrs.define(eq=False)
class FilesApi:
    """Methods of single files."""

    _storage: Storage

    def methods(self) -> tuple[Method, ...]:
        """Return the methods."""
        operator = Role.OPERATOR
        return (
            Method(
                "delete_recording",
                operator,
                ByName,
                self.delete_recording,
                "Remove a recording; refused while it is being recorded, read, or pinned.",
            ),
            Method(
                "pin_recording",
                operator,
                PinRequest,
                self.pin_recording,
                "Keep a recording from being removed, for ever or until a time.",
            ),
            Method(
                "unpin_recording",
                operator,
                PinRequest,
                self.unpin_recording,
                "Remove a recording's pin.",
            ),
        )

    async def delete_recording(self, caller: Caller, params: ByName) -> result_fields.View:
        """Remove a file; answered when the removal is durable."""
        caller.link.hold(STORAGE)
        removal = await self._storage.remove_one(params.filename, f"{caller.name} asked for it")
        return {
            "filename": removal.filename,
            "deleted": True,
            "message": f"{removal.filename} is removed",
            "space_freed": removal.freed_bytes,
        }

    async def pin_recording(self, caller: Caller, params: PinRequest) -> result_fields.View:
        """Pin a file, replacing an older pin; answered when durable."""
        pin = params.pin(caller.name, now())
        segment = await self._storage.pin(params.filename, pin)
        return result_fields.stored(segment, pin) | {"pin": result_fields.pin(pin)}

    async def unpin_recording(self, caller: Caller, params: PinRequest) -> result_fields.View:
        """Unpin a file, whether it is pinned or not. Other parameters are ignored."""
        segment = await self._storage.unpin(params.filename)
        return result_fields.stored(segment, None) | {"pin": None}
