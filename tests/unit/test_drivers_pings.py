"""Many pings of mysqlclient at once: how many threads, whom they keep, and what becomes of the silent. No server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from persistconn.drivers.mysqlclient_pings import Pings


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
        return not (self._silent and self._cut.wait(30))


def run(peers: list[Peer], timeout: float = 20.0) -> dict[Any, bool]:
    """Ping them all."""
    return dict(Pings(peers, Peer.ping).run(timeout))


def test_each_is_answered_for() -> None:
    """By a few threads: one costs more than a ping."""
    peers = [Peer() for _ in range(500)]
    assert run(peers) == dict.fromkeys(peers, True)
    assert len({peer.thread for peer in peers}) < 250


def test_silent_peers_hold_nobody_up() -> None:
    """They are given up together when the time is up, and all others have answered."""
    silent, others = [Peer(silent=True) for _ in range(10)], [Peer() for _ in range(200)]
    answers = run([*silent[:5], *others, *silent[5:]], timeout=1.0)
    assert [answers[peer] for peer in silent] == [False] * 10
    assert all(answers[peer] for peer in others)


def test_what_nobody_has_come_to_in_time_is_left_out() -> None:
    """And is not taken either: its owner never waits for it."""
    taken: list[Peer] = []

    def due() -> Iterator[Peer]:
        while True:
            taken.append(Peer(silent=True))
            yield taken[-1]

    answers = dict(Pings(due(), Peer.ping).run(timeout=0.3))
    assert set(answers) == set(taken)
    assert not any(answers.values())
