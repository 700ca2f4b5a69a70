"""The demo's options, checked before anything is started."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

SHORTEST, LONGEST = 5.0, 3600.0
"""Seconds: a shorter run has no room for a crash and what follows it."""
MOST_THREADS = 64

PROJECT = Path("examples") / "invoices"


@dataclass(frozen=True)
class Options:
    """What was asked for. ``seconds`` is how long the faults last."""

    seconds: float
    threads: int
    seed: int
    is_plain: bool
    project: Path
    """The directory of the example project."""


def parse(argv: Sequence[str]) -> Options:
    """Read the arguments. Ends with SystemExit 2 and one line for what has to be put right, 0 after ``--help``."""
    parser = _parser()
    asked = parser.parse_args(argv)
    project = asked.project or _find_project()
    if not (project / "billing" / "jobs.py").is_file():
        parser.error(
            f"the example project is not in {project}: run this from the root of the repository, or name it: --project DIR"
        )
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10_000)
    return Options(asked.seconds, asked.threads, seed, asked.plain, project.resolve())


def _find_project() -> Path:
    """Return where the project is, seen from here or from the package's own repository."""
    beside = Path(__file__).resolve().parents[2] / PROJECT
    return beside if beside.is_dir() and not PROJECT.is_dir() else PROJECT


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="workers demo",
        description="Run jobs on held connections and on stock Django, side by side, amid faults; then judge both.",
    )
    add = parser.add_argument
    add("--seconds", type=_within(float, SHORTEST, LONGEST), default=30.0, help="how long the faults last (30)")
    add("--threads", type=_within(int, 1, MOST_THREADS), default=8, help="worker threads on either side (8)")
    add("--seed", type=int, help="repeat the faults of an earlier run; the verdict names its seed")
    add("--plain", action="store_true", help="plain lines, as without a terminal")
    add("--project", type=Path, metavar="DIR", help=f"the example project ({PROJECT})")
    return parser


def _within(convert: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse_number(text: str) -> float:
        try:
            value = convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' if convert is int else ''}number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not within {low:g} to {high:g}")
        return value

    return parse_number
