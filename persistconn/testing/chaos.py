"""Faults at random statements, the same ones again for the same seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial

from persistconn.testing.faults import (
    Armed,
    Cut,
    Delay,
    Direction,
    Fault,
    FaultProxy,
    Place,
    Reset,
    Rule,
    Sighting,
    Where,
)


@dataclass(frozen=True)
class Shape:
    """What goes wrong at a statement, in words and as a rule; `at_end` is at the last packet of its answer."""

    words: str
    fault: Fault
    direction: Direction
    place: Place
    at_end: bool = False

    def __str__(self) -> str:
        return self.words


_TO, _BACK = Direction.TO_SERVER, Direction.TO_CLIENT

#: Each name that `faults=` takes, with what it may come to.
FAULTS: dict[str, tuple[Shape, ...]] = {
    # Not Reset: that waits until the answer has arrived, and the next statement may be quicker.
    "idle": (Shape("closed behind it", Cut(), _BACK, Place.AFTER, at_end=True),),
    "lost": (
        Shape("cut before it", Cut(), _TO, Place.BEFORE),
        Shape("cut in the middle of it", Cut(), _TO, Place.MIDDLE),
        Shape("cut right after it", Cut(), _TO, Place.AFTER),
        Shape("reset before it", Reset(), _TO, Place.BEFORE),
        Shape("executed, and its answer cut off", Cut(), _BACK, Place.BEFORE),
        Shape("executed, and reset before its answer", Reset(), _BACK, Place.BEFORE),
    ),
    "slow": (
        Shape("0.05 s late", Delay(0.05), _TO, Place.BEFORE),
        Shape("executed, and its answer 0.2 s late", Delay(0.2), _BACK, Place.BEFORE),
    ),
}
FAULTS["random"] = tuple(shape for shapes in FAULTS.values() for shape in shapes)

EVERY = 10
"""After how many statements there is a fault, on average."""


def shapes_of(names: str | Collection[str]) -> tuple[Shape, ...]:
    """Return what `faults=` asks for. Raises ValueError for a name that there is not."""
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in FAULTS:
            raise ValueError(f"faults={name!r}: there are {', '.join(map(repr, FAULTS))}, and lists of them")
    return tuple(dict.fromkeys(shape for name in wanted for shape in FAULTS[name]))


def plan(shapes: tuple[Shape, ...], seed: int, every: int = EVERY) -> Iterator[tuple[int, Shape]]:
    """Yield the faults of a seed, without end: at which statement, counted from 1, and which fault."""
    rng, number = random.Random(seed), 0
    while True:
        # Not from 1 on: a connection that is made anew has its first statements to itself.
        number += rng.randint((every + 1) // 2, (3 * every) // 2)
        yield number, rng.choice(shapes)


@dataclass(frozen=True)
class Struck:
    """One fault that has struck."""

    number: int
    words: str
    shape: Shape

    def __str__(self) -> str:
        return f"statement {self.number} ({self.words or 'binary'}) {self.shape}"


class Chaos:
    """Breaks what goes through a proxy between `begin()` and `end()`, by the plan of a seed.

    Statements are counted in the order in which they come by, those of all connections together.
    """

    def __init__(self, proxy: FaultProxy, shapes: tuple[Shape, ...], seed: int, every: int = EVERY) -> None:
        self.seed = seed
        self.struck: list[Struck] = []
        self._proxy = proxy
        self._shapes = shapes
        self._plan = plan(shapes, seed, every)
        # The proxy's thread alone touches these, once it has begun.
        self._due: dict[int, Shape] = {}
        self._planned = 0
        self._numbers: dict[tuple[int, int], int] = {}
        self._armed: list[Armed] = []

    def begin(self) -> None:
        """Count from here."""
        for shape in self._shapes:
            where = Where(shape.direction, place=shape.place, when=partial(self._is_due, shape))
            self._armed.append(self._proxy.arm(Rule(shape.fault, where, times=None)))

    def end(self) -> None:
        """Break nothing more."""
        for armed in self._armed:
            armed.disarm()

    def _is_due(self, shape: Shape, sighting: Sighting) -> bool:
        if not sighting.statement or (shape.at_end and not sighting.is_last):
            return False
        number = self._number(sighting)
        if self._due.get(number) is not shape:
            return False
        del self._due[number]
        self.struck.append(Struck(number, sighting.packet.words, shape))
        return True

    def _number(self, sighting: Sighting) -> int:
        """Return the number among all statements of the one that it is, or answers."""
        key = sighting.packet.conversation, sighting.statement
        number = self._numbers.setdefault(key, len(self._numbers) + 1)
        while self._planned <= number:
            self._planned, shape = next(self._plan)
            self._due[self._planned] = shape
        return number
