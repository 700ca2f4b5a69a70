"""The judge of the sweep through a job: each flaw is found, and a case in which the promise held has none."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from campaigns.jobcuts.oracle import Flaw, LedgerRow, Record, Said, is_doubtful, judge, result_of

RESULT = result_of("m")
ROW = LedgerRow("done", 1, RESULT)
KEYED = Record(
    "m", Said(RESULT), Said(RESULT), is_keyed=True, effects={"insert": 1, "update": 1, "next": 0}, ledger=(ROW,)
)
NEXT = result_of("m-next")
RANDOM = dataclasses.replace(
    KEYED,
    again=Said(NEXT),
    is_keyed=False,
    effects={"insert": 1, "update": 1, "next": 1},
    next_ledger=(LedgerRow("done", 1, NEXT),),
)


@pytest.mark.parametrize("record", [KEYED, RANDOM])
def test_one_effect_one_row_and_the_right_result_is_the_promise(record: Record) -> None:
    """Nothing is found wrong, however many attempts it took."""
    assert [] == judge(record)
    assert [] == judge(dataclasses.replace(record, mishaps=2))


@pytest.mark.parametrize(
    ("flaw", "changes"),
    [
        (Flaw.SURFACED, {"said": Said(error="2013")}),
        (Flaw.WRONG_RESULT, {"said": Said({**RESULT, "hits": 2})}),
        (Flaw.LOST, {"effects": {"insert": 0, "update": 0, "next": 0}}),
        (Flaw.DOUBLED, {"effects": {"insert": 2, "update": 2, "next": 0}}),
        (Flaw.TORN, {"effects": {"insert": 1, "update": 0, "next": 0}}),
        (Flaw.LEDGER, {"ledger": ()}),
        (Flaw.LEDGER, {"ledger": (ROW, ROW)}),
        (Flaw.LEDGER, {"ledger": (dataclasses.replace(ROW, state="open"),)}),
        (Flaw.LEDGER, {"ledger": (dataclasses.replace(ROW, result=None),)}),
        (Flaw.NOTICED, {"must_be_silent": True, "mishaps": 1}),
        (Flaw.NEXT, {"again": Said(error="2013")}),
        (Flaw.NEXT, {"again": Said(NEXT)}),
        (Flaw.NEXT, {"effects": {"insert": 1, "update": 1, "next": 1}}),
        (Flaw.OPEN, {"open_transactions": ("a row",)}),
        (Flaw.LEFT_OVER, {"left_over": ("session 7",)}),
        (Flaw.HUNG, {"hung": True}),
        (Flaw.MISSED, {"struck": False}),
    ],
)
def test_each_flaw_is_found(flaw: Flaw, changes: dict[str, Any]) -> None:
    """A judge that finds nothing proves nothing."""
    assert [flaw] == [finding.flaw for finding in judge(dataclasses.replace(KEYED, **changes))]


def test_a_busy_machine_excuses_neither_an_effect_nor_an_error() -> None:
    """Only a fault that never struck, or one attempt too many, is looked at again."""
    excusable = dataclasses.replace(KEYED, struck=False)
    assert is_doubtful(judge(excusable))
    assert not is_doubtful(judge(KEYED))
    assert not is_doubtful(judge(dataclasses.replace(excusable, said=Said(error="2013"))))
    assert not is_doubtful(judge(dataclasses.replace(excusable, effects={"insert": 2, "update": 2})))


def test_a_commit_is_proved_by_the_ledger_where_a_later_attempt_finds_the_row_of_an_earlier_one() -> None:
    """Two attempts, and the row is the first one's; with the second one's row it was a replay."""
    assert not KEYED.is_proved
    assert dataclasses.replace(KEYED, mishaps=1).is_proved
    assert not dataclasses.replace(KEYED, mishaps=1, ledger=(LedgerRow("done", 2, RESULT),)).is_proved
