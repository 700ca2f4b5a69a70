"""The command line: ``python -m workers run | jobs | fire | demo``."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NoReturn, TypeVar

from persistconn.cronjobs import UTC
from workers import jobs as jobs_modules
from workers.checks import checked_grace, checked_threads
from workers.complaints import FAILED, USAGE, Complaint, explain, one_line
from workers.runs import RunReport
from workers.service import Service

LEVELS = ("debug", "info", "warning", "error", "critical")
LOG_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
INTERRUPTED = 130
"""The exit status after Ctrl-C where no service runs that would end in order."""
FIRE_TIMES = 3

T = TypeVar("T", int, float)


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


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` and ``manage.py runworkers`` have in common."""
    _add_modules(parser)
    parser.add_argument(
        "--threads",
        type=_checked("whole number", int, checked_threads),
        default=8,
        metavar="N",
        help="worker threads, each with its connections (8)",
    )
    _add_grace(parser)
    _add_log_level(parser)


def run(modules: Sequence[str], threads: int, grace: float) -> int:
    """Run the service until a signal; returns the exit status. Raises :class:`Complaint` for what the user can mend."""
    jobs = jobs_modules.load(modules)
    service = Service(jobs, threads=threads, grace=grace, warm=jobs_modules.kept_aliases())
    return _conducted(service, service.run_until_signalled)


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
    return run(arguments.modules, arguments.threads, arguments.grace)


def _jobs(arguments: argparse.Namespace) -> int:
    jobs = jobs_modules.load(arguments.modules)
    now = datetime.now(UTC)
    rows = [(job.name, job.expression, job.timezone, *map(str, job.next_times(now, FIRE_TIMES))) for job in jobs]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _fire(arguments: argparse.Namespace) -> int:
    job = jobs_modules.named(arguments.name, jobs_modules.load(arguments.modules))
    reports: list[RunReport] = []
    service = Service([job], threads=1, grace=arguments.grace, on_run=reports.append)
    status = _conducted(service, lambda: service.run_once(job))
    succeeded = bool(reports) and reports[0].error is None
    return status or (0 if succeeded else FAILED)


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


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(USAGE, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="workers", description="Run cron jobs on threads that keep their database connections.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="which")
    one = commands.add_parser("run", help="run the jobs until SIGTERM or SIGINT")
    add_run_options(one)
    _add_common(one, _run)
    one = commands.add_parser("jobs", help=f"list each job with its next {FIRE_TIMES} fire times")
    _add_modules(one)
    _add_log_level(one)
    _add_common(one, _jobs)
    one = commands.add_parser("fire", help="run one job now; exit status 0 if it succeeds, 1 if it fails")
    one.add_argument("name", metavar="NAME", help="the job's name, as `jobs` lists it")
    _add_modules(one)
    _add_grace(one)
    _add_log_level(one)
    _add_common(one, _fire)
    commands.add_parser("demo", help="see it work: a private server, faults, and a verdict")
    return parser


def _add_modules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "modules",
        nargs="*",
        metavar="MODULE",
        help="modules with jobs (in a Django project: each app's jobs.py if none is named)",
    )


def _add_grace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--grace",
        type=_checked("number", float, checked_grace),
        default=30.0,
        metavar="SECONDS",
        help="what running jobs get to end in (30)",
    )


def _add_log_level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="how much to tell on stderr (info)")


def _add_common(parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--traceback", action="store_true", help="show the traceback of what goes wrong")
    parser.set_defaults(command=command)


def _checked(kind: str, convert: Callable[[str], T], check: Callable[[object], T]) -> Callable[[str], T]:
    """Return an argument's type: what ``check`` says of a value, argparse says of the text."""

    def parse(text: str) -> T:
        try:
            value = convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {kind}") from None
        try:
            return check(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse
