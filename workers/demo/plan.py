"""The plan of the faults: which one comes when. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

DOWN_FOR = 1.5
"""Seconds that the server stays down after a crash."""
FIRST_KILL = 1.0
BETWEEN_KILLS = (0.7, 1.3)
CALM_AFTER_START = 0.5
"""Seconds without a KILL once the server is started again: there are hardly any sessions yet."""
TWO_CRASHES_FROM = 20.0


class Kind(Enum):
    """What happens to the server or its sessions."""

    KILL = "an administrator kills a session of each side"
    CRASH = "the server is killed with -9"
    RESTART = "the server is started again"


@dataclass(frozen=True)
class Fault:
    """One thing to be done, ``at`` so many seconds after the start."""

    at: float
    kind: Kind


def plan(seconds: float, rng: random.Random) -> tuple[Fault, ...]:
    """Return what happens within ``seconds``, in order: a KILL every second or so, and one crash or two."""
    crashes = _crashes(seconds, rng)
    faults = [Fault(at, Kind.KILL) for at in _kills(seconds, rng) if not _is_down(at, crashes)]
    for crash in crashes:
        faults += [Fault(crash, Kind.CRASH), Fault(crash + DOWN_FOR, Kind.RESTART)]
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _crashes(seconds: float, rng: random.Random) -> list[float]:
    """Return when the server dies: around the middle, or at a third and two thirds; never close to the end."""
    count = 2 if seconds >= TWO_CRASHES_FROM else 1
    share = seconds / (count + 1)
    return [share * (number + rng.uniform(-0.1, 0.1)) for number in range(1, count + 1)]


def _kills(seconds: float, rng: random.Random) -> list[float]:
    kills = []
    at = FIRST_KILL
    while at < seconds:
        kills.append(at)
        at += rng.uniform(*BETWEEN_KILLS)
    return kills


def _is_down(at: float, crashes: list[float]) -> bool:
    return any(crash - 0.1 <= at <= crash + DOWN_FOR + CALM_AFTER_START for crash in crashes)
