"""What systemd is told while the service runs: that its parts answer, what it does, and reloads.

What hangs outside of camd is no reason for a restart by the watchdog: a disk that hangs
is known to the storage, and an actor that crashed is restarted by its supervisor. Both count as
answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs
import structlog
import trio

from camd import systemd
from camd.camera.cameras import Cameras
from camd.runtime.aligned_sleep import sleep_aligned
from camd.storage.storage import Storage

log = structlog.get_logger("camd.daemon")

AskPart = Callable[[], Awaitable[None]]  # returns when the part has answered
Notify = Callable[[str], object]

_ROUNDS = 4  # in a period of the watchdog: two late answers miss no deadline
_STATUS_PAUSE_SECONDS = 2.0


@attrs.frozen(eq=False)
class SystemdNotifier:
    """systemd, or nobody: without its variables in the environment nothing is sent."""

    _cameras: Cameras
    _storage: Storage
    _addresses: Sequence[str]
    _notify: Notify = systemd.notify

    async def serve(self) -> None:
        """Feed the watchdog and show the status until cancelled."""
        async with trio.open_nursery() as nursery:
            period = systemd.watchdog_seconds(os.environ)
            nursery.start_soon(feed_watchdog, self._pings, period, self._notify)
            if systemd.is_manager(os.environ):
                nursery.start_soon(show_status, self._status_line, self._notify)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that a reload runs during the block; `systemctl reload` waits for its end."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000  # as sd_notify(3) wants
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")
        try:
            yield
        finally:
            self._notify("READY=1")

    def _pings(self) -> Mapping[str, AskPart]:
        """Return how to ask the storage and the actor of each camera."""
        cameras = {f"camera {camera.camera_id}": camera.ping for camera in self._cameras}
        return {"storage": self._storage.space.refresh, **cameras}

    def _status_line(self) -> str:
        every = [camera.published.value for camera in self._cameras]
        return status_line(
            self._addresses,
            cameras=len(every),
            recording=sum(status.session is not None for status in every),
            problems=sum(status.problem is not None for status in every),
            level=self._storage.status.level.value,
        )


def status_line(
    addresses: Sequence[str], *, cameras: int, recording: int, problems: int, level: str
) -> str:
    """Write the line that `systemctl status` shows. `level` is the storage's."""
    count = f"{cameras} camera" if cameras == 1 else f"{cameras} cameras"
    unwell = f" ({problems} with a problem)" if problems else ""
    served = ", ".join(addresses)
    return f"{count}{unwell}, {recording} recording; storage {level}; serving on {served}"


async def show_status(line: Callable[[], str], notify: Notify) -> None:
    """Notify `STATUS=` whenever the line has changed, every 2 s at most."""
    shown = ""
    while True:
        if (now := line()) != shown:
            notify(f"STATUS={now}")
            shown = now
        await sleep_aligned(_STATUS_PAUSE_SECONDS)


async def feed_watchdog(
    pings: Callable[[], Mapping[str, AskPart]], period: float | None, notify: Notify
) -> None:
    """Notify `WATCHDOG=1` in each quarter of `period` seconds, as long as all parts answer.

    `pings` names the parts of the moment. Without a watchdog (`period` None) it returns at once.
    """
    while period is not None:
        silent = await silent_parts(pings(), period / _ROUNDS)
        if silent:  # that round was a quarter; they are asked again at once
            log.error("watchdog_not_fed", parts=silent)
            continue
        notify("WATCHDOG=1")
        await trio.sleep(period / _ROUNDS)


async def silent_parts(pings: Mapping[str, AskPart], seconds: float) -> list[str]:
    """Ask all parts at once; return the names of those that do not answer within `seconds`."""
    silent = set(pings)

    async def ask(name: str, ping: AskPart) -> None:
        await ping()
        silent.discard(name)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for name, ping in pings.items():
                nursery.start_soon(ask, name, ping)
    return sorted(silent)
