"""The plan of the faults: enough of each kind, and never a dead server at the end."""

from __future__ import annotations

import random

import pytest

from workers.demo.plan import DOWN_FOR, Kind, plan

SEEDS = range(50)


def times(seconds: float, seed: int, kind: Kind) -> list[float]:
    return [fault.at for fault in plan(seconds, random.Random(seed)) if fault.kind is kind]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("seconds", [5, 6, 12, 19.9, 20, 30, 300])
def test_each_crash_is_followed_by_a_restart_before_the_end(seconds: float, seed: int) -> None:
    """The server is started again DOWN_FOR after each crash, and in time for the jobs to meet it again."""
    crashes, restarts = times(seconds, seed, Kind.CRASH), times(seconds, seed, Kind.RESTART)
    assert restarts == [crash + DOWN_FOR for crash in crashes]
    assert restarts[-1] < seconds - 0.5


@pytest.mark.parametrize(("seconds", "crashes"), [(5, 1), (19.9, 1), (20, 2), (30, 2)])
def test_a_long_run_has_two_crashes_and_a_short_one_has_one(seconds: float, crashes: int) -> None:
    """The server dies once, or twice where there is room for both."""
    assert len(times(seconds, 1, Kind.CRASH)) == crashes


@pytest.mark.parametrize("seed", SEEDS)
def test_no_session_is_killed_while_the_server_is_down(seed: int) -> None:
    """An administrator cannot log in to a dead server."""
    crashes = times(30, seed, Kind.CRASH)
    kills = times(30, seed, Kind.KILL)
    assert len(kills) > 15
    assert not [kill for kill in kills for crash in crashes if crash <= kill <= crash + DOWN_FOR]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_run_kills_a_session(seed: int) -> None:
    """Even the shortest run has a KILL, for a run without one would prove nothing."""
    assert times(5, seed, Kind.KILL)


def test_the_same_seed_gives_the_same_plan() -> None:
    """A run can be repeated from its seed, and another seed is another run."""
    assert plan(30, random.Random(7)) == plan(30, random.Random(7))
    assert plan(30, random.Random(7)) != plan(30, random.Random(8))


def test_a_plan_is_in_the_order_of_time() -> None:
    """Whoever follows the plan need not look ahead."""
    at = [fault.at for fault in plan(30, random.Random(3))]
    assert at == sorted(at)
