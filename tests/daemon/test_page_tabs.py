"""Several tabs on one service that is away for a while, or that one of them signs out of: what each
says, and that it goes on by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, link
from running_daemon import Daemon, NewDaemon, small_camera
from stored_footage import FootageFolder

Clip = tuple[Path, list[str]]
AWAY = ".player .words:has-text('The service does not answer. It is tried again.')"
SHOWN = "document.querySelector('.player .number').innerText"
RECORDED = datetime(2026, 1, 15, 12, tzinfo=UTC)


def put_down(daemon: Daemon, clip: Clip, settings: dict[str, dict[str, object]]) -> None:
    """Configure a daemon with a camera, of which three minutes are recorded."""
    daemon.configure(settings, [small_camera(name="Gate")])
    footage = FootageFolder(daemon.recordings)
    for minute in range(3):
        footage.put(RECORDED + timedelta(minutes=minute), clip[0], 60)


async def test_playback_goes_on_when_the_service_is_back(
    chromium: ChromiumThread, new_daemon: NewDaemon, clip: Clip
) -> None:
    """In one tab it plays what it has, then it says that the service does not answer; in another
    one somebody chooses an instant meanwhile; a third one shows live. All go on by themselves."""
    daemon = new_daemon()
    settings: dict[str, dict[str, object]] = {"auth": {"enabled": False}}
    put_down(daemon, clip, settings)
    await daemon.start()
    await daemon.wait_log("recovery_over")
    listen = daemon.url.removeprefix("ws://").removesuffix("/ws")
    token = trio.lowlevel.current_trio_token()

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile")
        other, live = PageBrowser(page.context.new_page()), PageBrowser(page.context.new_page())
        address = page.url.partition("#")[0]
        for tab, minutes in ((browser, 0), (other, 1)):
            instant = RECORDED + timedelta(minutes=minutes)
            tab.page.goto(f"{address}#timeline/camera0/{instant:%Y-%m-%dT%H:%M:%SZ}")
            tab.until("document.querySelector('.player video')?.currentTime > 1")
            tab.see(".player button:has-text('Pause')")
        live.page.goto(f"{address}#timeline/camera0")
        live.until("document.querySelector('.player video')?.currentTime > 1")
        page.select_option(".player select", label="8 ×")
        trio.from_thread.run(daemon.stop, trio_token=token)
        other.see(".lost")
        other.page.locator(".rows").focus()
        other.page.click(".player button:has-text('+10 s')")
        for tab in (other, browser):
            tab.see(AWAY)
            tab.see(".player button:has-text('Pause')")
        trio.from_thread.run(again, trio_token=token)
        for tab in (other, browser):
            tab.gone(AWAY)
            before = tab.page.evaluate(SHOWN)
            tab.until(f"{SHOWN} !== '{before}'")
            tab.gone(".player .words")
        live.gone(".player .words")
        live.until("document.querySelector('.player video')?.currentTime > 1")

    async def again() -> None:
        daemon.configure({**settings, "server": {"listen": listen}}, [small_camera(name="Gate")])
        await daemon.start()

    await browse(chromium, use, f"http://{listen}/", check=False)


async def test_who_signs_in_again_is_signed_in_in_each_tab(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """A revoked key and a sign-out end all tabs; each goes on when somebody looks at it after
    signing in in another one, and not before."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate")])
    await daemon.start()
    first, second = [
        (await daemon.call("create_key", name=name, role="admin"))["key"] for name in ("Ann", "Bea")
    ]
    token = trio.lowlevel.current_trio_token()

    def sign_in(browser: PageBrowser, key: str) -> None:
        browser.page.fill("input[name=key]", key)
        browser.page.keyboard.press("Enter")
        browser.see(".tile")

    def use(browser: PageBrowser) -> None:
        sign_in(browser, first)
        other = PageBrowser(browser.page.context.new_page())
        other.page.goto(f"{browser.page.url.partition('#')[0]}#storage")
        other.see("nav [aria-current=page][href='#storage']")
        trio.from_thread.run(revoke, trio_token=token)
        for tab in (other, browser):
            tab.see("text=You were signed out")
        other.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        sign_in(browser, second)
        other.see("text=You were signed out")
        other.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        other.see("nav [aria-current=page][href='#storage']")
        browser.page.click("text=Sign out")
        browser.see("text=You are signed out.")
        other.see("text=You were signed out")

    async def revoke() -> None:
        await daemon.call("revoke_key", name="Ann")

    await browse(chromium, use, (await link(daemon)).partition("#")[0], check=False)


async def test_a_gap_that_was_passed_over_is_told_and_not_for_ever(
    chromium: ChromiumThread, new_daemon: NewDaemon, clip: Clip
) -> None:
    """On the picture, as long as somebody may look; what is played after that is not missing."""
    daemon = new_daemon()
    put_down(daemon, clip, {})
    await daemon.start()
    await daemon.wait_log("recovery_over")
    before = RECORDED - timedelta(minutes=1)

    def use(browser: PageBrowser) -> None:
        page, note = browser.page, ".player .gap-note"
        browser.see(".tile")
        page.emulate_media(reduced_motion="reduce")  # it does not play by itself
        browser.go(f"timeline/camera0/{before:%Y-%m-%dT%H:%M:%SZ}")
        browser.see(f"{note}:has-text('Nothing recorded')")
        page.select_option(".player select", label="4 ×")
        page.click(".player button:has-text('Play')")
        browser.gone(note)
        assert "12:0" in page.evaluate(SHOWN)

    await browse(chromium, use, await link(daemon), timezone_id="UTC")
