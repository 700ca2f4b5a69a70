"""The verdict: what our side must have kept, and what is said of both."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from workers.demo.figures import Figures, Ledger
from workers.demo.verdict import Outcome, Trial, failures, lines

FIGURES = Figures(
    created=110,
    due=100,
    due_settled_once=100,
    settled_twice=0,
    paid_without_settlement=0,
    settled_without_paid=0,
    due_open=0,
)
OURS = Outcome(
    FIGURES,
    jobs_run=300,
    surfaced={},
    ledger=Ledger(jobs=120, at_once=117, replayed=3, not_done=0),
    killed=20,
    expired=0,
    opened=60,
    left_without_a_word=0,
    status=0,
)
STOCK = Outcome(
    dataclasses.replace(FIGURES, created=30, due=30, due_settled_once=10, due_open=20),
    jobs_run=290,
    surfaced={"OperationalError 2013": 4, "InterfaceError (0, '')": 240},
    ledger=None,
    killed=6,
    expired=3,
    opened=9,
    left_without_a_word=0,
    status=0,
)
TRIAL = Trial(OURS, STOCK, crashes=2, seconds=30.0, calm=5.0, seed=7)


def with_ours(**changes: Any) -> Trial:
    return dataclasses.replace(TRIAL, ours=dataclasses.replace(OURS, **changes))


def with_figures(**changes: Any) -> Trial:
    return with_ours(figures=dataclasses.replace(FIGURES, **changes))


def test_a_side_that_kept_everything_passes_whatever_stock_did() -> None:
    """What happens on stock Django is shown and not judged, and a replay is no failure."""
    assert failures(TRIAL) == []
    assert failures(dataclasses.replace(TRIAL, stock=dataclasses.replace(STOCK, surfaced={}))) == []


@pytest.mark.parametrize(
    ("trial", "line"),
    [
        (with_ours(surfaced={"ValueError": 2}), "errors surfaced: 2 (2 x ValueError)"),
        (with_figures(settled_twice=1), "settled twice: 1"),
        (with_figures(paid_without_settlement=3), "paid without a settlement row: 3"),
        (with_figures(settled_without_paid=1), "settled but not marked as paid: 1"),
        (with_figures(due_open=4), "due and still open: 4"),
        (with_ours(status=1), "the service ended with status 1"),
        (with_figures(due=0, due_settled_once=0), "no invoice was due"),
        (with_ours(killed=0), "no session was killed"),
        (dataclasses.replace(TRIAL, crashes=0), "the server was not killed"),
    ],
)
def test_each_broken_promise_fails_and_is_named(trial: Trial, line: str) -> None:
    """One line says which promise was not kept, and that is the last one of the verdict."""
    assert failures(trial) == [line]
    assert list(lines(trial))[-1] == f"FAILED: {line}"


def row(label: str, trial: Trial = TRIAL) -> list[str]:
    found = [line for line in lines(trial) if line.startswith(label)]
    assert len(found) == 1
    return found[0].removeprefix(label).split()


@pytest.mark.parametrize(
    ("label", "cells"),
    [
        ("jobs run", ["300", "290"]),
        ("invoices created", ["110", "30"]),
        ("settled exactly once, of those due", ["100", "of", "100", "10", "of", "30"]),
        ("settled twice", ["0", "0"]),
        ("paid without a settlement row", ["0", "0"]),
        ("sessions opened", ["60", "9"]),
        ("sessions expired by wait_timeout", ["0", "3"]),
        ("sessions killed by an administrator", ["20", "6"]),
        ("server killed with -9", ["2", "2"]),
        ("errors surfaced", ["0", "244"]),
    ],
)
def test_both_sides_stand_beside_each_other(label: str, cells: list[str]) -> None:
    """Every figure is there for both."""
    assert row(label) == cells


def test_errors_on_stock_are_listed_by_kind_the_most_frequent_first() -> None:
    """The number alone would not tell what people meet."""
    assert "on stock Django: 240 x InterfaceError (0, ''), 4 x OperationalError 2013" in lines(TRIAL)


def test_a_stock_side_without_errors_is_told_as_well() -> None:
    """A run that stock Django came through is no failure, and no secret."""
    unhurt = dataclasses.replace(TRIAL, stock=dataclasses.replace(STOCK, surfaced={}))
    assert "on stock Django: no error surfaced this time" in lines(unhurt)


def test_replays_are_counted_by_what_the_ledger_proves() -> None:
    """A job whose connection was cut is no error that surfaced, but is not hidden either."""
    assert "on persistconn: the ledger proves 120 transactions; 3 were replayed after a loss" in lines(TRIAL)


def test_a_job_that_the_ledger_does_not_call_done_is_a_failure() -> None:
    """A row that is open behind the end stands for a torn job."""
    torn = with_ours(ledger=Ledger(jobs=120, at_once=116, replayed=3, not_done=1))
    assert failures(torn) == ["jobs that the ledger does not call done: 1"]


def test_the_verdict_fits_a_terminal_of_80_columns_up_to_the_lists() -> None:
    """The table itself never wraps."""
    table = [line for line in lines(TRIAL) if not line.startswith(("on ", "Read", "PASSED", "the service"))]
    assert max(map(len, table)) < 80
