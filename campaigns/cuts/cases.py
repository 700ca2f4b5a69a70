"""What is broken, where and how: the combinations, their cases, and the names by which a case can be repeated. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from campaigns.cuts.oracle import Mode
from persistconn.testing.faults import (
    Cut,
    Direction,
    Drop,
    Fault,
    HalfClose,
    Kind,
    Packet,
    Place,
    Reset,
    Rule,
    Stall,
    Where,
)

FAULTS: dict[str, Fault] = {
    "fin": Cut(),
    "rst": Reset(),
    "hole": Drop(),
    "heals": Stall(),
    "hiccup": Stall(),
    "half-to-server": HalfClose(Direction.TO_SERVER),
    "half-to-client": HalfClose(Direction.TO_CLIENT),
}
"""``hole`` never heals. ``heals`` does when the client has given up, so that what it had sent arrives late; ``hiccup`` does
before, and may not be noticed."""
HEALED = ("heals", "hiccup")

SERVERS, DRIVERS, TRANSPORTS, CHECKS = (
    ("mariadb", "mysql"),
    ("pymysql", "mysqlclient"),
    ("plain", "tls"),
    ("look", "ping"),
)
_DIRECTIONS = {"s": Direction.TO_SERVER, "c": Direction.TO_CLIENT}
_LETTERS = {direction: letter for letter, direction in _DIRECTIONS.items()}
_HEADER = 4  # bytes of the protocol's own header before the payload


@dataclass(frozen=True)
class Combination:
    """One kind of client, transport and server. ``check`` is what it does before a statement: look or ping."""

    server: str
    driver: str
    transport: str
    mode: Mode
    check: str = "look"

    def __str__(self) -> str:
        return f"{self.server}.{self.driver}.{self.transport}.{self.mode.value}.{self.check}"

    @classmethod
    def parse(cls, name: str) -> Combination:
        """Read what ``str()`` has written; raises ValueError for anything else."""
        parts = name.split(".")
        known = {str(combination): combination for combination in combinations()}
        if ".".join(parts) not in known:
            raise ValueError(f"no combination {name!r}; one is: {next(iter(known))}")
        return known[name]


@dataclass(frozen=True)
class Case:
    """One fault at one place of the conversation of one combination."""

    combination: Combination
    direction: Direction
    number: int
    place: str
    """"before", "middle", "after", or "7of15": when so many bytes of the packet have been forwarded."""
    fault: str

    def __str__(self) -> str:
        return f"{self.combination}.{_LETTERS[self.direction]}{self.number}.{self.place}.{self.fault}"

    @classmethod
    def parse(cls, name: str) -> Case:
        """Read what ``str()`` has written; raises ValueError for anything else."""
        combination, packet, place, fault = name.rsplit(".", 3)
        if fault not in FAULTS or packet[:1] not in _DIRECTIONS:
            raise ValueError(f"no case {name!r}")
        return cls(Combination.parse(combination), _DIRECTIONS[packet[0]], int(packet[1:]), place, fault)

    def rule(self) -> Rule:
        """Return what the proxy is to do."""
        return Rule(FAULTS[self.fault], self._where())

    def _where(self) -> Where:
        if "of" not in self.place:
            place = {"before": Place.BEFORE, "middle": Place.MIDDLE, "after": Place.AFTER}[self.place]
            return Where(self.direction, self.number, place=place)
        sent, size = map(int, self.place.split("of"))
        return Where(self.direction, self.number, place=Place.MIDDLE, share=sent / size)


def combinations(servers: Iterable[str] = SERVERS, drivers: Iterable[str] = DRIVERS) -> list[Combination]:
    """Return all combinations of these servers and drivers."""
    product = itertools.product(servers, drivers, TRANSPORTS, Mode, CHECKS)
    return [Combination(*parts) for parts in product]


def plan(combination: Combination, trace: Iterable[Packet]) -> list[Case]:
    """Return every case of a combination whose conversation has been recorded."""
    return [
        Case(combination, packet.direction, packet.number, place, fault)
        for packet in trace
        for place in _places(packet)
        for fault in FAULTS
    ]


def _places(packet: Packet) -> Iterator[str]:
    yield "before"
    if packet.words == "COMMIT" and packet.kind in (Kind.QUERY, Kind.OK):
        # Everything hangs on these two, so each of their bytes is a place.
        size = packet.length + _HEADER
        yield from (f"{sent}of{size}" for sent in range(1, size))
    else:
        yield "middle"
    yield "after"


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Return ``count`` of the cases, the same ones for the same seed."""
    return random.Random(seed).sample(list(cases), min(count, len(cases)))
