"""Fixtures that run real daemons, and check that none of their processes is left behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from chromium_thread import ChromiumThread, find_chromium, open_chromium
from running_daemon import Daemon, NewDaemon, make_clip, roomy_folder, small_camera
from small_volume import mount, unmount


@pytest.fixture
def new_daemon(tmp_path: Path) -> Iterator[NewDaemon]:
    """Make daemons without configuration; kill them at the end; fail if processes are left."""
    made: list[Daemon] = []

    def make() -> Daemon:
        folder, thresholds = roomy_folder(tmp_path / f"daemon{len(made)}")
        folder.mkdir(parents=True)
        made.append(Daemon(folder, thresholds))
        return made[-1]

    yield make
    left = [pid for daemon in made for pid in daemon.clean_up()]
    for daemon in made:
        if not daemon.folder.is_relative_to(tmp_path):
            shutil.rmtree(daemon.folder, ignore_errors=True)
    assert left == [], "processes outlived their daemon"


@pytest.fixture
async def daemon(new_daemon: NewDaemon) -> Daemon:
    """Run a daemon with two small synthetic cameras that begins a new file every second."""
    made = new_daemon()
    made.configure(cameras=[small_camera(), small_camera()])
    await made.start()
    return made


@pytest.fixture(scope="session")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run one daemon for all tests that do not change it."""
    folder, thresholds = roomy_folder(tmp_path_factory.mktemp("shared") / "daemon")
    made = Daemon(folder, thresholds)
    absent = {"cameras": "camera9", "days": "mon-fri", "from": "20:00", "to": "06:00"}
    made.configure(
        cameras=[small_camera(), small_camera()],
        schedules=[{"name": "nights", "timezone": "Europe/Berlin", **absent}],
    )
    trio.run(made.start)
    yield made
    trio.run(made.stop)
    assert made.clean_up() == [], "processes outlived their daemon"
    if not folder.is_relative_to(tmp_path_factory.getbasetemp()):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def chromium() -> Iterator[ChromiumThread]:
    """Run one browser for all tests; skipped, with the reason, where there is none."""
    pytest.importorskip("playwright", reason="Playwright is not installed")
    if (program := find_chromium()) is None:
        pytest.skip("Chromium is not installed")
    with open_chromium(program) as browser:
        yield browser


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return a minute of video, and the hashes of its packets."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return path, make_clip(path)


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return five seconds of video, and the hashes of its packets."""
    path = tmp_path_factory.mktemp("clip") / "short.mp4"
    return path, make_clip(path, 5)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Mount a small volume of its own; skipped where that is not allowed."""
    folder = tmp_path / "volume"
    folder.mkdir()
    try:
        mount(folder, 0, "size=64m,mode=755")
    except OSError as error:
        pytest.skip(f"mounting needs root: {error.strerror}")
    yield folder
    unmount(folder)
