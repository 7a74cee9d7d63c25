"""A viewer at a WebSocket: the messages of `camd.live.1`, and the footage between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs
import trio

from camd.capture.consumer import CapturedFragment
from camd.live.live_pictures import pictures_of
from camd.live.live_view import REMOVED, LiveViewEnd
from camd.live.rules.live_messages import (
    JPEG,
    MediaMoment,
    Sound,
    ViewerRequest,
    WayToWatch,
    clock_message,
    ended_message,
    init_message,
    pictures_message,
    read_request,
    skipped_message,
)
from camd.live.rules.muted_fragments import MutedFragments
from camd.live.rules.sound_presence import SoundPresence
from camd.live.rules.viewer_backlog import FramesLost
from camd.live.viewer_counts import AdmittedViewer
from camd.mp4.fragments import Fragment, Init
from camd.mp4.moov import init_without_sound
from camd.mp4.movies.codec_string import mime_type
from camd.snapshots.snapshots import Still

NORMAL = 1000  # RFC 6455, 7.4.1
_WITHOUT_SOUND = (Sound.LEFT_OUT, Sound.SILENT)


class ViewerLink(Protocol):
    """The socket of a viewer."""

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while the viewer does not read."""

    async def receive(self) -> str | bytes:
        """Wait for a message."""

    def end(self, code: int, reason: str) -> None:
        """Close the socket, and cancel whoever serves it."""


class PausableView(Protocol):
    """What a viewer watches."""

    def pause(self, paused: bool = True) -> None:
        """Stop, or go on."""

    async def run(self) -> None:
        """Run until the camera was removed."""


@attrs.define(eq=False)
class SocketViewer:
    """Sends what a viewer gets; `ways` are named to players that cannot play the codec.

    Without `with_sound` pictures alone are sent: a player shows them sooner, because it need not
    wait for sound. Where none comes, pictures go on without: `init` says so, at a key frame.
    Viewers of one camera share what is `muted`.
    """

    link: ViewerLink
    admitted: AdmittedViewer
    ways: Sequence[WayToWatch] = ()
    muted: MutedFragments = attrs.field(factory=MutedFragments, kw_only=True)
    with_sound: bool = attrs.field(default=True, kw_only=True)
    _pictures: bool = attrs.field(default=False, init=False)  # each binary is one
    _presence: SoundPresence = attrs.field(factory=SoundPresence, init=False)
    _sound: Sound = attrs.field(default=Sound.NONE, init=False)  # that `init` has told
    _size: tuple[int, int] | None = attrs.field(default=None, init=False)  # of the stills

    async def serve(self, watched: PausableView) -> None:
        """Watch, and do what the viewer asks for, until the camera was removed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, watched)
            await watched.run()
            nursery.cancel_scope.cancel()
        self.link.end(NORMAL, REMOVED.cause)

    async def _hear(self, watched: PausableView) -> None:
        while True:
            match read_request(await self.link.receive()):
                case ViewerRequest.PAUSE:
                    watched.pause()
                case ViewerRequest.RESUME:
                    watched.pause(False)
                case None:
                    pass

    async def begin(self, init: Init, first: CapturedFragment) -> None:
        """Describe the stream; of video, send its header."""
        self._pictures = mime_type(init) == JPEG
        self._sound = self._sound_of(init)
        whole = None if self._sound is Sound.NONE else mime_type(init)
        if self._sound in _WITHOUT_SOUND:
            init = init_without_sound(init)
        moment = MediaMoment.of(init, first)
        await self.link.send(init_message(init, moment, self.ways, self._sound, whole))
        if not self._pictures:
            await self._send(init.ftyp + init.moov)

    async def take(self, init: Init, fragments: Sequence[CapturedFragment]) -> None:
        """Send fragments as one binary, or each picture as one."""
        if self._pictures:
            for captured in fragments:
                for picture in pictures_of(captured):
                    await self._send(picture)
            return
        together: list[CapturedFragment] = []
        for each in fragments:
            self._presence.note(each.fragment)
            if each.fragment.starts_with_sync and self._sound is not self._sound_of(init):
                await self._send_boxes(together)
                await self.begin(init, each)
                together = []
            together.append(each)
        await self._send_boxes(together)

    def _sound_of(self, init: Init) -> Sound:
        if init.audio is None or self._pictures:
            return Sound.NONE
        if not self.with_sound:
            return Sound.LEFT_OUT
        return Sound.SENT if self._presence.present else Sound.SILENT

    async def _send_boxes(self, fragments: Sequence[CapturedFragment]) -> None:
        parts = self._boxes_without_sound if self._sound in _WITHOUT_SOUND else _boxes
        if data := b"".join(part for each in fragments for part in parts(each.fragment)):
            await self._send(data)

    def _boxes_without_sound(self, fragment: Fragment) -> tuple[bytes, ...]:
        pictures = self.muted.of(fragment)
        return () if pictures is None else _boxes(pictures)

    async def _send(self, data: bytes) -> None:
        await self.link.send(data)
        self.admitted.count_sent(len(data))

    async def skipped(self, lost: FramesLost) -> None:
        """Tell what was left out."""
        self.admitted.count_skipped(lost.frames)
        await self.link.send(skipped_message(lost.frames, lost.seconds))

    async def clock_set(self, init: Init, following: CapturedFragment) -> None:
        """Tell the wall time of what follows."""
        await self.link.send(clock_message(MediaMoment.of(init, following)))

    async def ended(self, why: LiveViewEnd) -> None:
        """Tell why nothing comes."""
        self._size = None
        await self.link.send(ended_message(why.cause, why.message, why.suggestion))

    async def still(self, still: Still) -> None:
        """Send a picture; before the first one, its size."""
        size = still.width, still.height
        if size != self._size:
            self._size = size
            await self.link.send(pictures_message(*size, MediaMoment(still.time, 0.0)))
        await self._send(still.picture)


def _boxes(fragment: Fragment) -> tuple[bytes, ...]:
    return fragment.moof, fragment.mdat
