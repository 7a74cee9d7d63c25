"""Methods of events: what is kept, and which of them a connection gets."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.api import result_fields
from camd.api.event_publisher import TOPICS, about_camera, topic_named
from camd.camera.cameras import Cameras
from camd.contract.event_results import EventPage, Subscribed, Unsubscribed
from camd.contract.result_types import doc
from camd.errors import INVALID_PARAMS, ParamMistake, Refusal, invalid_params
from camd.events.rules.event_filter import EventFilter
from camd.events.rules.history import EventHistory, HistoryPage
from camd.rpc.params import printable
from camd.rpc.registry import Caller, Notification, method
from camd.rpc.roles import Role

MAX_TOPICS = 64
MAX_ANSWER_BYTES = 1024 * 1024
MAX_NUMBER = 2**53 - 1  # every JSON reader keeps it exact
_camera = {"aliases": ("camera_id", "device")}
_number = attrs.validators.optional([attrs.validators.ge(0), attrs.validators.le(MAX_NUMBER)])
Topics = Annotated[tuple[str, ...] | None, doc("only these, see api.md; without it, all")]
OfCamera = Annotated[str | None, doc("only those about this camera")]
_few = attrs.validators.optional(attrs.validators.max_len(MAX_TOPICS))


@attrs.frozen
class EventsRequest:
    """Events behind a number; without one, the newest."""

    since: Annotated[
        int | None, doc("those with a higher `seq`, oldest first; without it, the newest")
    ] = attrs.field(default=None, validator=_number)
    topics: Topics = attrs.field(default=None, validator=_few)
    camera: OfCamera = attrs.field(default=None, metadata=_camera)
    limit: Annotated[int, doc("how many at most")] = attrs.field(
        default=100, validator=[attrs.validators.ge(1), attrs.validators.le(1000)]
    )


@attrs.frozen
class Subscription:
    """What a connection is to get; with `since`, also what it has missed."""

    topics: Topics = attrs.field(default=None, validator=_few)
    camera: OfCamera = attrs.field(default=None, metadata=_camera)
    since: Annotated[
        int | None,
        doc("the highest `seq` that the client has handled: what is behind it comes first"),
    ] = attrs.field(default=None, validator=_number)


@attrs.frozen
class Unsubscription:
    """Topics that a connection no longer gets; without them, all."""

    topics: Annotated[
        tuple[str, ...] | None, doc("those to leave out from now on; without it, all")
    ] = attrs.field(default=None, validator=_few)


@attrs.define(eq=False)
class EventsApi:
    """Handlers over the event log."""

    _cameras: Cameras
    _history: EventHistory

    @method(role=Role.VIEWER, result=EventPage, immediate=True)
    async def get_events(self, caller: Caller, params: EventsRequest) -> result_fields.View:
        """List kept events, oldest first: those behind the number `since`, else the newest.

        `last` is the `since` of the next call, `more` whether there are kept events behind it.
        `missed` counts numbers behind `since` that are not kept any more, and `oldest` is the
        lowest that is.
        """
        self._refuse_unknown_since(params.since)
        wanted, topics, warnings = await self._filter(params.topics, params.camera)
        history = self._history
        after = history.latest(wanted, params.limit) if params.since is None else params.since
        page = self._past(after, wanted, params.limit)
        return {
            "events": [{"method": each.method, "params": each.params} for each in page.events],
            "last": page.last,
            "more": page.more,
            "missed": page.missed,
            "oldest": history.oldest,
            "newest": history.newest,
            "topics": topics,
            "warnings": warnings,
        }

    @method(role=Role.VIEWER, result=Subscribed, immediate=True)
    async def subscribe_events(self, caller: Caller, params: Subscription) -> result_fields.View:
        """Choose the notifications of this connection; a connection gets all until it chooses.

        With `since`, those behind this number come first, after the answer, and then the new ones;
        none is left out between. `missed` counts numbers behind `since` that are not kept any more,
        and `oldest` is the lowest that is. What is given up while the client reads is told by the
        notification `events_missed`.
        """
        self._refuse_unknown_since(params.since)
        wanted, topics, warnings = await self._filter(params.topics, params.camera)
        caller.link.filter(wanted, params.since)
        since = params.since
        return {
            "subscribed": True,
            "topics": topics,
            "camera": params.camera,
            "since": since,
            "missed": 0 if since is None else self._history.missed(since),
            "oldest": self._history.oldest,
            "newest": self._history.newest,
            "warnings": warnings,
        }

    @method(role=Role.VIEWER, result=Unsubscribed, immediate=True)
    async def unsubscribe_events(
        self, caller: Caller, params: Unsubscription
    ) -> result_fields.View:
        """Send this connection no notifications any more, or none of these topics.

        `subscribe_events` without topics sends all again.
        """
        topics, warnings = _topics_named(params.topics)
        now = caller.link.wanted
        now = now if isinstance(now, EventFilter) else EventFilter()
        chosen = TOPICS if topics is None else topics
        caller.link.filter(attrs.evolve(now, without=now.without.union(chosen)))
        return {"unsubscribed": True, "topics": topics, "warnings": warnings}

    def _past(self, after: int, wanted: EventFilter, limit: int) -> HistoryPage:
        """List events behind a number; the one that passes MAX_ANSWER_BYTES is the last."""
        found: tuple[Notification, ...] = ()
        missed, size = 0, 0
        while True:
            room = MAX_ANSWER_BYTES - size
            page = self._history.page(after, wanted, limit=limit - len(found), max_bytes=room)
            found, missed, size = found + page.events, missed + page.missed, size + page.size
            after = page.last
            if not page.more or len(found) >= limit or size >= MAX_ANSWER_BYTES:
                return attrs.evolve(page, events=found, missed=missed, size=size)

    async def _filter(
        self, names: tuple[str, ...] | None, camera: str | None
    ) -> tuple[EventFilter, list[str] | None, list[str]]:
        """Make a filter; also give the topics that it has, and warnings. Raises Refusal."""
        topics, warnings = _topics_named(names)
        subject = None
        if camera is not None:
            subject = about_camera((await self._cameras.locate(camera)).camera_id)
        return EventFilter(None if topics is None else frozenset(topics), subject), topics, warnings

    def _refuse_unknown_since(self, since: int | None) -> None:
        newest = self._history.newest
        if since is None or since <= newest:
            return
        text = f"is {since}, but the newest event is {newest}"
        raise Refusal(
            INVALID_PARAMS,
            f"Invalid params: since {text}",
            suggestion="Leave since out: the numbers of this service began anew.",
            errors=[{"path": "since", "message": text}],
            newest=newest,
            oldest=self._history.oldest,
        )


def _topics_named(names: tuple[str, ...] | None) -> tuple[list[str] | None, list[str]]:
    """Return the topics that a client names, and warnings; None: all. Raises Refusal."""
    if not names or "*" in names:
        return None, []
    found = {name: topic_named(name) for name in names}
    unknown = [printable(name, 40) for name, topic in found.items() if topic is None]
    if len(unknown) == len(found):
        raise invalid_params(ParamMistake("topics", f"must be some of {', '.join(TOPICS)}"))
    warnings = [f"unknown topic, ignored: {name}" for name in unknown[:8]]
    return sorted({topic for topic in found.values() if topic is not None}), warnings
