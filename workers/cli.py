"""The command line: ``python -m workers run | jobs | fire | runs | cancel | demo``."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from persistconn.cronjobs import UTC
from workers import jobs as jobs_modules
from workers import ledgers
from workers.complaints import FAILED, Complaint, explain
from workers.fenced import fenced_among, service_of
from workers.options import (
    Parser,
    add_grace,
    add_last,
    add_log_level,
    add_modules,
    add_run_options,
    add_service,
    add_token,
    add_using,
)
from workers.runs import RunReport
from workers.service import Service

LOG_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
INTERRUPTED = 130
"""The exit status after Ctrl-C where no service runs that would end in order."""
FIRE_TIMES = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (a job failed, no database) or 2 (something to correct).

    Ends the process itself if a thread is left that would keep the interpreter from ending.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["demo"]:
        return _demo(argv[1:])
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    # As `python -m` does, and a console script does not: the jobs are where the user stands.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    set_up_logging(arguments.log_level)
    return _attempt(arguments)


def run(
    modules: Sequence[str], *, threads: int, grace: float, service: str | None, takeover: float, window: float
) -> int:
    """Run the service until a signal; returns the exit status. Raises :class:`Complaint` for what the user can mend."""
    conductor = Service(
        jobs_modules.load(modules),
        threads=threads,
        grace=grace,
        warm=jobs_modules.kept_aliases(),
        name=jobs_modules.service_name(service, modules),
        takeover=takeover,
        window=window,
    )
    return _conducted(conductor, conductor.run_until_signalled)


def run_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of :func:`run` among what was parsed."""
    return {name: options[name] for name in ("modules", "threads", "grace", "service", "takeover", "window")}


def set_up_logging(level: str) -> None:
    """Log to stderr, one line a record, unless the application has set up logging itself."""
    logging.basicConfig(stream=sys.stderr, format=LOG_LINE, level=level.upper())
    for name in ("workers", "persistconn"):
        logging.getLogger(name).setLevel(level.upper())
    if level != "debug":
        # It tells each job that it adds and each time that it looks.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)


def complaint_of(error: BaseException) -> Complaint:
    """Return what to tell the user of an error: never a traceback."""
    return explain(error) or Complaint(f"{type(error).__name__}: {error}; --traceback shows where", FAILED)


# --- the commands --------------------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    return run(**run_options(vars(arguments)))


def _jobs(arguments: argparse.Namespace) -> int:
    jobs = jobs_modules.load(arguments.modules)
    now = datetime.now(UTC)
    _print_table([(job.name, job.expression, job.timezone, *map(str, job.next_times(now, FIRE_TIMES))) for job in jobs])
    if any(fenced_among(jobs)):
        # The table is for whoever has no database at hand, too.
        sys.stdout.flush()
        service = service_of(jobs_modules.service_name(arguments.service, arguments.modules), jobs)
        for line in ledgers.late_lines(ledgers.late(service, jobs)):
            print(line)
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    _print_table(ledgers.last_runs(ledgers.of_command(arguments.using, arguments.modules), arguments.last))
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    cancellation = ledgers.cancel_in(ledgers.of_command(arguments.using, arguments.modules), arguments.token)
    print(ledgers.told(cancellation))
    return 0 if cancellation.is_cancelled else FAILED


def _fire(arguments: argparse.Namespace) -> int:
    job = jobs_modules.named(arguments.name, jobs_modules.load(arguments.modules))
    reports: list[RunReport] = []
    service = Service([job], threads=1, grace=arguments.grace, on_run=reports.append)
    status = _conducted(service, lambda: service.run_once(job))
    succeeded = bool(reports) and reports[0].error is None
    return status or (0 if succeeded else FAILED)


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _demo(argv: list[str]) -> int:
    # Imported late and by name: it brings rich, which nothing else needs.
    status: int = importlib.import_module("workers.demo").main(argv)
    return status


# --- around them ---------------------------------------------------------------------------------------------------


def _attempt(arguments: argparse.Namespace) -> int:
    try:
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # The command line shows no traceback unless asked
        complaint = complaint_of(error)
        if arguments.traceback:
            traceback.print_exception(type(error), error, error.__traceback__)
        else:
            print(f"workers: {complaint}", file=sys.stderr)
        return complaint.status


def _conducted(service: Service, conduct: Callable[[], int]) -> int:
    """Run the service to its end. If threads are left the process ends here: the interpreter would wait for them."""
    status = conduct()
    if not service.has_ended:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="workers", description="Run cron jobs on threads that keep their database connections.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="which")
    one = commands.add_parser("run", help="run the jobs until SIGTERM or SIGINT")
    add_run_options(one)
    _add_common(one, _run)
    one = commands.add_parser("jobs", help=f"list each job with its next {FIRE_TIMES} fire times, and the late fires")
    add_modules(one)
    add_service(one)
    add_log_level(one)
    _add_common(one, _jobs)
    one = commands.add_parser("fire", help="run one job now; exit status 0 if it succeeds, 1 if it fails")
    one.add_argument("name", metavar="NAME", help="the job's name, as `jobs` lists it")
    add_modules(one)
    add_grace(one)
    add_log_level(one)
    _add_common(one, _fire)
    one = commands.add_parser("runs", help="list the last fires and keyed jobs of the ledger, the newest first")
    add_last(one)
    _add_ledger(one, _runs)
    one = commands.add_parser("cancel", help="stop a job that is under way, or one that has not run: it never will")
    add_token(one)
    _add_ledger(one, _cancel)
    commands.add_parser("demo", help="see it work: a private server, faults, and a verdict")
    return parser


def _add_ledger(parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]) -> None:
    add_modules(parser)
    add_using(parser)
    add_log_level(parser, "warning")
    _add_common(parser, command)


def _add_common(parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--traceback", action="store_true", help="show the traceback of what goes wrong")
    parser.set_defaults(command=command)
