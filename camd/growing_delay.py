"""Pure: how long to wait before something that failed is tried again."""

from __future__ import annotations

import attrs

_MOST_FAILURES = 100  # any growth has reached its longest delay before


@attrs.frozen
class GrowingDelay:
    """Delays that grow from `first_seconds` to `longest_seconds`, by the factor `growth`."""

    first_seconds: float
    longest_seconds: float
    growth: float = 2.0

    def after(self, failures: int, share: float = 1.0) -> float:
        """Return the delay in seconds after so many failures in a row; 0 after none.

        With a random `share`, 0 to 1, it is shortened by up to a half: those that failed at the
        same moment do not all come again at the same moment.
        """
        if failures < 1:
            return 0.0
        grown = self.first_seconds * self.growth ** min(failures - 1, _MOST_FAILURES)
        return min(self.longest_seconds, grown) * (1 + share) / 2
