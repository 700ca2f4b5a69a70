"""What a sweep has counted, in words and in a file. Pure, but for the file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import campaigns.cuts
import persistconn
from campaigns.cuts.oracle import Told
from campaigns.cuts.station import Result

_SHOWN = 20


@dataclass
class Count:
    """The counts of many results."""

    cases: int = 0
    unnoticed: int = 0
    """Cases in which every step was answered."""
    told: Counter[str] = field(default_factory=Counter)
    """Steps that ended in an error, by what was told."""
    again: int = 0
    """Cases that were run more than once, because the machine was too busy to tell."""
    seconds: float = 0.0
    flaws: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one result."""
        self.cases += 1
        self.again += bool(result.again)
        self.seconds += result.seconds
        worst = [reply.told for reply in result.record.unit if reply.told is not Told.OK]
        self.unnoticed += not worst
        # The first error is the fault's doing; those behind it are the refusals that follow from it.
        self.told.update(told.value for told in worst[:1])
        self.broken += bool(result.findings)
        self.flaws.update({finding.flaw.value for finding in result.findings})
        self.examples += [f"{result.case}: {finding.flaw.value}: {finding.text}" for finding in result.findings]

    def merge(self, other: Count) -> None:
        """Count what another one has counted."""
        for name in ("cases", "unnoticed", "again", "seconds", "broken"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.told += other.told
        self.flaws += other.flaws
        self.examples += other.examples

    def line(self) -> str:
        """Return the counts in one line, for people."""
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(self.told.items()))
        flaws = ", ".join(f"{count:,} {name}" for name, count in sorted(self.flaws.items()))
        return (
            f"{self.cases:7,} cases {self.unnoticed:7,} unnoticed; {told or 'no errors'}"
            f"; {self.broken:,} broken{f' ({flaws})' if flaws else ''}"
        )


def count(results: Iterable[Result]) -> Count:
    """Count results."""
    counted = Count()
    for result in results:
        counted.add(result)
    return counted


def tell(counted: Count) -> Iterator[str]:
    """Yield the end of a sweep, for people: what was broken and how to see it again."""
    yield f"{counted.line()}"
    if counted.again:
        yield f"{counted.again:,} cases were run more than once: this machine was too busy to answer in time"
    for example in counted.examples[:_SHOWN]:
        name = example.split(":", 1)[0]
        yield f"BROKEN {example}"
        yield f"       again: python -m campaigns.cuts --case {name}"
    if len(counted.examples) > _SHOWN:
        yield f"       ... and {len(counted.examples) - _SHOWN:,} more"
    yield "HELD" if not counted.broken else "BROKEN"


# --- the file ----------------------------------------------------------------------------------------------------------


def fingerprint(*packages: ModuleType) -> str:
    """Return a name of the code as it is now, with these packages beside: figures of other code do not count."""
    digest = hashlib.sha256()
    for package in (persistconn, campaigns.cuts, *packages):
        for source in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def load(path: Path, cases: Iterable[object], code: str) -> Count | None:
    """Return the counts of an earlier run of the same cases on the same code; None if there are none."""
    kept = read_kept(path, cases, code)
    return None if kept is None else Count(**{**kept, "told": Counter(kept["told"]), "flaws": Counter(kept["flaws"])})


def read_kept(path: Path, cases: Iterable[object], code: str) -> dict[str, Any] | None:
    """Return the fields of the counts that were kept of the same cases on the same code; None if there are none."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return None if (kept.pop("code", None), kept.pop("plan", None)) != (code, _digest(cases)) else kept


def save(path: Path, cases: Iterable[object], code: str, counted: object) -> None:
    """Keep the counts, a dataclass, for a later run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"code": code, "plan": _digest(cases), **vars(counted)}), encoding="utf-8")


def _digest(cases: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(map(str, cases)).encode()).hexdigest()[:16]
