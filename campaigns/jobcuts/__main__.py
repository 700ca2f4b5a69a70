"""``python -m campaigns.jobcuts``: break a job at each packet in each way; exit status 0 only if each had one effect."""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import campaigns.jobcuts
from campaigns.cuts.__main__ import add_options, can_run, has_mysql, say
from campaigns.cuts.crew import Craft, Crew, trust_nobody
from campaigns.cuts.figures import fingerprint, save
from campaigns.cuts.servers import Access, serving
from campaigns.jobcuts import figures
from campaigns.jobcuts.cases import Case, Combination, combinations, plan, sample
from campaigns.jobcuts.station import JobStation, Result, make_station, run

CRAFT: Craft[Case, Result] = Craft(make_station, run)

Plans = Mapping[Combination, Sequence[Case]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    options = _parser().parse_args(argv)
    trust_nobody()
    cases = [Case.parse(name) for name in options.case]
    chosen = list({case.combination for case in cases}) or choose(options.only, mysql=has_mysql(options))
    with serving(dict.fromkeys(combination.server for combination in chosen), options.mysql) as servers:
        if cases:
            return _repeat(cases, servers)
        with Crew(servers, CRAFT, processes=options.processes, threads=options.threads) as crew:
            plans = plan_all(chosen, servers, options.seed)
            counted = (
                figures.count(crew.run(sample_of(plans, options.sample, options.seed)))
                if options.sample
                else _run_whole(crew, plans, options.keep, fresh=options.fresh)
            )
        left = [session for access in servers.values() for session in access.leftovers()]
        return _finish(counted, left)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m campaigns.jobcuts", description=__doc__)
    add_options(parser, pattern="*.pymysql.tls.*", keep=Path(".cache/jobcuts"))
    parser.add_argument("--sample", type=int, metavar="N", help="N cases of all")
    parser.add_argument("--case", metavar="NAME", nargs="+", default=[], help="these cases again")
    return parser


def choose(pattern: str, *, mysql: bool) -> list[Combination]:
    """Return the combinations that fit a pattern and can run here: those of drivers that are installed."""
    every = can_run(combinations, mysql=mysql)
    fitting = [one for one in every if fnmatch.fnmatch(str(one), pattern)]
    if not fitting:
        raise SystemExit(f"nothing that can run here fits {pattern!r}")
    return fitting


def plan_all(chosen: Sequence[Combination], servers: Mapping[str, Access], seed: int) -> dict[Combination, list[Case]]:
    """Record the jobs of each combination and return its cases."""
    plans: dict[Combination, list[Case]] = {}
    for server, way in dict.fromkeys((combination.server, combination.way) for combination in chosen):
        with JobStation(servers[server], way) as station:
            for combination in chosen:
                if (combination.server, combination.way) == (server, way):
                    plans[combination] = plan(combination, station.record(combination), seed)
    return plans


def sample_of(plans: Plans, size: int, seed: int) -> list[Case]:
    """Return a sample of all cases, told to the people who watch."""
    everything = [case for cases in plans.values() for case in cases]
    say(f"{size:,} of {len(everything):,} cases in {len(plans)} combinations, by seed {seed}")
    return sample(everything, size, seed)


def _run_whole(crew: Crew[Case, Result], plans: Plans, keep: Path, *, fresh: bool) -> figures.Count:
    total, code = figures.Count(), fingerprint(campaigns.jobcuts)
    for combination, cases in plans.items():
        began = time.monotonic()
        path = keep / f"{combination}.json"
        counted = None if fresh else figures.load(path, cases, code)
        took = "done before" if counted else ""
        if counted is None:
            counted = figures.count(crew.run(cases))
            save(path, cases, code, counted)
            took = f"{time.monotonic() - began:.0f} s"
        say(f"{combination!s:36} {counted.line()}; {took}")
        total.merge(counted)
    return total


def _repeat(cases: Sequence[Case], servers: Mapping[str, Access]) -> int:
    results = []
    for case in cases:
        with JobStation(servers[case.combination.server], case.combination.way) as station:
            results.append(station.run(case))
            say(f"{case}: {results[-1].record}")
    return _finish(figures.count(results))


def _finish(counted: figures.Count, left: Sequence[str] = ()) -> int:
    for line in (*figures.tell(counted), *(f"BROKEN session left at the end: {session}" for session in left)):
        say(line)
    return 1 if counted.broken or left else 0


if __name__ == "__main__":
    sys.exit(main())
