"""The live player in a real browser: a picture comes, and comes again by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
from chromium_thread import ChromiumThread
from running_daemon import Daemon, NewDaemon, small_camera
from served_folder import served_folder

WEB = Path(__file__).resolve().parents[2] / "camd" / "web"
WAIT_MS = 120_000  # a machine may be busy
PAGE = b"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<div style="position: relative; width: 320px; height: 180px">
<video muted playsinline style="width: 100%; height: 100%"></video></div><p id="notice"></p>
<script type="module">
const sent = window.sent = [], states = window.states = [];
window.binaries = 0;
const Native = WebSocket;
window.WebSocket = class extends Native {
  constructor(...given) {
    super(window.unreachable ? "ws://127.0.0.1:9/" : given[0], ...given.slice(1));
    window.socket = this;
    this.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") window.binaries++;
      else window.mime = JSON.parse(data).mime ?? window.mime;
    });
  }
  send(data) { sent.push(data); super.send(data); }
};
const { watch } = await import("/player/live.js");
const video = document.querySelector("video"), notice = document.getElementById("notice");
window.start = (url, token, hiddenMs) => {
  window.player = watch(video, { url, token, notice, hiddenMs, onState: (s) => states.push(s) });
};
// A checksum of what is on the screen: the canvas where it is shown, else the video.
window.picture = () => {
  const canvas = document.querySelector("canvas.live-picture"), copy = new OffscreenCanvas(32, 18);
  const shown = canvas.hidden ? video : canvas, context = copy.getContext("2d");
  context.drawImage(shown, 0, 0, 32, 18);
  return context.getImageData(0, 0, 32, 18).data.reduce((sum, each) => (sum * 31 + each) % 1e9, 7);
};
// Tracks of the newest header.
window.tracks = () => window.mime?.split(",").length;
window.phase = () => states.at(-1)?.phase;
window.hide = (hidden) => {
  Object.defineProperty(document, "visibilityState", {
    value: hidden ? "hidden" : "visible", configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
};
window.ready = true;
</script>
"""


@attrs.define(eq=False)
class Player:
    """The page with the player, as a test uses it."""

    page: Any  # of Playwright, which need not be installed
    daemon: Daemon

    def start(self, name: str, *, key: str | None = None, hidden_ms: int = 10_000) -> None:
        """Watch a camera."""
        url = self.daemon.url.replace("/ws", f"/live/{name}")
        given = [url, self.daemon.key if key is None else key, hidden_ms]
        self.page.evaluate("(given) => window.start(...given)", given)

    def until(self, condition: str, argument: object = None) -> None:
        """Wait until a JavaScript expression is true."""
        self.page.wait_for_function(condition, arg=argument, timeout=WAIT_MS)

    def until_moving(self) -> None:
        """Wait until the player says so, and two different pictures were on the screen."""
        self.until("window.phase() === 'playing'")
        before = self.page.evaluate("window.picture()")
        self.until("(before) => window.picture() !== before", before)

    def until_quiet(self) -> int:
        """Wait until nothing comes for a second and a half; return how much came before."""
        self.page.evaluate("window.heardAt = performance.now()")
        self.until(
            """() => {
              if (window.heard !== window.binaries) window.heardAt = performance.now();
              window.heard = window.binaries;
              return performance.now() - window.heardAt > 1500;
            }"""
        )
        return int(self.page.evaluate("window.heard"))

    def states(self) -> list[dict[str, str]]:
        """Return what the player has said, without that a slow machine's pictures were late."""
        found: list[dict[str, str]] = self.page.evaluate("window.states")
        last, kept = "", []
        for state in found:
            if state["phase"] not in ("late", last):
                kept.append(state)
                last = state["phase"]
        return kept


async def drive(chromium: ChromiumThread, daemon: Daemon, use: Callable[[Player], None]) -> None:
    """Use the player in a tab; an error on the page fails the test."""

    def run(browser: Any) -> list[str]:
        problems: list[str] = []
        with served_folder(WEB, PAGE) as address, closing(browser.new_context()) as context:
            page = context.new_page()
            page.set_default_timeout(WAIT_MS)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(address)
            page.wait_for_function("window.ready", timeout=WAIT_MS)
            use(Player(page, daemon))
        return problems

    assert await chromium.run(run) == []


async def test_a_picture_comes_and_comes_again(chromium: ChromiumThread, daemon: Daemon) -> None:
    """From the camera, after it has died, and after the connection was lost; without a reload."""

    def use(player: Player) -> None:
        player.start("camera0")
        player.until_moving()
        wall = player.page.evaluate("window.player.wallMs() - Date.now()")
        assert -60_000 < wall < 1000
        (pid,) = daemon.processes()
        os.kill(pid, signal.SIGKILL)
        player.until("window.states.some((each) => each.phase === 'ended')")
        ended = next(each for each in player.states() if each["phase"] == "ended")
        assert ended["message"]
        player.until_moving()
        player.page.evaluate("window.socket.close()")
        player.until("window.states.some((each) => each.phase === 'lost')")
        player.until_moving()
        phases = [each["phase"] for each in player.states()]
        assert phases == [
            *("connecting", "playing", "ended", "playing"),
            *("lost", "connecting", "playing"),
        ]
        assert player.page.text_content("#notice") == ""
        player.page.evaluate("window.player.close()")
        assert player.page.locator("canvas").count() == 0

    await drive(chromium, daemon, use)


async def test_sound_is_asked_for_when_it_is_heard(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """A muted element gets pictures alone, which come sooner; the picture stays while it changes.

    Where the browser does not allow sound, it is muted again, and the picture goes on.
    """
    daemon = new_daemon()
    daemon.configure(cameras=[{"source": "test:?size=160x120&rate=10&audio=true"}])
    await daemon.start()
    address, tracks = "window.socket.url.includes('sound=off')", "window.tracks()"

    def use(player: Player) -> None:
        player.start("camera0")
        player.until_moving()
        assert player.page.evaluate(address)
        assert player.page.evaluate(tracks) == 1
        player.page.mouse.click(5, 5)  # without it a browser plays no sound
        player.page.evaluate("document.querySelector('video').muted = false")
        player.until(f"!{address}")
        player.until(f"{tracks} === 2")
        player.until_moving()
        assert not player.page.evaluate("document.querySelector('video').muted")
        player.page.evaluate("document.querySelector('video').muted = true")
        player.until(address)
        player.until(f"{tracks} === 1")
        player.until_moving()
        assert {each["phase"] for each in player.states()} == {"connecting", "playing"}

    await drive(chromium, daemon, use)


async def test_frames_that_came_before_do_not_hide_that_the_connection_is_lost(
    chromium: ChromiumThread, daemon: Daemon
) -> None:
    """They are shown to the last one, and the player goes on saying that it connects."""
    lose = """() => {
      window.WebSocket = class { close() {} };
      window.socket.close();
    }"""
    show = """() => new Promise((shown) => {
      const video = document.querySelector("video");
      video.requestVideoFrameCallback(shown);
      video.play();
    })"""

    def use(player: Player) -> None:
        player.start("camera0")
        player.until_moving()
        player.page.evaluate("document.querySelector('video').pause()")
        player.until(
            "(v => v.buffered.end(0) - v.currentTime > 0.5)(document.querySelector('video'))"
        )
        player.page.evaluate(lose)
        player.until("window.phase() === 'connecting'")
        player.page.evaluate(show)
        assert player.page.evaluate("window.phase()") == "connecting"

    await drive(chromium, daemon, use)


async def test_a_hidden_page_gets_nothing(chromium: ChromiumThread, daemon: Daemon) -> None:
    """After a time; a short look aside changes nothing, and shown again it is live at once."""

    def use(player: Player) -> None:
        player.start("camera0", hidden_ms=300)
        player.until_moving()
        player.page.evaluate("window.hide(true); window.hide(false)")
        player.page.wait_for_timeout(600)
        assert player.page.evaluate("window.sent.length") == 1  # the key
        player.page.evaluate("window.hide(true)")
        player.until("window.sent.length === 2")
        before = player.until_quiet()
        player.page.evaluate("window.hide(false)")
        player.until("(before) => window.binaries > before + 1", before)
        player.until_moving()
        asked = player.page.evaluate("window.sent.slice(1)")
        assert asked == ['{"type":"pause"}', '{"type":"resume"}']
        assert [each["phase"] for each in player.states()] == ["connecting", "playing"]

    await drive(chromium, daemon, use)


async def test_it_connects_at_once_when_the_network_is_there_again(
    chromium: ChromiumThread, daemon: Daemon
) -> None:
    """Or when somebody looks again; the pauses between tries do not have to pass."""
    never = (
        "window.setTimeout = ((native) => (f, ms) => ms >= 1000 ? 0 : native(f, ms))(setTimeout)"
    )

    def use(player: Player) -> None:
        player.page.evaluate(never)
        player.start("camera0", hidden_ms=100)
        player.until_moving()
        for again in ("dispatchEvent(new Event('online'))", "hide(true); hide(false)"):
            player.page.evaluate("unreachable = true; states.length = 0; socket.close()")
            player.until("states.filter((each) => each.phase === 'lost').length === 2")
            player.page.evaluate(f"unreachable = false; {again}")
            player.until_moving()

    await drive(chromium, daemon, use)


async def test_a_video_that_the_browser_has_paused_goes_on(
    chromium: ChromiumThread, daemon: Daemon
) -> None:
    """When somebody looks again."""

    def use(player: Player) -> None:
        player.start("camera0")
        player.until_moving()
        player.page.evaluate("hide(true); document.querySelector('video').pause()")
        player.until("document.querySelector('video').paused")
        player.page.evaluate("hide(false)")
        player.until("!document.querySelector('video').paused")
        player.until_moving()

    await drive(chromium, daemon, use)


async def test_pictures_of_an_mjpeg_camera_and_stills(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """Both are drawn over the video."""
    daemon = new_daemon()
    mjpeg = {"source": "test:?size=160x120&rate=10", "codec": "mjpeg"}
    daemon.configure(cameras=[small_camera(), mjpeg])
    await daemon.start()

    def use(player: Player) -> None:
        for name in ("camera1", "camera0?as=stills"):
            player.start(name)
            player.until_moving()
            size = "(({width, height}) => [width, height])(document.querySelector('canvas'))"
            assert player.page.evaluate(size) == [160, 120]
            player.page.evaluate("window.player.close()")

    await drive(chromium, daemon, use)


async def test_a_codec_that_the_browser_lacks_is_shown_otherwise(
    chromium: ChromiumThread, daemon: Daemon
) -> None:
    """In the next way that the camera names and that works; the player says which, and why."""
    lacking = "((left) => void (MediaSource.isTypeSupported = () => --left < 0))"

    def use(player: Player) -> None:
        for lacks, way in ((1, "transcode"), (100, "stills")):
            player.page.evaluate(f"{lacking}({lacks})")
            player.start("camera0")
            player.until_moving()
            last = player.states()[-1]
            assert last["phase"] == "playing"
            assert last["shownAs"] == way
            assert "cannot play video/mp4" in last["message"]
            player.page.evaluate("window.player.close()")

    await drive(chromium, daemon, use)


async def test_what_cannot_be_shown_is_a_sentence(
    chromium: ChromiumThread, new_daemon: NewDaemon
) -> None:
    """A camera with a problem, a camera that does not exist, a wrong key: text, never markup."""
    daemon = new_daemon()
    daemon.configure(cameras=[{"source": "rtsp://127.0.0.1:1/x"}])
    await daemon.start()

    def use(player: Player) -> None:
        player.start("camera0")
        player.until("window.phase() === 'ended'")
        assert "nothing answers on that port" in player.page.text_content("#notice")
        player.page.evaluate("window.player.close()")
        player.start("%3Cimg%20src=x%20onerror=alert(1)%3E")
        player.until("document.getElementById('notice').textContent.startsWith('Camera not')")
        player.page.evaluate("window.player.close()")
        player.start("camera0", key="camd_" + "w" * 43)
        player.until("window.phase() === 'refused'")
        assert "unknown key" in player.page.text_content("#notice")
        assert player.page.locator("img").count() == 0

    await drive(chromium, daemon, use)


async def test_a_screen_may_be_closed_before_it_opens(
    chromium: ChromiumThread, daemon: Daemon
) -> None:
    """When somebody goes to another view at once: the browser opens it all the same, and no error
    is thrown then."""
    script = """async () => {
      const { Overlay, VideoScreen } = await import("/player/screens.js");
      const video = document.querySelector("video");
      const mime = 'video/mp4; codecs="avc1.42c00b"';
      const screen = new VideoScreen(video, mime, false, new Overlay(video), {});
      screen.close();
      screen.source.dispatchEvent(new Event("sourceopen"));
      return screen.source.readyState;
    }"""

    def use(player: Player) -> None:
        assert player.page.evaluate(script) == "closed"

    await drive(chromium, daemon, use)


async def test_a_gap_that_is_filled_a_moment_later_is_no_reason_to_jump(
    chromium: ChromiumThread,
) -> None:
    """Pictures in another order than they are sent: Firefox lists the ranges around each gap."""
    script = """async (cases) => {
      const { rateFor, reachOf } = await import("/player/pace.js");
      const listed = (given) => ({
        length: given.length, start: (index) => given[index][0], end: (index) => given[index][1] });
      const reach = ([ranges, position]) => Object.values(reachOf(listed(ranges), position));
      const rates = [0.3, 0.12, 0.1, 0.08, 0.04, -0.4, 9].map((each) => rateFor(each, 0.1, 0.03));
      return { reaches: cases.map(reach), rates };
    }"""
    cases = {
        "one range": ([[0, 5]], 4, [0, 5, 5]),
        "a gap at the end": ([[0, 5], [5.08, 5.12]], 4.9, [0, 5, 5.12]),
        "at the gap": ([[0, 5], [5.08, 5.12]], 5, [0, 5.12, 5.12]),
        "two gaps": ([[0, 5], [5.08, 5.12], [5.2, 5.24]], 4, [0, 5, 5.24]),
        "frames are left out": ([[0, 5], [7, 8]], 4.9, [7, 8, 8]),
        "and a gap behind": ([[0, 5], [7, 8], [8.1, 8.2]], 4.9, [7, 8, 8.2]),
    }

    def run(browser: Any) -> Any:
        with served_folder(WEB, PAGE) as address, closing(browser.new_context()) as context:
            page = context.new_page()
            page.goto(address)
            return page.evaluate(script, [each[:2] for each in cases.values()])

    found = await chromium.run(run)
    assert dict(zip(cases, found["reaches"], strict=True)) == {
        name: reach for name, (_, _, reach) in cases.items()
    }
    faster, within, same, slack, slower, slowest, fastest = found["rates"]
    assert 1 < faster < fastest == 1.15
    assert (within, same, slack) == (1, 1, 1)
    assert slowest == 0.8 < slower < 1
