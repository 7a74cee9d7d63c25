"""Signing in to a real daemon over HTTP: keys, links, sign-out, wrong keys, foreign pages."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any

import attrs
import pytest
import trio
from running_daemon import Daemon
from websockets.sync.client import connect

from camd.auth.sign_in import MAX_SIGN_IN_FAILURES, SIGN_IN_WINDOW_SECONDS
from camd.auth.tokens import mint_token
from camd.client import NotAuthenticatedError
from camd.clock import SYSTEM_CLOCK
from camd.rpc.roles import Role

HTTP_SECONDS = 100


@attrs.define
class Browser:
    """One connection that keeps the cookie, and says what browsers say of the page."""

    host: str
    connection: http.client.HTTPConnection
    cookie: str = ""
    origin: str | None = ""  # "": the own one

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Make a request; return status, body and headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            sent["Cookie"] = self.cookie
        if method != "GET" and self.origin is not None:
            sent["Origin"] = self.origin or f"http://{self.host}"
        content = None if body is None else json.dumps(body)
        self.connection.request(method, path, content, sent)
        answer = self.connection.getresponse()
        data = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if found.get("content-type") == "application/json":
            return answer.status, json.loads(data), found
        return answer.status, data, found

    def sign_in(self, **credentials: str) -> tuple[int, Any]:
        """Sign in, and keep the cookie."""
        status, body, headers = self.ask("POST", "/session", credentials)
        for name, morsel in SimpleCookie(headers.get("set-cookie", "")).items():
            self.cookie = f"{name}={morsel.value}"
        return status, body


def host_of(daemon: Daemon) -> str:
    return daemon.url.removeprefix("ws://").removesuffix("/ws")


@contextmanager
def browser_at(daemon: Daemon) -> Iterator[Browser]:
    """Open a connection as a browser does."""
    host = host_of(daemon)
    connection = http.client.HTTPConnection(host, timeout=HTTP_SECONDS)
    try:
        yield Browser(host, connection)
    finally:
        connection.close()


async def in_thread(work: Any, *arguments: Any) -> Any:
    return await trio.to_thread.run_sync(work, *arguments)


async def test_a_key_signs_in_and_out(daemon: Daemon) -> None:
    """The cookie opens what the key opens, until the person signs out."""

    def use() -> None:
        with browser_at(daemon) as browser:
            assert browser.ask("GET", "/session")[1] == {"authenticated": False}
            assert browser.ask("GET", "/api/cameras")[0] == 401
            status, session = browser.sign_in(auth_token=daemon.key)
            assert (status, session["role"], session["websocket"]) == (200, "admin", "/ws")
            assert browser.ask("GET", "/session")[1]["name"] == session["name"]
            assert browser.ask("GET", "/api/cameras")[1]["total"] == 2
            status, _, headers = browser.ask("DELETE", "/session")
            assert status == 204
            assert "Max-Age=0" in headers["set-cookie"]
            assert browser.ask("GET", "/api/cameras")[0] == 401

    await in_thread(use)


async def test_the_cookie_is_for_this_page_alone(daemon: Daemon) -> None:
    """Scripts cannot read it, other pages do not send it, and it does not leave the host."""

    def use() -> dict[str, str]:
        with browser_at(daemon) as browser:
            found: dict[str, str] = browser.ask("POST", "/session", {"auth_token": daemon.key})[2]
            return found

    headers = await in_thread(use)
    ((name, morsel),) = SimpleCookie(headers["set-cookie"]).items()
    assert name == f"camd_session_{host_of(daemon).rpartition(':')[2]}"
    assert morsel["httponly"]
    assert (morsel["samesite"].lower(), morsel["path"]) == ("strict", "/")
    assert morsel["domain"] == ""
    assert headers["cache-control"] == "no-store"
    assert daemon.key not in daemon.log
    assert morsel.value not in daemon.log


async def test_a_session_has_the_role_of_its_token(daemon: Daemon) -> None:
    """A viewer who signs in by a JWT stays one, and may not make links for others."""
    now = SYSTEM_CLOCK.now().timestamp()
    secret = "a-secret-for-tests-" + "0123456789abcdef" * 2
    jwt = mint_token(secret, user_id="ann", role=Role.VIEWER, now=now, lifetime=3600)

    def use() -> Any:
        with browser_at(daemon) as browser:
            status, session = browser.sign_in(auth_token=jwt)
            assert (status, session["name"], session["role"]) == (200, "ann", "viewer")
            headers = {"Cookie": browser.cookie}
            origin: Any = f"http://{browser.host}"
            with connect(daemon.url, origin=origin, additional_headers=headers) as socket:
                call = {"jsonrpc": "2.0", "id": 1, "method": "create_sign_in_code", "params": {}}
                socket.send(json.dumps(call))
                return json.loads(socket.recv())

    answer = await in_thread(use)
    assert answer["error"]["code"] == -32003


async def test_a_link_signs_in_once(daemon: Daemon) -> None:
    """`camd open` prints it; the second browser that opens it gets a sentence, no session."""
    printed = await daemon.camd("open")
    assert printed.returncode == 0, printed.stderr
    address, _, code = printed.stdout.strip().partition("/#code=")
    assert address == f"http://{host_of(daemon)}"
    assert "once, within 60 s" in printed.stderr
    assert daemon.key not in printed.stdout

    def use() -> None:
        with browser_at(daemon) as first, browser_at(daemon) as second:
            assert first.sign_in(code=code)[1]["role"] == "admin"
            status, refused = second.sign_in(code=code)
            assert (status, refused["reason"]) == (401, "unknown_code")
            assert second.cookie == ""

    await in_thread(use)
    assert code not in daemon.log


async def test_a_link_may_allow_less(daemon: Daemon) -> None:
    """For a screen in a corridor: `camd open --role viewer`."""
    printed = await daemon.camd("open", "--role", "viewer", "--json")
    made = json.loads(printed.stdout)
    assert made["link"].endswith(made["path"])

    def use() -> Any:
        with browser_at(daemon) as browser:
            return browser.sign_in(code=made["code"])[1]

    assert (await in_thread(use))["role"] == "viewer"


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://127.0.0.1:1"])
async def test_another_page_cannot_sign_anybody_in_or_out(
    shared_daemon: Daemon, origin: str | None
) -> None:
    """Both need our own Origin, which a browser gives to no other page."""

    def use() -> None:
        with browser_at(shared_daemon) as browser:
            assert browser.sign_in(auth_token=shared_daemon.key)[0] == 200
            browser.origin = origin
            for method in ("POST", "DELETE"):
                status, body, headers = browser.ask(
                    method, "/session", {"auth_token": shared_daemon.key}
                )
                assert (status, body["reason"]) == (403, "foreign_origin")
                assert "set-cookie" not in headers
            assert browser.ask("GET", "/session")[1]["authenticated"]

    await in_thread(use)


async def test_an_embedded_picture_of_another_page_gets_nothing(shared_daemon: Daemon) -> None:
    """A page at another port of this machine embeds our pictures: the cookie does not count."""

    def use() -> None:
        with browser_at(shared_daemon) as browser:
            browser.sign_in(auth_token=shared_daemon.key)
            assert browser.ask("GET", "/api/cameras", Sec_Fetch_Site="same-site")[0] == 401
            assert browser.ask("GET", "/api/cameras", Sec_Fetch_Site="same-origin")[0] == 200

    await in_thread(use)


async def test_a_hundred_wrong_keys(daemon: Daemon) -> None:
    """Five are looked at; the others are refused unread. Programs with a key notice nothing."""

    def guess() -> list[int]:
        with browser_at(daemon) as browser:
            found = [browser.sign_in(auth_token=f"camd_{n:043}")[0] for n in range(100)]
            status, body, headers = browser.ask("POST", "/session", {"auth_token": daemon.key})
            assert (status, body["reason"]) == (429, "too_many_failures")
            assert 0 < int(headers["retry-after"]) <= 60
            assert browser.sign_in(code="no such code")[0] == 429
            return found

    found = await in_thread(guess)
    assert found[:MAX_SIGN_IN_FAILURES] == [401] * MAX_SIGN_IN_FAILURES
    assert set(found[MAX_SIGN_IN_FAILURES:]) == {429}
    assert await daemon.call("ping") == "pong"
    with pytest.raises(NotAuthenticatedError):
        async with daemon.client("camd_" + "0" * 43):
            raise AssertionError("a wrong key was accepted")


async def test_a_thousand_wrong_keys_are_five_in_each_minute(daemon: Daemon) -> None:
    """However long the guesses take, no more of them are looked at; nobody else waits."""

    def guess() -> tuple[list[int], float]:
        began = time.monotonic()
        with browser_at(daemon) as browser:
            found = [browser.sign_in(auth_token=f"camd_{n:043}")[0] for n in range(1000)]
        return found, time.monotonic() - began

    found, seconds = await in_thread(guess)
    windows = 1 + int(seconds / SIGN_IN_WINDOW_SECONDS)
    assert set(found) == {401, 429}
    assert found.count(401) <= windows * MAX_SIGN_IN_FAILURES
    assert await daemon.call("ping") == "pong"


async def test_wrong_keys_of_others_do_not_keep_out_who_has_a_link(daemon: Daemon) -> None:
    """Its code cannot be guessed, so it counts at once; used up, it is one of the failures."""
    made = await daemon.call("create_sign_in_code")

    def use() -> list[int]:
        with browser_at(daemon) as other, browser_at(daemon) as owner:
            for n in range(MAX_SIGN_IN_FAILURES):
                other.sign_in(auth_token=f"camd_{n:043}")
            refused = owner.sign_in(auth_token=daemon.key)[0]
            return [refused, *(owner.sign_in(code=made["code"])[0] for _ in range(2))]

    assert await in_thread(use) == [429, 200, 429]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"auth_token": 7}', b'{"code": null}', b"\xff", b"[" * 9000]
)
async def test_a_body_that_makes_no_sense_is_a_failure(daemon: Daemon, body: bytes) -> None:
    """It is answered, and counts as a wrong key."""

    def use() -> tuple[int, bytes]:
        with browser_at(daemon) as browser:
            origin = {"Origin": f"http://{browser.host}"}
            browser.connection.request("POST", "/session", body, origin)
            answer = browser.connection.getresponse()
            return answer.status, answer.read()

    status, content = await in_thread(use)
    assert status == 401
    assert json.loads(content)["reason"] in ("malformed", "missing")
