"""Which fault, where and how often; and the decision whether a packet is the one. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from persistconn.testing.faults.packet import Direction, Kind, Packet, Sighting


class Side(Enum):
    """One of the two peers, as seen from the proxy between them."""

    CLIENT = "client"
    SERVER = "server"


class Place(Enum):
    """Where in a packet a fault strikes: how much of it has been forwarded by then."""

    BEFORE = "before"
    MIDDLE = "in the middle of"
    AFTER = "after"


@dataclass(frozen=True)
class Cut:
    """Close in order (FIN) towards both peers, or towards one.

    The other one then keeps an open connection that leads nowhere, until `heal()` or `close()` ends it.
    """

    side: Side | None = None


@dataclass(frozen=True)
class Reset:
    """Close at once (RST) towards both peers, or towards one; see Cut."""

    side: Side | None = None


@dataclass(frozen=True)
class HalfClose:
    """End one direction: the receiver reads the end of the stream, what it says itself still arrives."""

    direction: Direction


@dataclass(frozen=True)
class Stall:
    """Forward nothing more in one direction, or in both (None); nothing is lost, `heal()` lets it go on."""

    direction: Direction | None = None


@dataclass(frozen=True)
class Drop:
    """Swallow what comes in one direction, or in both (None), and the end of the stream too: a black hole.

    `heal()` goes on as if nothing had been where nothing was swallowed, and resets the others: TCP never loses
    bytes in the middle of a stream, so going on behind a gap would show what no network does.
    """

    direction: Direction | None = None


@dataclass(frozen=True)
class Hold:
    """Keep the packet, and with it what comes behind it in its direction, until it is released."""


@dataclass(frozen=True)
class Delay:
    """Forward the packet so many seconds after it came; `Where.place` does not matter."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise ValueError(f"seconds of a Delay must be 0 or more, not {self.seconds!r}")


Fault = Cut | Reset | HalfClose | Stall | Drop | Hold | Delay


@dataclass(frozen=True)
class Where:
    """The packets at which a fault strikes: those that meet everything named here, from the nth one on.

    They are counted in each conversation by itself, from its beginning or from the moment at which the rule was armed,
    whichever is later. `direction` None means both. `text` is found in the statement (of a packet to the client: in the
    statement that it answers), letter case ignored, within its first 4 kB; a compiled pattern is searched for. `share`
    is the part of the packet's bytes that goes before a fault in the MIDDLE: at least one byte goes, and one stays.
    `statement` is the number of a statement in its conversation, from 1; the packets that answer it have it too. `when`
    is asked last about each packet that meets all else, on the proxy's thread, and must neither block nor raise.
    """

    direction: Direction | None = None
    nth: int = 1
    text: str | re.Pattern[str] | None = None
    kind: Kind | None = None
    conversation: int | None = None
    place: Place = Place.BEFORE
    share: float = 0.5
    statement: int | None = None
    when: Callable[[Sighting], bool] | None = None

    def __post_init__(self) -> None:
        if self.nth < 1:
            raise ValueError(f"nth counts from 1, so it cannot be {self.nth!r}")
        if self.statement is not None and self.statement < 1:
            raise ValueError(f"statement counts from 1, so it cannot be {self.statement!r}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie between 0 and 1, not be {self.share!r}: take BEFORE or AFTER for those")

    @classmethod
    def at(cls, packet: Packet, place: Place = Place.BEFORE, *, share: float = 0.5) -> Where:
        """Return the place of a packet of a trace, to meet its like in the next conversation of the same shape."""
        return cls(packet.direction, packet.number, place=place, share=share)


def to_server(
    text: str | re.Pattern[str] | None = None,
    *,
    nth: int = 1,
    kind: Kind | None = None,
    conversation: int | None = None,
    place: Place = Place.BEFORE,
    share: float = 0.5,
    statement: int | None = None,
) -> Where:
    """Return the packets to the server, or those of the statements that contain a text."""
    return Where(Direction.TO_SERVER, nth, text, kind, conversation, place, share, statement)


def to_client(
    text: str | re.Pattern[str] | None = None,
    *,
    nth: int = 1,
    kind: Kind | None = None,
    conversation: int | None = None,
    place: Place = Place.BEFORE,
    share: float = 0.5,
    statement: int | None = None,
) -> Where:
    """Return the packets to the client, or those that answer the statements that contain a text."""
    return Where(Direction.TO_CLIENT, nth, text, kind, conversation, place, share, statement)


@dataclass(frozen=True)
class Rule:
    """One fault at one place; it fires `times` times in all, or without limit (None)."""

    fault: Fault
    where: Where = Where()
    times: int | None = 1

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be 1 or more, or None for no limit, not {self.times!r}")


@dataclass(frozen=True)
class Action:
    """What a rule does about a packet: let it pass, count it, or strike when `offset` of its bytes are forwarded."""

    counts: bool = False
    fault: Fault | None = None
    offset: int = 0


PASS = Action()
COUNT = Action(counts=True)


def decide(rule: Rule, sighting: Sighting, earlier: int) -> Action:
    """Decide what a rule does about a packet, `earlier` of whose conversation have met it before."""
    where = rule.where
    if not _meets(where, sighting):
        return PASS
    if earlier + 1 < where.nth:
        return COUNT
    return Action(True, rule.fault, _find_offset(where, sighting.size))


def _meets(where: Where, sighting: Sighting) -> bool:
    packet = sighting.packet
    if where.direction not in {None, packet.direction}:
        return False
    if where.kind not in {None, packet.kind}:
        return False
    if where.conversation not in {None, packet.conversation}:
        return False
    if where.statement not in {None, sighting.statement}:
        return False
    if where.text is not None and not _contains(sighting.text, where.text):
        return False
    return where.when is None or where.when(sighting)


def _contains(statement: str, text: str | re.Pattern[str]) -> bool:
    if isinstance(text, str):
        return text.casefold() in statement.casefold()
    return text.search(statement) is not None


def _find_offset(where: Where, size: int) -> int:
    if where.place is Place.BEFORE:
        return 0
    if where.place is Place.AFTER:
        return size
    return min(max(1, round(size * where.share)), size - 1)
