"""What the service manager or a person orders by signals: stop, stop at once, reload.

The handlers stay from before the event loop to the end of the process, so that no signal meets
Python's or the kernel's own answer to it. A stop that comes while the service is still being put
together cancels what was not begun; once cameras may record, it is carried out in order.
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

STOP_SECONDS = 28  # below TimeoutStopSec; a disk that hangs must not keep the process for ever
_DRAIN_SECONDS = 0.2


@attrs.define(eq=False)
class ServiceSignals:
    """The orders of one life of the service. Signal handlers write, the event loop reads."""

    _drain: Callable[[float], None]  # the log
    _signals: int = attrs.field(default=0, init=False)  # that said stop
    _reload_early: bool = attrs.field(default=False, init=False)
    _token: trio.lowlevel.TrioToken | None = attrs.field(default=None, init=False)
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _reloading: trio.Event = attrs.field(factory=trio.Event, init=False)
    _open: trio.CancelScope | None = attrs.field(default=None, init=False)

    def receive(self) -> None:
        """Receive signals from now on to the end of the process; for the main thread."""
        for number in (*early_signals.STOP, signal.SIGHUP):
            signal.signal(number, self._handle)

    def attach(self) -> None:
        """Hand the orders to the event loop that runs now; those that came earlier count."""
        self._token = trio.lowlevel.current_trio_token()
        if self._reload_early:
            self._reloading.set()

    @property
    def stopped(self) -> bool:
        """Whether there is an order to stop."""
        return self._stopping.is_set()

    async def wait_stop(self) -> None:
        """Wait until there is an order to stop."""
        await self._stopping.wait()

    async def wait_reload(self) -> None:
        """Wait until there is an order to reload; several that came meanwhile are one."""
        await self._reloading.wait()
        self._reloading = trio.Event()

    @contextmanager
    def abandoning(self) -> Iterator[None]:
        """Cancel the block when a stop is ordered, until `keep` is called in it."""
        with trio.CancelScope() as self._open:
            if self.stopped:
                self._open.cancel()
            yield
        self._open = None

    def keep(self) -> None:
        """From now on a stop ends the block in order, from within."""
        self._open = None

    def _handle(self, number: int, _: object) -> None:
        """Take a signal, in a handler: between any two steps of the main thread's program."""
        if number == signal.SIGHUP:
            self._reload_early = True
            self._tell(number)
            return
        self._signals += 1
        if self._token is None:
            os._exit(0)  # nothing was begun
        if self._signals > 1:
            try:
                log.warning("stopped_at_once", signal=signal.Signals(number).name)
                self._drain(_DRAIN_SECONDS)
            finally:  # growing files play as they are, and children end with us
                os._exit(1)
        # Its thread needs nothing from Python, and prints where each thread hangs.
        faulthandler.dump_traceback_later(STOP_SECONDS, exit=True, file=2)
        self._tell(number)

    def _tell(self, number: int) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._take, number)

    def _take(self, number: int) -> None:
        """Take a signal on the event loop."""
        if number == signal.SIGHUP:
            self._reloading.set()
            return
        log.info("stopping", signal=signal.Signals(number).name)
        self._stopping.set()
        if self._open is not None:
            self._open.cancel()
