"""The verdict of a campaign: held, broken, or none, because a busy machine has missed the moment."""

from __future__ import annotations

import pytest

from campaigns.figures import Figures
from campaigns.patience import LONGER, until_conclusive
from campaigns.sweeps import TimedKeeper
from persistconn.testing import FakeClock

MISSED = Figures("expiry", {}, "fifty pauses", inconclusive=("no session ended within 4 ms", "the sweep was late"))
HELD = Figures("expiry", {}, "fifty pauses")
BROKEN = Figures("expiry", {}, "fifty pauses", broken=("a write is there twice",), inconclusive=MISSED.inconclusive)


def test_a_moment_that_was_missed_proves_nothing() -> None:
    """It is told as such, line by line, and has neither held nor broken anything."""
    assert not MISSED.has_held
    assert "no session ended within 4 ms; the sweep was late" == MISSED.doubt
    told = ["  INCONCLUSIVE: no session ended within 4 ms", "  INCONCLUSIVE: the sweep was late"]
    assert ["expiry", *told] == list(MISSED.lines())


def test_a_broken_promise_is_never_in_doubt() -> None:
    """However busy the machine was."""
    assert (False, None) == (BROKEN.has_held, BROKEN.doubt)
    assert "  BROKEN: a write is there twice" in list(BROKEN.lines())


@pytest.mark.parametrize(
    ("found", "runs"),
    [([HELD], 1), ([MISSED, HELD], 2), ([MISSED, BROKEN], 2), ([MISSED] * 3, 3)],
    ids=["held", "held at last", "broken at last", "never"],
)
def test_a_campaign_without_a_verdict_is_run_again_with_a_longer_moment(found: list[Figures], runs: int) -> None:
    """Three times at most; what it comes to then is what counts."""
    asked: list[float] = []
    results = iter(found)

    def experiment(longer: float) -> Figures:
        asked.append(longer)
        return next(results)

    assert found == list(until_conclusive(experiment))
    assert list(LONGER[:runs]) == asked


def test_sweeps_that_come_in_time_are_not_late() -> None:
    """Under a ``wait_timeout`` of 3 s a ping is due each second, so gaps below one are harmless."""
    clock = FakeClock(100.0)
    keeper = TimedKeeper(clock=clock)
    for _ in range(5):
        clock.advance(0.9)
        assert not keeper.was_late(3.0)
        keeper.sweep()
    assert pytest.approx(0.9) == keeper.longest_gap()


@pytest.mark.parametrize("when", ["before the first sweep", "between two", "behind the last"])
def test_a_gap_between_sweeps_is_noticed_wherever_it_is(when: str) -> None:
    """In which two pings fail to be sent in time."""
    clock = FakeClock(100.0)
    keeper = TimedKeeper(clock=clock)
    for moment in ("before the first sweep", "between two", "behind the last"):
        clock.advance(1.0 if moment == when else 0.1)
        if moment != "behind the last":
            keeper.sweep()
    assert keeper.was_late(3.0)
