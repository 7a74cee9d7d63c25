"""What happens to one recorded file, on the wire: it is pinned, unpinned, or removed."""

from __future__ import annotations

from datetime import datetime

import attrs

from camd.api import views
from camd.api.events import STORAGE
from camd.api.recordings import ByName
from camd.clock import now
from camd.rpc.params import ParamError, refuse
from camd.rpc.registry import Caller, Method
from camd.rpc.roles import Role
from camd.storage.actor import Storage
from camd.storage.keeping import FileActions
from camd.storage.pins import Pin

LONGEST_REASON = 1000


@attrs.frozen
class PinRequest:
    """Which file stays, why, and until when (for ever without it)."""

    filename: str
    reason: str = ""
    until: datetime | None = None

    def pin(self, by: str, since: datetime) -> Pin:
        """Make the pin. Raises Refusal when it would mean nothing."""
        if len(self.reason) > LONGEST_REASON:
            raise refuse([ParamError("reason", f"must have at most {LONGEST_REASON} characters")])
        if self.until is not None and self.until <= since:
            raise refuse([ParamError("until", "must be in the future")])
        return Pin(self.reason, by, since, self.until)


@attrs.define(eq=False)
class FilesApi:
    """Handlers over storage."""

    _storage: Storage

    def methods(self) -> tuple[Method, ...]:
        """What this noun offers."""
        operator = Role.OPERATOR
        return (
            Method(
                "delete_recording",
                operator,
                ByName,
                self.delete_recording,
                "Remove a recorded file; refused while it is recorded, read or pinned.",
            ),
            Method(
                "pin_recording",
                operator,
                PinRequest,
                self.pin_recording,
                "Keep a recorded file from being removed, for ever or until a time.",
            ),
            Method(
                "unpin_recording",
                operator,
                PinRequest,
                self.unpin_recording,
                "Take a recorded file's pin away.",
            ),
        )

    async def delete_recording(self, caller: Caller, params: ByName) -> views.View:
        """Remove a file; answered when it is gone for good."""
        caller.link.hold(STORAGE)
        removal = await FileActions(self._storage).remove_one(
            params.filename, f"{caller.name} asked for it"
        )
        return {
            "filename": removal.filename,
            "deleted": True,
            "message": f"{removal.filename} is removed",
            "space_freed": removal.freed_bytes,
        }

    async def pin_recording(self, caller: Caller, params: PinRequest) -> views.View:
        """Pin a file, in place of an older pin; answered when it is durable."""
        pin = params.pin(caller.name, now())
        segment = await FileActions(self._storage).pin(params.filename, pin)
        return views.stored(segment, pin) | {"pin": views.pin(pin)}

    async def unpin_recording(self, caller: Caller, params: PinRequest) -> views.View:
        """Unpin a file; fine when it is not pinned. What else was said is not looked at."""
        segment = await FileActions(self._storage).unpin(params.filename)
        return views.stored(segment, None) | {"pin": None}
