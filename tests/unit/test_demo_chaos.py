"""The faults are done to both sides, at their times, and counted as they were done."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from workers.demo.chaos import Chaos
from workers.demo.plan import Fault, Kind

SIDES = ("ours", "stock")


class Clock:
    """Time that passes only by waiting for it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> bool:
        self.now += seconds
        return False


class Server:
    """Notes what is done to it, and when; each restart gives each side as many sessions as before."""

    def __init__(self, clock: Clock, sessions: dict[str, list[int]]) -> None:
        self._clock = clock
        self._sessions = sessions
        self.done: list[tuple[float, object]] = []

    def sessions(self, side: str) -> list[int]:
        return self._sessions[side]

    def opened(self, side: str) -> int:
        return len(self._sessions[side])

    def kill_session(self, session_id: int) -> None:
        self.done.append((self._clock.now, session_id))

    def crash(self) -> None:
        self.done.append((self._clock.now, "crash"))

    def restart(self) -> None:
        self.done.append((self._clock.now, "restart"))


Make = Callable[..., tuple[Chaos, Server]]


@pytest.fixture
def make() -> Make:
    def build(*faults: Fault, ours: list[int], stock: list[int], seed: int = 1) -> tuple[Chaos, Server]:
        clock = Clock()
        server = Server(clock, {"ours": ours, "stock": stock})
        return Chaos(faults, server, SIDES, rng=random.Random(seed), clock=clock, pause=clock.pause), server

    return build


def test_a_kill_takes_one_session_of_each_side_at_its_time(make: Make) -> None:
    """Both sides go through the same, at the moment that the plan says."""
    chaos, server = make(Fault(1.5, Kind.KILL), ours=[1], stock=[2])
    chaos.run()
    assert server.done == [(101.5, 1), (101.5, 2)]
    assert chaos.tally.killed == {"ours": 1, "stock": 1}


def test_a_side_without_a_session_is_not_counted_as_killed(make: Make) -> None:
    """The verdict tells what was done, not what was planned."""
    chaos, _ = make(Fault(1, Kind.KILL), Fault(2, Kind.KILL), ours=[1, 2], stock=[])
    chaos.run()
    assert chaos.tally.killed == {"ours": 2}


def test_the_sessions_that_are_killed_depend_on_the_seed_alone(make: Make) -> None:
    """The same seed picks the same ones."""
    faults = [Fault(at, Kind.KILL) for at in range(1, 20)]
    runs = [make(*faults, ours=[1, 2, 3], stock=[4, 5, 6], seed=9) for _ in range(2)]
    for chaos, _ in runs:
        chaos.run()
    assert runs[0][1].done == runs[1][1].done
    assert len({session for _, session in runs[0][1].done}) == 6


def test_a_crash_saves_the_counters_that_die_with_the_server(make: Make) -> None:
    """The server counts sessions from its start, so what it knew before each crash is added up."""
    down_and_up = [Fault(1, Kind.CRASH), Fault(2, Kind.RESTART), Fault(3, Kind.CRASH), Fault(4, Kind.RESTART)]
    chaos, server = make(*down_and_up, ours=[1, 2, 3], stock=[4])
    chaos.run()
    assert chaos.tally.opened == {"ours": 6, "stock": 2}
    assert chaos.tally.crashes == 2
    assert [what for _, what in server.done] == ["crash", "restart", "crash", "restart"]


def test_the_server_is_down_between_crash_and_restart(make: Make) -> None:
    """Whoever looks sees whether it is there."""
    down, _ = make(Fault(1, Kind.CRASH), ours=[], stock=[])
    down.run()
    up, _ = make(Fault(1, Kind.CRASH), Fault(2, Kind.RESTART), ours=[], stock=[])
    up.run()
    assert (down.tally.is_down, up.tally.is_down) == (True, False)


def test_nothing_is_done_after_the_stop() -> None:
    """A pause that is told to stop ends the plan there."""
    clock = Clock()
    server = Server(clock, {"ours": [1], "stock": [2]})
    chaos = Chaos([Fault(1, Kind.CRASH)], server, SIDES, rng=random.Random(1), clock=clock, pause=lambda _: True)
    chaos.run()
    assert server.done == []


def test_a_fault_that_fails_is_kept_for_the_one_who_watches(make: Make) -> None:
    """On its own thread nobody would hear of it, and the demo would go on without faults."""
    chaos, server = make(Fault(1, Kind.CRASH), ours=[], stock=[])
    server.crash = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    chaos.start()
    chaos.stop()
    assert isinstance(chaos.error, ZeroDivisionError)
    assert not chaos.is_under_way
