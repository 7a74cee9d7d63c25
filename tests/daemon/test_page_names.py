"""What people call things, on the page: names with markup run nothing, and a schedule's times are
those that a person needs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, link, widths
from running_daemon import Daemon, NewDaemon, listening, small_camera

from camd.client import RemoteError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def markup(what: str) -> str:
    """Return a name that runs a script where it is taken for HTML."""
    return f'{what} "><img src=x onerror=alert(1)>'


@pytest.fixture
async def hostile(new_daemon: NewDaemon) -> Daemon:
    """Run a daemon where all names that people give have markup in them: of cameras, of a schedule
    that records and of an idle one, of a key, of who has recorded, pinned, and why.

    Files are long: tables show the newest 50, and a camera records while a test runs.
    """
    daemon = new_daemon()
    idle = DAYS[(datetime.now(UTC) + timedelta(days=3)).weekday()]
    times = {"timezone": "UTC", "days": "mon-sun", "from": "00:00", "to": "24:00"}
    always = {**times, "name": markup("Always"), "cameras": ["camera0"]}
    rarely = {**times, "name": markup("Rarely"), "cameras": ["camera1"], "days": idle}
    unreachable = {"source": "rtsp://127.0.0.1:9/stream", "name": markup("Bay")}
    daemon.configure(
        {"recording": {"rotation": "1h"}},
        cameras=[small_camera(name=markup("Gate")), small_camera(name=markup("Yard")), unreachable],
        schedules=[always, rarely],
    )
    await daemon.start()
    made = await daemon.call("create_key", name=markup("Ann"), role="admin")
    async with daemon.client(made["key"]) as client:
        await client.call("start_recording", device="camera1")
        done = await client.call("stop_recording", device="camera1")
        (file,) = done["receipt"]["files"]
        await client.call("pin_recording", filename=file["filename"], reason=markup("Look"))
        await client.call("take_snapshot", device="camera1")
    return daemon


async def test_no_name_with_markup_runs_in_any_view(
    chromium: ChromiumThread, hostile: Daemon
) -> None:
    """Names of cameras, schedules, keys and pins are text: in each view, in dialogs, in what a
    screen reader gets, and for whoever is signed in with such a key."""
    made = await hostile.call("create_key", name=markup("Eve"), role="admin")

    def calm(browser: PageBrowser, where: str) -> None:
        assert browser.page.locator("img[src='x']").count() == 0, where
        assert browser.page.locator("[onerror]").count() == 0, where
        browser.check()

    def use(browser: PageBrowser) -> None:
        browser.page.fill("input[name=key]", made["key"])
        browser.page.keyboard.press("Enter")
        browser.see(".tile >> nth=2")
        browser.see(f".tile >> text={markup('Always')}")
        assert markup("Eve") in str(browser.see(".who button[title*=Eve]").get_attribute("title"))
        calm(browser, "cameras")
        for view, shown in (
            ("timeline", markup("Yard")),
            ("recordings", markup("Yard")),
            ("recordings/sessions", markup("Ann")),
            ("recordings/gaps", "Nothing is missing."),
            ("recordings/snapshots", markup("Yard")),
            ("storage", "Cleanup"),
            ("events", markup("Yard")),
            ("keys", markup("Ann")),
        ):
            browser.go(view)
            browser.see(f"main[aria-label] >> text={shown} >> visible=true")
            calm(browser, view)
        browser.page.click("tr:has-text('Ann') >> button:has-text('Revoke')")
        browser.see("dialog h2:has-text('Ann')")
        calm(browser, "the question before a key is revoked")
        browser.page.keyboard.press("Escape")
        browser.go("recordings/sessions")
        browser.page.click("tr:has-text('Ann') >> button:has-text('Receipt')")
        browser.see("dialog >> text=frames")
        calm(browser, "the receipt of a session")
        browser.page.keyboard.press("Escape")
        browser.go("recordings")
        browser.page.click("tr:has-text('pinned') >> button:has-text('Receipt')")
        browser.see(f"dialog >> text={markup('Look')}")
        calm(browser, "the receipt of a file")

    await browse(chromium, use, (await link(hostile)).partition("#")[0])


async def test_a_schedule_says_the_day_where_it_is_not_today(
    chromium: ChromiumThread, hostile: Daemon
) -> None:
    """And no seconds, on the tile; the year only where it is another one."""
    script = """async (change) => {
      const { scheduleWords } = await import("/web/lib/words.js");
      return scheduleWords({ name: "nights", active: true, next_change: change.toISOString() });
    }"""

    def use(browser: PageBrowser) -> tuple[str, str, list[str]]:
        browser.see(".tile >> nth=1")
        tiles = [
            str(browser.see(f".tile >> nth={tile} >> p:has-text('Schedule')").inner_text())
            for tile in (0, 1)
        ]
        changes = (
            "new Date(new Date().setHours(23, 59, 30))",
            "new Date(new Date().getFullYear(), new Date().getMonth() < 6 ? 11 : 0, 5, 6, 30)",
            "new Date(2031, 0, 5, 6, 30)",
        )
        words = [browser.page.evaluate(f"() => ({script})({change})") for change in changes]
        return tiles[0], tiles[1], [str(each) for each in words]

    on, off, words = await browse(
        chromium, use, await link(hostile), locale="en-GB", timezone_id="UTC"
    )
    assert not re.search(r"\d\d:\d\d:\d\d", on + off)
    # A day of this year with its weekday, and of another one with its year.
    assert re.search(r": records from (\w{3}\D+\d+ \w{3}|\d+ \w{3} \d{4}), 00:00\.$", off), off
    assert words[0] == "Schedule “\u2068nights\u2069”: records until 23:59."
    assert re.fullmatch(
        r"Schedule “\u2068nights\u2069”: records until \w{3}\D+5 (Dec|Jan), 06:30\.", words[1]
    )
    assert words[2] == "Schedule “\u2068nights\u2069”: records until 5 Jan 2031, 06:30."


async def test_a_name_without_a_space_makes_no_view_wider_than_a_phone(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """Of 200 letters, and one that is written from the right: live, and an instant of the past."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="W" * 200), small_camera(name="שער ראשי")])
    await daemon.start()

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        assert widths(browser) == (320, 320)
        past = "2026-01-15T12:00:00Z"
        for view, shown in (
            ("timeline/camera1", "text=Live:"),
            ("timeline/camera0", "text=Live:"),
            (f"timeline/camera0/{past}", ".player button:has-text('+10 s')"),
        ):
            browser.address(view)
            browser.see(f".lane[data-camera={view.split('/')[1]}][aria-current=true]")
            browser.see(shown)
            assert widths(browser) == (320, 320), view
        hebrew = browser.see(".lane[data-camera=camera1] bdi").bounding_box()
        words = browser.see(".lane[data-camera=camera1] .quiet").bounding_box()
        assert hebrew["x"] + hebrew["width"] <= words["x"]

    phone = {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"}
    await browse(chromium, use, await link(daemon), **phone)


FROM_THE_RIGHT = "שער 2"


async def test_names_leave_what_is_around_them_as_it_is(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """One that is written from the right, with a digit at its end, is isolated wherever it is shown
    among other words; one of 200 letters takes two lines, and can be read whole by pointing at it;
    an emoji of several characters is shown as it was given."""
    daemon = new_daemon()
    emoji = "🏳️‍🌈 Bay"
    away = {"source": "rtsp://127.0.0.1:9/stream", "name": FROM_THE_RIGHT}
    cameras = [small_camera(name=FROM_THE_RIGHT), small_camera(name="W" * 200)]
    daemon.configure(cameras=[*cameras, small_camera(name=emoji), away])
    await daemon.start()
    made = await daemon.call("create_key", name=FROM_THE_RIGHT, role="operator")
    async with daemon.client(made["key"]) as client, listening(client) as notified:
        await client.call("start_recording", device="camera0", duration=1)
        await notified.recording("STOPPED")
        with pytest.raises(RemoteError):
            await client.call("take_snapshot", device="camera3")

    def use(browser: PageBrowser) -> None:
        name = f"bdi.name:text-is('{FROM_THE_RIGHT}')"
        browser.see(f".tile h2 {name}")
        browser.see(f".tile h2 bdi:text-is('{emoji}')")
        long = browser.see(".tile h2 bdi:has-text('WWW')")
        line = browser.see(f".tile h2 {name}").bounding_box()["height"]
        assert long.bounding_box()["height"] == pytest.approx(2 * line, abs=2)
        assert long.get_attribute("title") == "W" * 200
        browser.see(f".problems b {name}")
        browser.go("recordings/sessions")
        for column in ("Camera", "By"):
            browser.see(f"td[data-label={column}] {name}")
        browser.go("events")
        sentence = str(browser.see(".events li:has-text(' records: ')").inner_text())
        assert f"\u2068{FROM_THE_RIGHT}\u2069 records: " in sentence
        browser.go("keys")
        browser.see(f"td[data-label=Name] {name}")
        browser.page.click(f"tr:has({name}) >> button:has-text('Revoke')")
        browser.see(f"dialog h2:has-text('“\u2068{FROM_THE_RIGHT}\u2069”')")

    await browse(chromium, use, await link(daemon))
