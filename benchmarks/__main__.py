"""``python -m benchmarks [--small] [--rounds N] [--only ROW ...]``: measure, show a table, write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import (
    connecting,
    ground,
    growth,
    importing,
    machine,
    memory,
    page,
    plots,
    proxying,
    speed,
    sweeping,
    trips,
)
from benchmarks.arena import SMALL, Scale, say
from benchmarks.contests import CONTESTS, DELAY, DELAYED, LOOPBACK, Contest
from benchmarks.delay import DelayProxy
from benchmarks.rows import Row, aligned, verdict_table
from campaigns.places import Private

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Bench:
    """All that a row may need."""

    place: Private
    roads: Mapping[str, Mapping[str, Any]]
    scale: Scale
    is_small: bool

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Of ``connect()``, on loopback."""
        return self.roads[LOOPBACK]


def _contest(contest: Contest) -> Callable[[Bench], Row]:
    return lambda bench: speed.run(contest, bench.roads, bench.scale)


def _growth(bench: Bench) -> Row:
    rounds = max(2, bench.scale.rounds // 3)
    scale = replace(bench.scale, rounds=rounds, many=2 * bench.scale.many)
    return growth.run(bench.arguments, scale, 4 if bench.is_small else growth.MOST)


def _sweep(bench: Bench) -> Row:
    return sweeping.run(bench.arguments, 40, 2) if bench.is_small else sweeping.run(bench.arguments)


ROWS: Mapping[str, Callable[[Bench], Row]] = {
    "trips": lambda bench: trips.run(bench.place, bench.arguments, bench.scale),
    **{contest.name: _contest(contest) for contest in CONTESTS},
    "connect": lambda bench: connecting.run(bench.scale),
    "sweep": _sweep,
    "growth": _growth,
    "memory": lambda bench: memory.run(bench.arguments, 10 if bench.is_small else memory.COUNT),
    "import": lambda bench: importing.run(1 if bench.is_small else importing.ROUNDS),
    "proxy": lambda bench: proxying.run(bench.arguments, bench.scale),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and show; returns the exit status, which is 0 whatever was missed: a figure is no failure."""
    options = _parser().parse_args(argv)
    scale = SMALL if options.small else Scale()
    scale = replace(scale, rounds=options.rounds or scale.rounds)
    began = time.monotonic()
    with ExitStack() as stack:
        place = stack.enter_context(ground.private())
        loopback = ground.furnish(place)
        proxy = stack.enter_context(DelayProxy(loopback["host"], loopback["port"], DELAY))
        bench = Bench(place, {LOOPBACK: loopback, DELAYED: proxy.arguments(loopback)}, scale, options.small)
        rows = list(_measure(options.only or list(ROWS), bench))
        found = machine.describe(place)
    say(f"all in {time.monotonic() - began:.0f} s")
    if not (options.only or options.small) or options.write:
        page.write(PAGE, rows, found, plots.draw(rows, PAGE.with_suffix("")))
    _show(verdict_table(verdict for row in rows for verdict in row.verdicts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What safety costs, beside the usual cures."
    )
    parser.add_argument("--rounds", type=int, help="in each of three sittings (default: 14)")
    parser.add_argument(
        "--only", nargs="+", choices=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}; shown, not written"
    )
    parser.add_argument("--small", action="store_true", help="hardly any rounds: shows that it works; not written")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name} all the same")
    return parser


def _measure(names: Sequence[str], bench: Bench) -> Iterator[Row]:
    for name in names:
        row = ROWS[name](bench)
        sys.stdout.write(f"\n{row.title}\n")
        _show(row.table)
        sys.stdout.write("".join(f"  - {note}\n" for note in row.notes))
        sys.stdout.flush()
        yield row


def _show(table: Sequence[Sequence[str]]) -> None:
    sys.stdout.write("\n".join(aligned(table)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
