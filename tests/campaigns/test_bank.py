"""A sample of the campaign ``bank``: some seconds, with a kill -9 of the server and of worker processes."""

from __future__ import annotations

import random

import pytest

from campaigns.bank_branch import Book
from campaigns.bank_faults import CRASHES, choose_rule, plan_crashes

SECONDS = 10.0


@pytest.mark.server
@pytest.mark.slow
def test_no_money_is_made_or_lost(driver: str) -> None:
    """Each key has one effect and one row, the sum is what it was, and no error surfaces."""
    from campaigns import bank

    figures = bank.run(driver, minutes=SECONDS / 60, seed=7)
    assert figures.has_held, "\n".join(figures.lines())
    assert figures.table["worker processes killed with kill -9"]


def test_what_a_killed_process_left_is_handed_out_first() -> None:
    """Under the same key, to whoever is next; behind the end of the campaign nothing new is handed out."""
    book = Book(random.Random(1))
    left = book.next(only_orphans=False)
    assert left is not None
    book.orphans.append(left)
    assert left == book.next(only_orphans=False)
    assert book.next(only_orphans=True) is None
    assert (1, 1) == (book.given, book.handed_again)


def test_half_of_the_faults_are_at_commit() -> None:
    """Where nobody but the ledger can tell what became of a transfer."""
    rng = random.Random(1)
    rules = [choose_rule(rng) for _ in range(1000)]
    at_commit = sum(rule.where.text is not None for rule in rules)
    assert 400 < at_commit < 600


def test_the_server_is_killed_three_times_in_minutes_and_once_in_seconds() -> None:
    """Never right at the end, where it would prove little."""
    for seconds, count in ((300.0, CRASHES), (10.0, 1)):
        crashes = plan_crashes(seconds, random.Random(3))
        assert count == len(crashes)
        assert seconds - crashes[-1] > seconds / count / 4
