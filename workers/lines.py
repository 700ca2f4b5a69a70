"""The lines of the log: one record for each thing told, with ``extra["action"]`` for machines."""

from __future__ import annotations

import logging
from datetime import datetime

from persistconn.cronjobs import CronJob
from workers.runs import Fire, RunReport

log = logging.getLogger("workers")


def log_run(report: RunReport, *, with_traceback: bool = True) -> None:
    """Write the one log line of a run; a failed one carries its traceback."""
    log.log(
        logging.INFO if report.error is None else logging.ERROR,
        "run %s scheduled %s took %.3f s: %s",
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
            "outcome": "ok" if report.error is None else "failed",
        },
    )


def log_overlap(fire: Fire, earlier: Fire) -> None:
    """Tell of a fire that is left out, because the earlier one of the same job has not ended."""
    if earlier.started is not None:
        why = f"it is still running since {stamp(earlier.started.astimezone(fire.job.zone))}"
    else:
        why = f"its fire of {stamp(earlier.scheduled)} still waits for a free thread"
    log.warning(
        "left out %s scheduled %s: %s",
        fire.job.name,
        stamp(fire.scheduled),
        why,
        extra={"action": "overlap", "job": fire.job.name},
    )


def log_missed(job: CronJob, missed: list[datetime]) -> None:
    """Tell of due times that passed while nobody looked; the latest one after them is fired."""
    log.warning(
        "left out %s scheduled %s%s: the service could not look in time (machine suspended, or clock set)",
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
