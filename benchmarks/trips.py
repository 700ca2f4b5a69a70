"""Round trips of a task, counted at the server: exact, so asserted where times are not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from benchmarks.arena import Scale, gather, say
from benchmarks.contests import AGAIN, CONTESTS
from benchmarks.ground import Counters
from benchmarks.rows import Row, Table, Verdict
from benchmarks.runner import Runner


@dataclass(frozen=True)
class Trips:
    """Of one task: questions that were answered, and connects."""

    answers: Fraction
    connects: Fraction

    def __str__(self) -> str:
        connects = f" and {_number(self.connects)} connect" if self.connects else ""
        return f"{_number(self.answers)}{connects}"


BEYOND = {
    ("managed", "bare"): 0,
    ("managed unit", "bare"): 0,
    ("managed mysqlclient", "bare mysqlclient"): 0,
    ("django ours", "django"): 0,
    ("django ours closing", "django"): 0,
    ("atomic ours", "atomic"): -2,
    ("empty ours", "empty"): -3,
    ("job django", "atomic"): -1,
    ("job", "atomic"): -1,
}
"""The most that one of ours may need beyond another one."""


def run(place: Any, arguments: Mapping[str, Any], scale: Scale) -> Row:
    """Count for all contestants, one after the other, ours with sweep upon sweep beside them. Blocks."""
    counted: dict[str, Trips] = {}
    for contest in CONTESTS:
        say(f"trips: {contest.name}")
        makers = [entry.maker for entry in contest.entries if not entry.maker.endswith(AGAIN)]
        counted.update(count(makers, place, arguments, scale))
    series = {"trips": {_name(maker): float(trips.answers) for maker, trips in counted.items()}}
    return Row(
        "trips",
        "Round trips of a task, counted at the server, with sweep upon sweep beside those of ours",
        _table(counted),
        tuple(verdicts(counted)),
        ("a connect is two round trips more, beside TCP's own; a goodbye is none, for nobody waits for its answer",),
        series,
    )


def count(makers: Iterable[str], place: Any, arguments: Mapping[str, Any], scale: Scale) -> dict[str, Trips]:
    """Count for these contestants, one after the other; those whose package is missing are left out. Blocks."""
    counters = Counters(place)
    counted = {}
    for maker in makers:
        # One at a time: nobody else may ask the server anything.
        counters.wait_until_alone()
        with contextlib.ExitStack() as stack:
            for runner in gather(stack, [maker], arguments, scale.threads).values():
                counted[maker] = _count(runner, counters, scale)
    return counted


def _count(runner: Runner, counters: Counters, scale: Scale) -> Trips:
    runner.burst(scale.one, scale.threads)  # Connects, and whatever else is done once.
    answers, connects = counters.look()
    tasks = runner.burst(2 * scale.many, scale.threads, sweeping=True).tasks
    late_answers, late_connects = counters.look()
    return Trips(Fraction(late_answers - answers, tasks), Fraction(late_connects - connects, tasks))


def verdicts(counted: Mapping[str, Trips]) -> list[Verdict]:
    """Judge what ours need beyond the others. Pure."""
    return [
        Verdict(
            f"round trips of {_name(ours)}, beyond those of {_name(other)}",
            f"<= {most}",
            _number(counted[ours].answers - counted[other].answers),
            counted[ours].answers - counted[other].answers <= most and counted[ours].connects == 0,
        )
        for (ours, other), most in BEYOND.items()
        if ours in counted and other in counted
    ]


def _table(counted: Mapping[str, Trips]) -> Table:
    return (("", "round trips"), *((_name(maker), str(trips)) for maker, trips in counted.items()))


def _name(maker: str) -> str:
    return next(entry.name for contest in CONTESTS for entry in contest.entries if entry.maker == maker)


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.3f}"
