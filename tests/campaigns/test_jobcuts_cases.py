"""The cases of the sweep through a job: most of them at COMMIT, each with a name that brings it back."""

from __future__ import annotations

import pytest

from campaigns.cuts.cases import FAULTS
from campaigns.jobcuts.cases import Case, Combination, Recording, combinations, plan
from persistconn.testing.faults import Direction, Kind, Packet


def conversation(number: int, statements: list[str]) -> tuple[Packet, ...]:
    """Return a question and an answer for each statement."""
    packets = []
    for nth, words in enumerate(statements, 1):
        packets.append(Packet(number, Direction.TO_SERVER, nth, 0, Kind.QUERY, words, 7))
        packets.append(Packet(number, Direction.TO_CLIENT, nth, 1, Kind.OK, words, 7))
    return tuple(packets)


STATEMENTS = ["BEGIN", "INSERT INTO", "SAVEPOINT", "UPDATE", "RELEASE SAVEPOINT", "UPDATE", "COMMIT"]
COMBINATION = Combination("mariadb", "pymysql", "plain", "key")
RECORDING = Recording(
    (conversation(1, STATEMENTS),),
    undone=conversation(2, STATEMENTS),
    done=conversation(2, ["BEGIN", "INSERT INTO", "ROLLBACK", "SELECT STATE"]),
)


def test_more_than_half_of_the_first_faults_are_at_commit() -> None:
    """On its packet or on the answer: in a uniform sweep it would be one in thirty."""
    cases = plan(COMBINATION, RECORDING, seed=1)
    at_commit = [case for case in cases if case.at_commit]
    assert len(cases) / 2 < len(at_commit) < len(cases) * 2 / 3
    assert {(case.first.direction, case.first.number) for case in at_commit} == {
        (Direction.TO_SERVER, 7),
        (Direction.TO_CLIENT, 7),
    }
    assert len(cases) == len(set(cases))


def test_commit_and_its_answer_are_broken_at_each_byte_in_each_way() -> None:
    """Eleven bytes each: before, after, and between each two."""
    singles = {case.first for case in plan(COMBINATION, RECORDING, seed=1) if case.at_commit and len(case.strikes) == 1}
    assert len(singles) == 2 * 12 * len(FAULTS)


def test_second_faults_strike_the_replay() -> None:
    """In the second conversation and the third, and the first fault of a pair is one that brings a replay about."""
    pairs = [case for case in plan(COMBINATION, RECORDING, seed=1) if len(case.strikes) > 1]
    assert pairs
    assert {tuple(strike.conversation for strike in case.strikes) for case in pairs} == {(1, 2), (1, 2, 3)}
    assert "hiccup" not in {case.first.fault for case in pairs}


def test_the_same_seed_plans_the_same_cases() -> None:
    """And another seed pairs others."""
    assert plan(COMBINATION, RECORDING, seed=1) == plan(COMBINATION, RECORDING, seed=1)
    assert plan(COMBINATION, RECORDING, seed=1) != plan(COMBINATION, RECORDING, seed=2)


def test_a_name_brings_its_case_back() -> None:
    """Of every case, and of every combination."""
    for combination in combinations():
        assert combination == Combination.parse(str(combination))
    for case in plan(COMBINATION, RECORDING, seed=1):
        assert case == Case.parse(str(case))


@pytest.mark.parametrize("name", ["mariadb.pymysql.plain.key.warm.steps/1x2.before.rst", "nowhere/1s2.before.rst"])
def test_a_name_of_nothing_is_refused(name: str) -> None:
    """Rather than run as something else."""
    with pytest.raises(ValueError, match="no "):
        Case.parse(name)


def test_a_cold_start_is_broken_where_a_warm_one_is_not() -> None:
    """In the conversations that prove the ledger and look at the engines."""
    recording = Recording((conversation(1, STATEMENTS), conversation(2, ["BEGIN"]), conversation(3, ["SELECT"])))
    cases = plan(Combination("mariadb", "pymysql", "plain", "random", "cold"), recording, seed=1)
    assert {case.first.conversation for case in cases} == {2, 3}
