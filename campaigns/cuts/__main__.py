"""``python -m campaigns.cuts``: break one conversation at each packet in each way; exit status 0 only if all promises held."""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from campaigns.cuts import figures
from campaigns.cuts.cases import DRIVERS, SERVERS, Case, Combination, combinations, sample
from campaigns.cuts.crew import CUTTING, THREADS, Crew, making, plan_all, script_of, trust_nobody
from campaigns.cuts.servers import Access, is_mysql_here, serving
from campaigns.cuts.station import Result, Station
from campaigns.drivers import MODULES

C = TypeVar("C")

WHOLE = "mariadb.pymysql.plain.transaction.look"
"""The combination that goes with each sample, whole."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    options = _parser().parse_args(argv)
    trust_nobody()
    chosen = [Case.parse(options.case).combination] if options.case else choose(options.only, mysql=has_mysql(options))
    with serving(dict.fromkeys(combination.server for combination in chosen), options.mysql) as servers:
        if options.case:
            return _repeat(Case.parse(options.case), servers)
        with Crew(servers, CUTTING, processes=options.processes, threads=options.threads) as crew:
            plans = plan_all(chosen, servers)
            counted = (
                run_sample(crew, plans, options.sample, options.seed)
                if options.sample
                else _run_whole(crew, plans, options.keep, fresh=options.fresh)
            )
        left = [session for access in servers.values() for session in access.leftovers()]
        return _finish(counted, left)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m campaigns.cuts", description=__doc__)
    add_options(parser, pattern="*.pymysql.tls.*", keep=Path(".cache/cuts"))
    parser.add_argument("--sample", type=int, metavar="N", help=f"N cases of all, and {WHOLE} whole")
    parser.add_argument("--case", metavar="NAME", help="one case again, step by step")
    return parser


def add_options(parser: argparse.ArgumentParser, *, pattern: str, keep: Path) -> None:
    """Add what all sweeps of cuts are asked."""
    parser.add_argument("--only", metavar="PATTERN", default="*", help=f"combinations, such as '{pattern}'")
    parser.add_argument("--seed", type=int, default=1, help="of what is chosen (default: %(default)s)")
    parser.add_argument("--mysql", metavar="DSN", help="mysql://user:password@host:port/database; default: private")
    parser.add_argument("--processes", type=int, help="(default: one for each CPU)")
    parser.add_argument("--threads", type=int, default=THREADS, help="in each process (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=keep, help="where to note what is done")
    parser.add_argument("--fresh", action="store_true", help="run again what is done already")


def has_mysql(options: argparse.Namespace) -> bool:
    """Say whether there is a MySQL to take part."""
    return bool(options.mysql) or is_mysql_here()


def can_run(combinations: Callable[[list[str], list[str]], list[C]], *, mysql: bool) -> list[C]:
    """Return the combinations of what is there: MySQL if it is, and the drivers that are installed."""
    servers = [name for name in SERVERS if name != "mysql" or mysql]
    drivers = [name for name in DRIVERS if importlib.util.find_spec(MODULES[name])]
    found = combinations(servers, drivers)
    say(f"{len(found)} combinations of {', '.join(servers)} with {', '.join(drivers)}")
    return found


def choose(pattern: str, *, mysql: bool) -> list[Combination]:
    """Return the combinations that fit a pattern and can run here."""
    fitting = [one for one in can_run(combinations, mysql=mysql) if fnmatch.fnmatch(str(one), pattern)]
    if not fitting:
        raise SystemExit(f"nothing that can run here fits {pattern!r}")
    return fitting


def run_sample(
    crew: Crew[Case, Result], plans: Mapping[Combination, Sequence[Case]], size: int, seed: int
) -> figures.Count:
    """Run a sample of all cases, and the one combination whole if it is among them."""
    everything = [case for cases in plans.values() for case in cases]
    whole = next((list(cases) for combination, cases in plans.items() if str(combination) == WHOLE), [])
    chosen = dict.fromkeys([*sample(everything, size, seed), *whole])
    say(f"{size:,} of {len(everything):,} cases by seed {seed}, and the {len(whole):,} of {WHOLE}")
    return figures.count(crew.run(list(chosen)))


def _run_whole(
    crew: Crew[Case, Result], plans: Mapping[Combination, Sequence[Case]], keep: Path, *, fresh: bool
) -> figures.Count:
    total, code = figures.Count(), figures.fingerprint()
    for combination, cases in plans.items():
        began = time.monotonic()
        path = keep / f"{combination}.json"
        counted = None if fresh else figures.load(path, cases, code)
        took = "done before" if counted else ""
        if counted is None:
            counted = figures.count(crew.run(cases))
            figures.save(path, cases, code, counted)
            took = f"{time.monotonic() - began:.0f} s"
        say(f"{combination!s:45} {counted.line()}; {took}")
        total.merge(counted)
    return total


def _repeat(case: Case, servers: Mapping[str, Access]) -> int:
    make = making(case.combination)
    with Station(servers[case.combination.server]) as station:
        script = script_of(case.combination)
        station.record(case.combination.mode, make, script)
        result = station.run(case, make, script)
    _tell_steps("the unit that was broken", result.record.unit)
    _tell_steps("the unit behind it", result.record.next_unit)
    say(f"on the server: {result.record.effects}")
    return _finish(figures.count([result]))


def _tell_steps(title: str, replies: Iterable[object]) -> None:
    say(f"{title}:")
    for reply in replies:
        say(f"  {reply}")


def _finish(counted: figures.Count, left: Sequence[str] = ()) -> int:
    for line in (*figures.tell(counted), *(f"BROKEN session left at the end: {session}" for session in left)):
        say(line)
    return 1 if counted.broken or left else 0


def say(line: str) -> None:
    """Tell the people who watch."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
