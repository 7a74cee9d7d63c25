"""A kind of source that only this file knows goes through the whole program by its class alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

import attrs
import pytest
import trio
from real_camera import REQUEST, open_real_camera
from support.ffmpeg_media import PROGRAMS, run

from camd import sources
from camd.capture.planner import CapturePlan
from camd.cli import check
from camd.config.changes import compare, merge
from camd.config.load import load_config
from camd.config.schema import Config
from camd.errors import ConfigError
from camd.ffmpeg.text.args import CaptureOptions
from camd.ffmpeg.text.encoder_table import Arguments
from camd.model import CameraState
from camd.sources import Source, SourceFinding
from camd.sources.stream_url import split_stream_url, try_tcp_port

BUNDLED = PROGRAMS[1].values[0]


@attrs.frozen
class TcpSource(Source):
    """An MPEG transport stream over TCP."""

    host: str
    port: int

    schemes = ("tcp",)
    beginnings = ("tcp://…",)

    @classmethod
    def parse(cls, text: str, folder: Path, home: Path | None) -> Self:
        """Read "tcp://host:port"."""
        parts = split_stream_url(text, "a tcp source", "tcp://host:1234")
        return cls(parts.hostname or "", parts.port or 1234)

    def input(self, options: CaptureOptions) -> Arguments:
        """Connect."""
        return ("-f", "mpegts", "-i", f"tcp://{self.host}:{self.port}")

    async def check(self) -> SourceFinding:
        """Connect, too."""
        return await try_tcp_port(self.host, self.port)


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SOURCES", (*sources.SOURCES, TcpSource))


def configured(folder: Path, *entries: str) -> Config:
    """Read a configuration with these cameras; each entry is the lines of one."""
    file = folder / "camd.toml"
    file.write_text("".join(f"[[camera]]\n{entry}\n" for entry in entries))
    return load_config(file, {})


@asynccontextmanager
async def open_server(stream: bytes = b"") -> AsyncIterator[int]:
    """Send the stream to everybody who connects, and keep the connection; yields the port."""

    async def send(connection: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # whoever knows enough goes
            await connection.send_all(stream)
            await connection.receive_some(1)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, send, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def test_it_is_read_from_a_configuration_with_what_does_not_fit_it(tmp_path: Path) -> None:
    """Its text becomes its class; keys of other kinds are mistakes; messages list it."""
    (camera,) = configured(tmp_path, 'id = "gate"\nsource = "tcp://gate.local:9"').cameras
    assert camera.source == TcpSource("gate.local", 9)
    assert (camera.device, camera.name) == ("gate", "gate")
    wrong = 'source = "tcp://h:9"\ntransport = "udp"\ntls_verify = true\ncontrols = { gain = 1 }'
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, wrong)
    assert [mistake.partition(":")[0] for mistake in caught.value.mistakes] == [
        "camera[0].controls",
        "camera[0].transport",
        "camera[0].tls_verify",
    ]
    with pytest.raises(ConfigError, match=r"file:/…, test: or tcp://…"):
        configured(tmp_path, 'source = "udp://h:9"')
    with pytest.raises(ConfigError, match="a tcp source is a URL"):
        configured(tmp_path, 'source = "tcp://"')


def test_a_reload_takes_it_in(tmp_path: Path) -> None:
    """It needs no device, so that a running service can add it, and change it."""
    one, two = 'id = "a"\nsource = "test:"', 'id = "b"\nsource = "tcp://h:9"'
    before, after = configured(tmp_path, one), configured(tmp_path, one, two)
    assert compare(before, after).applied == ("camera.b",)
    assert merge(before, after).cameras == after.cameras
    other = configured(tmp_path, one, two.replace("9", "8"))
    assert compare(after, other).applied == ("camera.b",)
    assert merge(after, other).cameras == other.cameras


async def test_the_check_asks_it(tmp_path: Path) -> None:
    """`camd check` shows what the class says; one that says nothing is not called anything else."""
    with trio.fail_after(300):
        async with open_server() as port:
            (camera,) = configured(tmp_path, f'source = "tcp://127.0.0.1:{port}"').cameras
            found = await check.inspect_source(camera)
            assert (found.grade, found.text) == (check.Grade.OK, f"127.0.0.1:{port} answers")
        assert (await check.inspect_source(camera)).grade is check.Grade.WARNING
        silent = await check.inspect_source(attrs.evolve(camera, source=Source()))
    assert (silent.grade, silent.text) == (
        check.Grade.OK,
        "its source is not looked at before a capture",
    )


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten seconds of H.264 with a key frame every half second."""
    path = tmp_path_factory.mktemp("stream") / "stream.ts"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=20", "-t", "10")
    done = run(BUNDLED, *picture, "-c:v", "libx264", "-g", "10", "-f", "mpegts", str(path))
    assert done.returncode == 0, done.stderr
    return path.read_bytes()


async def test_it_is_probed_copied_and_recorded(tmp_path: Path, stream: bytes) -> None:
    """FFmpeg is told what the class says, and its status is that of any camera."""
    with trio.fail_after(300):
        async with open_server(stream) as port:
            source = TcpSource("127.0.0.1", port)
            async with open_real_camera(BUNDLED, tmp_path, source) as rig:
                assert (rig.camera.node, rig.camera.device) == (None, "camera0")
                plan = await rig.camera.planner.plan()
                assert isinstance(plan, CapturePlan)
                assert f"-f mpegts -i tcp://127.0.0.1:{port}" in " ".join(plan.arguments)
                assert "-c:v copy" in " ".join(plan.arguments)
                await rig.camera.start_recording(REQUEST)
                await rig.grow(20)
                assert rig.camera.status.state is CameraState.STREAMING
                ended = await rig.camera.stop_recording()
    assert ended.frames_written >= 20
