"""What is broken, where and how: the combinations, their cases, and the names by which a case can be repeated. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

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
    ("look", "ping", "lent"),
)
DIRECTIONS = {"s": Direction.TO_SERVER, "c": Direction.TO_CLIENT}
LETTERS = {direction: letter for letter, direction in DIRECTIONS.items()}
_HEADER = 4  # bytes of the protocol's own header before the payload


@dataclass(frozen=True)
class Combination:
    """One kind of client, transport and server.

    ``check`` is what it does before a statement: look or ping. A client that is ``lent`` its session looks.
    """

    server: str
    driver: str
    transport: str
    mode: Mode
    check: str = "look"
    place: ClassVar[str] = ""
    """All cases are run at one kind of station."""

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
        return f"{self.combination}.{LETTERS[self.direction]}{self.number}.{self.place}.{self.fault}"

    @classmethod
    def parse(cls, name: str) -> Case:
        """Read what ``str()`` has written; raises ValueError for anything else."""
        combination, packet, place, fault = name.rsplit(".", 3)
        if fault not in FAULTS or packet[:1] not in DIRECTIONS:
            raise ValueError(f"no case {name!r}")
        return cls(Combination.parse(combination), DIRECTIONS[packet[0]], int(packet[1:]), place, fault)

    def rule(self) -> Rule:
        """Return what the proxy is to do."""
        return Rule(FAULTS[self.fault], where_of(self.direction, self.number, self.place))


def where_of(direction: Direction, number: int, place: str, conversation: int | None = None) -> Where:
    """Return the place of a packet that a case names."""
    if "of" not in place:
        named = {"before": Place.BEFORE, "middle": Place.MIDDLE, "after": Place.AFTER}[place]
        return Where(direction, number, conversation=conversation, place=named)
    sent, size = map(int, place.split("of"))
    return Where(direction, number, conversation=conversation, place=Place.MIDDLE, share=sent / size)


def combinations(servers: Iterable[str] = SERVERS, drivers: Iterable[str] = DRIVERS) -> list[Combination]:
    """Return all combinations of these servers and drivers."""
    product = itertools.product(servers, drivers, TRANSPORTS, Mode, CHECKS)
    return [Combination(*parts) for parts in product]


def plan(combination: Combination, trace: Iterable[Packet]) -> list[Case]:
    """Return every case of a combination whose conversation has been recorded."""
    return [
        Case(combination, packet.direction, packet.number, place, fault)
        for packet in trace
        for place in places_in(packet, each_byte=is_commit(packet))
        for fault in FAULTS
    ]


def is_commit(packet: Packet) -> bool:
    """Say whether a packet is a COMMIT that can be read, or its answer: everything hangs on these two."""
    return packet.words == "COMMIT" and packet.kind in (Kind.QUERY, Kind.OK)


def places_in(packet: Packet, *, each_byte: bool) -> Iterator[str]:
    """Yield the places of a packet at which a fault can strike; between each two of its bytes, if asked for."""
    yield "before"
    if each_byte:
        size = packet.length + _HEADER
        yield from (f"{sent}of{size}" for sent in range(1, size))
    else:
        yield "middle"
    yield "after"


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Return ``count`` of the cases, the same ones for the same seed."""
    return random.Random(seed).sample(list(cases), min(count, len(cases)))
