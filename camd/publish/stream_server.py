"""MediaMTX as camd sees it: its control API is asked regularly, and what it says is published."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping

import attrs
import structlog
import trio

from camd.clock import Clock
from camd.config.schema import MediaMtxConfig
from camd.model import Problem
from camd.publish.connecting import StreamServerError
from camd.publish.created_paths import MadePaths
from camd.publish.mediamtx_api import MediaMtxApi
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.api_answers import (
    MOST_PAGES,
    MediaServerInfo,
    MediaServerPath,
    MediaServerSettings,
    PathPage,
    PathSettings,
    page_target,
    path_target,
)
from camd.publish.rules.retry import CircuitBreaker
from camd.publish.rules.served_paths import PathClaim, ViewerAddresses, addresses, claim_path
from camd.runtime.broadcast import LatestValue

log = structlog.get_logger("camd.publish")

SETTINGS_SECONDS = 60.0  # for which the server's settings are taken as unchanged
# Of a path that camd makes: whoever publishes there first stays.
_MADE = {"source": "publisher", "overridePublisher": False}


@attrs.frozen
class MediaServerState:
    """What is known of the server. `problem` None: it answers, and `paths` is as of now."""

    problem: Problem | None = None
    answered: bool = False  # ever
    info: MediaServerInfo = attrs.field(factory=MediaServerInfo)
    settings: MediaServerSettings | None = None
    paths: Mapping[str, MediaServerPath] = attrs.field(factory=dict)
    path_count: int = 0

    @property
    def healthy(self) -> bool:
        """Whether it answers."""
        return self.answered and self.problem is None


@attrs.define(eq=False)
class StreamServer:
    """One server. `view` is the latest answer; `serve` keeps it up to date."""

    config: MediaMtxConfig
    _api: MediaMtxApi
    _made: MadePaths
    _wanted: Callable[[], Collection[str]]  # paths of camd's own
    _clock: Clock = attrs.field(kw_only=True)
    view: LatestValue[MediaServerState] = attrs.field(
        factory=lambda: LatestValue(MediaServerState()), init=False
    )
    breaker: CircuitBreaker = attrs.field(factory=CircuitBreaker, init=False)
    _settings_until: float = attrs.field(default=0.0, init=False)  # monotonic seconds
    _look_again: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def bases(self) -> ViewerAddresses:
        """The addresses that viewers are told."""
        view = self.view.value
        return addresses(self.config, view.settings if view.healthy else None)

    def reconfigure(self, config: MediaMtxConfig) -> None:
        """Use another configuration of the same server; see `is_another_server`."""
        self.config = config

    def look_soon(self) -> None:
        """Ask the server at once, unless the breaker is open."""
        if not self.breaker.open:
            self._look_again.set()

    async def serve(self) -> None:
        """Ask the server again and again; never returns."""
        while True:
            self._look_again = trio.Event()
            await self._look()
            with trio.move_on_after(self.breaker.pause_seconds(random.random())):
                await self._look_again.wait()

    def crashed(self) -> None:
        """Note that `serve` ended by a bug; it is started again."""
        before = self.view.value
        self.breaker.failed()
        self.view.publish(attrs.evolve(before, problem=problems.ASKING_FAILS, paths={}))

    async def _look(self) -> None:
        before = self.view.value
        try:
            view = await self._ask(before)
            await self._remove_unwanted()
        except StreamServerError as error:
            self._note_failure(error.problem)
            view = attrs.evolve(before, problem=error.problem, paths={}, path_count=0)
        else:
            self.breaker.succeeded()
        if view.problem != before.problem or view.answered != before.answered:
            _log_change(view)
        self.view.publish(view)

    async def _ask(self, before: MediaServerState) -> MediaServerState:
        info = await self._api.get("/v3/info", MediaServerInfo) or MediaServerInfo()
        settings = before.settings
        another = not before.healthy or _shown(info) != before.info
        if another or self._clock.monotonic() >= self._settings_until:
            settings = await self._api.get("/v3/config/global/get", MediaServerSettings)
            self._settings_until = self._clock.monotonic() + SETTINGS_SECONDS
        paths, count = await self._list_paths()
        return MediaServerState(None, True, _shown(info), settings, paths, count)

    async def _list_paths(self) -> tuple[dict[str, MediaServerPath], int]:
        """List all paths, up to a bound; those that are wanted are looked up beyond it."""
        found: dict[str, MediaServerPath] = {}
        pages, count = 1, 0
        for number in range(MOST_PAGES):
            page = await self._api.get(page_target(number), PathPage)
            if page is None:
                raise StreamServerError(problems.NO_API)
            found.update((path.name, path) for path in page.items)
            pages, count = page.page_count, page.item_count
            if number + 1 >= pages:
                break
        if pages > MOST_PAGES:
            for name in self._wanted():
                if name not in found and (path := await self.find_path(name)) is not None:
                    found[name] = path
        return found, max(count, len(found))

    async def find_path(self, name: str) -> MediaServerPath | None:
        """Ask for one path. Raises StreamServerError."""
        return await self._api.get(path_target("paths/get", name), MediaServerPath)

    async def prepare_path(self, name: str) -> Problem | None:
        """Make sure that camd may publish on a path; return why it must not.

        Adds the path to the server's configuration where it is not there. None also while the API
        gives no answer: then the server itself decides.
        """
        if self.breaker.open:
            return None
        try:
            claim = await self._claim(name)
            if claim is PathClaim.MISSING:
                await self._make(name)
        except StreamServerError as error:
            if not self.breaker.open:  # however many ask at once, only the trials delay the next
                self._note_failure(error.problem)
            return None
        return problems.PATH_TAKEN if claim is PathClaim.TAKEN else None

    async def _claim(self, name: str) -> PathClaim:
        settings = await self._api.get(path_target("config/paths/get", name), PathSettings)
        return claim_path(settings, await self.find_path(name))

    async def _make(self, name: str) -> None:
        await self._made.add(name)
        await self._api.post(path_target("config/paths/add", name), _MADE)
        log.info("path_added", path=name)

    async def remove_path(self, name: str) -> None:
        """Remove a path, if camd has made it. Raises StreamServerError."""
        if name in self._made:
            await self._api.delete(path_target("config/paths/delete", name))
            await self._made.remove(name)
            log.info("path_removed", path=name)

    async def _remove_unwanted(self) -> None:
        """Remove paths of cameras that are gone, also of an earlier run of camd."""
        for name in self._made.names - set(self._wanted()):
            await self.remove_path(name)

    def _note_failure(self, problem: Problem) -> None:
        self.breaker.failed()
        log.debug("server_request_failed", why=problem.message, failures=self.breaker.failures)


def _shown(info: MediaServerInfo) -> MediaServerInfo:
    """Return what may be shown to clients and in the log."""
    return MediaServerInfo(info.shown_version, info.started[:40])


def _log_change(view: MediaServerState) -> None:
    if view.problem is None:
        log.info("server_answers", version=view.info.version)
    else:
        log.warning("server_problem", why=view.problem.message, do=view.problem.suggestion)
