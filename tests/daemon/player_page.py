"""A page with nothing but the player of recordings, at the address of a daemon, for tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from numbered_footage import NUMBER_IN
from running_daemon import Daemon

PLAYER = Path(__file__).resolve().parents[2] / "camd" / "web" / "player"
SECONDS_OF_BROWSER = 120

PAGE = f"""<!doctype html><title>player</title><video muted width=320 height=180></video>
<script type=module>
import {{ open }} from "/player/playback.js";
const video = document.querySelector("video");
const fetchJson = async (path) => {{
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(path + ": " + answer.status);
  return answer.json();
}};
window.states = [];
window.problems = [];
window.fetchJson = fetchJson;
const onState = (state) => window.states.push(state);
window.player = open(video, {{ camera: "camera0", fetchJson, onState }});
window.frameNumber = () => ({NUMBER_IN})(video);
let shown = NaN;
const watch = () => video.requestVideoFrameCallback((_, frame) => {{
  shown = frame.mediaTime;
  watch();
}});
watch();
window.painted = async () => {{ // the event `seeked` may come some ms before the picture
  const late = performance.now() + 60000;
  const age = () => video.currentTime - shown;
  while (!(age() > -0.002 && age() < 0.04) && performance.now() < late)
    await new Promise((resolve) => setTimeout(resolve, 5));
}};
window.step = async (count) => {{
  await soon(window.player.step(count));
  await window.painted();
  return window.frameNumber();
}};
const soon = (work) => Promise.race([
  work,
  new Promise((_, reject) => setTimeout(() => reject(new Error("too late")), 100000)),
]);
window.at = async (wall) => {{
  await soon(window.player.seek(wall));
  await window.painted();
  return {{ asked: wall, now: window.player.now(), number: window.frameNumber() }};
}};
</script>"""


@contextmanager
def opened(browser: Any, daemon: Daemon) -> Iterator[Any]:
    """Open the page with the player in a tab, at the daemon's address."""
    origin = daemon.url.replace("ws://", "http://").removesuffix("/ws")
    key = {"Authorization": f"Bearer {daemon.key}"}
    with closing(browser.new_context(extra_http_headers=key)) as context:
        page = context.new_page()
        page.set_default_timeout(SECONDS_OF_BROWSER * 1000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.route(
            f"{origin}/page.html",
            lambda route: route.fulfill(body=PAGE, content_type="text/html"),
        )
        page.route(
            re.compile(f"{re.escape(origin)}/player/.*"),
            lambda route: route.fulfill(
                body=(PLAYER / route.request.url.rpartition("/")[2]).read_text(),
                content_type="text/javascript",
            ),
        )
        page.goto(f"{origin}/page.html")
        page.wait_for_function("window.player")
        yield page
        assert problems == []
