"""The API methods of retention: the policy, cleanups, and pins and removal of single files."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import attrs

from camd.api import result_fields
from camd.api.event_publisher import RETENTION, STORAGE
from camd.api.recording_methods import ByFilename
from camd.clock import Clock
from camd.contract.recording_results import DeletedFile, PinnedRecording
from camd.contract.result_types import Time, doc
from camd.contract.storage_results import CleanupReport, RetentionState, StoredPolicy
from camd.errors import ParamMistake, invalid_params
from camd.rpc.registry import Caller, NoParams, method
from camd.rpc.roles import Role
from camd.storage.removal import Pin
from camd.storage.retention.cleanup import Retention
from camd.storage.rules.retention_plan import (
    MAX_LISTED,
    CleanupPlan,
    PolicyType,
    RetentionPolicy,
    describe_run,
    mistakes_of,
)
from camd.storage.storage import Storage


@attrs.frozen
class PolicyRequest:
    """A policy to put in force."""

    policy_type: Annotated[PolicyType, doc("by what recordings are chosen; manual: by nothing")]
    enabled: Annotated[bool, doc("false: nothing is removed by itself")]
    max_age_days: Annotated[float | None, doc("needed with age")] = None
    max_size_gb: Annotated[float | None, doc("needed with size; 10⁹ bytes")] = None


@attrs.frozen
class CleanupRequest:
    """How to clean up."""

    force: Annotated[
        bool, doc("ignore `retention.max_delete_percent`, and trust the wall clock")
    ] = False


@attrs.define(eq=False)
class RetentionApi:
    """Methods of the retention policy."""

    _retention: Retention

    @method(role=Role.ADMIN, result=StoredPolicy)
    async def set_retention_policy(
        self, caller: Caller, params: PolicyRequest
    ) -> result_fields.View:
        """Set the policy by which recordings are removed automatically.

        The answer comes when the policy is durable.
        """
        policy = RetentionPolicy(
            params.policy_type, params.enabled, params.max_age_days, params.max_size_gb
        )
        if mistakes := mistakes_of(policy):
            raise invalid_params(*(ParamMistake(field, sentence) for field, sentence in mistakes))
        caller.link.hold(RETENTION)
        await self._retention.set_policy(policy)
        state = "enabled" if policy.enabled else "disabled"
        message = f"Retention policy {policy.type.value} is stored and {state}: {policy.rule}"
        return _policy(policy) | {"message": message}

    @method(role=Role.ADMIN, result=RetentionState, immediate=True)
    async def get_retention_policy(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Describe the retention policy and its last run."""
        config, last = self._retention.config, self._retention.last
        return _policy(self._retention.policy) | {
            "interval": config.interval.total_seconds(),
            "max_delete_percent": config.max_delete_percent,
            "clock_trusted": not self._retention.doubt,
            "clock": self._retention.doubt or "trusted",
            "last_run": result_fields.cleanup_receipt(last) if last else None,
        }

    @method(role=Role.ADMIN, result=CleanupReport)
    async def preview_cleanup(self, caller: Caller, params: NoParams) -> result_fields.View:
        """List what the retention policy would remove and keep now; changes nothing."""
        plan = await self._retention.preview()
        would = plan.policy.removes and not plan.stopped_by_limit
        message = (
            f"{len(plan.to_delete)} files would be removed" if would else describe_run(plan, 0, 0)
        )
        if would and plan.waiting_files:
            message += f"; {plan.waits}"
        return _plan(plan) | {
            "cleanup_executed": False,
            "files_deleted": 0,
            "space_freed": 0,
            "message": message,
            "receipt": None,
        }

    @method(role=Role.ADMIN, result=CleanupReport)
    async def cleanup_old_files(self, caller: Caller, params: CleanupRequest) -> result_fields.View:
        """Run the retention policy once; the answer is a receipt."""
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
            for each in plan.to_delete[:MAX_LISTED]
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

MAX_REASON_CHARACTERS = 1000


@attrs.frozen
class PinRequest:
    """Which file to keep, why, and until when."""

    filename: Annotated[str, doc("its name, without a folder")]
    reason: Annotated[str, doc("for people")] = ""
    until: Annotated[Time | None, doc("without it, for ever")] = None

    def pin(self, by: str, since: datetime) -> Pin:
        """Return the pin. Raises Refusal when it would have no effect."""
        if len(self.reason) > MAX_REASON_CHARACTERS:
            raise invalid_params(
                ParamMistake("reason", f"must have at most {MAX_REASON_CHARACTERS} characters")
            )
        if self.until is not None and self.until <= since:
            raise invalid_params(ParamMistake("until", "must be in the future"))
        return Pin(self.reason, by, since, self.until)


@attrs.define(eq=False)
class FilesApi:
    """Methods of single files."""

    _storage: Storage
    _clock: Clock = attrs.field(kw_only=True)

    @method(role=Role.OPERATOR, result=DeletedFile)
    async def delete_recording(self, caller: Caller, params: ByFilename) -> result_fields.View:
        """Remove a recorded file; refused while it is recorded, read or pinned."""
        caller.link.hold(STORAGE)
        removal = await self._storage.remove_one(params.filename, f"{caller.name} asked for it")
        return {
            "filename": removal.filename,
            "deleted": True,
            "message": f"{removal.filename} is removed",
            "space_freed": removal.freed_bytes,
        }

    @method(role=Role.OPERATOR, result=PinnedRecording)
    async def pin_recording(self, caller: Caller, params: PinRequest) -> result_fields.View:
        """Protect a recorded file from removal, without limit or until a time.

        Replaces an older pin; the answer comes when the pin is durable.
        """
        pin = params.pin(caller.name, self._clock.now())
        segment = await self._storage.pin(params.filename, pin)
        return result_fields.stored(segment, pin) | {"pin": result_fields.pin(pin)}

    @method(role=Role.OPERATOR, result=PinnedRecording)
    async def unpin_recording(self, caller: Caller, params: ByFilename) -> result_fields.View:
        """Remove the pin of a recorded file, if it has one."""
        segment = await self._storage.unpin(params.filename)
        return result_fields.stored(segment, None) | {"pin": None}
