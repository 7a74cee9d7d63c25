"""The retention policy on the wire: set, shown, previewed, carried out."""

from __future__ import annotations

import attrs

from camd.api import views
from camd.api.events import RETENTION, STORAGE
from camd.rpc.params import ParamError, refuse
from camd.rpc.registry import Caller, Method, NoParams
from camd.rpc.roles import Role
from camd.storage.cleanup import Retention
from camd.storage.retention import (
    MOST_LISTED,
    CleanupPlan,
    PolicyType,
    RetentionPolicy,
    mistakes_of,
    outcome,
)


@attrs.frozen
class PolicyRequest:
    """The policy that is to be in force."""

    policy_type: PolicyType
    enabled: bool
    max_age_days: float | None = None
    max_size_gb: float | None = None


@attrs.frozen
class CleanupRequest:
    """How to clean up; `force` overrides the brake, and believes the clock."""

    force: bool = False


@attrs.define(eq=False)
class RetentionApi:
    """Handlers over retention."""

    _retention: Retention

    def methods(self) -> tuple[Method, ...]:
        """What this noun offers."""
        admin = Role.ADMIN
        return (
            Method(
                "set_retention_policy",
                admin,
                PolicyRequest,
                self.set_retention_policy,
                "Decide which recordings are removed by themselves; durable when answered.",
            ),
            Method(
                "get_retention_policy",
                admin,
                NoParams,
                self.get_retention_policy,
                "The retention policy, and what its last run did.",
                immediate=True,
            ),
            Method(
                "preview_cleanup",
                admin,
                NoParams,
                self.preview_cleanup,
                "What the policy would remove now, and what it would leave; changes nothing.",
            ),
            Method(
                "cleanup_old_files",
                admin,
                CleanupRequest,
                self.cleanup_old_files,
                "Carry the policy out once; answered with a receipt.",
            ),
        )

    async def set_retention_policy(self, caller: Caller, params: PolicyRequest) -> views.View:
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

    async def get_retention_policy(self, caller: Caller, params: NoParams) -> views.View:
        """Show the policy."""
        config, last = self._retention.config, self._retention.last
        return _policy(self._retention.policy) | {
            "interval": config.interval.total_seconds(),
            "brake_percent": config.brake_percent,
            "clock_trusted": not self._retention.doubt,
            "clock": self._retention.doubt or "trusted",
            "last_run": views.cleanup_receipt(last) if last else None,
        }

    async def preview_cleanup(self, caller: Caller, params: NoParams) -> views.View:
        """Show what would be done."""
        plan = await self._retention.preview()
        would = plan.policy.removes and not plan.braked
        message = f"{len(plan.going)} files would be removed" if would else outcome(plan, 0, 0)
        if would and plan.waiting_files:
            message += f"; {plan.waits}"
        return _plan(plan) | {
            "cleanup_executed": False,
            "files_deleted": 0,
            "space_freed": 0,
            "message": message,
            "receipt": None,
        }

    async def cleanup_old_files(self, caller: Caller, params: CleanupRequest) -> views.View:
        """Do it."""
        caller.link.hold(RETENTION)
        caller.link.hold(STORAGE)
        done = await self._retention.clean_up(caller.name, force=params.force)
        receipt = done.receipt
        return _plan(done.plan) | {
            "cleanup_executed": done.executed,
            "files_deleted": receipt.files_deleted,
            "space_freed": receipt.space_freed,
            "message": receipt.message,
            "receipt": views.cleanup_receipt(receipt),
        }


def _policy(policy: RetentionPolicy) -> views.View:
    return {
        "policy_type": policy.type.value,
        "enabled": policy.enabled,
        "max_age_days": policy.max_age_days,
        "max_size_gb": policy.max_size_gb,
    }


def _plan(plan: CleanupPlan) -> views.View:
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
            for each in plan.going[:MOST_LISTED]
        ],
        "files_to_delete": len(plan.going),
        "space_to_free": plan.freed_bytes,
        "kept": [
            {
                "filename": each.filename,
                "file_size": each.size_bytes,
                "reason": each.reason.value,
            }
            for each in plan.staying
        ],
        "files_kept": plan.staying_files,
        "total_size": plan.total_bytes,
        "share_percent": round(plan.share_percent, 2),
        "space_short": plan.short_bytes,
        "enough": plan.enough,
        "braked": plan.braked,
        "files_waiting": plan.waiting_files,
        "clock": plan.clock or "trusted",
    }
