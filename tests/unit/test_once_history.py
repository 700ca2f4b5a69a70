"""Whether there is another attempt: the bounds of replays, the pause before them, and jobs that are poison."""

from __future__ import annotations

import pytest

from persistconn.errors import PoisonJob, TransactionLost
from persistconn.once.history import FEWEST_REPLAYS, LONGEST_PAUSE, POISON, History, Mishap

LOSS = TransactionLost(2013, "the connection to db was lost")


def lost(ordinal: int = 0) -> Mishap:
    """A loss at one of the job's own statements; 0 is one of the protocol's."""
    return Mishap(LOSS, ordinal, "UPDATE t", was_lost=True)


def rolled_back(ordinal: int = 1) -> Mishap:
    """An answer of the server: a deadlock, say."""
    return Mishap(ValueError("deadlock"), ordinal, "UPDATE t")


def note(history: History, *mishaps: Mishap, now: float = 0.0) -> list[float]:
    """Take mishaps in, one after the other, with a minute to give up after."""
    return [history.note(mishap, now, 60.0) for mishap in mishaps]


@pytest.mark.parametrize(
    "mishaps",
    [
        [lost(1), lost(2), lost(3)],
        [lost(2), lost(2), lost(1), lost(2), lost(2)],
        [lost(2), lost(2), rolled_back(2), lost(2), lost(2)],
        [lost(0)] * 3,
        [rolled_back(1)] * 3,
    ],
    ids=["elsewhere", "elsewhere between", "an answer between", "the protocol's own", "answers"],
)
def test_losses_that_the_job_may_not_be_the_cause_of_are_replayed(mishaps: list[Mishap]) -> None:
    """In different places, at the fence, or with an answer between them."""
    note(History(lambda: "j"), *mishaps)


def test_five_losses_in_a_row_at_one_statement_are_poison() -> None:
    """The text names the statement, what it may be, and the last loss; nothing took effect."""
    history = History(lambda: "the job")
    note(history, *[lost(1)] * (POISON - 2), *[lost(2)] * (POISON - 1))
    with pytest.raises(
        PoisonJob, match=r"the job lost its .* statement 2 \(UPDATE t\).*max_allowed_packet.*was lost"
    ) as told:
        note(history, lost(2))
    assert told.value.__cause__ is LOSS


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_retries_bound_the_replays(retries: int) -> None:
    """Then the cause of the last one comes out."""
    history = History(lambda: "j", retries)
    note(history, *[rolled_back()] * retries)
    with pytest.raises(ValueError, match="deadlock"):
        note(history, rolled_back())


def test_waiting_for_the_token_is_no_replay() -> None:
    """The function was not called: time alone bounds it."""
    history = History(lambda: "j", retries=1)
    waited = Mishap(ValueError("a deadlock among those who wait"), has_run=False)
    note(history, *[waited] * 9, rolled_back(), waited)
    with pytest.raises(ValueError, match=r"deadlock$"):
        note(history, rolled_back())
    bored = History(lambda: "j", retries=9)
    note(bored, *[waited] * FEWEST_REPLAYS)
    with pytest.raises(ValueError, match="among those who wait"):
        note(bored, waited, now=61.0)


def test_without_retries_time_bounds_them() -> None:
    """From the first mishap on."""
    history = History(lambda: "j")
    note(history, *[lost(0)] * FEWEST_REPLAYS, now=100.0)
    note(history, lost(0), now=160.0)
    with pytest.raises(TransactionLost):
        note(history, lost(0), now=160.1)


def test_a_few_replays_are_made_however_long_they_take() -> None:
    """A job of an hour that was lost once is not given up for that."""
    history = History(lambda: "j")
    for hour in range(FEWEST_REPLAYS):
        note(history, lost(hour + 1), now=hour * 3600.0)
    with pytest.raises(TransactionLost):
        note(history, lost(9), now=9 * 3600.0)


def test_pause_grows_up_to_a_limit_after_answers_and_there_is_none_after_losses() -> None:
    """The gate spaces connects out; rivals that were rolled back must not meet again at once."""
    pauses = note(History(lambda: "j"), *[rolled_back()] * 40)
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < 0.1
    assert pauses[-1] == LONGEST_PAUSE
    assert note(History(lambda: "j"), lost(1)) == [0.0]


def test_a_loss_at_the_same_statement_again_gets_time_to_pass() -> None:
    """A network that flaps for a moment must not make a job look like poison."""
    pauses = note(History(lambda: "j"), *[lost(2)] * (POISON - 1))
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1] > 0) == (0.0, True)
    assert note(History(lambda: "j"), *[lost(0)] * 4) == [0.0] * 4
