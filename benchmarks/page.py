"""docs/benchmarks.md: what stands between its two marks is written here, all else by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.rows import Row, markdown, verdict_table

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(page: Path, rows: Sequence[Row], machine: Iterable[tuple[str, str]], plots: Iterable[str]) -> None:
    """Replace what was measured; raises ValueError if the page has no marks."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page.name} has no {BEGIN} ... {END}: it cannot be told what was written by hand")
    measured = "\n".join(lines(rows, machine, plots))
    page.write_text(f"{before}{BEGIN}\n\n{measured}\n{END}{after}", encoding="utf-8")


def lines(rows: Sequence[Row], machine: Iterable[tuple[str, str]], plots: Iterable[str]) -> Iterator[str]:
    """Yield the measured part. Pure."""
    yield from ("## The figures to reach", "")
    yield from markdown(verdict_table(verdict for row in rows for verdict in row.verdicts))
    yield from ("", "## Measured on", "")
    yield from (f"- {name}: {value}" for name, value in machine)
    for plot in plots:
        yield from ("", f"![{Path(plot).stem}]({plot})")
    for row in rows:
        yield from ("", f"## {row.title}", "")
        yield from markdown(row.table)
        yield ""
        yield from (f"- {note}" for note in row.notes)
