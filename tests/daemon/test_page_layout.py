"""How the page looks: nothing is cut off or hidden, nothing stands askew; and the whole screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, inside, link
from running_daemon import Daemon, NewDaemon, listening, small_camera
from small_volume import fill, on_volume

PREROLL = {"recording": {"preroll": "20s"}}
LONG = "Drive – a rather long name of a camera behind the second gate"
UNPLUGGED = {"source": "v4l2:/dev/v4l/by-id/usb-Maker_Camera_4E1F-video-index0", "name": LONG}
DISTANCES = """[...document.querySelectorAll('main .stack, main .tile footer')].flatMap((stack) => {
  const parts = [...stack.querySelectorAll(':scope > :not(:empty)')]
    .map((each) => each.getBoundingClientRect()).filter(({ height }) => height);
  return parts.slice(1).map((part, index) => Math.round(part.top - parts[index].bottom));
})"""
CUT_OFF = """[...document.querySelectorAll('select, input[type=datetime-local]')].filter((each) => {
  if (!each.offsetParent) return false;
  const whole = each.cloneNode(true);
  Object.assign(whole.style, { width: 'max-content', maxWidth: 'none', position: 'absolute' });
  each.after(whole);
  const cut = each.getBoundingClientRect().width < whole.getBoundingClientRect().width - 1;
  whole.remove();
  return cut && each.clientWidth < 250; // names of cameras may be longer than any menu
}).map((each) => each.outerHTML.slice(0, 60))"""
WHOLE = "(document.fullscreenElement?.ariaLabel ?? '')"


@pytest.fixture
async def mixed(new_daemon: NewDaemon) -> Daemon:
    """Run a daemon with two cameras that work, and one that is not there."""
    daemon = new_daemon()
    cameras = [small_camera(name="Gate"), small_camera(name="Yard"), UNPLUGGED]
    daemon.configure(PREROLL, cameras=cameras)
    await daemon.start()
    return daemon


async def test_nothing_is_cut_off_and_nothing_stands_apart(
    chromium: ChromiumThread, mixed: Daemon
) -> None:
    """Menus and fields show what they hold, also on a phone; what is empty takes no room."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=2")
        for width in (1280, 320):
            browser.page.set_viewport_size({"width": width, "height": 800})
            for view, shown in (
                ("cameras", ".tile select >> nth=1"),
                ("timeline", "text=A range of"),
                ("recordings", "text=Nothing is recorded."),
                ("storage", "h2:has-text('Checks')"),
            ):
                browser.go(view)
                browser.see(shown)
                browser.until(f"{DISTANCES}.every((each) => each === 8 || each === 12)")
                assert browser.page.evaluate(CUT_OFF) == [], (width, view)

    await browse(chromium, use, await link(mixed))


async def test_a_problem_reads_as_a_sentence(chromium: ChromiumThread, mixed: Daemon) -> None:
    """The colon stands behind the name of its camera, and commands look like commands."""

    def use(browser: PageBrowser) -> None:
        command = browser.see(".problems code")
        assert command.inner_text() == "camd devices"
        assert "`" not in browser.page.inner_text("body")
        name = ".problems b"
        lines = browser.page.evaluate(
            f"[...document.querySelector('{name}').getClientRects()].map(({{ width }}) => width)"
        )
        assert len(lines) > 1
        assert lines[-1] > 20  # pixels: more than a colon

    size = {"width": 320, "height": 640}
    await browse(chromium, use, await link(mixed), viewport=size)


async def test_what_is_chosen_by_key_is_not_under_the_bar(
    chromium: ChromiumThread, mixed: Daemon
) -> None:
    """The name of a camera that was scrolled away is seen when its number is pressed."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=2")
        browser.page.keyboard.press("3")
        browser.page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        browser.page.keyboard.press("1")
        browser.until(
            """document.activeElement.getBoundingClientRect().top
               >= document.querySelector('.bar').getBoundingClientRect().bottom"""
        )

    size = {"width": 320, "height": 640}
    await browse(chromium, use, await link(mixed), viewport=size)


async def test_the_whole_screen_has_name_state_and_buttons(
    chromium: ChromiumThread, mixed: Daemon
) -> None:
    """What a key does is seen there, too; another number shows that camera; so does the timeline,
    with what plays the past."""

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile video")
        page.keyboard.press("1")
        page.keyboard.press("f")
        browser.until(f"{WHOLE}.startsWith('Gate: ')")
        page.keyboard.press("s")
        browser.see(".tile:fullscreen [role=status]:has-text('Snapshot:')")
        browser.see(".tile:fullscreen h2:has-text('Gate')")
        page.keyboard.press("2")
        browser.until(
            f"{WHOLE}.startsWith('Yard: ') && document.activeElement.matches(':fullscreen')"
        )
        page.keyboard.press("r")
        browser.see(".tile:fullscreen .chip:has-text('Recording')")
        page.keyboard.press("r")
        browser.see(".tile:fullscreen [role=status]:has-text('Stopped')")
        page.keyboard.press("f")
        browser.until(f"{WHOLE} === ''")
        browser.go("timeline/camera1")
        browser.see(".player .full-screen")
        page.keyboard.press("f")
        browser.until(f"{WHOLE} === 'Player'")
        page.get_by_role("button", name="Full screen, Yard").click()
        browser.until(f"{WHOLE} === ''")

    await browse(chromium, use, await link(mixed))


async def test_why_a_recording_ended_is_said_where_it_says_more(
    chromium: ChromiumThread, mixed: Daemon
) -> None:
    """One that was stopped has stopped; one with a duration ended with its time."""
    async with mixed.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await client.call("stop_recording", device="camera0")
        await client.call("start_recording", device="camera1", duration=1)
        await notified.recording("STOPPED", camera_id="camera1")

    def use(browser: PageBrowser) -> None:
        browser.go("events")
        stopped, timed = (
            browser.see(f".events li:has-text('{name}'):has-text('stopped after')").inner_text()
            for name in ("Gate", "Yard")
        )
        assert "(" not in stopped
        assert timed.endswith(" (its time was over).")
        browser.go("recordings/recordings")
        browser.page.locator("tr:has-text('Yard') button:has-text('Receipt')").first.click()
        browser.see("dialog p:has-text('Nothing of its session is missing')")
        browser.page.keyboard.press("Escape")
        browser.go("recordings/sessions")
        assert browser.see("tr:has-text('Yard') td[data-label=State]").inner_text() == (
            "ended (its time was over)"
        )
        browser.page.click("tr:has-text('Yard') a:has-text('Show')")
        browser.until("document.querySelector('.player video')?.ariaLabel.startsWith('Yard, ')")

    await browse(chromium, use, await link(mixed))


async def test_one_camera_and_its_buttons_are_in_the_window(
    chromium: ChromiumThread, new_daemon: NewDaemon, volume: Path
) -> None:
    """Its picture is no higher than that; a full volume says what follows from it, everywhere."""
    daemon = new_daemon()
    on_volume(daemon, volume)
    fill(volume, left_bytes=0)
    await daemon.start()

    def use(browser: PageBrowser) -> None:
        browser.see(".tile video")
        browser.see(".problems li:has-text('Recordings are paused: the disk is full.')")
        browser.until(
            "document.querySelector('.tile').getBoundingClientRect().bottom <= innerHeight"
        )
        browser.go("storage")
        browser.see("h2:has-text('Recordings are paused: the disk is full.')")
        browser.see("dd:has-text('new recordings are refused now')")

    size = {"width": 1280, "height": 800}
    await browse(chromium, use, await link(daemon), viewport=size)


async def test_keys_find_the_field_to_sign_in_and_end_a_range(
    chromium: ChromiumThread, mixed: Daemon
) -> None:
    """Escape on the timeline, and what is typed right after signing out."""

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile >> nth=2")
        browser.go("timeline")
        left, top = inside(browser.see(".lane .track"), 0.3)
        page.mouse.move(left, top)
        page.mouse.down()
        page.mouse.move(left + 60, top)
        page.mouse.up()
        browser.see(".chosen")
        page.keyboard.press("Escape")
        browser.gone(".chosen")
        page.click("text=Sign out")
        browser.see("text=You are signed out.")
        browser.until("document.activeElement.name === 'key'")

    await browse(chromium, use, await link(mixed))
