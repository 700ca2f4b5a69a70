"""The table of what a lost connection means: DESIGN's promises, one line each."""

from __future__ import annotations

from typing import Any

import pytest

from persistconn.loss import Loss, judge
from persistconn.statement import Effect

OUTSIDE = {"sent": True, "in_transaction": False, "autocommit": True, "pinned": False, "replay_reads": True}
INSIDE = {**OUTSIDE, "in_transaction": True, "autocommit": False}


def lost(effect: Effect, where: dict[str, bool], **but: Any) -> Loss:
    """Judge a loss of `effect` in the situation `where`, but with these changes."""
    return judge(effect, **{**where, **but})


def test_read_outside_a_transaction_is_read_again() -> None:
    """A read has no effect, so nobody needs to know."""
    assert lost(Effect.READ, OUTSIDE) is Loss.AGAIN


def test_read_is_not_read_again_where_the_policy_forbids() -> None:
    """`replay_reads` off: the caller is told, unless the statement was never sent."""
    assert lost(Effect.READ, OUTSIDE, replay_reads=False) is Loss.UNREAD
    assert lost(Effect.READ, OUTSIDE, replay_reads=False, sent=False) is Loss.AGAIN


@pytest.mark.parametrize("effect", [Effect.INSIDE, Effect.COMMITS])
def test_write_that_may_have_been_sent_is_never_sent_again(effect: Effect) -> None:
    """Only the caller can find out whether it took effect."""
    assert lost(effect, OUTSIDE) is Loss.UNKNOWN
    assert lost(effect, OUTSIDE, pinned=True) is Loss.UNKNOWN


@pytest.mark.parametrize("effect", [Effect.INSIDE, Effect.COMMITS, Effect.SETTING, Effect.BEGIN])
def test_statement_that_was_not_sent_goes_to_a_new_connection(effect: Effect) -> None:
    """The server never had the whole of it."""
    assert lost(effect, OUTSIDE, sent=False) is Loss.AGAIN


@pytest.mark.parametrize("effect", [Effect.READ, Effect.INSIDE, Effect.SETTING])
@pytest.mark.parametrize("sent", [True, False])
def test_any_statement_inside_a_transaction_loses_the_transaction(effect: Effect, sent: bool) -> None:
    """The server has rolled back, and half a transaction must never commit."""
    assert lost(effect, INSIDE, sent=sent) is Loss.TRANSACTION


@pytest.mark.parametrize("effect", [Effect.COMMIT, Effect.COMMITS, Effect.BEGIN])
def test_whatever_may_have_committed_has_an_unknown_outcome(effect: Effect) -> None:
    """COMMIT, DDL, BEGIN and the like commit what is open; their lost answer says nothing."""
    assert lost(effect, INSIDE) is Loss.UNKNOWN
    assert lost(effect, INSIDE, sent=False) is Loss.TRANSACTION


@pytest.mark.parametrize("where", [INSIDE, OUTSIDE])
def test_lost_rollback_is_a_rollback(where: dict[str, bool]) -> None:
    """The loss did what was asked for."""
    assert lost(Effect.ROLLBACK, where) is Loss.NOTHING


def test_lost_commit_of_nothing_is_nothing() -> None:
    """No transaction was open, so nothing could be lost."""
    assert lost(Effect.COMMIT, OUTSIDE, autocommit=False) is Loss.NOTHING


def test_first_write_under_autocommit_off_was_rolled_back() -> None:
    """It had opened the transaction that the server then ended."""
    assert lost(Effect.INSIDE, OUTSIDE, autocommit=False) is Loss.TRANSACTION


@pytest.mark.parametrize("effect", [Effect.READ, Effect.SETTING, Effect.BEGIN, Effect.COMMIT])
def test_state_that_cannot_be_rebuilt_is_told(effect: Effect) -> None:
    """Going on without the lock would be a lie."""
    assert lost(effect, OUTSIDE, pinned=True) is Loss.STATE
