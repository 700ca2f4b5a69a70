"""What a sweep has counted, in words and in a file. Pure, but for the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from campaigns.cuts import figures
from campaigns.jobcuts.station import Result

_SHOWN = 20


@dataclass
class Count:
    """The counts of many results."""

    cases: int = 0
    at_commit: int = 0
    """Cases whose first fault is on COMMIT or its answer."""
    pairs: int = 0
    struck_twice: int = 0
    once: int = 0
    """Cases in which one attempt was enough."""
    replayed: int = 0
    """Cases in which a later attempt took effect."""
    proved: int = 0
    """Cases in which a later attempt found that an earlier one had been committed."""
    again: int = 0
    """Cases that were run more than once, because the machine was too busy to tell."""
    seconds: float = 0.0
    flaws: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one result."""
        record = result.record
        self.cases += 1
        self.at_commit += result.case.at_commit
        self.pairs += len(result.case.strikes) > 1
        self.struck_twice += record.struck_twice
        self.once += not record.mishaps
        self.proved += record.is_proved
        self.replayed += bool(record.mishaps) and not record.is_proved
        self.again += bool(result.again)
        self.seconds += result.seconds
        self.broken += bool(result.findings)
        self.flaws.update({finding.flaw.value for finding in result.findings})
        self.examples += [f"{result.case}: {finding.flaw.value}: {finding.text}" for finding in result.findings]

    def merge(self, other: Count) -> None:
        """Count what another one has counted."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def line(self) -> str:
        """Return the counts in one line, for people."""
        flaws = ", ".join(f"{count:,} {name}" for name, count in sorted(self.flaws.items()))
        return (
            f"{self.cases:7,} cases, {self.at_commit:,} at COMMIT, {self.pairs:,} with a second cut"
            f" ({self.struck_twice:,} struck); {self.once:,} done at once, {self.replayed:,} replayed,"
            f" {self.proved:,} proved by the ledger; {self.broken:,} broken{f' ({flaws})' if flaws else ''}"
        )


def count(results: Iterable[Result]) -> Count:
    """Count results."""
    counted = Count()
    for result in results:
        counted.add(result)
    return counted


def tell(counted: Count) -> Iterator[str]:
    """Yield the end of a sweep, for people: what was broken and how to see it again."""
    yield counted.line()
    if counted.again:
        yield f"{counted.again:,} cases were run more than once: this machine was too busy to answer in time"
    for example in counted.examples[:_SHOWN]:
        name = example.split(":", 1)[0]
        yield f"BROKEN {example}"
        yield f"       again: python -m campaigns.jobcuts --case '{name}'"
    if len(counted.examples) > _SHOWN:
        yield f"       ... and {len(counted.examples) - _SHOWN:,} more"
    if counted.broken:
        yield "BROKEN"
    else:
        yield f"HELD: {counted.cases:,} broken jobs, each with exactly one effect, the right result and no error"


def load(path: Path, cases: Iterable[object], code: str) -> Count | None:
    """Return the counts of an earlier run of the same cases on the same code; None if there are none."""
    kept = figures.read_kept(path, cases, code)
    return None if kept is None else Count(**{**kept, "flaws": Counter(kept["flaws"])})
