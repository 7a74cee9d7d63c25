"""The signals of the service: stop, stop at once, reload.

The handlers are installed before the event loop runs and stay until the process ends, so that a
signal never meets the default action of Python or the kernel. A stop signal that comes while the
service starts cancels the start; once cameras may record, the service stops in order.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import attrs
import structlog
import trio

from camd import early_signals

log = structlog.get_logger("camd.daemon")

STOP_SECONDS = 28  # below TimeoutStopSec of the unit: a disk that hangs must not hold the process
_DRAIN_SECONDS = 0.2


@attrs.define(eq=False)
class ServiceSignals:
    """Signals that this process has received: handlers note them, tasks wait for them."""

    _drain_log: Callable[[float], None]
    _stops: int = attrs.field(default=0, init=False)  # stop signals received
    _reload_early: bool = attrs.field(default=False, init=False)
    _token: trio.lowlevel.TrioToken | None = attrs.field(default=None, init=False)
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _reloading: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope | None = attrs.field(default=None, init=False)

    def install(self) -> None:
        """Handle the signals from now until the process ends. For the main thread."""
        for number in (*early_signals.STOP, signal.SIGHUP):
            signal.signal(number, self._handle)

    def attach(self) -> None:
        """Deliver signals to the event loop that runs now, a reload from before included."""
        self._token = trio.lowlevel.current_trio_token()
        if self._reload_early:
            self._reloading.set()

    async def wait_stop(self) -> None:
        """Wait for a stop signal."""
        await self._stopping.wait()

    async def wait_reload(self) -> None:
        """Wait for a reload signal; several that came since the last call count as one."""
        await self._reloading.wait()
        self._reloading = trio.Event()

    @contextmanager
    def cancel_on_stop(self) -> Iterator[None]:
        """Cancel the block on a stop signal, until the block calls `stop_in_order`."""
        with trio.CancelScope() as self._scope:
            if self._stopping.is_set():
                self._scope.cancel()
            yield
        self._scope = None

    def stop_in_order(self) -> None:
        """From now on a stop signal cancels nothing: the block waits for it and ends by itself."""
        self._scope = None

    def _handle(self, number: int, _: object) -> None:
        """Handle a signal; runs between any two bytecodes of the main thread."""
        if number == signal.SIGHUP:
            self._reload_early = True
            self._forward(number)
            return
        self._stops += 1
        if self._token is None:
            os._exit(0)  # nothing was started
        if self._stops > 1:
            try:
                log.warning("stopped_without_sealing", signal=signal.Signals(number).name)
                self._drain_log(_DRAIN_SECONDS)
            finally:  # open segments play as they are, and FFmpeg processes end with this one
                os._exit(1)
        # Its thread works without Python's lock, and prints where each thread hangs.
        faulthandler.dump_traceback_later(STOP_SECONDS, exit=True, file=2)
        self._forward(number)

    def _forward(self, number: int) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._deliver, number)

    def _deliver(self, number: int) -> None:
        """Wake the tasks that wait for this signal; runs in the event loop."""
        if number == signal.SIGHUP:
            self._reloading.set()
            return
        log.info("stopping", signal=signal.Signals(number).name)
        self._stopping.set()
        if self._scope is not None:
            self._scope.cancel()
