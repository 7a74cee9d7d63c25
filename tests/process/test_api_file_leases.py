"""Downloads keep their files: asked as an ASGI server asks, over a real folder."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio
from support.fake_disk import roomy_disk
from support.recordings import segment

from camd.api.http.app import HttpApp
from camd.auth.authenticator import open_authenticator
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import AuthConfig, StorageConfig
from camd.errors import FILE_LEASED
from camd.runtime.broadcast import Fanout
from camd.storage.storage import Storage, open_storage

SIZE = 5_000_000


async def download(web: HttpApp, storage: Storage, name: str, key: str) -> list[tuple[int, bool]]:
    """Ask for a file; return status or bytes of each message, and whether it was leased then."""
    seen: list[tuple[int, bool]] = []

    async def send(message: Mapping[str, Any]) -> None:
        leased = storage.busy(segment(name)) is FILE_LEASED
        seen.append((message.get("status") or len(message["body"]), leased))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": f"/files/recordings/{name}",
        "headers": [(b"x-api-key", key.encode())],
        "query_string": b"",
    }
    await web.app()(scope, trio.sleep_forever, send)  # type: ignore[arg-type]
    return seen


async def test_a_download_leases_its_file_to_the_last_byte(tmp_path: Path) -> None:
    """From the head to the end of the body the file cannot be removed; afterwards it can, and
    so can one that was not found."""
    config = AuthConfig(keys_file=tmp_path / "keys.toml")
    authenticated = segment("a.mp4", size_bytes=SIZE)
    (tmp_path / "a.mp4").write_bytes(secrets.token_bytes(SIZE))
    with trio.fail_after(100):
        async with (
            open_authenticator(config, tmp_path / "state", clock=SYSTEM_CLOCK) as access,
            open_storage(
                StorageConfig(tmp_path, state_dir=tmp_path / ".state"),
                Fanout(),
                roomy_disk(),
                clock=SYSTEM_CLOCK,
            ) as storage,
        ):
            await storage.unfinished_sessions()
            await storage.note_segment(authenticated)
            web = HttpApp(storage, access, lambda: ("healthy", {}), None, clock=SYSTEM_CLOCK)  # type: ignore[arg-type]
            key = (tmp_path / "state" / "admin.key").read_text().strip()
            seen = await download(web, storage, "a.mp4", key)
            assert seen[0] == (200, True)
            assert sum(size for size, _ in seen[1:]) == SIZE
            assert len(seen) > 4
            assert all(leased for size, leased in seen if size)
            assert storage.busy(authenticated) is None
            assert (await download(web, storage, "b.mp4", key))[0] == (404, True)
            assert storage.busy(segment("b.mp4")) is None
            assert (await download(web, storage, "a.mp4", "wrong"))[0] == (401, False)
