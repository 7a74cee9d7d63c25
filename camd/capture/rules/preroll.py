"""Pure: the latest footage of one camera, in whole groups of pictures.

Where several groups are kept, a recording can begin in the past.
"""

from __future__ import annotations

from collections import deque

import attrs

from camd.capture.consumer import CapturedFragment

# A recording begins before the request, although the reservation takes time first.
MARGIN_SECONDS = 2.0


@attrs.define(eq=False)
class PrerollBuffer:
    """Holds what is needed to begin `seconds` ago, but never more than `limit_bytes`.

    With 0 seconds it holds what came since the last key frame. Above the limit, the
    oldest group is dropped, also when it is the only one.
    """

    seconds: float
    limit_bytes: int
    _groups: deque[list[CapturedFragment]] = attrs.field(factory=deque, init=False)
    size_bytes: int = attrs.field(default=0, init=False)

    def add(self, captured: CapturedFragment) -> None:
        """Add a fragment, unless the beginning of its group was dropped."""
        if captured.fragment.starts_with_sync:
            self._groups.append([])
        if not self._groups:
            return
        self._groups[-1].append(captured)
        self.size_bytes += captured.fragment.size_bytes
        margin = MARGIN_SECONDS if self.seconds else 0.0
        needed = captured.arrived - self.seconds - margin
        while self.size_bytes > self.limit_bytes or self._second_begins_by(needed):
            oldest = self._groups.popleft()
            self.size_bytes -= sum(each.fragment.size_bytes for each in oldest)

    def _second_begins_by(self, moment: float) -> bool:
        return len(self._groups) > 1 and self._groups[1][0].began <= moment

    def since(self, moment: float) -> list[CapturedFragment]:
        """Return the latest group that begins at `moment` or before, and all after it.

        `moment` is in monotonic seconds. Where no group begins early enough, return everything.
        """
        groups = list(self._groups)
        early = [n for n, group in enumerate(groups) if group[0].began <= moment]
        return [each for group in groups[max(early, default=0) :] for each in group]

    def clear(self) -> None:
        """Drop everything."""
        self._groups.clear()
        self.size_bytes = 0
