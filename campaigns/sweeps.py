"""A keeper that knows how late its sweeps came, where a campaign depends on them."""

from __future__ import annotations

from typing import Any

from persistconn.keeper import Keeper
from persistconn.policy import PINGS_PER_WAIT_TIMEOUT


class TimedKeeper(Keeper):
    """Takes the time between the ends of its sweeps."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._ended_at = self.clock()
        self._longest = 0.0

    def sweep(self) -> None:
        super().sweep()
        self._longest, self._ended_at = self.longest_gap(), self.clock()

    def longest_gap(self) -> float:
        """Return the longest time without a sweep, in seconds; that since the last one counts too."""
        return max(self._longest, self.clock() - self._ended_at)

    def was_late(self, wait_timeout: float) -> bool:
        """Say whether the machine let sweeps come so late that a session may have expired between two of them.

        A ping is due after a third of ``wait_timeout``. The sweep before that may just have missed it, so it is sent two
        gaps later at the latest.
        """
        return self.longest_gap() >= wait_timeout / PINGS_PER_WAIT_TIMEOUT
