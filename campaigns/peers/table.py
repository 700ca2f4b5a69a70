"""The figures of all clients, side by side. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from campaigns.cuts.oracle import Flaw, Told
from campaigns.cuts.station import Result

Column = tuple[str, tuple[Flaw, ...]]

COLUMNS: tuple[Column, ...] = (
    ("wrong rows", (Flaw.WRONG_ROWS,)),
    ("lost", (Flaw.LOST,)),
    ("doubled", (Flaw.DOUBLED,)),
    ("torn, or there against the word", (Flaw.TORN, Flaw.GHOST)),
    ("hung", (Flaw.HUNG,)),
    ("next unit broken", (Flaw.NEXT_UNIT,)),
    ("session left over", (Flaw.LEFT_OVER,)),
)


def tally(results: Iterable[Result]) -> Counter[str]:
    """Count the cases of one client, by what came of them."""
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(_marks(result))
    return counts


def _marks(result: Result) -> Iterator[str]:
    told = {reply.told for reply in result.record.unit}
    flaws = {finding.flaw for finding in result.findings}
    yield "cases"
    if told == {Told.OK} and not flaws:
        yield "right"
    if Told.RAW in told:
        yield "raw error"
    if any(one.is_typed for one in told):
        yield "typed error"
    if Flaw.MISSED in flaws:
        yield "missed"
    yield from (name for name, ours in COLUMNS if flaws & set(ours))


def lines(tallies: Mapping[str, Counter[str]]) -> Iterator[str]:
    """Yield the table, as Markdown."""
    names = ["cases", "right", "raw error", "typed error", *(name for name, _ in COLUMNS)]
    yield f"| client | {' | '.join(names)} |"
    yield f"| --- |{' ---: |' * len(names)}"
    for client, counts in tallies.items():
        yield f"| {client} | {' | '.join(f'{counts[name]:,}' for name in names)} |"
