"""What is broken, where and how: the combinations, their cases, and the names by which a case can be repeated. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from campaigns.cuts.cases import (
    DIRECTIONS,
    DRIVERS,
    FAULTS,
    HEALED,
    LETTERS,
    SERVERS,
    TRANSPORTS,
    is_commit,
    places_in,
    where_of,
)
from campaigns.ledgers import WAYS
from persistconn.testing.faults import Direction, Kind, Packet, Rule

NAMINGS = ("random", "key")
STARTS = ("warm", "cold")
"""Warm: the ledger has been proved and the engines of the tables are known. Cold: the case is the first of its process."""

_COLD_FAULTS = ("fin", "rst", "hole", "heals")
_UNNOTICED = "hiccup"
_AT_COMMIT = 1.3
"""Cases at COMMIT for each one elsewhere: with the cold ones, which have none, half of all."""
_MOST_PLACES, _ENDS = 50, 8
_SHARE_OF_PAIRS = 4
_SHARE_OF_TRIPLES = 0.25
_NEAR = 0.5
"""The share of second cuts behind one at COMMIT that strike the replay's own fence or COMMIT."""
_FENCE = ("SELECT IS_USED_LOCK", "KILL", "CALL", "INSERT INTO", "ROLLBACK", "COMMIT", "SELECT STATE")


@dataclass(frozen=True)
class Combination:
    """One kind of client, transport, server and token."""

    server: str
    driver: str
    transport: str
    naming: str
    start: str = "warm"
    way: str = "steps"

    def __str__(self) -> str:
        return f"{self.server}.{self.driver}.{self.transport}.{self.naming}.{self.start}.{self.way}"

    @property
    def place(self) -> str:
        """The kind of station that its cases need: whether the ledger has procedures."""
        return self.way

    @property
    def is_keyed(self) -> bool:
        """Whether the job's token is made of a key of the caller's."""
        return self.naming == "key"

    @classmethod
    def parse(cls, name: str) -> Combination:
        """Read what ``str()`` has written; raises ValueError for anything else."""
        known = {str(combination): combination for combination in combinations()}
        if name not in known:
            raise ValueError(f"no combination {name!r}; one is: {next(iter(known))}")
        return known[name]


def combinations(servers: Iterable[str] = SERVERS, drivers: Iterable[str] = DRIVERS) -> list[Combination]:
    """Return all combinations of these servers and drivers; cold ones where it makes a difference."""
    product = itertools.product(servers, drivers, TRANSPORTS, NAMINGS, STARTS, WAYS)
    every = [Combination(*parts) for parts in product]
    return [one for one in every if one.start == "warm" or (one.way == "steps" and not one.is_keyed)]


@dataclass(frozen=True)
class Strike:
    """One fault at one place. ``conversation`` counts the connections of the case from 1."""

    conversation: int
    direction: Direction
    number: int
    place: str
    """"before", "middle", "after", or "7of15": when so many bytes of the packet have been forwarded."""
    fault: str

    def __str__(self) -> str:
        return f"{self.conversation}{LETTERS[self.direction]}{self.number}.{self.place}.{self.fault}"

    @classmethod
    def parse(cls, name: str) -> Strike:
        """Read what ``str()`` has written; raises ValueError for anything else."""
        packet, place, fault = name.split(".")
        letter = next((one for one in DIRECTIONS if one in packet), "")
        conversation, _, number = packet.partition(letter or ".")
        if not letter or fault not in FAULTS:
            raise ValueError(f"no strike {name!r}; one is 1c12.before.rst")
        return cls(int(conversation), DIRECTIONS[letter], int(number), place, fault)

    def rule(self, before: int) -> Rule:
        """Return what the proxy is to do that has taken so many connections before this case."""
        return Rule(FAULTS[self.fault], where_of(self.direction, self.number, self.place, before + self.conversation))


@dataclass(frozen=True)
class Case:
    """One fault or more in the conversations of one combination. ``at_commit``: the first is on COMMIT or its answer."""

    combination: Combination
    strikes: tuple[Strike, ...]
    at_commit: bool = False

    def __str__(self) -> str:
        strikes = "+".join(map(str, self.strikes))
        return f"{self.combination}/{strikes}{'!' if self.at_commit else ''}"

    @classmethod
    def parse(cls, name: str) -> Case:
        """Read what ``str()`` has written; raises ValueError for anything else."""
        combination, _, strikes = name.partition("/")
        parsed = tuple(Strike.parse(strike) for strike in strikes.rstrip("!").split("+"))
        return cls(Combination.parse(combination), parsed, at_commit=name.endswith("!"))

    @property
    def first(self) -> Strike:
        """The first fault, or the only one."""
        return self.strikes[0]

    @property
    def faults(self) -> frozenset[str]:
        """The kinds of its faults."""
        return frozenset(strike.fault for strike in self.strikes)


@dataclass(frozen=True)
class Recording:
    """The packets of undisturbed jobs, by conversation, and of the replays behind a COMMIT that was lost."""

    calm: tuple[tuple[Packet, ...], ...]
    """The job's own conversation first; on a cold start those of the ledger's proof and of the engines behind it."""
    undone: tuple[Packet, ...] = ()
    """The replay's conversation where the server never got the COMMIT."""
    done: tuple[Packet, ...] = ()
    """The same where its answer was lost."""


def plan(combination: Combination, recording: Recording, seed: int) -> list[Case]:
    """Return every case of a combination whose conversations have been recorded; more than half of them at COMMIT."""
    if combination.start == "cold":
        return _plan_cold(combination, recording)
    rng = random.Random(f"{combination} {seed}")
    (calm,) = recording.calm
    last = _last_exchange(calm)
    at_commit = [Case(combination, (strike,), at_commit=True) for packet in last for strike in _strikes(packet, True)]
    elsewhere = [
        Case(combination, (strike,)) for packet in calm if packet not in last for strike in _strikes(packet, False)
    ]
    pairs = [
        Case(combination, (first.first, _draw(2, recording.undone, rng, near=0.0)))
        for first in rng.sample(elsewhere, len(elsewhere) // _SHARE_OF_PAIRS)
        if first.first.fault != _UNNOTICED
    ]
    wanted = max(round(_AT_COMMIT * (len(elsewhere) + len(pairs))) - len(at_commit), 0)
    return [*elsewhere, *pairs, *at_commit, *_pair_at_commit(at_commit, recording, wanted, rng)]


def _pair_at_commit(singles: Sequence[Case], recording: Recording, wanted: int, rng: random.Random) -> list[Case]:
    """Put second cuts, and some third ones, into the replays behind a lost COMMIT: each first cut in turn, until enough."""
    firsts = itertools.cycle([case for case in singles if case.first.fault != _UNNOTICED])
    replays = (recording.undone, recording.done)
    pairs: dict[Case, None] = {}
    while len(pairs) < wanted:
        case = next(firsts)
        strikes = [case.first, _draw(2, rng.choice(replays), rng, _NEAR)]
        if rng.random() < _SHARE_OF_TRIPLES:
            strikes.append(_draw(3, rng.choice(replays), rng, _NEAR))
        pairs[Case(case.combination, tuple(strikes), at_commit=True)] = None
    return list(pairs)


def _draw(conversation: int, replay: Sequence[Packet], rng: random.Random, near: float) -> Strike:
    fence = [packet for packet in replay if packet.words.startswith(_FENCE)]
    packet = rng.choice(fence if fence and rng.random() < near else replay)
    place = rng.choice(list(places_in(packet, each_byte=is_commit(packet))))
    return Strike(conversation, packet.direction, packet.number, place, rng.choice(list(FAULTS)))


def _plan_cold(combination: Combination, recording: Recording) -> list[Case]:
    """Break the conversations that only a first job has; the job's own is broken by the warm cases."""
    return [
        Case(combination, (Strike(number, packet.direction, packet.number, place, fault),))
        for number, packets in enumerate(recording.calm, 1)
        if number > 1
        for packet in packets
        if packet.kind is not Kind.QUIT
        for place in ("before", "after")
        for fault in _COLD_FAULTS
    ]


def _strikes(packet: Packet, each_byte: bool) -> Iterator[Strike]:
    for place in _thinned(list(places_in(packet, each_byte=each_byte))):
        for fault in FAULTS:
            yield Strike(1, packet.direction, packet.number, place, fault)


def _thinned(places: list[str]) -> list[str]:
    """Leave out some of the bytes of a long packet, which a procedure's call is, but none of its first and last ones."""
    if len(places) <= _MOST_PLACES:
        return places
    middle = places[_ENDS:-_ENDS]
    return [*places[:_ENDS], *middle[:: len(middle) // (_MOST_PLACES - 2 * _ENDS) + 1], *places[-_ENDS:]]


def _last_exchange(packets: Sequence[Packet]) -> list[Packet]:
    """Return COMMIT and its answer: the last packet of each direction, which holds for TLS too."""
    latest = {packet.direction: packet for packet in packets}
    return list(latest.values())


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Return ``count`` of the cases, the same ones for the same seed."""
    return random.Random(seed).sample(list(cases), min(count, len(cases)))


def is_healed(case: Case) -> bool:
    """Say whether one of its faults heals."""
    return not case.faults.isdisjoint(HEALED)
