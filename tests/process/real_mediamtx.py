"""The real MediaMTX with the example's configuration; CAMD_TEST_MEDIAMTX names its program."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from camd.config.schema import MediaMtxConfig
from camd.publish.connecting import StreamServerError, client_tls
from camd.publish.mediamtx_api import MediaMtxApi
from camd.publish.rules.api_answers import MediaServerPath
from camd.runtime.child_process import ChildProcess, open_child_process

BINARY = os.environ.get("CAMD_TEST_MEDIAMTX", "")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mediamtx.yml"
PASSWORD = "change-this-password"
needs_mediamtx = pytest.mark.skipif(not BINARY, reason="CAMD_TEST_MEDIAMTX names no MediaMTX")


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@attrs.define(eq=False)
class RealMediaMtx:
    """The program, on ports of its own. `changes` are lines of its configuration, old and new."""

    folder: Path
    changes: tuple[tuple[str, str], ...] = ()
    api_port: int = attrs.field(factory=free_port)
    rtsp_port: int = attrs.field(factory=free_port)
    process: ChildProcess | None = attrs.field(default=None, init=False)

    def config(self, **keys: str) -> MediaMtxConfig:
        """Return a configuration for camd that fits."""
        fits = {
            "api": f"http://127.0.0.1:{self.api_port}",
            "rtsp": f"rtsp://127.0.0.1:{self.rtsp_port}",
            "username": "camd",
            "password": PASSWORD,
        }
        return MediaMtxConfig(**(fits | keys))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self.process is not None
        self.process.signal(number)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it while the block runs; then kill it by SIGKILL, as a crash does."""
        file = self.folder / "mediamtx.yml"
        file.write_text(self._text(), encoding="utf-8")
        async with (
            open_child_process([BINARY, str(file)]) as self.process,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_drain, self.process.read_output)
            nursery.start_soon(_drain, self.process.read_errors)
            try:
                yield
            finally:
                self.signal(signal.SIGKILL)
                nursery.cancel_scope.cancel()

    def _text(self) -> str:
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in self.changes:
            assert old in text
            text = text.replace(old, new)
        for port, own in ((9997, self.api_port), (8554, self.rtsp_port)):
            text = text.replace(f": 127.0.0.1:{port}", f": 127.0.0.1:{own}")
        for port in (8888, 8889, 8189):
            text = text.replace(f": 127.0.0.1:{port}", f": 127.0.0.1:{free_port()}")
        return text


async def _drain(read: Callable[[], Awaitable[bytes]]) -> None:
    while await read():
        pass


async def answering(config: MediaMtxConfig) -> MediaMtxApi:
    """Wait until the control API answers."""
    api = MediaMtxApi(config, client_tls())
    while True:
        try:
            await api.get("/v3/paths/get/x", MediaServerPath)
            return api
        except StreamServerError:
            await trio.sleep(0.05)
