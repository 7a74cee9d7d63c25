"""The page in a real browser, on a real daemon: what people see, do, and are told."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trio
from chromium_thread import ChromiumThread
from page_browser import PageBrowser, browse, inside, link, shown_roles, small_targets, widths
from running_daemon import Daemon, NewDaemon, small_camera

MARKUP = "Yard <img src=x onerror=alert(1)>"
VIEWS = {  # and what is there when a view has everything that it asked the service for
    "cameras": ".tile >> nth=1",
    "timeline": ".lane[aria-label$=': nothing recorded here'] >> nth=1",
    "recordings": "p:has-text('Nothing is recorded.')",
    "recordings/sessions": "p:has-text('Nothing is recorded.')",
    "recordings/gaps": "p:has-text('Nothing is missing.')",
    "recordings/snapshots": "p:has-text('There are no snapshots.')",
    "storage": "h2:has-text('Checks')",
    "events": "label:has-text('Show')",
    "keys": "td:has-text('admin')",
}
UNREACHABLE = {"source": "rtsp://127.0.0.1:9/stream", "name": "Loading bay"}
# A camera whose footage before a start is kept is always tried; others are idle when nobody
# watches them, and an idle camera has no problem.
ALWAYS_TRIED = {"recording": {"preroll": "1s"}}


@pytest.fixture
async def recorder(new_daemon: NewDaemon) -> Daemon:
    """Run a daemon with two cameras that work, one of them with markup in its name."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate"), small_camera(name=MARKUP)])
    await daemon.start()
    return daemon


@pytest.fixture
async def with_problem(new_daemon: NewDaemon) -> Daemon:
    """Run a daemon with a camera that works, and one that cannot be reached."""
    daemon = new_daemon()
    daemon.configure(ALWAYS_TRIED, cameras=[small_camera(name="Gate"), UNREACHABLE])
    await daemon.start()
    return daemon


async def test_a_link_signs_in_and_a_recording_is_made_by_keyboard(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """Both cameras play; key 1 chooses, r starts and stops; the receipt is shown."""

    def use(browser: PageBrowser) -> list[Any]:
        browser.see(".tile >> nth=1")
        assert "code" not in browser.page.url
        for tile in (0, 1):
            playing = f"document.querySelectorAll('.tile video')[{tile}]?.currentTime > 0"
            browser.until(playing)
        browser.page.keyboard.press("1")
        browser.page.keyboard.press("r")
        browser.see(".tile:has-text('Recording since') >> nth=0")
        assert browser.page.locator(".tile:focus h2").text_content() == "Gate"
        browser.page.keyboard.press("r")
        browser.see(".tile >> text=frames on disk, no gaps.")
        browser.page.keyboard.press("?")
        browser.see("dialog >> text=Snapshot of the chosen camera")
        browser.page.keyboard.press("Escape")
        browser.gone("dialog")
        names: list[Any] = browser.page.locator(".tile h2").all_text_contents()
        return names

    names = await browse(chromium, use, await link(recorder), by_link=True)
    assert names == ["Gate", MARKUP]
    files = (await recorder.call("list_recordings"))["files"]
    assert {file["camera_id"] for file in files} == {"camera0"}
    (session,) = (await recorder.call("get_sessions"))["sessions"]
    assert session["gaps"] == 0


async def test_a_name_with_markup_is_text_and_nothing_of_it_runs(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """Not in the tile, not in menus; and the policy stops what a bug would let through."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        for view, shown in VIEWS.items():
            browser.go(view)
            browser.see(shown)
            assert browser.page.locator("img[src='x']").count() == 0, view
        browser.check()
        browser.page.evaluate(
            "html => document.body.insertAdjacentHTML('beforeend', html)",
            '<img src="/web/icon.svg" onload="hit = 1">',
        )
        browser.until("window.violations.length > 0")
        assert browser.page.evaluate("typeof hit") == "undefined"

    await browse(chromium, use, await link(recorder), check=False)


async def test_a_removed_camera_leaves_the_page_that_shows_none_of_its_pictures(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """A reload removes it while the timeline is shown; the other camera stays."""
    token = trio.lowlevel.current_trio_token()

    async def remove() -> None:
        recorder.configure(cameras=[small_camera(name="Gate")])
        assert (await recorder.call("reload_config"))["applied"] == ["camera.camera1"]

    def use(browser: PageBrowser) -> None:
        browser.go("timeline")
        browser.see(".lane >> nth=1")
        trio.from_thread.run(remove, trio_token=token)
        browser.gone(".lane >> nth=1")
        browser.see(".lane[aria-label^='Gate']")
        browser.gone(".problems li")

    await browse(chromium, use, await link(recorder))


async def test_a_camera_that_does_not_work_is_a_sentence_on_top_of_every_view(
    chromium: ChromiumThread,
    with_problem: Daemon,
) -> None:
    """With its cause and what to do; its tile says the same in place of a picture."""

    def use(browser: PageBrowser) -> None:
        words = "nothing answers on that port"
        browser.see(f".tile .words:has-text('{words}')")
        for view in VIEWS:
            browser.go(view)
            problem = browser.see(f".problems li.alarm:has-text('Loading bay'):has-text('{words}')")
        assert "Check that the stream is being served" in str(problem.text_content())
        browser.until(
            "document.title.startsWith(`(${document.querySelectorAll('.problems li').length}) `)"
        )

    await browse(chromium, use, await link(with_problem))


async def test_many_problems_leave_room_for_the_view(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """On a phone, too: some are shown, and the others when somebody asks for them."""
    daemon = new_daemon()
    bays = [UNREACHABLE | {"name": f"Loading bay {number}"} for number in range(1, 7)]
    daemon.configure(ALWAYS_TRIED, cameras=bays)
    await daemon.start()

    def use(browser: PageBrowser) -> list[str]:
        browser.see("summary:has-text('3 more problems')")
        browser.page.set_viewport_size({"width": 320, "height": 640})
        top = "document.querySelector('main').getBoundingClientRect().top"
        browser.until(f"innerHeight === 640 && {top} < innerHeight * 2 / 3")
        browser.page.click("summary")
        browser.see(".problems li >> nth=5")
        rows: list[str] = browser.page.locator(".problems li b").all_inner_texts()
        return rows

    window = {"width": 1280, "height": 1600}
    shown = await browse(chromium, use, await link(daemon), viewport=window)
    assert sorted(shown) == [bay["name"] for bay in bays]


async def test_readers_get_roles_and_names(chromium: ChromiumThread, with_problem: Daemon) -> None:
    """The tree that a screen reader sees: landmarks, the tiles as articles, the gauge."""

    def use(browser: PageBrowser) -> None:
        browser.see(".problems li")
        browser.see(".tile >> nth=1")
        cameras = shown_roles(browser)
        for expected in (
            '- navigation "Views":',
            '- link "Cameras"',
            '- region "Problems":',
            '- main "Cameras":',
            '- list "Cameras":',
            'article "Gate',
            '- heading "Gate" [level=2]',
            '- button "Snapshot"',
            '- combobox "How long ',
        ):
            assert expected in cameras, cameras
        browser.go("storage")
        browser.see(".gauge")
        assert '- meter "Used space"' in shown_roles(browser)
        browser.go("keys")
        browser.see("tbody tr")
        keys = shown_roles(browser, "main")
        for expected in (
            '- heading "Add a key" [level=2]',
            '- textbox "Name"',
            '- combobox "Role"',
            '- combobox "Valid"',
            '- button "Revoke admin"',
            '- columnheader "Expires"',
        ):
            assert expected in keys, keys
        browser.go("timeline")
        browser.see(".lane[aria-label*='nothing recorded here']")
        assert 'group "Gate: nothing recorded here"' in shown_roles(browser)

    await browse(chromium, use, await link(with_problem))


async def test_dark_and_narrow(chromium: ChromiumThread, with_problem: Daemon) -> None:
    """At 320 pixels nothing scrolls sideways, targets fit fingers; dark follows the system."""

    def use(browser: PageBrowser) -> None:
        browser.see(".problems li")
        for view, shown in VIEWS.items():
            browser.go(view)
            browser.see(shown)
            wide, window = widths(browser)
            assert wide <= window == 320, view
            assert small_targets(browser) == [], view
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        browser.until(f"{ground} === 'rgb(14, 20, 19)'")
        browser.page.emulate_media(color_scheme="light")
        browser.until(f"{ground} === 'rgb(243, 245, 244)'")

    size = {"width": 320, "height": 640}
    await browse(chromium, use, await link(with_problem), viewport=size, color_scheme="dark")


async def test_a_viewer_sees_and_changes_nothing(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """Neither buttons that would be refused, nor keys that would do it."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        assert browser.page.locator("button:has-text('Record')").count() == 0
        browser.page.keyboard.press("1")
        browser.page.keyboard.press("r")
        browser.go("storage")
        browser.see("text=There is enough space.")
        browser.go("events")
        browser.see("label:has-text('Show')")
        assert browser.page.locator("nav a:has-text('Keys')").count() == 0
        browser.address("keys")
        browser.see("main[aria-label='Cameras']")

    await browse(chromium, use, await link(recorder, "viewer"))
    assert (await recorder.call("list_recordings"))["total"] == 0


async def test_a_key_is_made_copied_and_revoked_by_keyboard(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """It is shown once; it signs in until it is revoked, after a question."""

    def use(browser: PageBrowser) -> tuple[str, str]:
        press = browser.page.keyboard.press
        browser.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        browser.see(".tile >> nth=0")
        browser.go("keys")
        browser.see("tbody td:has-text('admin')")
        browser.page.locator("input[name=name]").focus()
        browser.page.keyboard.type(MARKUP)
        press("Tab")
        press("ArrowDown")
        press("Tab")
        press("ArrowDown")
        press("Tab")
        press("Enter")
        browser.see("h2:has-text('The key')")
        key = str(browser.see(".mono[readonly]:focus").input_value())
        press("Tab")
        press("Enter")
        browser.see("[role=status]:has-text('Copied.')")
        assert browser.page.evaluate("navigator.clipboard.readText()") == key
        press("Tab")
        press("Enter")
        browser.see("input[name=name]:focus")
        assert key not in browser.page.content()
        made = browser.see("tbody tr >> nth=1").inner_text()
        browser.page.locator(".danger >> nth=1").focus()
        press("Enter")
        browser.see("dialog >> text=It cannot be brought back.")
        assert browser.page.locator("dialog >> text=signed out").count() == 0
        press("Escape")
        browser.gone("dialog")
        assert browser.page.locator("tbody tr").count() == 2
        browser.see(".danger:focus")
        press("Enter")
        browser.page.click("dialog button.danger")
        browser.gone("tbody tr >> nth=1")
        return key, made

    key, made = await browse(chromium, use, await link(recorder))
    assert key.startswith("camd_")
    assert MARKUP in made
    assert "operator" in made
    assert [each["name"] for each in (await recorder.call("list_keys"))["keys"]] == ["admin"]
    assert key not in recorder.log


async def test_a_key_that_cannot_be_made_is_told(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """And revoking the key with which one is signed in, the last one, says what it means."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=0")
        browser.go("keys")
        browser.see("tbody tr")
        browser.page.fill("input[name=name]", "admin")
        browser.page.click("button:has-text('Add')")
        browser.see("[role=alert] >> text=There is a key of this name already.")
        browser.page.click("button:has-text('Revoke')")
        browser.see("dialog >> text=you will be signed out")
        browser.see("dialog >> text=the last key of an administrator")
        browser.page.click("dialog button.danger")
        browser.see("text=You were signed out")

    await browse(chromium, use, await link(recorder))


async def test_a_recording_begins_before_the_start_where_footage_is_kept(
    chromium: ChromiumThread,
    new_daemon: NewDaemon,
) -> None:
    """The tile offers how much; “From now” takes none, and the rest is what the service keeps."""
    daemon = new_daemon()
    daemon.configure({"recording": {"preroll": "8s"}}, [small_camera(name="Yard")])
    await daemon.start()

    def use(browser: PageBrowser) -> tuple[list[str], list[Any]]:
        sent: list[str] = []

        def watch(socket: Any) -> None:
            socket.on("framesent", lambda text: sent.append(str(text)))

        browser.see(".tile")  # signed in: the link works once
        browser.page.on("websocket", watch)
        browser.page.reload()
        offered = "select[aria-label='Where the recording of Yard begins']"
        browser.see(offered)
        texts = [str(each) for each in browser.page.locator(f"{offered} option").all_inner_texts()]
        for value, said in (("0", "Recording since"), ("", "before the start.")):
            browser.page.select_option(offered, value)
            browser.page.click("button:has-text('Record')")
            browser.see(f".tile >> text={said}")
            browser.page.click("button:has-text('Stop')")
            browser.see("button:has-text('Record')")
        calls = [json.loads(each) for each in sent if "start_recording" in each]
        return texts, [call["params"] for call in calls]

    texts, started = await browse(chromium, use, await link(daemon))
    assert texts == ["From 8 s ago", "From 5 s ago", "From now"]
    assert started == [{"device": "camera0", "preroll": 0}, {"device": "camera0"}]


async def test_the_timeline_plays_the_past_takes_out_and_pins(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """A click plays that instant; a range gives a link to its export, and pins its files."""
    async with recorder.client() as client:
        await client.call("start_recording", device="camera0", duration=3)
        async for method, params in client.notifications():
            if method == "recording_status_update" and params["status"] == "STOPPED":
                break

    def use(browser: PageBrowser) -> str:
        browser.see(".tile >> nth=1")
        browser.go("timeline/camera0")
        browser.see("text=Live: Gate")
        browser.see(".track .span")
        for _ in range(8):
            browser.page.keyboard.press("+")
        browser.see(".rows[aria-label^='Timeline, 5 min.']")
        x, y = inside(browser.see(".track .span"), 1 / 3)
        browser.page.mouse.click(x, y)
        browser.see(".player button:has-text('Pause'), .player >> text=Nothing was recorded later.")
        browser.until("document.querySelector('.player video').played.length > 0")
        browser.page.keyboard.press(" ")
        browser.see(".player button:has-text('Play')")
        x, y = inside(browser.see(".track .span"), 1 / 3)  # the player is higher than before
        browser.page.mouse.move(x - 150, y)
        browser.page.mouse.down()
        browser.page.mouse.move(x + 60, y, steps=4)
        browser.page.mouse.up()
        export = browser.see("a:has-text('Export as one file')").get_attribute("href")
        browser.page.click("button:has-text('Pin its files')")
        browser.see("text=cleanup keeps them")
        browser.page.keyboard.press("Tab")
        browser.page.locator(".rows").focus()
        browser.page.keyboard.press("l")
        browser.see("text=Live: Gate")
        return str(export)

    export = await browse(chromium, use, await link(recorder), reduced_motion="no-preference")
    assert export.startswith("/export/camera0.mp4?from=")
    files = (await recorder.call("list_recordings"))["files"]
    assert files
    assert all(file["pinned"] for file in files)


async def test_a_gap_is_shown_with_its_cause(chromium: ChromiumThread, recorder: Daemon) -> None:
    """FFmpeg is killed in a recording: the timeline, the tables and the events say so."""
    async with recorder.client() as client:
        await client.call("start_recording", device="camera0")
        (pid,) = recorder.processes()
        os.kill(pid, signal.SIGKILL)
        async for method, params in client.notifications():
            if method == "recording_status_update" and params["status"] == "GAP":
                break
        await client.call("stop_recording", device="camera0")
    (gap,) = (await recorder.call("get_gaps"))["gaps"]
    assert gap["cause"] == "encoder_exit"

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        browser.go("timeline/camera0")
        browser.see(".legend >> text=gap: FFmpeg ended")
        browser.see(".track .gap.p-service")
        browser.go("recordings/gaps")
        browser.see("td:has-text('FFmpeg ended')")
        browser.go("recordings/sessions")
        browser.page.click("button:has-text('Receipt')")
        browser.see("dialog >> text=One gap")
        browser.page.keyboard.press("Escape")
        browser.go("events")
        browser.see("li.bad:has-text('\u2068Gate\u2069 has a gap')")

    await browse(chromium, use, await link(recorder))


async def test_a_service_that_does_not_answer_greys_the_page_out(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """It is said over all views; when the service answers again, the page is as before."""
    assert recorder.process is not None
    process = recorder.process

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        process.send_signal(signal.SIGSTOP)
        try:
            browser.see(".lost")
            assert browser.page.locator(".stale main").count() == 1
        finally:
            process.send_signal(signal.SIGCONT)
        browser.gone(".lost")
        browser.page.keyboard.press("1")
        browser.page.keyboard.press("r")
        browser.see(".tile >> text=Recording since")

    await browse(chromium, use, await link(recorder), check=False)


async def test_a_page_that_was_busy_itself_does_not_call_the_service_silent(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """The answer to its ping may wait to be read; a service that does not answer is told."""
    script = """async () => {
      const { Connection } = await import("/web/lib/rpc.js");
      const sent = [], states = [], Native = window.WebSocket;
      window.WebSocket = class {
        static OPEN = 1;
        readyState = 1;
        send(text) { sent.push(text); }
        close() {}
      };
      const connection = new Connection({
        url: "", onOpen: async () => {}, onState: (state) => states.push(state) });
      window.WebSocket = Native;
      const told = async (expected) => {
        while (states.at(-1) !== expected) await new Promise((soon) => setTimeout(soon, 10));
      };
      connection.socket.onopen();
      await told("open");
      while (!sent.length) {
        await new Promise((soon) => setTimeout(soon, 10));
        connection.watch();
      }
      const until = performance.now() + 3000;
      while (performance.now() < until);
      connection.watch();
      const busy = [...states];
      await told("silent");
      connection.close();
      return busy;
    }"""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        assert browser.page.evaluate(script) == ["open"]

    await browse(chromium, use, await link(recorder))


async def test_an_address_that_makes_no_sense_shows_a_view(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """No blank page: the part that is known decides, else the cameras are shown."""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=1")
        for address, shown in (
            ("timeline/%E0%A4%A", ".lane >> nth=1"),
            ("constructor", ".tile >> nth=1"),
            ("timeline/nothing/never", ".lane >> nth=1"),
            ("recordings/constructor", "form[aria-label='Filter']"),
        ):
            browser.address(address)
            browser.page.reload()
            browser.see(shown)

    await browse(chromium, use, await link(recorder))


async def test_tables_do_not_break_times_and_names_of_people(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """A camera with a long name takes its room from nobody, in a window of a usual width."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="The camera over the yard " * 4)])
    await daemon.start()
    await daemon.call("start_recording", device="camera0")

    def use(browser: PageBrowser) -> None:
        browser.page.set_viewport_size({"width": 1100, "height": 720})
        for table in ("recordings", "sessions"):
            browser.go(f"recordings/{table}")
            browser.see("td[data-label=State]")
            one_line = """[...document.querySelectorAll('td time')].every(
                (time) => time.getClientRects().length === 1)"""
            assert browser.page.evaluate(one_line)
        assert widths(browser)[0] <= widths(browser)[1]

    await browse(chromium, use, await link(daemon))


async def test_an_address_that_changes_while_the_page_is_drawn_counts(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """The view of the newest address is shown, also before the page listens for changes."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(name="Gate")])
    await daemon.start()
    at_once = """new MutationObserver((_, observer) => {
        if (!document.querySelector('nav')) return;
        observer.disconnect();
        location.hash = 'storage';
    }).observe(document, { childList: true, subtree: true })"""

    def use(browser: PageBrowser) -> None:
        browser.see(".tile:has-text('Gate')")
        browser.page.add_init_script(at_once)
        browser.page.reload()
        browser.see("nav [aria-current=page][href='#storage']")

    await browse(chromium, use, await link(daemon))


async def test_after_a_restart_the_page_asks_to_sign_in(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """Sessions end with the service; the page says so, and a new link pasted into the tab works."""
    port = recorder.url.rpartition(":")[2].partition("/")[0]
    token = trio.lowlevel.current_trio_token()

    def use(browser: PageBrowser) -> None:
        browser.see(".tile >> nth=0")
        trio.from_thread.run(restart, trio_token=token)
        browser.see("text=You were signed out")
        browser.page.goto(trio.from_thread.run(link, recorder, trio_token=token))
        browser.see(".tile >> nth=0")
        browser.page.click("text=Sign out")
        browser.see("text=You are signed out.")
        assert browser.page.evaluate("fetch('/api/cameras').then((a) => a.status)") == 401

    async def restart() -> None:
        await recorder.stop()
        recorder.configure({"server": {"listen": f"127.0.0.1:{port}"}}, [small_camera(name="Gate")])
        await recorder.start()

    await browse(chromium, use, await link(recorder), check=False)


async def test_without_authentication_the_page_opens_by_itself(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """Nobody has to sign in, and nobody can sign out."""
    daemon = new_daemon()
    daemon.configure({"auth": {"enabled": False}}, [small_camera(name="Gate")])
    await daemon.start()

    def use(browser: PageBrowser) -> None:
        browser.see(".tile:has-text('Gate')")
        browser.see("button:has-text('Record')")
        assert browser.page.locator("text=Sign out").count() == 0

    await browse(chromium, use, daemon.url.replace("ws://", "http://").removesuffix("/ws"))


@contextmanager
def foreign_page(script: str) -> Iterator[str]:
    """Serve a page at another port of this machine; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(script.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


STEAL = """<!doctype html><script>
const socket = new WebSocket(%r);
window.said = [];
socket.onopen = () => socket.send('{"jsonrpc": "2.0", "id": 1, "method": "get_camera_list"}');
socket.onmessage = (event) => window.said.push(event.data);
socket.onclose = () => window.said.push("closed");
const picture = new Image();
picture.onload = () => { window.picture = "seen"; };
picture.onerror = () => { window.picture = "refused"; };
picture.src = %r;
</script>"""


async def test_a_foreign_page_gets_nothing_of_who_is_signed_in(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """A page of another port, which the browser sends our cookie with: no calls, no pictures."""
    ours = recorder.url.replace("ws://", "http://").removesuffix("/ws")

    def use(browser: PageBrowser) -> tuple[str, str]:
        browser.see(".tile >> nth=0")
        with foreign_page(STEAL % (recorder.url, f"{ours}/still/camera0.jpg")) as address:
            other = browser.page.context.new_page()
            other.goto(address)
            other.wait_for_function("window.said.length && window.picture")
            return other.evaluate("window.said[0]"), other.evaluate("window.picture")

    said, picture = await browse(chromium, use, await link(recorder))
    assert '"code":-32001' in said.replace(" ", "")
    assert picture == "refused"


async def test_a_wrong_key_is_told_in_a_sentence(
    chromium: ChromiumThread, recorder: Daemon
) -> None:
    """And a right one, typed, signs in."""
    address = (await link(recorder)).partition("#")[0]

    def use(browser: PageBrowser) -> None:
        browser.page.fill("input[name=key]", "camd_wrong")
        browser.page.keyboard.press("Enter")
        browser.see("[role=alert] >> text=This key is not known.")
        browser.page.fill("input[name=key]", recorder.key)
        browser.page.keyboard.press("Enter")
        browser.see(".tile >> nth=1")

    await browse(chromium, use, address, check=False)
