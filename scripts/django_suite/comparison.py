"""What two runs of the same tests have in common, and where they differ: pure functions of their outcomes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# The worst of several (a test and its subtests, a test and its tearDown) is what counts.
WORST_FIRST = ("ERROR", "FAIL", "unexpected success", "expected failure", "skip", "ok")
MISSING = "not run"
TEARDOWN = "teardown of the test databases"
"""Reported like a test, and the last one: a run without it was cut off."""
_COLUMNS = "{:<20} {:<12} {:>6} {:>6} {:>5} {:>6} {:>5} {:>9} {:>7}"
BAD = ("ERROR", "FAIL", "unexpected success")


@dataclass(frozen=True)
class Outcome:
    """What became of one test, and what it said."""

    outcome: str
    said: str = ""


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Read what the runner wrote; the worst outcome of a test counts."""
    outcomes: dict[str, Outcome] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        new, old = Outcome(entry["outcome"], entry["said"]), outcomes.get(entry["test"])
        if old is None or WORST_FIRST.index(new.outcome) < WORST_FIRST.index(old.outcome):
            outcomes[entry["test"]] = new
    return outcomes


def label_of(test: str, labels: Iterable[str]) -> str:
    """Return the label a test belongs to; ``setUpClass (backends.tests.X)`` belongs to ``backends``."""
    name = test.rpartition("(")[2]
    return next((label for label in labels if name.startswith(f"{label}.")), "(other)")


def table(labels: list[str], stock: Mapping[str, Outcome], ours: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield one line per label: how many tests had which outcome on each engine, and how many differ."""
    yield _COLUMNS.format("label", "engine", "tests", "ok", "FAIL", "ERROR", "skip", "expected", "differ")
    for label in [*labels, "(other)"]:
        tests = [test for test in {**stock, **ours} if label_of(test, labels) == label]
        if tests:
            differ = sum(is_different(test, stock, ours) for test in tests)
            yield _row(label, "stock", tests, stock, "")
            yield _row("", "persistconn", tests, ours, str(differ))


def _row(label: str, engine: str, tests: list[str], outcomes: Mapping[str, Outcome], differ: str) -> str:
    count = Counter(outcomes[test].outcome for test in tests if test in outcomes)
    outcomes_in_order = [count[outcome] for outcome in ("ok", "FAIL", "ERROR", "skip", "expected failure")]
    return _COLUMNS.format(label, engine, sum(count.values()), *outcomes_in_order, differ)


def is_different(test: str, stock: Mapping[str, Outcome], ours: Mapping[str, Outcome]) -> bool:
    """Say whether a test ended differently on the two engines, or on one of them only."""
    return stock.get(test, Outcome(MISSING)).outcome != ours.get(test, Outcome(MISSING)).outcome


def differences(stock: Mapping[str, Outcome], ours: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield two lines for each test that ended differently."""
    for test in sorted({**stock, **ours}):
        if is_different(test, stock, ours):
            before, after = stock.get(test, Outcome(MISSING)), ours.get(test, Outcome(MISSING))
            yield f"{test}\n    stock: {before.outcome} {before.said}\n    ours:  {after.outcome} {after.said}"


def common_failures(stock: Mapping[str, Outcome], ours: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield the tests that fail on both engines alike, with what they said on the stock one."""
    for test, outcome in sorted(stock.items()):
        if outcome.outcome in BAD and not is_different(test, stock, ours):
            yield f"{test}: {outcome.outcome} {outcome.said}"
