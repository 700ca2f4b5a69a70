"""Many pings of mysqlclient at once: how many threads, whom they keep, and what becomes of the silent. No server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from persistconn.drivers.mysqlclient import _send_ping
from persistconn.drivers.mysqlclient_pings import Pings
from persistconn.testing import FakeClock
from persistconn.testing.waiting import PATIENCE

TIMEOUT = 20.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of the pings, which stands still until a test moves it: a busy machine makes no answer late."""
    clock = FakeClock()
    monkeypatch.setattr("persistconn.drivers.mysqlclient_pings.time", SimpleNamespace(monotonic=clock))
    return clock


class Peer:
    """A connection whose peer answers, or is silent until its socket is cut."""

    def __init__(self, *, silent: bool = False) -> None:
        self._cut = threading.Event()
        self._silent = silent
        self.wire = SimpleNamespace(cut=self._cut.set)
        self.thread: int | None = None

    def ping(self) -> bool:
        """Ask it."""
        self.thread = threading.get_ident()
        return not (self._silent and self._cut.wait(PATIENCE))


def test_each_is_answered_for() -> None:
    """By a few threads: one costs more than a ping."""
    peers = [Peer() for _ in range(500)]
    assert dict(Pings(peers, Peer.ping).run(TIMEOUT)) == dict.fromkeys(peers, True)
    assert len({peer.thread for peer in peers}) < 250


def test_silent_peers_hold_nobody_up(clock: FakeClock) -> None:
    """All others have answered before the time is up, and then the silent ones are given up together."""
    silent, others = [Peer(silent=True) for _ in range(10)], [Peer() for _ in range(200)]
    answers: dict[Any, bool] = {}
    # They are asked in this order: when the last has answered, all silent ones have been asked.
    peers = [*silent[:5], *others[:100], *silent[5:], *others[100:]]
    for peer, alive in Pings(peers, Peer.ping).run(TIMEOUT):
        answers[peer] = alive
        if len(answers) == len(others):
            assert all(answers[other] for other in others)
            clock.advance(TIMEOUT)
    assert [answers[peer] for peer in silent] == [False] * 10


def test_what_nobody_has_come_to_in_time_is_left_out(clock: FakeClock) -> None:
    """And is not taken either: its owner never waits for it."""
    taken: list[Peer] = []

    def due() -> Iterator[Peer]:
        while True:
            taken.append(Peer(silent=True))
            if len(taken) == 5:
                clock.advance(TIMEOUT)
            yield taken[-1]

    answers = dict(Pings(due(), Peer.ping).run(TIMEOUT))
    assert set(answers) == set(taken)
    assert not any(answers.values())


def test_what_a_ping_should_not_raise_is_raised_once_all_are_answered_for() -> None:
    """It is no ping that was not answered, and the others' go on."""

    def fail() -> None:
        raise TypeError("a name that is gone")

    module = SimpleNamespace(Error=KeyError)
    raws = [SimpleNamespace(module=module, keep_answer=lambda: None, ping=ping) for ping in (fail, fail, lambda: None)]
    answers = Pings(raws, _send_ping).run(20.0)
    assert sorted(next(answers)[1] for _ in raws) == [False, False, True]
    with pytest.raises(TypeError, match="a name that is gone"):
        next(answers)
