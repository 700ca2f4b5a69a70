"""Fires that take effect once, whichever machines fire them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from persistconn.cronjobs import CronJob, module_of
from persistconn.errors import ConfigError, JobCancelled, JobFailed
from persistconn.once.attempt import DoneElsewhere, JobUnderWay
from persistconn.once.job import Job
from persistconn.once.rows import NAME_LIMIT
from persistconn.once.token import Token, fire_token
from workers.runs import Elsewhere, Fire

SERVICE_LIMIT = 100
_NAME = re.compile(r"[\w.-]+")

Fenced = tuple[CronJob, Job[[], object]]


def fenced_among(jobs: Iterable[CronJob]) -> Iterator[Fenced]:
    """Yield the fenced jobs, each with its ``@job``."""
    for job in jobs:
        if job.fenced is not None:
            yield job, job.fenced


def checked_service(service: object) -> str:
    """Return the name under which several machines are one service, or raise :class:`ConfigError`."""
    if not isinstance(service, str) or len(service) > SERVICE_LIMIT or not _NAME.fullmatch(service):
        raise ConfigError(
            f"service must be a name of 1 to {SERVICE_LIMIT} letters, digits, dots, dashes and underscores, not {service!r}"
        )
    return service


def service_of(name: str | None, jobs: Sequence[CronJob]) -> str:
    """Return the service's name; None means the top package of the first fenced job, or of the first of any kind."""
    if name is not None:
        return checked_service(name)
    known = [*(job for job, _ in fenced_among(jobs)), *jobs]
    return (module_of(known[0]).partition(".")[0] if known else "") or "workers"


def ledger_name(service: str, job: CronJob) -> str:
    """Return the name of a fenced job in the ledger; raises :class:`ConfigError` for one that is too long for it."""
    name = f"{service}/{job.name}"
    if len(name) > NAME_LIMIT:
        raise ConfigError(
            f"{name} is too long for the ledger, which keeps {NAME_LIMIT} characters of a cron job's name and its service's"
        )
    return name


def token_of(service: str, job: CronJob, scheduled: datetime) -> Token:
    """Return the token of one fire, the same on every machine of the service."""
    return fire_token(service, job.name, scheduled, wall=job.wall(scheduled))


def run(fire: Fire) -> tuple[Elsewhere | None, BaseException | None]:
    """Run the job; returns what became of it elsewhere, and what it raised, of whatever kind: it must not end its thread.

    A fire whose token another machine has, or had, ends at once.
    """
    try:
        if fire.token is None or fire.job.fenced is None:
            fire.job.function()
        else:
            fire.job.fenced.run_as(fire.token, waits=False)
    except (DoneElsewhere, JobFailed, JobUnderWay, JobCancelled) as error:
        # Of this very fire: another job that it has called may have raised the like.
        is_own = fire.token is not None and error.token == str(fire.token)
        return (_ELSEWHERE[type(error)], None) if is_own else (None, error)
    except BaseException as error:  # Told in the log line of the run
        return None, error
    return None, None


_ELSEWHERE: dict[type[BaseException], Elsewhere] = {
    DoneElsewhere: Elsewhere.DONE,
    JobFailed: Elsewhere.DONE,
    JobUnderWay: Elsewhere.UNDER_WAY,
    JobCancelled: Elsewhere.CANCELLED,
}
