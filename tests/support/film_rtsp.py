"""An RTSP camera that plays a film packet by packet, with sender reports that tie its tracks.

Picture and sound come from the moment at which a client joins; what is sent when is exact.
"""

from __future__ import annotations

import base64
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import media_ffmpeg as ffmpeg
import trio
from support.rtsp import GONE, Client, RtspServer

from camd.mp4.fragments import Fragment, Init, TrackRun
from camd.mp4.h26x.parameter_sets import ParameterSetKind, kind_of
from camd.mp4.h26x.sample_entry import video_header

PICTURE, SOUND = 0, 1
CLOCKS = (90_000, 48_000)
_LARGEST = 1400
_NTP_SECONDS = 3_900_000_000  # any time will do, as long as it is one


@attrs.frozen
class Unit:
    """One sample on its way: when it is sent, and when it is shown, in seconds of the film."""

    track: int
    sent: float
    shown: float
    data: bytes = attrs.field(repr=False)


def units_of(program: str, film: Path) -> tuple[Init, list[Unit]]:
    """Take a film apart, in the order in which it is sent."""
    done = ffmpeg.run(
        *(program, "-i", str(film), "-c", "copy", "-movflags"),
        *("frag_keyframe+empty_moov+default_base_moof+frag_discont", "-use_editlist", "0"),
        *("-avoid_negative_ts", "make_non_negative", "-f", "mp4", "pipe:1"),
    )
    assert done.returncode == 0, done.stderr
    init, fragments = ffmpeg.events(done.stdout)
    units = [
        unit
        for fragment in fragments
        for run in fragment.runs
        for unit in _samples(fragment, run, init)
    ]
    return init, sorted(units, key=lambda unit: unit.sent)


def _samples(fragment: Fragment, run: TrackRun, init: Init) -> Iterator[Unit]:
    track = PICTURE if run.track_id == init.video.track_id else SOUND
    time, at = run.decode_time, 0
    for chunk in run.chunks:
        place = chunk.offset - len(fragment.moof)
        for size in run.sizes[at : at + chunk.count]:
            shown = time + (run.composition[at] if run.composition else 0)
            data = fragment.mdat[place : place + size]
            yield Unit(track, time / run.timescale, shown / run.timescale, data)
            time, place, at = time + run.durations[at], place + size, at + 1


def description(init: Init) -> str:
    """Describe the tracks (RFC 6184, RFC 3640); sound is AAC of one channel at 48 kHz."""
    header = video_header(init)
    assert header is not None
    sets = [nal for nal in header.sets if kind_of(nal[0], header.codec) in ParameterSetKind]
    sprop = ",".join(base64.b64encode(nal).decode() for nal in sets)
    return "\r\n".join(
        (
            *("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=film", "c=IN IP4 0.0.0.0", "t=0 0"),
            *("m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000", "a=control:track0"),
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sprop}",
            *("m=audio 0 RTP/AVP 97", "a=rtpmap:97 mpeg4-generic/48000/1", "a=control:track1"),
            "a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;"
            "indexlength=3;indexdeltalength=3;config=1188",
            "",
        )
    )


def payloads(unit: Unit) -> Iterator[tuple[bytes, bool]]:
    """Yield what one sample's packets hold, and whether it is the last one."""
    if unit.track == SOUND:
        yield struct.pack(">HH", 16, len(unit.data) << 3) + unit.data, True
        return
    at, nals = 0, []
    while at < len(unit.data):
        size = int.from_bytes(unit.data[at : at + 4], "big")
        nals.append(unit.data[at + 4 : at + 4 + size])
        at += 4 + size
    for nal in nals:
        final = nal is nals[-1]
        if len(nal) <= _LARGEST:
            yield nal, final
            continue
        for begin in range(1, len(nal), _LARGEST):
            end = begin + _LARGEST >= len(nal)
            marks = (begin == 1) << 7 | end << 6
            piece = nal[begin : begin + _LARGEST]
            yield bytes((nal[0] & 0xE0 | 28, marks | nal[0] & 0x1F)) + piece, final and end


@attrs.define(eq=False)
class _Player:
    """Plays a film to one client, once, from `join` seconds on."""

    units: list[Unit]
    join: float
    sends: Callable[[Unit], bool]
    stamp: Callable[[Unit], float]  # what a sample is stamped with, in seconds
    due: Callable[[float], float]  # when it is sent, by when it should be
    clocks: tuple[float, float]  # how far the wall clocks of the tracks are off
    _numbers: list[int] = attrs.field(factory=lambda: [7, 77], init=False)

    async def play(self, client: Client) -> None:
        began = trio.current_time() - self.join
        with contextlib.suppress(*GONE):
            for track, clock in enumerate(CLOCKS):
                stamp = round(self.join * clock) + 1000
                seconds = round(_NTP_SECONDS + self.clocks[track]) & 0xFFFF_FFFF
                report = (0x80, 200, 6, track + 1, seconds, 0, stamp, 1, 1)
                await _send(client, track, struct.pack(">BBHIIIIII", *report), control=1)
            for unit in self.units:
                if unit.sent < self.join or not self.sends(unit):
                    continue
                await trio.sleep_until(began + self.due(unit.sent))
                for payload, marker in payloads(unit):
                    await _send(client, unit.track, self._packet(unit, payload, marker))

    def _packet(self, unit: Unit, payload: bytes, marker: bool) -> bytes:
        number, self._numbers[unit.track] = self._numbers[unit.track], self._numbers[unit.track] + 1
        stamp = (round(self.stamp(unit) * CLOCKS[unit.track]) + 1000) & 0xFFFF_FFFF
        kind = marker << 7 | 96 + unit.track
        return struct.pack(">BBHII", 0x80, kind, number & 0xFFFF, stamp, unit.track + 1) + payload


async def _send(client: Client, track: int, packet: bytes, control: int = 0) -> None:
    if track in client.channels:
        head = b"$" + bytes((client.channels[track] + control,)) + struct.pack(">H", len(packet))
        await client.send(head + packet)


@attrs.define(eq=False)
class FilmServer(RtspServer):
    """Serves a film that begins for every client at the same second."""

    player: Callable[[], _Player] = attrs.field(kw_only=True)

    async def _answer(self, client: Client, request: str) -> None:
        was = client.playing
        await super()._answer(client, request)
        if client.playing and not was:
            assert self.nursery is not None
            self.nursery.start_soon(self.player().play, client)


@asynccontextmanager
async def open_film_server(
    program: str,
    film: Path,
    *,
    join: float = 0.0,
    sends: Callable[[Unit], bool] = lambda unit: True,
    stamp: Callable[[Unit], float] = lambda unit: unit.shown,
    due: Callable[[float], float] = lambda at: at,
    clocks: tuple[float, float] = (0.0, 0.0),
    sound: str = "mpeg4-generic/48000/1",
) -> AsyncIterator[FilmServer]:
    """Serve `film` from `join` seconds on while the block runs; `sends` leaves samples out.

    `sound` is what the description calls the sound's codec.
    """
    init, units = await trio.to_thread.run_sync(units_of, program, film)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    server = FilmServer(port, player=lambda: _Player(units, join, sends, stamp, due, clocks))
    server.sdp = description(init).replace("mpeg4-generic/48000/1", sound)
    async with trio.open_nursery() as nursery:
        server.nursery = nursery
        server._serve(listeners)
        yield server
        nursery.cancel_scope.cancel()
