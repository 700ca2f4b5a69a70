"""What was said of each write, against what the server has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Said(Enum):
    """What the caller was told about a write, or about all writes of a transaction."""

    DONE = "acknowledged: there exactly once"
    UNDONE = "refused, lost before its commit, or rolled back: absent"
    UNKNOWN = "interrupted or OutcomeUnknown: all of it once, or nothing"


@dataclass(frozen=True)
class Unit:
    """The writes that take effect together: ids ``first`` to ``first + count - 1``."""

    first: int
    count: int
    said: Said


@dataclass
class Verdict:
    """What the rows on the server say of the units. Numbers of units, but for ``doubled`` and ``unexplained``: rows."""

    done: int = 0
    undone: int = 0
    unknown_there: int = 0
    unknown_absent: int = 0
    lost: int = 0
    """Acknowledged, and not there."""
    undead: int = 0
    """Told as lost or rolled back, and there all the same."""
    torn: int = 0
    """A part of a transaction is there."""
    doubled: int = 0
    unexplained: int = 0
    """Rows that nobody wrote."""
    examples: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether the rows are what was said."""
        return not (self.lost or self.undead or self.torn or self.doubled or self.unexplained)

    def table(self) -> dict[str, object]:
        """Return the lines for the campaign's table."""
        return {
            "writes acknowledged, there exactly once": self.done,
            "writes told as undone, absent": self.undone,
            "outcome unknown: there / absent": f"{self.unknown_there:,} / {self.unknown_absent:,}",
            "lost / told as undone but there / torn / doubled / unexplained": (
                f"{self.lost} / {self.undead} / {self.torn} / {self.doubled} / {self.unexplained}"
            ),
        }


def judge(units: Iterable[Unit], rows: Mapping[int, int]) -> Verdict:
    """Compare what was said with the rows (id -> how often) that the server has."""
    verdict = Verdict()
    explained = 0
    for unit in units:
        found = [rows.get(number, 0) for number in range(unit.first, unit.first + unit.count)]
        explained += sum(1 for count in found if count)
        _judge_unit(unit, found, verdict)
    verdict.unexplained = len(rows) - explained
    return verdict


def _judge_unit(unit: Unit, found: list[int], verdict: Verdict) -> None:
    present = sum(1 for count in found if count)
    doubled = sum(1 for count in found if count > 1)
    verdict.doubled += doubled
    if 0 < present < unit.count:
        verdict.torn += 1
    elif unit.said is Said.DONE:
        verdict.done += bool(present)
        verdict.lost += not present
    elif unit.said is Said.UNDONE:
        verdict.undone += not present
        verdict.undead += bool(present)
    else:
        verdict.unknown_there += bool(present)
        verdict.unknown_absent += not present
    is_right = not doubled and present == {Said.DONE: unit.count, Said.UNDONE: 0}.get(unit.said, present)
    if not is_right or 0 < present < unit.count:
        verdict.examples.append(f"{unit} has the rows {found}")
