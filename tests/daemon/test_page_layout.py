"""How the page looks: nothing is cut off or hidden, nothing stands askew; and the whole screen."""

from __future__ import annotations

import pytest
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, link
from running_daemon import Daemon, NewDaemon, listening, small_camera

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
        browser.go("recordings/sessions")
        assert browser.see("tr:has-text('Yard') td[data-label=State]").inner_text() == (
            "ended (its time was over)"
        )

    await browse(chromium, use, await link(mixed))
