"""The queue of a bounded pool: who gets which session, and when. No server; waiting moves an injected clock."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from persistconn.errors import ConfigError, PoolTimeout
from persistconn.held import State
from persistconn.lending import Claim, Lender
from persistconn.owner import Owner
from persistconn.policy import Condition, Policy, Pool, Reason
from persistconn.testing import FakeClock, eventually
from persistconn.testing.waiting import PATIENCE


class Borrower(Owner):
    """An owner who dies when told."""

    def __init__(self, name: str = "somebody") -> None:
        self.name = name
        self.ident = threading.get_ident()
        self.lives = True

    @property
    def is_alive(self) -> bool:
        """Whether he lives."""
        return self.lives


class Sitting:
    """A held connection as the lender sees it."""

    def __init__(self, owner: Owner, clock: FakeClock) -> None:
        self.owner = owner
        self.clock = clock
        self.state = State.VACANT
        self.raw: object = None
        self.has_raw = False
        self.is_at_rest = True
        self.form = "as opened"
        self.session = SimpleNamespace(is_pinned=False)
        self.policy = Policy(keepalive=100.0, ping_every=100.0)
        self.used_at = clock()
        self.closed_for: Reason | None = None

    def seize(self) -> State:
        """Take the wire."""
        return self.state

    def open(self) -> None:
        """Connect."""
        self.raw, self.has_raw = object(), True

    def release(self) -> None:
        """Give the wire back."""
        self.state = State.IDLE

    def close(self, reason: Reason, *, orderly: bool = True) -> None:
        """Close for good."""
        del orderly
        self.state, self.closed_for = State.CLOSED, reason

    def condition(self) -> Condition:
        """Return what ``decide`` needs to know."""
        return Condition(used_at=self.used_at, proved_at=self.clock())


class Desk(Lender):
    """A lender whose waiting takes no time but on its clock; ``meanwhile`` is what others do while somebody waits."""

    def __init__(self, clock: FakeClock, **pool: Any) -> None:
        self.made: list[Sitting] = []
        self.clock = clock
        self.meanwhile: Callable[[], None] = lambda: None
        super().__init__("db:3306", Pool(**pool), self._seat, pymysql, clock)

    def _seat(self, owner: Owner) -> Any:
        self.made.append(Sitting(owner, self.clock))
        return self.made[-1]

    def _pause(self, turn: Any, timeout: float) -> bool:
        if turn.acquire(blocking=False):
            return True
        self.meanwhile()
        self.clock.advance(max(timeout, 0.001))
        return bool(turn.acquire(blocking=False))

    @property
    def open_sessions(self) -> int:
        """How many the server would have."""
        return sum(sitting.state is not State.CLOSED for sitting in self.made)


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the desk."""
    return FakeClock()


def test_what_came_back_last_is_lent_first(clock: FakeClock) -> None:
    """So that the others grow old, and can be closed."""
    desk = Desk(clock, max_size=3)
    first, second = desk.lend(Borrower()), desk.lend(Borrower())
    last = second.held
    desk.give_back(first)
    desk.give_back(second)
    assert desk.lend(Borrower()).held is last
    assert len(desk.made) == 2


def test_no_more_than_max_size_are_opened(clock: FakeClock) -> None:
    """However many want one."""
    desk = Desk(clock, max_size=2, timeout=5.0)
    loans = [desk.lend(Borrower()) for _ in range(2)]
    for _ in range(3):
        with pytest.raises(PoolTimeout):
            desk.lend(Borrower())
    assert (len(desk.made), len(loans)) == (2, 2)


def wait_for(desk: Desk, name: str) -> Claim:
    """Stand in the queue, and do not wait."""
    claim = Claim(Borrower(name))
    desk._stand_in_line(claim)
    return claim


def test_first_come_is_first_served(clock: FakeClock) -> None:
    """One who comes when a session has just come back does not overtake those who wait."""
    desk = Desk(clock, max_size=1)
    loan = desk.lend(Borrower())
    waiting = [wait_for(desk, name) for name in ("first", "second", "third")]
    served: list[str] = []
    desk.give_back(loan)
    for _ in waiting:
        holder = next(claim for claim in waiting if claim.held is not None)
        served.append(holder.owner.name)
        desk.give_back(holder)
    assert served == ["first", "second", "third"]
    assert len(desk.made) == 1


def test_who_has_waited_in_vain_is_told_who_holds_what(clock: FakeClock) -> None:
    """And what to do about it."""
    desk = Desk(clock, max_size=1, timeout=30.0, leak_stacks=True)
    loan = desk.lend(Borrower("thread-3"))
    clock.advance(12.0)
    with pytest.raises(PoolTimeout) as caught:
        desk.lend(Borrower("thread-4"))
    text = str(caught.value)
    assert "within 30 s (timeout)" in text
    assert "all 1 (max_size) are lent" in text
    assert re.search(r"thread-3 for 42\.0 s in \S*test_lending\.Desk|thread-3 for 42\.0 s in \S*test_who_has", text)
    assert "1 waiting" in text
    assert isinstance(caught.value, pymysql.OperationalError)
    assert loan.held is not None


def test_who_has_waited_in_vain_stands_in_the_queue_no_more(clock: FakeClock) -> None:
    """What becomes free later goes to others."""
    desk = Desk(clock, max_size=1, timeout=1.0)
    loan = desk.lend(Borrower())
    with pytest.raises(PoolTimeout):
        desk.lend(Borrower())
    desk.give_back(loan)
    assert desk.lend(Borrower()).held is desk.made[0]


@pytest.mark.parametrize("found_by", ["a waiter", "the sweep"])
def test_what_a_dead_borrower_holds_is_closed_and_its_place_is_free(clock: FakeClock, found_by: str) -> None:
    """Nobody knows in which state he left it."""
    desk = Desk(clock, max_size=1)
    borrower = Borrower()
    loan = desk.lend(borrower)
    borrower.lives = False
    if found_by == "the sweep":
        desk.tend()
        assert desk.open_sessions == 0
    assert desk.lend(Borrower()).held is desk.made[1]
    assert desk.made[0].closed_for is Reason.OWNER_DIED
    assert desk.open_sessions == 1
    del loan


def test_loan_whose_claim_is_torn_away_is_found(clock: FakeClock) -> None:
    """An exception struck between the grant and the borrower's next line."""
    desk = Desk(clock, max_size=1)
    desk.lend(Borrower())
    gc.collect()
    assert desk.lend(Borrower()).held is desk.made[1]
    assert desk.open_sessions == 1


def test_wish_that_is_torn_away_holds_nobody_up(clock: FakeClock) -> None:
    """A greenlet that was killed while it waited."""
    desk = Desk(clock, max_size=1)
    loan = desk.lend(Borrower())
    wait_for(desk, "killed")
    gc.collect()
    desk.give_back(loan)
    assert desk.lend(Borrower()).held is desk.made[0]


@pytest.mark.parametrize("strikes", [KeyboardInterrupt, TimeoutError])
def test_interrupt_while_it_waits_gives_the_wish_back(clock: FakeClock, strikes: type[BaseException]) -> None:
    """Also one that strikes in the very moment of the grant."""
    desk = Desk(clock, max_size=1)
    loan = desk.lend(Borrower())

    def grant_and_strike() -> None:
        desk.meanwhile = lambda: None
        desk.give_back(loan)
        raise strikes

    desk.meanwhile = grant_and_strike
    with pytest.raises(strikes):
        desk.lend(Borrower())
    assert desk.lend(Borrower()).held is desk.made[0]
    assert len(desk.made) == 1


def test_connect_that_fails_gives_its_place_back(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a server that was away for a minute would leave a pool without places."""
    desk = Desk(clock, max_size=1)

    def refuse(sitting: Sitting) -> None:
        raise pymysql.OperationalError(1045, "no")

    with monkeypatch.context() as patch:
        patch.setattr(Sitting, "open", refuse)
        for _ in range(3):
            with pytest.raises(pymysql.OperationalError):
                desk.lend(Borrower())
    assert desk.lend(Borrower()).held is not None
    assert desk.open_sessions == 1


def _pin(sitting: Sitting) -> None:
    sitting.session.is_pinned = True


def _busy(sitting: Sitting) -> None:
    sitting.is_at_rest = False


def _other_form(sitting: Sitting) -> None:
    sitting.form = "SET SESSION sql_mode=''"


@pytest.mark.parametrize("left", [_pin, _busy, _other_form])
def test_session_that_is_not_as_it_was_found_is_not_lent_again(clock: FakeClock, left: Callable[[Any], None]) -> None:
    """The next unit of work would have the last one's settings, or its transaction."""
    desk = Desk(clock, max_size=1)
    loan = desk.lend(Borrower())
    left(loan.held)
    desk.give_back(loan)
    assert desk.made[0].state is State.CLOSED
    assert desk.lend(Borrower()).held is desk.made[1]


def test_session_that_somebody_has_closed_is_not_lent_again(clock: FakeClock) -> None:
    """``shutdown()``, or the end of a test database."""
    desk = Desk(clock, max_size=1)
    desk.give_back(desk.lend(Borrower()))
    desk.made[0].close(Reason.SHUTDOWN)
    assert desk.lend(Borrower()).held is desk.made[1]


def test_given_back_twice_is_given_back_once(clock: FakeClock) -> None:
    """Or two units of work would have one session."""
    desk = Desk(clock, max_size=2)
    loan = desk.lend(Borrower())
    desk.give_back(loan)
    desk.give_back(loan)
    assert desk.lend(Borrower()).held is not desk.lend(Borrower()).held


def test_what_nobody_has_wanted_for_keepalive_is_closed(clock: FakeClock) -> None:
    """Down to min_size."""
    desk = Desk(clock, max_size=3, min_size=1)
    for loan in [desk.lend(Borrower()) for _ in range(3)]:
        desk.give_back(loan)
    clock.advance(101.0)
    assert desk.tend() == []
    assert desk.open_sessions == 1


def test_what_is_lent_is_not_closed_for_its_age(clock: FakeClock) -> None:
    """It is its borrower's."""
    desk = Desk(clock, max_size=3)
    loan = desk.lend(Borrower())
    clock.advance(101.0)
    desk.tend()
    assert loan.held is desk.made[0]
    assert desk.open_sessions == 1


def test_the_sweep_makes_what_is_missing_to_min_size(clock: FakeClock) -> None:
    """And counts what is lent."""
    desk = Desk(clock, max_size=3, min_size=2)
    loan = desk.lend(Borrower())
    assert len(desk.tend()) == 1
    assert desk.tend() == []
    assert loan.held is desk.made[0]


def test_after_everything_was_closed_nothing_is_opened_until_somebody_borrows(clock: FakeClock) -> None:
    """A shutdown, or a test database that was dropped."""
    desk = Desk(clock, max_size=3, min_size=2)
    desk.rest()
    assert desk.tend() == []
    desk.give_back(desk.lend(Borrower()))
    assert len(desk.tend()) == 1


def test_child_of_a_fork_has_what_its_thread_has_borrowed_and_nothing_else(clock: FakeClock) -> None:
    """The free ones are the parent's."""
    desk = Desk(clock, max_size=3)
    mine, other = desk.lend(Borrower("mine")), desk.lend(Borrower("other"))
    desk.give_back(desk.lend(Borrower()))
    desk.after_fork_in_child(mine.owner)
    assert [desk.lend(Borrower()).held, desk.lend(Borrower()).held] == desk.made[3:]
    assert len(desk.made) == 5
    del other


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({}, "pool needs max_size"),
        ({"max_size": 0}, r"pool\.max_size \(0\) must be at least 1"),
        ({"max_size": "5"}, r"pool\.max_size must be a whole number, not '5'"),
        ({"max_size": 5, "min_size": 6}, r"pool\.min_size \(6\) must not be over pool\.max_size \(5\)"),
        ({"max_size": 5, "min_size": -1}, r"pool\.min_size \(-1\)"),
        ({"max_size": 5, "timeout": 0}, r"pool\.timeout \(0 s\) must be greater than 0"),
        ({"max_size": 5, "leak_stacks": "yes"}, r"pool\.leak_stacks must be True or False, not 'yes'"),
        ({"max_size": 5, "size": 1}, r"unknown setting pool\.size: the settings are max_size, min_size, timeout"),
        (5, "pool must be a mapping.*not 5"),
        (True, "pool must be a mapping.*not True"),
    ],
)
def test_pool_that_cannot_work_is_refused_with_the_setting_and_its_value(settings: Any, complaint: str) -> None:
    """In ``manage()``, and so in Django's OPTIONS."""
    with pytest.raises(ConfigError, match=complaint):
        Policy.from_settings({"pool": settings})


def test_no_session_is_ever_in_two_hands(clock: FakeClock) -> None:
    """A hunt: sixteen threads, three sessions, borrowers that die and others that are interrupted."""
    desk = Lender("db:3306", Pool(max_size=3, timeout=600.0), lambda owner: Sitting(owner, clock), pymysql)  # type: ignore[arg-type, return-value]
    in_hand: set[int] = set()
    shared: list[int] = []

    def borrow(number: int) -> None:
        for turn in range(200):
            borrower = Borrower()
            claim = desk.lend(borrower)
            session = id(claim.held)
            if session in in_hand:
                shared.append(session)
            in_hand.add(session)
            in_hand.discard(session)
            if (number + turn) % 5 == 0:
                borrower.lives = False
            else:
                desk.give_back(claim)

    crowd = [threading.Thread(target=borrow, args=(number,), daemon=True) for number in range(16)]
    for thread in crowd:
        thread.start()
    eventually(lambda: not any(thread.is_alive() for thread in crowd), 4 * PATIENCE)
    assert shared == []
