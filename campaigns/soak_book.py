"""What the soak's tasks were told, kept small: hours of writes must not look like a leak."""

from __future__ import annotations

import itertools
import threading
from array import array
from collections import Counter
from collections.abc import Iterator

from campaigns.outcomes import Said, Unit

_COUNT_BITS = 8


class Book:
    """Takes notes from all threads: eight bytes for a unit of writes, and counters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 1
        self._units = {said: array("Q") for said in Said}
        self._told: Counter[str] = Counter()
        self._wrong: list[str] = []

    def reserve(self, count: int) -> int:
        """Return the first of ``count`` numbers that nobody else has."""
        with self._lock:
            first = self._next
            self._next += count
            return first

    def note_unit(self, first: int, count: int, said: Said) -> None:
        """Note what was said of the writes ``first`` to ``first + count - 1``."""
        with self._lock:
            self._units[said].append(first << _COUNT_BITS | count)

    def count(self, kind: str) -> None:
        """Count something by its name."""
        with self._lock:
            self._told[kind] += 1

    def note_wrong(self, what: str) -> None:
        """Note something that must never happen."""
        with self._lock:
            self._wrong.append(what)

    @property
    def wrong(self) -> list[str]:
        """What must never have happened, in words."""
        with self._lock:
            return list(self._wrong)

    def counted(self, prefix: str) -> dict[str, int]:
        """Return the counts whose names begin so, without the beginning."""
        with self._lock:
            told = dict(self._told)
        return {kind.removeprefix(prefix): count for kind, count in told.items() if kind.startswith(prefix)}

    def units(self) -> Iterator[Unit]:
        """Yield all that was noted."""
        mask = (1 << _COUNT_BITS) - 1
        for said, noted in self._units.items():
            yield from itertools.starmap(Unit, ((unit >> _COUNT_BITS, unit & mask, said) for unit in noted))
