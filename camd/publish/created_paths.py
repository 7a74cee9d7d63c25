"""The paths that camd has added to the server's configuration, kept over restarts of camd.

Only what stands here is ever removed from the server.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.runtime.state_file import StateFile, from_json

log = structlog.get_logger("camd.publish")

MADE_PATHS_FILE = "mediamtx_paths.json"
VERSION = 1
MOST_PATHS = 1024


@attrs.frozen
class CreatedPathsState:
    """The file's content."""

    version: int = VERSION
    paths: tuple[str, ...] = ()
    server: str = ""  # its control API; "": not known


def parse_made_paths(text: str) -> CreatedPathsState:
    """Parse the file's text strictly. Raises ValueError."""
    state = from_json(text, CreatedPathsState, version=VERSION)
    if len(state.paths) > MOST_PATHS:
        raise ValueError(f"paths: must be a list of at most {MOST_PATHS}")
    return state


@attrs.define(eq=False)
class MadePaths:
    """The names, in memory and in a file. What the disk refuses is still known in memory.

    They are those of one server: what the file says of another one is not taken over.
    """

    _file: StateFile[CreatedPathsState]
    _server: str = ""
    _names: set[str] = attrs.field(factory=set, init=False)
    _limiter: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )

    @classmethod
    def on_disk(cls, state_dir: Path, *, server: str = "") -> MadePaths:
        """Keep the names in a file of this folder; `server` is the server's control API."""
        return cls(StateFile(state_dir / MADE_PATHS_FILE, parse_made_paths), server)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @property
    def names(self) -> frozenset[str]:
        """All names."""
        return frozenset(self._names)

    async def load(self) -> None:
        """Read the file."""
        found = await trio.to_thread.run_sync(
            self._file.load, limiter=self._limiter, abandon_on_cancel=True
        )
        same = found is not None and found.server in ("", self._server)
        self._names = set(found.paths) if found is not None and same else set()

    async def add(self, name: str) -> None:
        """Store a name before its path is added: so a crash in between leaves no path behind."""
        if name not in self._names and len(self._names) < MOST_PATHS:
            self._names.add(name)
            await self._save()

    async def remove(self, name: str) -> None:
        """Forget a name: its path is removed."""
        if name in self._names:
            self._names.remove(name)
            await self._save()

    async def _save(self) -> None:
        state = CreatedPathsState(paths=tuple(sorted(self._names)), server=self._server)
        try:
            await trio.to_thread.run_sync(
                self._file.save, state, limiter=self._limiter, abandon_on_cancel=True
            )
        except OSError as error:
            log.error("made_paths_not_saved", error=str(error))
