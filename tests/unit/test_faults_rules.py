"""The rules: what they match, where in a packet they strike, and what they refuse."""

from __future__ import annotations

import re
from typing import Any

import pytest

from persistconn.testing.faults import (
    Action,
    Cut,
    Delay,
    Direction,
    Kind,
    Packet,
    Place,
    Rule,
    Sighting,
    Stall,
    Where,
    decide,
    to_client,
    to_server,
)


def see(
    text: str = "",
    *,
    direction: Direction = Direction.TO_SERVER,
    number: int = 1,
    kind: Kind = Kind.QUERY,
    conversation: int = 1,
    size: int = 100,
) -> Sighting:
    packet = Packet(conversation, direction, number, 0, kind, "", size - 4)
    return Sighting(packet, text, size)


STRIKE = Action(counts=True, fault=Cut(), offset=0)
COUNT = Action(counts=True)
PASS = Action()


def test_first_match_is_struck_unless_another_one_is_named() -> None:
    """`nth` counts the packets that match, and from that one on the rule strikes as often as it may."""
    rule = Rule(Cut(), to_server(nth=3))
    assert [decide(rule, see(), earlier) for earlier in range(4)] == [COUNT, COUNT, STRIKE, STRIKE]


@pytest.mark.parametrize(
    ("where", "sighting", "verdict"),
    [
        (Where(), see(direction=Direction.TO_CLIENT), STRIKE),
        (to_server(), see(), STRIKE),
        (to_server(), see(direction=Direction.TO_CLIENT), PASS),
        (to_client(), see(), PASS),
        (to_client("commit"), see("COMMIT", direction=Direction.TO_CLIENT), STRIKE),
        (to_server("COMMIT"), see("commit"), STRIKE),
        (to_server("COMMIT"), see("INSERT INTO t VALUES (1)"), PASS),
        (to_server("insert into t"), see("/* 7 */ INSERT INTO t VALUES (1)"), STRIKE),
        (to_server(re.compile(r"^COMMIT$")), see("COMMIT"), STRIKE),
        (to_server(re.compile(r"^COMMIT$")), see("commit"), PASS),
        (to_server(kind=Kind.PING), see(kind=Kind.PING), STRIKE),
        (to_server(kind=Kind.PING), see(kind=Kind.QUIT), PASS),
        (to_server(conversation=2), see(conversation=2), STRIKE),
        (to_server(conversation=2), see(conversation=3), PASS),
    ],
)
def test_everything_named_must_be_met(where: Where, sighting: Sighting, verdict: Action) -> None:
    """Direction, text (letter case ignored, unless a pattern says otherwise), kind and conversation."""
    assert decide(Rule(Cut(), where), sighting, 0) == verdict


@pytest.mark.parametrize(
    ("place", "share", "size", "offset"),
    [
        (Place.BEFORE, 0.5, 100, 0),
        (Place.AFTER, 0.5, 100, 100),
        (Place.MIDDLE, 0.5, 100, 50),
        (Place.MIDDLE, 0.25, 100, 25),
        (Place.MIDDLE, 0.001, 100, 1),
        (Place.MIDDLE, 0.999, 100, 99),
        (Place.MIDDLE, 0.5, 5, 2),
        (Place.MIDDLE, 0.5, 4, 2),
    ],
)
def test_place_says_how_much_goes_before(place: Place, share: float, size: int, offset: int) -> None:
    """In the middle at least one byte of a packet goes, and at least one stays."""
    action = decide(Rule(Cut(), to_server(place=place, share=share)), see(size=size), 0)
    assert action.offset == offset


def test_packet_of_a_trace_is_found_again() -> None:
    """`Where.at` names the packet by direction and number: what a campaign of cuts walks along."""
    traced = see(direction=Direction.TO_CLIENT, number=5, conversation=1).packet
    assert Where.at(traced, Place.AFTER) == to_client(nth=5, place=Place.AFTER)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Where, {"nth": 0}, "nth counts from 1"),
        (Where, {"share": 0.0}, "share must lie between 0 and 1"),
        (Where, {"share": 1.0}, "share must lie between 0 and 1"),
        (Delay, {"seconds": -1.0}, "0 or more, not -1.0"),
        (Delay, {"seconds": float("nan")}, "0 or more, not nan"),
        (Rule, {"fault": Stall(), "times": 0}, "times must be 1 or more, or None"),
    ],
)
def test_impossible_settings_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    """At construction, with the setting, its value and the limit."""
    with pytest.raises(ValueError, match=message):
        kind(**settings)
