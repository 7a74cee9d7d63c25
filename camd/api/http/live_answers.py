"""Endless answers over HTTP: fragmented MP4, and JPEGs in one multipart body (RFC 2046, 5.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import attrs
import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from camd.api.http.refused import refused_response
from camd.camera.camera import Camera
from camd.capture.consumer import CapturedFragment
from camd.clock import Clock
from camd.errors import RATE_LIMITED, SOURCE_UNAVAILABLE, Refusal
from camd.live.live_pictures import StillsWatch, pictures_of
from camd.live.live_view import LiveView, LiveViewEnd
from camd.live.rules.live_messages import JPEG
from camd.live.rules.viewer_backlog import FramesLost
from camd.live.viewer_counts import WHEN_TOO_MANY, TooManyViewersError
from camd.model.problems import NO_PICTURE_YET
from camd.mp4.fragments import Init
from camd.mp4.movies.codec_string import mime_type
from camd.snapshots.snapshots import Still

START_SECONDS = 20.0  # for the first picture of a camera that has to be started
_BOUNDARY = "camd-picture"


@attrs.define(eq=False)
class EndlessBody:
    """The body of one answer. `scope` is cancelled at its end, or when it does not begin in time.

    The answer begins with its first bytes, so that until then it can be a refusal.
    """

    send: Send
    media_type: str
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    started: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.scope.deadline = trio.current_time() + START_SECONDS

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises OSError when the client has disconnected, or does not read."""
        if not self.started:
            self.started, self.scope.deadline = True, float("inf")
            headers = [
                (b"content-type", self.media_type.encode("ascii")),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
            ]
            await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def close(self) -> None:
        """End a body that has begun."""
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


class LiveAnswer(Protocol):
    """What is sent to one client."""

    camera: Camera
    problem: LiveViewEnd | None  # why it ended
    media_type: str

    async def run(self, body: EndlessBody) -> None:
        """Write the body until the scope of the body is cancelled."""


class LiveResponse(Response):
    """Counts a viewer, and sends an answer to it until it leaves."""

    def __init__(
        self, answer: LiveAnswer, admitted: Callable[[], AbstractContextManager[None]]
    ) -> None:
        super().__init__()
        self._answer, self._admitted = answer, admitted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what comes; a refusal where nothing does."""
        try:
            with self._admitted():
                refusal = await self._stream(receive, send)
        except TooManyViewersError as error:
            refusal = Refusal(
                RATE_LIMITED, str(error), suggestion=WHEN_TOO_MANY, retry_after_ms=1000
            )
        if refusal is not None:
            await refused_response(refusal)(scope, receive, send)

    async def _stream(self, receive: Receive, send: Send) -> Refusal | None:
        """Send until the answer is over or the client leaves; return why nothing was sent."""
        answer, left = self._answer, trio.CancelScope()
        body = EndlessBody(send, answer.media_type)
        with left:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_left, receive, left)
                with body.scope:
                    await answer.run(body)
                nursery.cancel_scope.cancel()
        if left.cancelled_caught:
            return None
        if not body.started:
            return _unavailable(answer)
        await body.close()
        return None


async def _cancel_when_left(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _unavailable(answer: LiveAnswer) -> Refusal:
    none = LiveViewEnd(NO_PICTURE_YET.kind, NO_PICTURE_YET.message, NO_PICTURE_YET.suggestion)
    why = answer.problem or none
    return Refusal(
        SOURCE_UNAVAILABLE,
        why.message,
        suggestion=why.suggestion,
        camera_id=answer.camera.camera_id,
        cause=why.cause,
    )


@attrs.define(eq=False)
class LiveMp4Answer:
    """The camera's own stream, to the end of its capture."""

    camera: Camera
    is_present: Callable[[], bool]
    clock: Clock = attrs.field(kw_only=True)
    problem: LiveViewEnd | None = attrs.field(default=None, init=False)
    media_type: str = attrs.field(default="video/mp4", init=False)
    _body: EndlessBody | None = attrs.field(default=None, init=False)

    async def run(self, body: EndlessBody) -> None:
        """Write header and fragments."""
        self._body = body
        await LiveView(self.camera, self.is_present, self, clock=self.clock).run()

    async def begin(self, init: Init, first: CapturedFragment) -> None:
        """Write the header; another one cannot follow."""
        assert self._body is not None
        if self._body.started:
            await self._over()
        await self._body.write(init.ftyp + init.moov)

    async def take(self, init: Init, fragments: Sequence[CapturedFragment]) -> None:
        """Write fragments."""
        assert self._body is not None
        boxes = ((each.fragment.moof, each.fragment.mdat) for each in fragments)
        await self._body.write(b"".join(data for pair in boxes for data in pair))

    async def skipped(self, lost: FramesLost) -> None:
        """Leave frames out: the time stamps say so."""

    async def clock_set(self, init: Init, following: CapturedFragment) -> None:
        """Go on: the time stamps are not those of the wall clock."""

    async def ended(self, why: LiveViewEnd) -> None:
        """End the answer."""
        self.problem = why
        await self._over()

    async def _over(self) -> None:
        assert self._body is not None
        self._body.scope.cancel()
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class MultipartAnswer:
    """The pictures of an MJPEG camera, as they arrive; of another camera, stills."""

    camera: Camera
    is_present: Callable[[], bool]
    take_still: Callable[[], Awaitable[Still]]
    clock: Clock = attrs.field(kw_only=True)
    problem: LiveViewEnd | None = attrs.field(default=None, init=False)
    media_type: str = attrs.field(
        default=f"multipart/x-mixed-replace; boundary={_BOUNDARY}", init=False
    )
    _body: EndlessBody | None = attrs.field(default=None, init=False)
    _own: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)  # pictures

    async def run(self, body: EndlessBody) -> None:
        """Write pictures; stills, when the camera turns out to send video."""
        self._body = body
        with self._own:
            await LiveView(self.camera, self.is_present, self, clock=self.clock).run()
        if self._own.cancelled_caught:
            await StillsWatch(self.take_still, self.is_present, self).run()

    async def begin(self, init: Init, first: CapturedFragment) -> None:
        """Look whether the camera sends pictures."""
        if mime_type(init) != JPEG:
            self._own.cancel()
            await trio.lowlevel.checkpoint()

    async def take(self, init: Init, fragments: Sequence[CapturedFragment]) -> None:
        """Write the pictures."""
        for captured in fragments:
            for picture in pictures_of(captured):
                await self._write(picture)

    async def still(self, still: Still) -> None:
        """Write a still."""
        await self._write(still.picture)

    async def _write(self, picture: bytes) -> None:
        assert self._body is not None
        head = f"--{_BOUNDARY}\r\nContent-Type: {JPEG}\r\nContent-Length: {len(picture)}\r\n\r\n"
        await self._body.write(b"".join((head.encode("ascii"), picture, b"\r\n")))

    async def skipped(self, lost: FramesLost) -> None:
        """Leave pictures out."""

    async def clock_set(self, init: Init, following: CapturedFragment) -> None:
        """Go on: pictures have no times."""

    async def ended(self, why: LiveViewEnd) -> None:
        """Keep the last picture, and wait for the camera; refuse where there was none."""
        assert self._body is not None
        self.problem = why
        if not self._body.started or not self.is_present():
            self._body.scope.cancel()
            await trio.lowlevel.checkpoint()
