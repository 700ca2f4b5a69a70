"""The judgement: what the figures of both sides say, in lines, and whether ours kept its promise. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from workers.demo.figures import Figures, Ledger

_LABEL, _COLUMN = 38, 16


@dataclass(frozen=True)
class Outcome:
    """What came of one side."""

    figures: Figures
    jobs_run: int
    surfaced: Mapping[str, int]
    """Errors that reached a job, by kind."""
    ledger: Ledger | None
    """What the ledger proves; None on stock Django, which has none."""
    killed: int
    expired: int
    opened: int
    left_without_a_word: int
    """Sessions that the client ended without COM_QUIT."""
    status: int
    """The exit status of its process."""


@dataclass(frozen=True)
class Trial:
    """Both outcomes, and what they went through. Durations in seconds."""

    ours: Outcome
    stock: Outcome
    crashes: int
    seconds: float
    calm: float
    seed: int


def failures(trial: Trial) -> list[str]:
    """Return what our side did not keep, a line each; empty if all is well."""
    ours, figures = trial.ours, trial.ours.figures
    broken = {
        f"errors surfaced: {sum(ours.surfaced.values())} ({_kinds(ours.surfaced)})": bool(ours.surfaced),
        f"settled twice: {figures.settled_twice}": figures.settled_twice,
        f"paid without a settlement row: {figures.paid_without_settlement}": figures.paid_without_settlement,
        f"settled but not marked as paid: {figures.settled_without_paid}": figures.settled_without_paid,
        f"due and still open: {figures.due_open}": figures.due_open,
        f"jobs that the ledger does not call done: {_not_done(ours)}": _not_done(ours),
        f"the service ended with status {ours.status}": ours.status,
        # A run in which nothing happened proves nothing.
        "no invoice was due": not figures.due,
        "no session was killed": not ours.killed,
        "the server was not killed": not trial.crashes,
    }
    return [line for line, is_broken in broken.items() if is_broken]


def lines(trial: Trial) -> Iterator[str]:
    """Yield the verdict, for people."""
    ours, stock = trial.ours, trial.stock
    yield (
        f"Read from the server after {trial.seconds:g} s of faults and {trial.calm:.0f} s of calm"
        f" (--seed {trial.seed} repeats the faults)."
    )
    yield "Due is what was created before the calm."
    yield ""
    yield _row("", "persistconn", "stock Django")
    for label, value in _ROWS.items():
        yield _row(label, value(ours), value(stock))
    yield _row("server killed with -9", trial.crashes, trial.crashes)
    yield _row("errors surfaced", sum(ours.surfaced.values()), sum(stock.surfaced.values()))
    yield ""
    yield _line_on_stock(stock)
    yield from _lines_on_ledger(ours)
    yield _line_on_end(ours)
    yield ""
    yield _last_line(failures(trial), ours)


_ROWS: dict[str, Callable[[Outcome], object]] = {
    "jobs run": lambda side: side.jobs_run,
    "invoices created": lambda side: side.figures.created,
    "settled exactly once, of those due": lambda side: f"{side.figures.due_settled_once} of {side.figures.due}",
    "settled twice": lambda side: side.figures.settled_twice,
    "paid without a settlement row": lambda side: side.figures.paid_without_settlement,
    "settled but not marked as paid": lambda side: side.figures.settled_without_paid,
    "due and still open": lambda side: side.figures.due_open,
    "sessions opened": lambda side: side.opened,
    "sessions expired by wait_timeout": lambda side: side.expired,
    "sessions killed by an administrator": lambda side: side.killed,
}


def _row(label: str, ours: object, stock: object) -> str:
    return f"{label:<{_LABEL}}{ours!s:>{_COLUMN}}{stock!s:>{_COLUMN}}"


def _line_on_stock(stock: Outcome) -> str:
    if not stock.surfaced:
        return "on stock Django: no error surfaced this time"
    return f"on stock Django: {_kinds(stock.surfaced)}"


def _lines_on_ledger(ours: Outcome) -> Iterator[str]:
    if ours.ledger is not None:
        replayed = ours.ledger.replayed
        jobs = "1 was" if replayed == 1 else f"{replayed} were"
        yield f"on persistconn: the ledger proves {ours.ledger.jobs} transactions; {jobs} replayed after a loss"


def _not_done(ours: Outcome) -> int:
    return ours.ledger.not_done if ours.ledger is not None else 0


def _line_on_end(ours: Outcome) -> str:
    end = f"the service on persistconn ended with status {ours.status}"
    return f"{end}; sessions that it left without a word to the server: {ours.left_without_a_word}"


def _last_line(broken: list[str], ours: Outcome) -> str:
    if broken:
        return f"FAILED: {'; '.join(broken)}"
    return f"PASSED: {ours.figures.due_settled_once} invoices settled exactly once, and no error surfaced"


def _kinds(errors: Mapping[str, int]) -> str:
    ordered = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} x {kind}" for kind, count in ordered)
