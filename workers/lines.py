"""The lines of the log: one record for each thing told, with ``extra["action"]`` for machines."""

from __future__ import annotations

import logging
from datetime import datetime

from persistconn.cronjobs import CronJob
from workers import complaints
from workers.runs import Fire, RunReport

log = logging.getLogger("workers")


def log_run(report: RunReport, *, with_traceback: bool = True) -> None:
    """Write the one log line of a run; a failed one carries its traceback."""
    log.log(
        _level(report),
        "%s %s scheduled %s took %.3f s: %s",
        "made up" if report.is_made_up else "run",
        report.job.name,
        stamp(report.scheduled),
        report.duration,
        report.outcome,
        exc_info=report.error if with_traceback else None,
        extra={
            "action": "run",
            "job": report.job.name,
            "scheduled": report.scheduled.isoformat(),
            "duration": report.duration,
            "outcome": report.kind,
            "made_up": report.is_made_up,
        },
    )


def _level(report: RunReport) -> int:
    if report.error is not None:
        return logging.ERROR
    # Each machine asks again and again for what another one is at, for as long as that takes.
    return logging.DEBUG if report.is_made_up and report.elsewhere is not None else logging.INFO


def log_overlap(fire: Fire, earlier: Fire) -> None:
    """Tell of a fire that is left out, because the earlier one of the same job has not ended; a fenced one is made up."""
    if earlier.started is not None:
        why = f"it is still running since {stamp(earlier.started.astimezone(fire.job.zone))}"
    else:
        why = f"its fire of {stamp(earlier.scheduled)} still waits for a free thread"
    is_put_off = fire.token is not None
    log.log(
        logging.INFO if is_put_off else logging.WARNING,
        "%s %s scheduled %s: %s",
        "put off" if is_put_off else "left out",
        fire.job.name,
        stamp(fire.scheduled),
        why,
        extra={"action": "overlap", "job": fire.job.name},
    )


def log_missed(job: CronJob, missed: list[datetime]) -> None:
    """Tell of due times that passed while nobody looked; the latest one after them is fired, those of a fenced job too."""
    log.warning(
        "%s %s scheduled %s%s: the service could not look in time (machine suspended, or clock set)",
        "left out" if job.fenced is None else "put off",
        job.name,
        stamp(missed[0]),
        f" and {len(missed) - 1} more until {stamp(missed[-1])}" if missed[1:] else "",
        extra={"action": "missed", "job": job.name},
    )


def log_dropped(fire: Fire) -> None:
    """Tell of a fire that will not run, because the service stops before a thread has taken it up."""
    log.warning(
        "dropped %s scheduled %s: the service stops, and no thread had taken it up",
        fire.job.name,
        stamp(fire.scheduled),
        extra={"action": "drop", "job": fire.job.name},
    )


def log_waiting(fire: Fire, grace: float) -> None:
    """Tell of a run that the service waits for before it ends."""
    log.info(
        "waiting for %s scheduled %s, for %g s at most",
        fire.job.name,
        stamp(fire.scheduled),
        grace,
        extra={"action": "wait", "job": fire.job.name},
    )


def log_unfinished(fire: Fire, grace: float) -> None:
    """Tell of a run that has outlived its grace."""
    log.warning(
        "cut off %s scheduled %s: it still runs after the grace of %g s, and its transaction is rolled back",
        fire.job.name,
        stamp(fire.scheduled),
        grace,
        extra={"action": "cut", "job": fire.job.name},
    )


def stamp(moment: datetime) -> str:
    """Return a time as the log shows it: local to its zone, to the second, with the offset."""
    return moment.isoformat(sep=" ", timespec="seconds")


def log_many_missing(name: str, batch: int, missing: int, first: datetime) -> None:
    """Tell that more fires are missing than are made up at once."""
    log.warning(
        "%s: %d fires since %s are missing in the ledger; making up %d, then looking again",
        name,
        missing,
        stamp(first),
        batch,
        extra={"action": "missing", "job": name},
    )


def log_torn(name: str, token: str) -> None:
    """Tell of a fire whose transaction was committed in the middle: nobody can make it up."""
    log.error(
        "%s: the fire with the token %s was torn by a statement that commits implicitly, a part of it may stand without"
        " the rest: look at its effects",
        name,
        token,
        extra={"action": "torn", "job": name},
    )


def log_no_look(error: BaseException, pause: float) -> None:
    """Tell that the ledger could not be read."""
    log.warning(
        "could not look for missing fires, trying again in %g s: %s",
        pause,
        complaints.last_line(error),
        extra={"action": "look"},
    )


def log_stuck(why: str) -> None:
    """Tell of a scheduler that no longer fires, and is replaced."""
    log.error("the scheduler %s: started another one", why, extra={"action": "watchdog"})
