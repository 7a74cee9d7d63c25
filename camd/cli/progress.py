"""Progress of long work on stderr: one line that changes for people, one at the end for a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import attrs
from rich.console import Console
from rich.live import Live
from rich.text import Text

from camd.clock import monotonic

T = TypeVar("T")

_STEP_SECONDS = 0.2  # nobody reads faster


@attrs.define(eq=False)
class ProgressMeter(Generic[T]):
    """Passes progress on as a line, but not more often than somebody can read."""

    line: Callable[[T, float], str]  # what to say of it after so many seconds
    show: Callable[[str], None] = lambda _: None
    began: float = attrs.field(factory=monotonic, init=False)
    latest: T | None = attrs.field(default=None, init=False)
    _shown_at: float = attrs.field(default=0.0, init=False)

    def take(self, progress: T) -> None:
        """Hear how far it is."""
        self.latest, moment = progress, monotonic()
        if moment - self._shown_at >= _STEP_SECONDS:
            self._shown_at = moment
            self.show(self.line(progress, moment - self.began))


@contextmanager
def show_progress(out: Console, meter: ProgressMeter[T]) -> Iterator[Callable[[T], None]]:
    """Show progress while the block runs."""
    if not out.is_terminal:
        yield meter.take
        if meter.latest is not None:
            out.print(Text(meter.line(meter.latest, monotonic() - meter.began)))
        return
    with Live(console=out, transient=True, auto_refresh=False) as live:
        meter.show = lambda line: live.update(Text(line, overflow="ellipsis"), refresh=True)
        yield meter.take


def printable(name: str) -> str:
    """Make a file's name printable, whatever its bytes are."""
    show_progress = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in show_progress)
