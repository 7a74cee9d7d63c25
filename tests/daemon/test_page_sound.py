"""The sound of live view on the page: off at first, one camera at a time."""

from __future__ import annotations

import pytest
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, link, small_targets
from running_daemon import Daemon, NewDaemon, listening, small_camera

HEARD = "[...document.querySelectorAll('video')].map((each) => !each.muted)"
REFUSE = """HTMLMediaElement.prototype.play = ((native) => function () {
  const refusal = new DOMException("no click", "NotAllowedError");
  return this.muted || !window.refused ? native.call(this) : Promise.reject(refusal);
})(HTMLMediaElement.prototype.play)"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def speaking(name: str) -> dict[str, object]:
    """Return a synthetic camera with a tone."""
    return {"source": "test:?size=160x120&rate=10&audio=true", "name": name}


@pytest.fixture
async def speakers(new_daemon: NewDaemon) -> Daemon:
    """Run a daemon with two cameras that have sound, and one that has none."""
    daemon = new_daemon()
    daemon.configure(cameras=[speaking("Gate"), speaking("Yard"), small_camera(name="Roof")])
    await daemon.start()
    return daemon


def moves(browser: PageBrowser, number: int) -> None:
    """Wait until a picture has been moving on."""
    video = f"document.querySelectorAll('video')[{number}]"
    at = browser.page.evaluate(f"{video}.currentTime")
    browser.until(f"{video}.readyState >= 2 && {video}.currentTime != {at}")


def heard(browser: PageBrowser, *expected: bool) -> None:
    """Wait until these pictures are heard and the others muted, and the switches say the same."""
    browser.until(f"String({HEARD}) === '{','.join(str(each).lower() for each in expected)}'")
    pressed = browser.page.locator(".sound[aria-pressed=true]").count()
    assert pressed == sum(expected)


async def test_one_camera_is_heard_at_a_time(chromium: ChromiumThread, speakers: Daemon) -> None:
    """None at first; by key and by click; the first is muted when the second is heard. Another
    view begins without sound. A camera without sound has no switch."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile:has-text('Gate') .sound")
        browser.see(".tile:has-text('Yard') .sound")
        moves(browser, 2)
        assert browser.page.locator(".sound").count() == 2
        heard(browser, False, False, False)
        assert small_targets(browser) == []
        browser.page.keyboard.press("1")
        browser.page.keyboard.press("m")
        heard(browser, True, False, False)
        moves(browser, 0)
        browser.page.get_by_role("button", name="Sound of Yard", pressed=False).click()
        heard(browser, False, True, False)
        moves(browser, 1)
        browser.page.keyboard.press("m")  # a click chooses, too
        heard(browser, False, False, False)
        browser.page.keyboard.press("m")
        heard(browser, False, True, False)
        browser.go("timeline/camera1")
        browser.see(".player .sound[aria-pressed=false]")
        heard(browser, False)
        browser.page.keyboard.press("m")
        heard(browser, True)
        browser.page.keyboard.press("?")
        browser.see("dialog >> text=Sound of the chosen camera")

    await browse(chromium, use, await link(speakers))


async def test_who_asks_for_sound_that_is_not_there_is_told(
    chromium: ChromiumThread, speakers: Daemon
) -> None:
    """By key, where there is no switch: among the cameras and on the timeline, until it is pressed
    again."""

    def use(browser: PageBrowser) -> None:
        page, words = browser.page, "[role=status]:has-text('This camera has no sound.')"
        browser.until("document.querySelectorAll('video').length === 3")
        moves(browser, 2)
        page.keyboard.press("3")
        page.keyboard.press("m")
        browser.see(f".tile:has-text('Roof') {words}")
        assert page.locator(words).count() == 1
        heard(browser, False, False, False)
        page.keyboard.press("m")
        browser.gone(words)
        browser.go("timeline/camera2")
        browser.until("document.querySelector('.player video')?.ariaLabel === 'Roof, live'")
        moves(browser, 0)
        page.keyboard.press("m")
        browser.see(f".player {words}")

    await browse(chromium, use, await link(speakers))


async def test_a_camera_that_is_heard_goes_on_unseen(
    chromium: ChromiumThread, speakers: Daemon
) -> None:
    """In a hidden tab and outside the window; the others, which nobody hears, do not play there."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile:has-text('Gate') .sound").click()
        heard(browser, True, False, False)
        browser.page.evaluate(HIDE, True)
        browser.gone(".tile:has-text('Yard') video")
        moves(browser, 0)
        heard(browser, True)
        browser.page.evaluate(HIDE, False)
        browser.see(".tile:has-text('Yard') video")
        heard(browser, True, False, False)

    await browse(chromium, use, await link(speakers))


async def test_sound_that_the_browser_does_not_allow_is_told(
    chromium: ChromiumThread, speakers: Daemon
) -> None:
    """The picture goes on, the switch is off again, and a sentence says what to do."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile:has-text('Gate') .sound")
        browser.page.evaluate(f"{REFUSE}; window.refused = true")
        browser.page.click(".tile:has-text('Gate') .sound")
        browser.see(".tile:has-text('Gate') [role=status]:has-text('Switch it on again')")
        heard(browser, False, False, False)
        moves(browser, 0)
        browser.page.evaluate("window.refused = false")
        browser.page.click(".tile:has-text('Gate') .sound")
        heard(browser, True, False, False)
        browser.gone(".tile:has-text('Gate') [role=status]:has-text('Switch it on again')")
        moves(browser, 0)

    await browse(chromium, use, await link(speakers))


async def test_recordings_of_the_past_are_heard(chromium: ChromiumThread, speakers: Daemon) -> None:
    """The same switch, with the same sentence."""
    async with speakers.client() as client, listening(client) as notified:
        for device in ("camera0", "camera2"):
            await client.call("start_recording", device=device, duration=2)
            await notified.recording("STOPPED")
    files = (await speakers.call("list_recordings"))["files"]
    with_sound, without = (
        next(f"{name}/{file['start_time']}" for file in files if file["camera_id"] == name)
        for name in ("camera0", "camera2")
    )

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=2")
        browser.page.emulate_media(reduced_motion="reduce")  # it does not play by itself
        browser.go(f"timeline/{with_sound}")
        browser.see(".player button:has-text('Play')")
        browser.see(".player .sound")
        browser.page.keyboard.press("m")
        heard(browser, True)
        browser.page.keyboard.press("m")
        heard(browser, False)
        browser.page.evaluate(f"{REFUSE}; window.refused = true")
        browser.page.click(".player .sound")
        heard(browser, True)
        browser.page.click(".player button:has-text('Play')")
        browser.see(".player [role=status]:has-text('Switch it on again')")
        heard(browser, False)
        browser.go(f"timeline/{without}")
        browser.until("document.querySelector('.player video')?.ariaLabel.startsWith('Roof, ')")
        browser.until("document.querySelector('.player video')?.readyState >= 2")
        assert browser.page.locator(".sound").count() == 0
        browser.page.keyboard.press("m")
        browser.see(".player [role=status]:has-text('This recording has no sound.')")

    await browse(chromium, use, await link(speakers))
