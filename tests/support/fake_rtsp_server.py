"""A small RTSP server (RFC 2326) that relays what an FFmpeg sends it by RTP, over TCP.

It can also fail as cameras do: refuse a request, send nothing, close the connection, disappear.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing
from support import ffmpeg_media as ffmpeg

from camd.mp4.fragments import Fragment, Init, TrackRun
from camd.mp4.h26x.parameter_sets import ParameterSetKind, kind_of
from camd.mp4.h26x.sample_entry import video_header

PLAYER = "-v error -nostdin -re -stream_loop -1 -i"
MARKER = 0x80  # in an RTP packet's second byte: the last packet of a picture (RFC 6184, 5.1)
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define(eq=False)
class Client:
    """A connection, with the channels of its tracks."""

    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    turn: trio.Lock = attrs.field(factory=trio.Lock)
    channels: dict[int, int] = attrs.field(factory=dict)
    ports: dict[int, int] = attrs.field(factory=dict)  # that take a track by UDP
    playing: bool = False

    async def send(self, data: bytes) -> None:
        """Write `data` as a whole."""
        async with self.turn:
            await self.stream.send_all(data)


@attrs.define(eq=False)
class RtspServer:
    """Serves one stream at `url`; a client gets it from the present moment on."""

    port: int
    credentials: str = ""  # "user:password" asked for by Basic authentication
    query: str = ""  # what the URL ends with
    sdp: str = ""
    refusal: str = ""  # "404 Not Found": the answer to DESCRIBE
    challenge: str = 'Basic realm="clip"'  # what is asked for when credentials are
    tcp: bool = True  # whether it sends RTP over the connection
    udp: bool = False  # whether it sends RTP by UDP
    pauses: dict[str, float] = attrs.field(factory=dict)  # seconds before a method's answer
    tls: ssl.SSLContext | None = None
    mute: bool = False  # accepts connections, and answers nothing
    frozen: bool = False  # stays connected, and delivers nothing
    connections: int = 0  # so far
    wrong_passwords: int = 0  # that were tried
    refusals: int = 0  # of a transport
    transports: set[str] = attrs.field(factory=set)  # that were asked for
    clients: list[Client] = attrs.field(factory=list)
    nursery: trio.Nursery | None = None
    _listening: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _picture: trio.Lock = attrs.field(factory=trio.Lock)  # held from its first packet to its last

    @property
    def url(self) -> str:
        """The URL, with credentials."""
        user = f"{self.credentials}@" if self.credentials else ""
        secure = "s" if self.tls else ""
        return f"rtsp{secure}://{user}127.0.0.1:{self.port}/clip{self.query}"

    # --- conversation ---

    async def serve_client(self, tcp: trio.SocketStream) -> None:
        """Answer requests; after PLAY, the relay writes between the answers."""
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = tcp
        if self.tls is not None:
            stream = trio.SSLStream(tcp, self.tls, server_side=True)
        client = Client(stream)
        self.connections += 1
        self.clients.append(client)
        head = b""
        with contextlib.suppress(*GONE):
            while chunk := await stream.receive_some(65536):
                head += chunk
                while request := _next_request(head):
                    text, head = request
                    if text and not self.mute:
                        await self._answer(client, text)
        if client in self.clients:
            self.clients.remove(client)

    async def _answer(self, client: Client, request: str) -> None:
        first, *lines = request.split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        reply = [f"CSeq: {headers.get('CSeq', '0')}", "Session: 1"]
        wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        status, body = "200 OK", ""
        await trio.sleep(self.pauses.get(method, 0.0))
        if self.credentials and headers.get("Authorization") != wanted:
            self.wrong_passwords += "Authorization" in headers
            status = "401 Unauthorized"
            reply.append(f"WWW-Authenticate: {self.challenge}")
        elif self.refusal and method == "DESCRIBE":
            status = self.refusal
        elif method == "SETUP" and not (
            self.tcp if "TCP" in headers.get("Transport", "") else self.udp
        ):
            status = "461 Unsupported Transport"
            self.refusals += 1
        else:
            body = self._carry_out(client, method, target, headers.get("Transport", ""), reply)
        text = "\r\n".join([f"RTSP/1.0 {status}", *reply]) + "\r\n\r\n" + body
        await client.send(text.encode())
        if method == "PLAY" and status == "200 OK":
            async with self._picture:
                client.playing = True

    def _carry_out(
        self, client: Client, method: str, target: str, transport: str, reply: list[str]
    ) -> str:
        """Carry out a request; add to the head of the reply, and return its body."""
        match method:
            case "OPTIONS":
                reply.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            case "DESCRIBE":
                reply += ["Content-Type: application/sdp", f"Content-Length: {len(self.sdp)}"]
                return self.sdp
            case "SETUP":
                self.transports.add(transport.split(";", maxsplit=1)[0])
                if "TCP" not in transport:
                    ports = transport.partition("client_port=")[2].split(";")[0]
                    client.ports[int(target[-1])] = int(ports.split("-")[0])
                    mine = f"{self.port}-{self.port + 1}"  # nothing is sent there
                    reply.append(
                        f"Transport: RTP/AVP;unicast;client_port={ports};server_port={mine}"
                    )
                    return ""
                channels = transport.partition("interleaved=")[2].split(";")[0]
                client.channels[int(target[-1])] = int(channels.split("-")[0])
                reply.append(f"Transport: RTP/AVP/TCP;unicast;interleaved={channels}")
        return ""

    async def relay(self, rtp: trio.socket.SocketType, track: int) -> None:
        """Relay RTP packets, a picture or some sound at a time."""
        while True:
            packet = await rtp.recv(65536)
            if track:
                await self._pass_on(rtp, track, packet)
                continue
            async with self._picture:
                await self._pass_on(rtp, track, packet)
                while not packet[1] & MARKER:
                    packet = await rtp.recv(65536)
                    await self._pass_on(rtp, track, packet)

    async def _pass_on(self, rtp: trio.socket.SocketType, track: int, packet: bytes) -> None:
        """Send a packet to playing clients: framed for the channel (RFC 2326, 10.12), or by UDP."""
        for client in tuple(self.clients):
            if self.frozen or not client.playing:
                continue
            if track in client.ports:
                await rtp.sendto(packet, ("127.0.0.1", client.ports[track]))
            if track not in client.channels:
                continue
            head = b"$" + bytes((client.channels[track],)) + len(packet).to_bytes(2, "big")
            with contextlib.suppress(*GONE):
                await client.send(head + packet)

    # --- faults ---

    async def hang_up(self) -> None:
        """End every client's stream behind a whole picture, as a server that is stopped does.

        Half a picture would be in the recording, and a player would report an error.
        """
        async with self._picture:
            for client in self.clients:
                client.playing = False
                assert isinstance(client.stream, trio.SocketStream)
                with contextlib.suppress(OSError):
                    client.stream.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break every client's connection (TCP RST), as a camera that has crashed does."""
        for client in self.clients:
            client.playing = False
            linger = struct.pack("ii", 1, 0)
            assert isinstance(client.stream, trio.SocketStream)
            client.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.stream.socket.close()

    async def go_away(self) -> None:
        """Close the port and all connections, as a camera without power does."""
        self._listening.cancel()
        await self.hang_up()
        await trio.testing.wait_all_tasks_blocked()

    async def come_back(self) -> None:
        """Listen on the same port again."""
        self._serve(await trio.open_tcp_listeners(self.port, host="127.0.0.1"))

    def _serve(self, listeners: list[trio.SocketListener]) -> None:
        assert self.nursery is not None
        self._listening = trio.CancelScope()
        self.nursery.start_soon(self._listen, listeners, self._listening)

    async def _listen(self, listeners: list[trio.SocketListener], scope: trio.CancelScope) -> None:
        with scope:
            await trio.serve_listeners(self.serve_client, listeners, handler_nursery=self.nursery)


def _next_request(head: bytes) -> tuple[str, bytes] | None:
    """Take a request off `head`, or a packet ("") that a client sends; None: more is to come."""
    if head[:1] == b"$":
        end = 4 + int.from_bytes(head[2:4], "big")
        return ("", head[end:]) if len(head) >= max(4, end) else None
    request, found, rest = head.partition(b"\r\n\r\n")
    return (request.decode("latin-1"), rest) if found else None


def _with_tracks(sdp: str, *, parameters: bool) -> str:
    """Name the tracks of a description; without `parameters`, only the packets have them."""
    lines: list[str] = []
    for line in sdp.splitlines():
        if line.startswith("SDP:") or not line:
            continue
        if line.startswith("m=") and (tracks := sum(each[:2] == "m=" for each in lines)):
            lines.append(f"a=control:track{tracks - 1}")
        if not parameters and line.startswith("a=fmtp:") and "sprop" in line:
            line = line.split(" ")[0] + " packetization-mode=1"
        lines.append(line)
    tracks = sum(line.startswith("m=") for line in lines)
    return "\r\n".join([*lines, f"a=control:track{tracks - 1}"]) + "\r\n"


async def _udp() -> trio.socket.SocketType:
    rtp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    await rtp.bind(("127.0.0.1", 0))
    return rtp


@asynccontextmanager
async def open_rtsp_server(
    ffmpeg: str,
    clip: Path,
    *,
    credentials: str = "",
    codec: str = "h264",
    audio: bool = False,
    parameters: bool = True,
    **faults: Any,
) -> AsyncIterator[RtspServer]:
    """Play `clip` over and over in real time while the block runs.

    `parameters` False leaves the codec's out of the description, as some cameras do; `faults` are
    fields of the server.
    """
    tracks = [await _udp() for _ in range(2 if audio else 1)]
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = RtspServer(listeners[0].socket.getsockname()[1], credentials, **faults)
    sdp = clip.with_suffix(".sdp")
    sdp.unlink(missing_ok=True)
    ports = [rtp.getsockname()[1] for rtp in tracks]
    command = f"{ffmpeg} {PLAYER} {clip} -map 0:v -c:v copy -bsf:v {codec}_mp4toannexb"
    command += f" -sdp_file {sdp} -f rtp rtp://127.0.0.1:{ports[0]}"
    if audio:
        command += f" -map 0:a -c:a copy -f rtp rtp://127.0.0.1:{ports[1]}"
    player = await trio.lowlevel.open_process(command.split())
    try:
        async with trio.open_nursery() as nursery:
            server.nursery = nursery
            with trio.fail_after(300):
                # Another program writes it, so there is nothing to wait for but the file.
                while not (sdp.exists() and sdp.read_text().count("m=") == len(tracks)):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            server.sdp = _with_tracks(sdp.read_text(), parameters=parameters)
            for number, rtp in enumerate(tracks):
                nursery.start_soon(server.relay, rtp, number)
            server._serve(listeners)
            yield server
            nursery.cancel_scope.cancel()
    finally:
        player.kill()
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await player.wait()
        for rtp in tracks:
            rtp.close()


# --- a stream, packet by packet -------------------------------------------------------


PICTURE, SOUND = 0, 1
CLOCKS = (90_000, 48_000)
_LARGEST = 1400
_NTP_SECONDS = 3_900_000_000  # any time will do, as long as it is one


@attrs.frozen
class Unit:
    """One sample on its way: when it is sent, and when it is shown, in seconds of the stream."""

    track: int
    sent: float
    shown: float
    data: bytes = attrs.field(repr=False)


def units_of(program: str, clip: Path) -> tuple[Init, list[Unit]]:
    """Read a file's samples, in the order in which they are sent."""
    done = ffmpeg.run(
        *(program, "-i", str(clip), "-c", "copy", "-movflags"),
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
            *("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=clip", "c=IN IP4 0.0.0.0", "t=0 0"),
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
class StreamPlayer:
    """Sends the stream to one client, once, from `join` seconds on."""

    units: list[Unit]
    join: float
    sends: Callable[[Unit], bool]
    stamp: Callable[[Unit], float]  # what a sample is stamped with, in seconds
    due: Callable[[float], float]  # when it is sent, by when it should be
    clocks: tuple[float, float]  # how far the wall clocks of the tracks are off
    began: float = attrs.field(default=0.0, init=False)  # on trio's clock: second 0 of the stream
    sent: list[Unit] = attrs.field(factory=list, init=False)  # so far
    _numbers: list[int] = attrs.field(factory=lambda: [7, 77], init=False)

    async def play(self, client: Client) -> None:
        self.began = trio.current_time() - self.join
        with contextlib.suppress(*GONE):
            for track, clock in enumerate(CLOCKS):
                stamp = round(self.join * clock) + 1000
                seconds = round(_NTP_SECONDS + self.clocks[track]) & 0xFFFF_FFFF
                report = (0x80, 200, 6, track + 1, seconds, 0, stamp, 1, 1)
                await _send(client, track, struct.pack(">BBHIIIIII", *report), control=1)
            for unit in self.units:
                if unit.sent < self.join or not self.sends(unit):
                    continue
                await trio.sleep_until(self.began + self.due(unit.sent))
                for payload, marker in payloads(unit):
                    await _send(client, unit.track, self._packet(unit, payload, marker))
                self.sent.append(unit)

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
class StreamRtspServer(RtspServer):
    """Serves a stream that begins for every client at the same second."""

    player: Callable[[], StreamPlayer] = attrs.field(kw_only=True)
    players: list[StreamPlayer] = attrs.field(factory=list, init=False)  # one for each client

    async def _answer(self, client: Client, request: str) -> None:
        was = client.playing
        await super()._answer(client, request)
        if client.playing and not was:
            assert self.nursery is not None
            self.players.append(self.player())
            self.nursery.start_soon(self.players[-1].play, client)


@asynccontextmanager
async def open_stream_server(
    program: str,
    clip: Path,
    *,
    join: float = 0.0,
    sends: Callable[[Unit], bool] = lambda unit: True,
    stamp: Callable[[Unit], float] = lambda unit: unit.shown,
    due: Callable[[float], float] = lambda at: at,
    clocks: tuple[float, float] = (0.0, 0.0),
    sound: str = "mpeg4-generic/48000/1",
) -> AsyncIterator[StreamRtspServer]:
    """Serve `clip` from `join` seconds on while the block runs; `sends` leaves samples out.

    `sound` is what the description calls the sound's codec.
    """
    init, units = await trio.to_thread.run_sync(units_of, program, clip)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    server = StreamRtspServer(
        port, player=lambda: StreamPlayer(units, join, sends, stamp, due, clocks)
    )
    server.sdp = description(init).replace("mpeg4-generic/48000/1", sound)
    async with trio.open_nursery() as nursery:
        server.nursery = nursery
        server._serve(listeners)
        yield server
        nursery.cancel_scope.cancel()
