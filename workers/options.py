"""The command line's options: what each is called, what it means, and what it may be."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn, TypeVar

from persistconn.once.cancel import checked_token
from workers.checks import checked_grace, checked_takeover, checked_threads, checked_window
from workers.complaints import USAGE, one_line
from workers.fenced import checked_service

LEVELS = ("debug", "info", "warning", "error", "critical")
TOKENS_MOST = 100_000

T = TypeVar("T", int, float, str)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(USAGE, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` and ``manage.py runworkers`` have in common."""
    add_modules(parser)
    parser.add_argument(
        "--threads",
        type=_checked("whole number", int, checked_threads),
        default=8,
        metavar="N",
        help="worker threads, each with its connections (8)",
    )
    add_grace(parser)
    add_service(parser)
    parser.add_argument(
        "--takeover",
        type=_checked("number", float, checked_takeover),
        default=30.0,
        metavar="SECONDS",
        help="within what time a missing fire of a @job is made up (30)",
    )
    parser.add_argument(
        "--window",
        type=_checked("number", float, checked_window),
        default=86400.0,
        metavar="SECONDS",
        help="how far back missing fires are made up (86400)",
    )
    add_log_level(parser)


def add_modules(parser: argparse.ArgumentParser) -> None:
    """Add where the jobs are."""
    parser.add_argument(
        "modules",
        nargs="*",
        metavar="MODULE",
        help="modules with jobs (in a Django project: each app's jobs.py if none is named)",
    )


def add_grace(parser: argparse.ArgumentParser) -> None:
    """Add how long the end may take."""
    parser.add_argument(
        "--grace",
        type=_checked("number", float, checked_grace),
        default=30.0,
        metavar="SECONDS",
        help="what running jobs get to end in (30)",
    )


def add_service(parser: argparse.ArgumentParser) -> None:
    """Add which machines are one service."""
    parser.add_argument(
        "--service",
        type=_checked("name", str, checked_service),
        metavar="NAME",
        help="machines with one NAME share the fires of a @job (the package of the settings, or of the first MODULE)",
    )


def add_using(parser: argparse.ArgumentParser) -> None:
    """Add whose ledger it is."""
    parser.add_argument("--using", metavar="ALIAS", help="the Django alias whose ledger it is (default)")


def add_last(parser: argparse.ArgumentParser) -> None:
    """Add how many."""
    parser.add_argument(
        "--last", type=_checked("whole number", int, _checked_last), default=20, metavar="N", help="how many (20)"
    )


def add_token(parser: argparse.ArgumentParser) -> None:
    """Add which token."""
    parser.add_argument(
        "token",
        type=_checked("token", str, checked_token),
        metavar="TOKEN",
        help="its token, or the beginning that `runs` shows",
    )


def add_log_level(parser: argparse.ArgumentParser, default: str = "info") -> None:
    """Add how much is told."""
    parser.add_argument("--log-level", choices=LEVELS, default=default, help=f"how much to tell on stderr ({default})")


def _checked_last(last: object) -> int:
    if not isinstance(last, int) or not 1 <= last <= TOKENS_MOST:
        raise ValueError(f"last must be a whole number from 1 to {TOKENS_MOST}, not {last!r}")
    return last


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
