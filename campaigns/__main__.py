"""``python -m campaigns wrong-rows|expiry|storm|comeback|soak|bank|in-flight|cost``: exit status 0 only if the promise held."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from campaigns.drivers import MODULES
from campaigns.patience import Experiment, until_conclusive, with_longer, without_haste
from campaigns.places import GivenServer, Place


def main(argv: Sequence[str] | None = None) -> int:
    """Run a campaign and show its figures as they come; returns the exit status."""
    options = _parser().parse_args(argv)
    # All of them: one that did not hold is no reason to leave the others out.
    verdicts = [_holds(experiment) for experiment in options.campaign(options)]
    return 0 if all(verdicts) else 1


def _holds(experiment: Experiment) -> bool:
    has_held = False
    for figures in until_conclusive(experiment):
        sys.stdout.write("\n".join(figures.lines()) + "\n\n")
        sys.stdout.flush()
        has_held = figures.has_held
    return has_held


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m campaigns", description="Prove a promise by thousands of faults.")
    campaigns = parser.add_subparsers(required=True, metavar="campaign")
    wrong = _add(campaigns, "wrong-rows", _wrong_rows, "asynchronous exceptions at random moments")
    wrong.add_argument("--exceptions", type=int, default=5000, help="for each driver (default: %(default)s)")
    _add_server(wrong)
    expiry = _add(campaigns, "expiry", _expiry, "sessions that outlive wait_timeout")
    expiry.add_argument("--count", type=int, default=1000, help="of each kind (default: %(default)s)")
    expiry.add_argument("--timeouts", type=int, nargs="+", default=[1, 2], help="wait_timeout (default: 1 2)")
    _add_server(expiry)
    storm = _add(campaigns, "storm", _storm, "all threads lose a server that is killed and comes back")
    storm.add_argument("--threads", type=int, default=200, help="(default: %(default)s)")
    comeback = _add(
        campaigns, "comeback", _comeback, "the time and the processor time of coming back, beside the driver's"
    )
    comeback.add_argument("--threads", type=int, default=50, help="(default: %(default)s)")
    comeback.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    soak = _add(campaigns, "soak", _soak, "mixed work under random faults")
    soak.add_argument("--minutes", type=float, default=30.0, help="(default: %(default)s)")
    soak.add_argument("--threads", type=int, default=16, help="(default: %(default)s)")
    bank = _add(campaigns, "bank", _bank, "transfers by @job in processes that are killed, on a server that is")
    bank.add_argument("--minutes", type=float, default=5.0, help="(default: %(default)s)")
    bank.add_argument("--threads", type=int, default=16, help="in all processes together (default: %(default)s)")
    in_flight = _add(campaigns, "in-flight", _in_flight, "a job struck while its COMMIT is under way")
    in_flight.add_argument("--rounds", type=int, default=10, help="of each kind and way (default: %(default)s)")
    _add_server(in_flight)
    cost = _add(campaigns, "cost", _cost, "round trips and time of a job, beside Django's atomic()")
    cost.add_argument("--units", type=int, default=500, help="of work (default: %(default)s)")
    cost.add_argument("--way", choices=["calls", "steps"], default="calls", help="of a job (default: %(default)s)")
    cost.add_argument("--writes", type=int, default=1, help="in each (default: %(default)s)")
    _add_server(cost)
    return parser


def _add(campaigns: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Run, what: str) -> Parser:
    parser = campaigns.add_parser(name, help=what, description=what)
    parser.set_defaults(campaign=run)
    parser.add_argument("--seed", type=int, default=1, help="of all choices (default: %(default)s)")
    parser.add_argument(
        "--drivers", nargs="+", choices=sorted(MODULES), default=sorted(MODULES, reverse=True), help="(default: all)"
    )
    return parser


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", metavar="DSN", type=GivenServer, help="mysql://..., instead of a private MariaDB")


Parser = argparse.ArgumentParser
Run = Callable[[argparse.Namespace], Iterator[Experiment]]


def _wrong_rows(options: argparse.Namespace) -> Iterator[Experiment]:
    from campaigns import wrong_rows

    settings = {"exceptions": options.exceptions, "seed": options.seed, "place": options.server}
    for driver in options.drivers:
        yield without_haste(partial(wrong_rows.run, driver, **settings))


def _expiry(options: argparse.Namespace) -> Iterator[Experiment]:
    from campaigns import expiry

    place: Place | None = options.server
    for driver in options.drivers:
        for timeout in options.timeouts:
            for mode in expiry.Mode:
                run = partial(expiry.run, driver, timeout, mode, count=options.count, seed=options.seed, place=place)
                yield with_longer(run)


def _storm(options: argparse.Namespace) -> Iterator[Experiment]:
    from campaigns import storm

    for driver in options.drivers:
        yield without_haste(partial(storm.run, driver, threads=options.threads, seed=options.seed))


def _comeback(options: argparse.Namespace) -> Iterator[Experiment]:
    from campaigns import comeback

    settings = {"threads": options.threads, "rounds": options.rounds, "seed": options.seed}
    for driver in options.drivers:
        for tls in (True, False):
            yield without_haste(partial(comeback.run, driver, tls=tls, **settings))


def _soak(options: argparse.Namespace) -> Iterator[Experiment]:
    from campaigns import soak

    settings = {"minutes": options.minutes, "threads": options.threads, "seed": options.seed}
    yield with_longer(partial(soak.run, tuple(options.drivers), **settings))


def _bank(options: argparse.Namespace) -> Iterator[Experiment]:
    from campaigns import bank

    settings = {"minutes": options.minutes, "threads": options.threads, "seed": options.seed}
    for driver in options.drivers:
        yield without_haste(partial(bank.run, driver, **settings))


def _in_flight(options: argparse.Namespace) -> Iterator[Experiment]:
    from campaigns import inflight
    from campaigns.ledgers import WAYS

    settings = {"rounds": options.rounds, "seed": options.seed, "place": options.server}
    for driver in options.drivers:
        for way in WAYS:
            yield without_haste(partial(inflight.run, driver, way=way, **settings))


def _cost(options: argparse.Namespace) -> Iterator[Experiment]:
    from campaigns import cost

    yield without_haste(
        partial(cost.run, units=options.units, writes=options.writes, way=options.way, place=options.server)
    )


if __name__ == "__main__":
    status = main()
    # A thread that hangs is what a campaign may have found: it must not keep the process from ending.
    os._exit(status)
