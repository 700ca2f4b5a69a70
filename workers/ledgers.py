"""What the ledger says, for the command line: the last runs, the late ones, and a token cancelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from persistconn.cronjobs import CronJob
from persistconn.once.cancel import Cancellation, Unknown, cancel
from persistconn.once.line import Ask, Line, apart
from persistconn.once.records import READ_UNCOMMITTED, Records, Run, fires_of, runs_of, sight_of
from persistconn.once.settings import JobSettings
from workers import jobs as jobs_modules
from workers.backlog import Due
from workers.complaints import Complaint, one_line
from workers.fenced import fenced_among, ledger_name, token_of
from workers.lines import stamp
from workers.reconciler import line_to

SHORT = 20
"""Digits of a token that are shown: twelve of them are its time, and the rest tells the jobs of one moment apart."""
WINDOW, GRACE = timedelta(days=1), timedelta(seconds=30)

Ledgers = Sequence[Line]


def of_command(using: str | None, modules: Sequence[str]) -> Ledgers:
    """Return the ledgers that a command is about: a Django alias's, or without Django those of the modules' jobs.

    Blocks as a connect does. Raises :class:`Complaint` where there is none.
    """
    if jobs_modules.set_up_django():
        name = "of this command"
        return [Line(JobSettings(using=using or "default").site(name).connection(name))]
    if using is not None:
        raise Complaint(f"--using {using} is a Django alias, and DJANGO_SETTINGS_MODULE is not set")
    ledgers = of_jobs(jobs_modules.load(modules))
    if not ledgers:
        raise Complaint(f"{' and '.join(modules)}: no cron job there is a @persistconn.job, so none has a ledger")
    return ledgers


def of_jobs(jobs: Iterable[CronJob]) -> Ledgers:
    """Return the ledgers of the fenced ones among some jobs."""
    lines = [line_to(fenced) for _, fenced in fenced_among(jobs)]
    return list({(line.opening.address, line.schema): line for line in lines}.values())


# --- the last runs -------------------------------------------------------------------------------------------------

HEADINGS = ("TOKEN", "JOB", "SCHEDULED", "WHERE", "ATTEMPTS", "TOOK", "OUTCOME")


def last_runs(ledgers: Ledgers, count: int) -> list[tuple[str, ...]]:
    """Return the table of the last runs, the newest first."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for line in ledgers:
        with apart(line.opening) as ask:
            ask(READ_UNCOMMITTED)
            rows += map(_row, runs_of(ask(Records(line.schema).last(count))))
    return rows


def _row(run: Run) -> tuple[str, ...]:
    return (
        run.token[:SHORT],
        named(run),
        "" if run.scheduled is None else stamp(run.scheduled),
        run.place,
        str(run.attempts),
        f"{run.duration:.3f} s" if run.attempts else "",
        one_line(run.outcome),
    )


def named(run: Run) -> str:
    """Return a run's job, with its key if it has one."""
    return run.job if run.key is None else f"{run.job} [{run.key}]"


# --- the late ones -------------------------------------------------------------------------------------------------


def late(service: str, jobs: Iterable[CronJob]) -> list[tuple[CronJob, list[Due]]]:
    """Return the fires of the last day that are due, not in the ledger, and not under way; the oldest first."""
    found: list[tuple[CronJob, list[Due]]] = []
    for job, fenced in fenced_among(jobs):
        line = line_to(fenced)
        with apart(line.opening) as ask:
            ask(READ_UNCOMMITTED)
            if missing := _late(ask, Records(line.schema), service, job):
                found.append((job, missing))
    return found


def _late(ask: Ask, records: Records, service: str, job: CronJob) -> list[Due]:
    name = ledger_name(service, job)
    sight = sight_of(ask(records.sight([name])))
    if sight is None or name not in sight.known_since:
        return []  # No service has ever run it, so nothing was expected of one.
    since = max(sight.now - WINDOW, sight.known_since[name], sight.low_water)
    known = fires_of(ask(records.fires({name: since}))).get(name, {})
    return [due for due in _expected(service, job, since, sight.now - GRACE) if due.token.digest not in known]


def _expected(service: str, job: CronJob, since: datetime, until: datetime) -> Iterable[Due]:
    return (Due(scheduled, token_of(service, job, scheduled)) for scheduled in job.between(since, until))


def late_lines(found: Iterable[tuple[CronJob, list[Due]]]) -> list[str]:
    """Return a line for each job that is late, with the whole token of its oldest fire, as ``workers cancel`` takes it."""
    return [
        f"late: {job.name} scheduled {stamp(missing[0].scheduled)} (token {missing[0].token})"
        + (f" and {len(missing) - 1} more until {stamp(missing[-1].scheduled)}" if missing[1:] else "")
        for job, missing in found
    ]


# --- cancelling ----------------------------------------------------------------------------------------------------


def cancel_in(ledgers: Ledgers, token: str) -> Cancellation:
    """Cancel a token in the ledger that has it. Raises :class:`Complaint` if that cannot be told."""
    unknown: Unknown | None = None
    for line in ledgers:
        try:
            return cancel(line.opening, line.schema, token, must_be_known=len(ledgers) > 1)
        except Unknown as error:
            unknown = error
    raise Complaint(str(unknown)) from unknown


def told(cancellation: Cancellation) -> str:
    """Say what became of the wish to cancel."""
    run = cancellation.run
    what = cancellation.token if run is None else f"{cancellation.token} ({named(run) or 'cancelled before'})"
    if not cancellation.is_cancelled:
        assert run is not None
        return f"not cancelled: {what} is {one_line(run.outcome)} already"
    if cancellation.was_stopped:
        return f"cancelled: {what} was under way and has been stopped, nothing of it took effect"
    return f"cancelled: {what} has not run, and will not"
