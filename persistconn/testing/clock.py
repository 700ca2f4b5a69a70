"""A clock that stands still until it is told to move."""

from __future__ import annotations


class FakeClock:
    """Stands in for ``time.monotonic``: ``clock()`` gives seconds, ``clock.advance(3601)`` lets an hour pass."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass; it never goes back."""
        if seconds < 0:
            raise ValueError(f"a monotonic clock does not go back ({seconds:g} s)")
        self.now += seconds
