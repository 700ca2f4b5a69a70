"""Has contestants take turns: many short rounds, the order drawn anew in each, and processes made anew now and then."""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contests import AGAIN, Contest
from benchmarks.crew import Burst
from benchmarks.rows import Spread, ratios
from benchmarks.runner import ContestantMissing, Runner

_BEGAN = time.monotonic()
PEERS_EVERY = 3
"""Rounds between two in which the usual cures take part."""


@dataclass(frozen=True)
class Scale:
    """How much is done. Durations in seconds."""

    sittings: int = 3
    """Times that all processes are made anew: where their memory lies is a matter of luck, and worth some percent."""
    rounds: int = 14
    """In each sitting."""
    many: float = 0.15
    """A burst of all threads."""
    one: float = 0.08
    """A burst of one thread, in which nothing waits for the GIL."""
    threads: int = 8


SMALL = Scale(sittings=1, rounds=1, many=0.03, one=0.02)


@dataclass
class Turns:
    """The bursts of one contestant, by round."""

    many: dict[int, Burst] = field(default_factory=dict)
    one: dict[int, Burst] = field(default_factory=dict)

    def of(self, figure: Callable[[Burst], float], *, alone: bool = False) -> dict[int, float]:
        """Return a figure of each burst, of all threads or of one alone."""
        return {turn: figure(burst) for turn, burst in (self.one if alone else self.many).items()}


Played = dict[str, Turns]
"""By maker."""


def rate_against(played: Played, maker: str, base: str) -> Spread:
    """Return the tasks in a second of one, divided by those of the other in the same round."""
    return ratios(played[maker].of(lambda burst: burst.rate), played[base].of(lambda burst: burst.rate))


def speed_against(played: Played, maker: str, base: str) -> Spread:
    """Return how many times faster a task is, on one thread, than the other one's in the same round."""
    ours, others = (played[name].of(lambda burst: 1 / burst.median, alone=True) for name in (maker, base))
    return ratios(ours, others)


def play(contest: Contest, arguments: Mapping[str, Any], scale: Scale, road: str = "") -> Played:
    """Hold all rounds of a contest. Blocks; says how far it is. Contestants whose package is missing are left out."""
    played: Played = {}
    rng = random.Random(1)
    for sitting in range(scale.sittings):
        with contextlib.ExitStack() as stack:
            makers = [entry.maker for entry in contest.entries]
            runners = gather(stack, makers, arguments, scale.threads)
            for runner in runners.values():
                runner.burst(scale.one, scale.threads)
            for number in range(scale.rounds):
                say(f"{contest.name} {road}: sitting {sitting + 1} of {scale.sittings}, round {number + 1}")
                turn = sitting * scale.rounds + number
                _round(played, _those_on(contest, turn, runners, rng), turn, scale)
    return played


def gather(
    stack: contextlib.ExitStack, makers: Iterable[str], arguments: Mapping[str, Any], threads: int
) -> dict[str, Runner]:
    """Start their processes, by maker; those whose package is missing are left out."""
    runners = {}
    for maker in makers:
        try:
            runners[maker] = stack.enter_context(Runner(maker.removesuffix(AGAIN), arguments, threads=threads))
        except ContestantMissing as missing:
            say(f"left out: {missing}")
    return runners


def _those_on(contest: Contest, turn: int, runners: dict[str, Runner], rng: random.Random) -> dict[str, Runner]:
    with_peers = turn % PEERS_EVERY == 0
    order = [entry.maker for entry in contest.entries if entry.maker in runners and (with_peers or not entry.is_peer)]
    rng.shuffle(order)
    return {maker: runners[maker] for maker in order}


def _round(played: Played, runners: Mapping[str, Runner], turn: int, scale: Scale) -> None:
    for maker, runner in runners.items():
        turns = played.setdefault(maker, Turns())
        turns.many[turn] = runner.burst(scale.many, scale.threads)
        turns.one[turn] = runner.burst(scale.one, 1)


def say(what: str) -> None:
    """Tell how far we are, on standard error."""
    sys.stderr.write(f"  {time.monotonic() - _BEGAN:4.0f} s  {what}\n")
    sys.stderr.flush()
