"""API keys that an administrator makes and revokes by calls to a real daemon."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import trio
from running_daemon import Daemon, NewDaemon, small_camera

from camd.auth.key_file import MAX_KEYS, KeyFile, render_key_file
from camd.client import (
    Client,
    ConnectionLostError,
    ForbiddenError,
    InvalidParamsError,
    KeyExistsError,
    KeyLimitError,
    KeysUnusableError,
    KeyUnknownError,
    NotAuthenticatedError,
    UnsupportedError,
)
from camd.errors import KEYS_UNUSABLE

SECONDS = 300


def key_file(daemon: Daemon) -> KeyFile:
    return KeyFile(daemon.folder / "state" / "keys.toml")


async def answers(daemon: Daemon, key: str) -> bool:
    """Whether a key is accepted."""
    try:
        async with daemon.client(key) as client:
            await client.ping()
    except NotAuthenticatedError:
        return False
    return True


async def test_a_key_is_made_used_and_revoked(daemon: Daemon) -> None:
    """It works at once, with its role; revoked, it ends its connections and opens nothing."""
    with trio.fail_after(SECONDS):
        async with daemon.client() as admin:
            made = await admin.create_key("Gate 2", role="viewer", lifetime=3600)
            assert made.expires is not None
            assert (made.expires - made.created).total_seconds() == 3600
            assert made.key not in repr(made)
            async with daemon.client(made.key) as viewer:
                assert len(await viewer.cameras()) == 2
                with pytest.raises(ForbiddenError):
                    await viewer.create_key("more")
                assert [key.name for key in (await admin.keys()).keys] == ["admin", "Gate 2"]
                assert (await admin.revoke_key("Gate 2")).revoked
                with pytest.raises((NotAuthenticatedError, ConnectionLostError)):
                    await viewer.cameras()
            assert not await answers(daemon, made.key)
            assert [key.name for key in (await admin.keys()).keys] == ["admin"]


async def test_a_key_is_written_nowhere(daemon: Daemon) -> None:
    """Not to the log at its most talkative, events or files; its hash is not told, either."""
    with trio.fail_after(SECONDS):
        async with daemon.client() as admin:
            await admin.call("set_log_level", level="debug")
            made = await admin.create_key("nightly", role="operator")
            assert await answers(daemon, made.key)
            listed = json.dumps(await admin.call("list_keys"))
            events = json.dumps(await admin.call("get_events", since=0, limit=1000))
            (stored,) = (key for key in key_file(daemon).load() if key.name == "nightly")
            await admin.revoke_key("nightly")
        await daemon.wait_log("key_revoked")
    assert made.key not in listed + events + daemon.log
    assert stored.sha256 not in listed + events + daemon.log
    for path in daemon.folder.rglob("*"):
        if path.is_file():
            assert made.key.encode() not in path.read_bytes(), path


async def test_what_cannot_be_made_or_revoked_is_told(daemon: Daemon) -> None:
    """A name that is taken, empty, long or of control characters; an unknown one; a bad time."""
    with trio.fail_after(SECONDS):
        async with daemon.client() as admin:
            with pytest.raises(KeyExistsError, match="already"):
                await admin.create_key("admin")
            for name in ("", "  ", "x" * 65, "two\nlines", "\u202e"):
                with pytest.raises(InvalidParamsError, match="printable"):
                    await admin.create_key(name)
            for lifetime in (0, -1, 0.5, 1e12, 10**400):
                with pytest.raises(InvalidParamsError, match="lifetime"):
                    await admin.create_key("other", lifetime=lifetime)
            with pytest.raises(KeyUnknownError):
                await admin.revoke_key("nobody")
            assert [key.name for key in (await admin.keys()).keys] == ["admin"]


async def test_keys_of_the_command_line_and_of_calls_are_the_same(daemon: Daemon) -> None:
    """Each sees those of the other; many calls at once lose none."""
    with trio.fail_after(SECONDS):
        async with daemon.client() as admin:
            added = await daemon.camd("keys", "add", "script")
            assert added.returncode == 0, added.stderr

            async def make(number: int) -> None:
                await admin.create_key(f"key{number}")

            async with trio.open_nursery() as nursery:
                for number in range(12):
                    nursery.start_soon(make, number)
            names = {key.name for key in (await admin.keys()).keys}
            assert names == {"admin", "script", *(f"key{number}" for number in range(12))}
            await admin.revoke_key("script")
            assert not await answers(daemon, added.stdout.strip())


async def test_there_is_a_limit(daemon: Daemon) -> None:
    """The file stays small enough to be read; a key that is revoked makes room."""
    file = key_file(daemon)
    (admin_key,) = file.load()
    more = [attrs.evolve(admin_key, name=f"k{n}", sha256=f"{n:064x}") for n in range(1, MAX_KEYS)]
    file.path.write_text(render_key_file([admin_key, *more], local_key=True), encoding="utf-8")
    with trio.fail_after(SECONDS):
        async with daemon.client() as admin:
            with pytest.raises(KeyLimitError):
                await admin.create_key("one more")
            await admin.revoke_key("k1")
            await admin.create_key("one more")


async def unusable(admin: Client, folder: Path) -> None:
    with pytest.raises(KeysUnusableError) as refused:
        await admin.create_key("other")
    assert refused.value.code == KEYS_UNUSABLE.code
    assert str(folder) not in json.dumps([refused.value.message, refused.value.data])


async def test_a_damaged_key_file_is_told_and_stays(daemon: Daemon) -> None:
    """Calls say that it cannot be read; keys that were read before go on to work."""
    file = key_file(daemon)
    text = file.path.read_text(encoding="utf-8")
    file.path.write_text("[[key]]\nname = 5\n", encoding="utf-8")
    with trio.fail_after(SECONDS):
        async with daemon.client() as admin:
            await unusable(admin, file.path.parent)
            file.path.write_text(text, encoding="utf-8")
            assert (await admin.create_key("other")).name == "other"


async def test_without_authentication_there_are_no_keys(new_daemon: NewDaemon) -> None:
    """A key would open nothing that is not open: the call says that, and what to do."""
    daemon = new_daemon()
    daemon.configure({"auth": {"enabled": False}}, [small_camera(name="Gate")])
    await daemon.start()
    with trio.fail_after(SECONDS):
        async with daemon.client("") as client:
            for call in (
                client.keys,
                lambda: client.create_key("x"),
                lambda: client.revoke_key("x"),
            ):
                with pytest.raises(UnsupportedError, match="switched off"):
                    await call()
