"""The recordings volume on the wire."""

from __future__ import annotations

import attrs

from camd.api import views
from camd.rpc.registry import Caller, Method, NoParams
from camd.rpc.roles import Role
from camd.storage.actor import Storage


@attrs.define(eq=False)
class StorageApi:
    """Handlers over storage."""

    _storage: Storage

    def methods(self) -> tuple[Method, ...]:
        """What this noun offers."""
        return (
            Method(
                "get_storage_info",
                Role.ADMIN,
                NoParams,
                self.get_storage_info,
                "Space, thresholds, promises and a forecast for the recordings volume.",
                immediate=True,
            ),
        )

    async def get_storage_info(self, caller: Caller, params: NoParams) -> views.View:
        """Describe the volume, as of the last sample."""
        return views.storage(self._storage.status)
