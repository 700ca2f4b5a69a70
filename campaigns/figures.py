"""What a campaign has found, as a small table, and whether the promise held. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LABEL = 58


@dataclass(frozen=True)
class Figures:
    """The end of a campaign."""

    title: str
    table: Mapping[str, object]
    proven: str
    """What has been shown if nothing was broken."""
    broken: tuple[str, ...] = ()
    """What did not hold, a line each."""
    inconclusive: tuple[str, ...] = ()
    """Which moment a busy machine has missed, and by how much, a line each. What was lost, doubled or surfaced is broken."""

    @property
    def has_held(self) -> bool:
        """Whether the promise was put to the test, and held."""
        return not self.broken and not self.inconclusive

    @property
    def doubt(self) -> str | None:
        """Why there is no verdict, and the campaign must be run again with a longer moment; None if there is one."""
        return "; ".join(self.inconclusive) if self.inconclusive and not self.broken else None

    def lines(self) -> Iterator[str]:
        """Yield title, table and verdict, for people."""
        yield self.title
        for label, value in self.table.items():
            yield f"  {label:<{_LABEL}} {_cell(value)}"
        for line in self.broken:
            yield f"  BROKEN: {line}"
        for line in self.inconclusive:
            yield f"  INCONCLUSIVE: {line}"
        if self.has_held:
            yield f"  HELD: {self.proven}"


def counted(counts: Mapping[str, int]) -> str:
    """Put counts by kind into words, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} x {kind}" for kind, count in ordered) or "none"


def broken_claims(claims: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the claims that do not hold."""
    return tuple(claim for claim, holds in claims.items() if not holds)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
