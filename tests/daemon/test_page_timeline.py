"""The timeline of the page: what a finger does, where nothing can be recorded yet, and that a
window stays where somebody has moved it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, inside, link, small_targets, widths
from running_daemon import Daemon, NewDaemon, listening, small_camera

PHONE = {"viewport": {"width": 360, "height": 720}, "has_touch": True, "is_mobile": True}
NOW_AT = "parseFloat(document.querySelector('.cursor.now').style.left)"
STOP_TIME = "(now => { Date.now = () => now })(Date.now())"  # of the page, not of its timers
STEPS = 8


@pytest.fixture
async def recorded(new_daemon: NewDaemon) -> Daemon:
    """Run a daemon that has recorded two seconds of one of its two cameras."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate"), small_camera(name="Yard")])
    await daemon.start()
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0", duration=2)
        await notified.recording("STOPPED")
    return daemon


@attrs.define(eq=False)
class Fingers:
    """Fingers on the window of a phone; Playwright itself can only tap."""

    _session: Any
    _places: list[tuple[float, float]] = attrs.field(factory=list)

    @classmethod
    def on(cls, browser: PageBrowser) -> Fingers:
        """Return fingers for a tab."""
        return cls(browser.page.context.new_cdp_session(browser.page))

    def _send(self, kind: str, fingers: range) -> None:
        points = [dict(zip("xy", self._places[each], strict=True), id=each) for each in fingers]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def put(self, x: float, y: float) -> None:
        """Put one more finger down."""
        self._places.append((x, y))
        self._send("touchStart", range(len(self._places)))

    def move(self, *by: float) -> None:
        """Move each finger sideways, in steps, as hands do."""
        begin = list(self._places)
        for step in range(1, STEPS + 1):
            self._places = [
                (x + far * step / STEPS, y) for (x, y), far in zip(begin, by, strict=True)
            ]
            self._send("touchMove", range(len(begin)))

    def lift(self) -> None:
        """Lift the finger that was put down last."""
        last = len(self._places) - 1
        self._send("touchEnd", range(last, last + 1))
        self._places.pop()


def length_shown(browser: PageBrowser) -> str:
    """Return how long the window of the timeline is, in words."""
    label = str(browser.see(".rows").get_attribute("aria-label"))
    return label.removeprefix("Timeline, ").partition(".")[0]


async def test_fingers_tap_drag_and_pinch(chromium: ChromiumThread, recorded: Daemon) -> None:
    """A tap chooses a camera, records, and plays an instant; a drag moves the window, and does not
    seek; two fingers zoom, and the one that stays goes on from there."""

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile >> nth=1")
        page.tap(".tile >> nth=1 >> .picture")
        browser.see(".tile:focus h2:has-text('Yard')")
        page.tap(".tile >> nth=1 >> button:has-text('Record')")
        browser.see(".tile >> nth=1 >> text=Recording since")
        page.tap(".tile >> nth=1 >> button:has-text('Stop')")
        browser.see(".tile >> nth=1 >> text=on disk")
        page.evaluate(STOP_TIME)
        assert page.evaluate("scrollY") > 0
        page.tap(".tile >> nth=1 >> a:has-text('Timeline')")
        browser.see("text=Live: Yard")
        browser.until("scrollY === 0")
        browser.see(".lane[data-camera=camera1]:has(.span)")
        lane = browser.see(".lane[data-camera=camera0]:has(.span) .track")
        lane.scroll_into_view_if_needed()
        (left, y), (middle, _) = inside(lane, 0), inside(lane)
        quarter = (middle - left) / 2
        fingers = Fingers.on(browser)

        assert page.evaluate(NOW_AT) == pytest.approx(90)
        fingers.put(middle, y)
        fingers.move(-quarter)
        fingers.lift()
        browser.until(f"Math.abs({NOW_AT} - 65) < 1")
        assert page.locator(".player >> text=Live: Yard").count() == 1
        assert length_shown(browser) == "1 h"

        fingers.put(middle - 20, y)
        fingers.put(middle + 20, y)
        fingers.move(-60, 60)  # four times as far from each other
        zoomed = "15 min"  # the page draws the steps between as well
        browser.see(f".rows[aria-label^='Timeline, {zoomed}.']")
        now = page.evaluate(NOW_AT)
        fingers.lift()
        fingers.move(quarter)
        browser.until(f"Math.abs({NOW_AT} - {now} - 25) < 1")
        fingers.lift()
        assert length_shown(browser) == zoomed
        assert page.locator(".player >> text=Live: Yard").count() == 1

        page.keyboard.press("l")
        page.touchscreen.tap(*inside(browser.see(".lane[data-camera=camera0] .span")))
        browser.until("document.querySelector('.player video')?.ariaLabel.startsWith('Gate, ')")
        browser.until("document.querySelector('.player video')?.readyState >= 2")
        assert small_targets(browser) == []
        assert widths(browser) == (360, 360)

    await browse(chromium, use, await link(recorded), **PHONE)


async def test_where_nothing_can_be_recorded_yet_is_a_sentence(
    chromium: ChromiumThread, recorded: Daemon
) -> None:
    """By an address, by typing, and by a click behind the present: no picture, but the way to
    live. Keys that go on in time end at the present."""
    later = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = ".player .words:has-text('Nothing is recorded there yet.')"

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile >> nth=1")
        browser.go(f"timeline/camera0/{later}")
        browser.see(words)
        assert page.locator(".player video").count() == 0
        page.click(".player button:has-text('Live')")
        browser.see("text=Live: Gate")
        page.fill("label:has-text('Go to') input", "2099-01-01T12:00:00")
        browser.see(f"{words}:has-text('2099')")
        page.locator(".rows").focus()
        page.keyboard.press("l")
        browser.see("text=Live: Gate")
        page.keyboard.press("ArrowRight")
        browser.see("text=Live: Gate")
        page.mouse.click(*inside(browser.see(".lane[data-camera=camera1] .future"), 0.8))
        browser.see(words)
        browser.go("timeline/camera0/+275760-09-13T00:00:00Z")  # the last day that browsers know
        browser.see("text=Live: Gate")
        assert page.locator(".failure").count() == 0

    await browse(chromium, use, await link(recorded))


async def test_the_window_goes_where_playback_goes(
    chromium: ChromiumThread, recorded: Daemon
) -> None:
    """A click in a month without recordings plays what was recorded next, and shows where that is;
    after somebody has moved the window back and has clicked again, too."""
    cursor = "parseFloat(document.querySelector('.cursor:not(.now)').style.left)"
    recorded_there = ".lane[data-camera=camera0][aria-label*=' recorded, no gaps']"
    empty = ".lane[data-camera=camera0][aria-label='Gate: nothing recorded here']"
    before = datetime.now(UTC) - timedelta(days=30)

    def use(browser: PageBrowser) -> None:
        page = browser.page
        browser.see(".tile >> nth=1")
        browser.go("timeline/camera0")
        browser.see(recorded_there)
        for _ in range(2):
            page.fill("label:has-text('Go to') input", f"{before:%Y-%m-%dT%H:%M:%S}")
            browser.see(recorded_there)
            browser.until(f"Math.abs({cursor} - 50) < 10")
            page.locator(".rows").focus()
            for _ in range(2):
                page.keyboard.press("PageUp")
            browser.see(empty)
            page.mouse.click(*inside(browser.see(empty)))
            browser.see(".player .gap-note:has-text('Nothing recorded')")
            browser.see(recorded_there)
            browser.until(f"Math.abs({cursor} - 50) < 10")

    await browse(chromium, use, await link(recorded), locale="en-US", timezone_id="UTC")


async def test_an_instant_is_typed_while_time_goes_on(
    chromium: ChromiumThread, recorded: Daemon
) -> None:
    """The field shows the present, or what plays; not while somebody types another instant."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        browser.go("timeline/camera0")
        browser.see("text=Live: Gate")
        field = browser.page.locator("label:has-text('Go to') input")
        field.focus()
        browser.page.keyboard.type("0102")
        for _ in range(2):
            browser.page.evaluate("document.querySelector('.cursor.now').style.left = ''")
            browser.until(f"!isNaN({NOW_AT})")  # the present was drawn anew
        browser.page.keyboard.type("2099")
        browser.see(".player .words:has-text('Jan 2, 2099')")
        assert str(field.input_value()).startswith("2099-01-02T")
        browser.page.locator(".rows").focus()
        browser.page.keyboard.press("l")
        browser.until("!document.querySelector('[type=datetime-local]').value.startsWith('2099')")

    await browse(chromium, use, await link(recorded), locale="en-US", timezone_id="UTC")


async def test_what_is_not_loaded_yet_is_not_called_empty(
    chromium: ChromiumThread, recorded: Daemon
) -> None:
    """A window far from the one that was loaded, before the service has answered; then it is."""
    script = """async () => {
      const label = () => document.querySelector(".lane").ariaLabel;
      const key = () => new KeyboardEvent("keydown", { key: "PageUp", bubbles: true });
      for (let n = 0; n < 3; n++) {
        document.querySelector(".rows").dispatchEvent(key());
        await new Promise(queueMicrotask); // the page is drawn anew before a timer can run
      }
      return label();
    }"""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        browser.go("timeline/camera0")
        browser.see(".lane[aria-label*=' recorded, no gaps']")
        assert browser.page.evaluate(script) == "Gate: loading…"
        browser.see(".lane[aria-label='Gate: nothing recorded here']")

    await browse(chromium, use, await link(recorded))


async def test_a_window_of_the_past_stays_while_live_is_shown(
    chromium: ChromiumThread, recorded: Daemon
) -> None:
    """The present goes on, outside the window; it is followed only from inside."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        browser.go("timeline/camera0")
        browser.see("text=Live: Gate")
        browser.page.click("button:has-text('Earlier')")
        browser.until(f"{NOW_AT} > 100")
        moved = browser.page.evaluate(NOW_AT)
        for _ in range(2):
            shown = browser.page.evaluate(NOW_AT)
            browser.until(f"{NOW_AT} !== {shown}")
        assert browser.page.evaluate(NOW_AT) >= moved

    await browse(chromium, use, await link(recorded))
