"""The plan of the sweep of cuts: every packet, place and fault, each with a name by which it can be repeated."""

from __future__ import annotations

from collections import Counter

import pytest

from campaigns.cuts.cases import FAULTS, HEALED, Case, Combination, combinations, plan, sample
from campaigns.cuts.oracle import Mode
from persistconn.testing.faults import Direction, Kind, Packet, Place, Stall

COMBINATION = Combination("mariadb", "pymysql", "plain", Mode.TRANSACTION)
TRACE = [
    Packet(1, Direction.TO_SERVER, 1, 0, Kind.QUERY, "INSERT INTO", 30),
    Packet(1, Direction.TO_CLIENT, 1, 1, Kind.OK, "INSERT INTO", 7),
    Packet(1, Direction.TO_SERVER, 2, 0, Kind.QUERY, "COMMIT", 7),
    Packet(1, Direction.TO_CLIENT, 2, 1, Kind.OK, "COMMIT", 7),
]


def test_every_packet_is_broken_before_inside_and_after_in_each_way() -> None:
    """Three places and all faults for each packet but those of the COMMIT."""
    cases = [case for case in plan(COMBINATION, TRACE) if case.number == 1]
    assert len(cases) == 2 * 3 * len(FAULTS)
    assert {"before", "middle", "after"} == {case.place for case in cases}


def test_each_byte_of_the_commit_and_of_its_answer_is_a_place() -> None:
    """Seven bytes and the header of four are ten places inside, and two around them."""
    places = Counter(case.place for case in plan(COMBINATION, TRACE) if case.number == 2)
    assert {"before", "after", *(f"{sent}of11" for sent in range(1, 11))} == set(places)
    assert set(places.values()) == {2 * len(FAULTS)}


def test_a_place_inside_is_met_to_the_byte() -> None:
    """The proxy rounds a share of the bytes."""
    for size in range(2, 60):
        for sent in range(1, size):
            where = Case(COMBINATION, Direction.TO_SERVER, 2, f"{sent}of{size}", "rst").rule().where
            assert sent == round(size * where.share)
            assert where.place is Place.MIDDLE


def test_every_case_can_be_named_and_repeated() -> None:
    """The name is all that a failure prints."""
    cases = plan(COMBINATION, TRACE)
    assert cases == [Case.parse(str(case)) for case in cases]
    assert len(cases) == len(set(map(str, cases)))


def test_every_combination_can_be_named() -> None:
    """Two servers, drivers and transports, three modes and checks."""
    everything = combinations()
    assert len(everything) == 2 * 2 * 2 * 3 * 3
    assert everything == [Combination.parse(str(one)) for one in everything]


@pytest.mark.parametrize("name", ["", "mariadb", "oracle.pymysql.plain.block.look", "mariadb.pymysql.plain.block"])
def test_a_name_of_nothing_is_refused(name: str) -> None:
    """With a name that would do."""
    with pytest.raises(ValueError, match=r"mariadb\.pymysql\.plain\.autocommit\.look"):
        Combination.parse(name)


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    """And another one for another."""
    cases = plan(COMBINATION, TRACE)
    assert sample(cases, 20, seed=1) == sample(cases, 20, seed=1) != sample(cases, 20, seed=2)
    assert len(set(sample(cases, 20, seed=1))) == 20


def test_a_sample_of_more_than_there_is_is_all() -> None:
    """No error."""
    cases = plan(COMBINATION, TRACE)
    assert set(cases) == set(sample(cases, 10_000, seed=1))


def test_what_heals_is_what_loses_nothing() -> None:
    """A hole that has swallowed bytes can only be reset."""
    assert set(HEALED) == {name for name, fault in FAULTS.items() if isinstance(fault, Stall)}
