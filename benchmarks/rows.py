"""What a row of the benchmarks has found, and the arithmetic behind it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some numbers."""

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.2f}-{self.high:.2f}]"


def spread(values: Iterable[float]) -> Spread:
    """Return median and quartiles; raises ValueError without a value."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there is no round in which both took part")
    if len(ordered) == 1:
        return Spread(ordered[0], ordered[0], ordered[0], 1)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return Spread(statistics.median(ordered), low, high, len(ordered))


def ratios(ours: Mapping[int, float], base: Mapping[int, float]) -> Spread:
    """Divide round by round, where both took part."""
    return spread(value / base[turn] for turn, value in ours.items() if turn in base)


@dataclass(frozen=True)
class Verdict:
    """One figure to reach, and whether it was."""

    claim: str
    goal: str
    measured: str
    held: bool

    @property
    def word(self) -> str:
        """For people."""
        return "held" if self.held else "MISSED"


def at_least(claim: str, measured: Spread, goal: float) -> Verdict:
    """Judge a ratio that must not be smaller."""
    return Verdict(claim, f">= {goal:g}", str(measured), measured.median >= goal)


def at_most(claim: str, measured: float, goal: float, unit: str, factor: float = 1.0) -> Verdict:
    """Judge a figure that must not be greater; ``factor`` turns it and the goal into the unit."""
    return Verdict(claim, f"<= {goal * factor:g} {unit}", f"{measured * factor:.4g} {unit}", measured <= goal)


Table = Sequence[Sequence[str]]
"""The first line is the header."""


@dataclass(frozen=True)
class Row:
    """A row of the benchmarks: its table, its verdicts, and what the plots are drawn from."""

    name: str
    title: str
    table: Table
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    series: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By what is plotted, then by label."""


def aligned(table: Table) -> Iterable[str]:
    """Yield a table's lines for a terminal."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        first, *others = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(("  " + first, *others)).rstrip()


def markdown(table: Table) -> Iterable[str]:
    """Yield a table's lines for a page."""
    header, *lines = table
    yield f"| {' | '.join(header)} |"
    yield f"| --- |{' ---: |' * (len(header) - 1)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def verdict_table(verdicts: Iterable[Verdict]) -> Table:
    """Make a table of verdicts."""
    lines = [(one.claim, one.goal, one.measured, one.word) for one in verdicts]
    return (("figure", "goal", "measured", ""), *lines)
