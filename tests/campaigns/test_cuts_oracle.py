"""The judge of the sweep of cuts: it lets pass what is promised, and catches each broken promise."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from campaigns.cuts.oracle import (
    DIGITS,
    EXCUSABLE,
    READ_DIGIT,
    SET_AT_CONNECT,
    SETTING,
    Answer,
    Finding,
    Flaw,
    Mode,
    Record,
    Reply,
    Told,
    is_doubtful,
    judge,
)

MARKER, NEXT = "case-1", "case-1-next-1"
ANSWERS: dict[str, Answer] = {
    "connect": None,
    "setting": None,
    "read": ((MARKER, READ_DIGIT),),
    "insert": 1,
    "update": 1,
    "locked": ((MARKER, 1),),
    "many": tuple((MARKER, digit) for digit in range(DIGITS)),
    "commit": None,
}
NEXT_ANSWERS: dict[str, Answer] = {
    "connect": None,
    "read": ((NEXT, READ_DIGIT),),
    "settings": ((NEXT, SETTING, SET_AT_CONNECT),),
    "insert": 1,
    "commit": None,
}
ALL, NONE = {"insert": 1, "update": 1, "next": 1}, {"insert": 0, "update": 0, "next": 1}
LOST = Told.TRANSACTION_LOST


def replies(answers: dict[str, Answer], told: dict[str, Told]) -> tuple[Reply, ...]:
    """Every step answered as it should be, but for those that were told otherwise."""
    return tuple(
        Reply(step, told.get(step, Told.OK), answer if step not in told else None) for step, answer in answers.items()
    )


def record(mode: Mode, effects: dict[str, int], **told: Told) -> Record:
    """One case; ``told`` names the steps that ended in an error."""
    return Record(mode, MARKER, replies(ANSWERS, told), replies(NEXT_ANSWERS, {}), NEXT, effects)


def from_step(first: str, told: Told) -> dict[str, Told]:
    """The same error from a step on to the end."""
    steps = list(ANSWERS)
    return dict.fromkeys(steps[steps.index(first) :], told)


def flaws(case: Record) -> set[Flaw]:
    """What the judge finds."""
    return {finding.flaw for finding in judge(case)}


PROMISED: dict[str, Record] = {
    "nothing noticed": record(Mode.AUTOCOMMIT, ALL),
    "a transaction committed": record(Mode.TRANSACTION, ALL),
    "a write unknown, and there": record(Mode.AUTOCOMMIT, ALL, insert=Told.OUTCOME_UNKNOWN),
    "a write unknown, and absent": record(Mode.AUTOCOMMIT, {**ALL, "insert": 0}, insert=Told.OUTCOME_UNKNOWN),
    "a write that changed nothing": record(Mode.AUTOCOMMIT, {**ALL, "insert": 0}, insert=Told.NOTHING_CHANGED),
    "a transaction lost at its beginning": record(Mode.BLOCK, NONE, **from_step("insert", LOST)),
    "a transaction lost at its COMMIT": record(Mode.TRANSACTION, NONE, commit=LOST),
    "a COMMIT unknown, and done": record(Mode.TRANSACTION, ALL, commit=Told.OUTCOME_UNKNOWN),
    "a COMMIT unknown, and not done": record(Mode.TRANSACTION, NONE, commit=Told.OUTCOME_UNKNOWN),
}


@pytest.mark.parametrize("case", PROMISED.values(), ids=PROMISED.keys())
def test_what_is_promised_passes(case: Record) -> None:
    """No finding."""
    assert judge(case) == []


BROKEN: dict[str, tuple[Record, Flaw]] = {
    "acknowledged and absent": (record(Mode.AUTOCOMMIT, {**ALL, "insert": 0}), Flaw.LOST),
    "acknowledged and doubled": (record(Mode.AUTOCOMMIT, {**ALL, "update": 2}), Flaw.DOUBLED),
    "unknown and doubled": (
        record(Mode.AUTOCOMMIT, {**ALL, "insert": 2}, insert=Told.OUTCOME_UNKNOWN),
        Flaw.DOUBLED,
    ),
    "told as unchanged, and there": (record(Mode.AUTOCOMMIT, ALL, insert=Told.NOTHING_CHANGED), Flaw.GHOST),
    "committed and half of it absent": (record(Mode.TRANSACTION, {**ALL, "insert": 0}), Flaw.LOST),
    "committed and doubled": (record(Mode.BLOCK, {**ALL, "insert": 2}), Flaw.DOUBLED),
    "lost and there": (record(Mode.TRANSACTION, ALL, **from_step("many", LOST)), Flaw.GHOST),
    "unknown and half there": (
        record(Mode.TRANSACTION, {**ALL, "insert": 0}, commit=Told.OUTCOME_UNKNOWN),
        Flaw.TORN,
    ),
    "committed behind a loss": (record(Mode.TRANSACTION, {**ALL, "insert": 0}, insert=LOST), Flaw.WENT_ON),
    "a raw error": (record(Mode.AUTOCOMMIT, ALL, read=Told.RAW), Flaw.RAW_ERROR),
}


@pytest.mark.parametrize(("case", "flaw"), BROKEN.values(), ids=BROKEN.keys())
def test_each_broken_promise_is_found(case: Record, flaw: Flaw) -> None:
    """By its name."""
    assert flaw in flaws(case)


def with_answer(step: str, answer: Answer) -> Record:
    """A case in which one step was answered with something else."""
    whole = record(Mode.AUTOCOMMIT, ALL)
    unit = tuple(dataclasses.replace(reply, answer=answer) if reply.step == step else reply for reply in whole.unit)
    return dataclasses.replace(whole, unit=unit)


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("read", (("case-2", READ_DIGIT),)),
        ("read", ANSWERS["many"]),
        ("read", None),
        ("insert", 0),
        ("locked", ((MARKER, 0),)),
        ("locked", ((MARKER, 2),)),
        ("many", tuple((MARKER, digit) for digit in range(DIGITS - 1))),
    ],
)
def test_another_statements_rows_are_wrong(step: str, answer: Answer) -> None:
    """Of another case, of another statement of this one, too few, or from before a write of one's own."""
    assert {Flaw.WRONG_ROWS} == flaws(with_answer(step, answer))


def test_a_locked_read_behind_a_write_of_unknown_outcome_may_see_either() -> None:
    """It is the caller who looks."""
    case = record(Mode.AUTOCOMMIT, {**ALL, "update": 0}, update=Told.OUTCOME_UNKNOWN)
    unit = tuple(
        dataclasses.replace(reply, answer=((MARKER, 0),)) if reply.step == "locked" else reply for reply in case.unit
    )
    assert judge(dataclasses.replace(case, unit=unit)) == []


AROUND: dict[str, tuple[dict[str, Any], Flaw]] = {
    "a session left over": ({"left_over": ("session 7",)}, Flaw.LEFT_OVER),
    "hung": ({"hung": True}, Flaw.HUNG),
    "a fault that never struck": ({"struck": False}, Flaw.MISSED),
    "the next unit failed": ({"next_unit": replies(NEXT_ANSWERS, {"read": Told.NOTHING_CHANGED})}, Flaw.NEXT_UNIT),
    "the next unit's row is absent": ({"effects": {**ALL, "next": 0}}, Flaw.NEXT_UNIT),
    "the next unit's row is doubled": ({"effects": {**ALL, "next": 2}}, Flaw.NEXT_UNIT),
    "the next unit read another's rows": ({"next_unit": replies({"read": ANSWERS["read"]}, {})}, Flaw.NEXT_UNIT),
    "a setting is gone": (
        {"next_unit": replies({**NEXT_ANSWERS, "settings": ((NEXT, 1, SET_AT_CONNECT),)}, {})},
        Flaw.NEXT_UNIT,
    ),
    "what connecting sets is gone": (
        {"next_unit": replies({**NEXT_ANSWERS, "settings": ((NEXT, SETTING, 1),)}, {})},
        Flaw.NEXT_UNIT,
    ),
}


@pytest.mark.parametrize(("changes", "flaw"), AROUND.values(), ids=AROUND.keys())
def test_what_is_left_behind_is_judged_too(changes: dict[str, Any], flaw: Flaw) -> None:
    """The unit itself was right."""
    assert {flaw} == flaws(dataclasses.replace(record(Mode.AUTOCOMMIT, ALL), **changes))


def test_a_setting_that_was_not_acknowledged_may_be_absent() -> None:
    """Only what was told to be there is owed."""
    case = record(Mode.AUTOCOMMIT, ALL, setting=Told.NOTHING_CHANGED)
    behind = replies({**NEXT_ANSWERS, "settings": ((NEXT, 1, SET_AT_CONNECT),)}, {})
    assert judge(dataclasses.replace(case, next_unit=behind)) == []


def test_an_error_is_a_flaw_where_nothing_was_lost() -> None:
    """A stall that heals in time may not be noticed, not even by a typed error."""
    case = record(Mode.AUTOCOMMIT, ALL, insert=Told.OUTCOME_UNKNOWN)
    assert {Flaw.NOTICED} == flaws(dataclasses.replace(case, must_be_silent=True))


def test_a_polite_client_that_stopped_owes_nothing() -> None:
    """Its transaction was rolled back, so nothing of it may be there."""
    whole = record(Mode.TRANSACTION, NONE, update=Told.RAW)
    stopped = dataclasses.replace(whole, unit=whole.unit[:5])
    assert {Flaw.RAW_ERROR} == flaws(stopped)
    assert {Flaw.RAW_ERROR, Flaw.GHOST} == flaws(dataclasses.replace(stopped, effects={**NONE, "insert": 1}))


def failed_behind(flaw: Flaw, waited: float) -> bool:
    """Whether a case is run again whose next unit got an error after so many seconds, and that has a flaw."""
    behind = (Reply("read", Told.OUTCOME_UNKNOWN, waited=waited),)
    case = dataclasses.replace(record(Mode.AUTOCOMMIT, ALL), next_unit=behind)
    return is_doubtful(case, [Finding(Flaw.NEXT_UNIT, ""), Finding(flaw, "")], slow=0.4)


def test_a_case_is_in_doubt_only_where_a_statement_had_to_wait() -> None:
    """A time limit that was exceeded is what a busy machine brings about; it is run again, and may not repeat itself."""
    assert failed_behind(Flaw.NEXT_UNIT, waited=0.5)
    assert not failed_behind(Flaw.NEXT_UNIT, waited=0.1)


@pytest.mark.parametrize("flaw", sorted(set(Flaw) - EXCUSABLE - {Flaw.MISSED}, key=str))
def test_no_machine_is_so_busy_that_it_loses_or_doubles(flaw: Flaw) -> None:
    """Those flaws are never run again."""
    assert not failed_behind(flaw, waited=0.5)


def test_a_case_without_a_flaw_is_not_in_doubt() -> None:
    """However long it took."""
    case = record(Mode.AUTOCOMMIT, ALL, insert=Told.OUTCOME_UNKNOWN)
    slow = tuple(dataclasses.replace(reply, waited=5.0) for reply in case.unit)
    assert not is_doubtful(dataclasses.replace(case, unit=slow), [], slow=0.4)
