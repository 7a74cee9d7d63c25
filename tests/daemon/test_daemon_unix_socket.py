"""The Unix socket of a real daemon: the command line finds it, and its user needs no key."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

import trio
from running_daemon import NewDaemon


def get(path: Path, target: str, headers: dict[str, str]) -> int:
    """Make an HTTP request over a Unix socket; return the status."""
    connection = http.client.HTTPConnection("camd", timeout=100)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", target, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


async def test_commands_and_downloads_use_the_unix_socket_without_a_key(
    new_daemon: NewDaemon,
) -> None:
    """Without the admin key, `camd status` works where the configuration has a socket."""
    daemon = new_daemon()
    path = daemon.folder / "camd.sock"
    daemon.configure({"server": {"listen": ["127.0.0.1:0", f"unix:{path}"]}})
    with trio.fail_after(100):
        await daemon.start()
        (daemon.folder / "state" / "admin.key").unlink()
        shown = await daemon.camd("status", "--json", CAMD_URL="")
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)
        over_tcp = await daemon.camd("status")
        assert over_tcp.returncode != 0

        async def status_of(**headers: str) -> int:
            return await trio.to_thread.run_sync(
                lambda: get(path, "/files/recordings/none.mp4", headers)
            )

        assert await status_of() == 404  # the user of the daemon may ask
        assert await status_of(Authorization="Bearer wrong") == 401  # a key that is sent counts
        await daemon.stop()
        assert not path.exists()
