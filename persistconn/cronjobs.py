"""``@cron``: which function runs when. Pure: nothing here starts a thread, opens a connection or reads a clock.

An expression has the five fields of a crontab (``minute hour day-of-month month day-of-week``), or six with the
*seconds first* (``*/2 * * * * *``). Weekdays are numbered as in crontab(5): 0 and 7 are Sunday. With five fields a job
at a fixed time follows Debian's cron on the days when the clocks change: a time that is left out runs right after the
gap, a time that comes twice runs once. With six fields, or with a ``*`` in the minute or the hour, it fires whenever
the wall clock shows a time that matches: not at one that is left out, twice at one that comes twice.

``dst="once"`` makes the first of these rules hold for every expression: each local time that matches fires once, at its
first showing, or right after the gap that has swallowed it.

A function under ``@persistconn.job`` is *fenced*: of all the machines that fire it, one takes effect.
"""

from __future__ import annotations

import difflib
import inspect
import textwrap
import threading
import zoneinfo
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TypeVar

from cronsim import CronSim, CronSimError

from persistconn.errors import ConfigError
from persistconn.once.job import Job

# APScheduler's own from_crontab numbers weekdays from Monday = 0, so a crontab line that is copied there fires on
# another day. cronsim keeps to crontab(5).

UTC = timezone.utc
HOW_TO_WRITE = (
    'write five fields (minute hour day-of-month month day-of-week, e.g. "*/5 * * * *"), or six with the seconds first'
)
# Where the search for a first match starts. A fixed moment, so that every machine comes to the same answer.
A_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
ONCE = "once"
CRONTAB_FIELDS = 5

F = TypeVar("F", bound=Callable[[], object])


@dataclass(frozen=True)
class CronJob:
    """A function and its times. Immutable; raises :class:`ConfigError` for what could never run.

    ``timezone`` is the key of an IANA time zone, the one in which the expression is read; ``dst`` is None or ``"once"``.
    """

    name: str
    function: Callable[[], object]
    expression: str
    timezone: str = "UTC"
    dst: str | None = None

    def __post_init__(self) -> None:
        _check_function(self.name, self.function)
        _zone(self.name, self.timezone)
        _check_dst(self.name, self.dst)
        _check_expression(self)

    @property
    def zone(self) -> tzinfo:
        """The time zone in which the expression is read."""
        return _zone(self.name, self.timezone)

    @property
    def fenced(self) -> Job[[], object] | None:
        """The ``@job`` that a fire runs under a token of its own, so that it takes effect once; None for a plain one."""
        return self.function if isinstance(self.function, Job) else None

    @property
    def schedule(self) -> str:
        """The times in words: two jobs with the same ones fire together."""
        return " ".join([self.expression, self.timezone, *([f"dst={self.dst}"] if self.dst else [])])

    def wall(self, scheduled: datetime) -> str | None:
        """Return the local date and time of a fire that goes by it (``dst="once"``); None for one that goes by UTC."""
        return scheduled.astimezone(self.zone).replace(tzinfo=None).isoformat() if self.dst == ONCE else None

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after ``moment``, in the job's time zone.

        Pure: the same answer on every machine. Raises ``ValueError`` for a moment without a time zone.
        """
        if moment.tzinfo is None:
            raise ValueError(f"next_after() takes a moment with a time zone, not {moment!r}")
        for found in self._times_from(moment):
            return found
        raise ConfigError(f'cron job {self.name}: "{self.expression}" never matches (no such day in 50 years)')

    def next_times(self, moment: datetime, n: int) -> list[datetime]:
        """Return the first ``n`` times after ``moment``."""
        times: list[datetime] = []
        for _ in range(n):
            moment = self.next_after(moment)
            times.append(moment)
        return times

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the times after ``after`` up to ``until``, that one included: those that :meth:`next_after` gives."""
        for found in self._times_from(after):
            if found.astimezone(UTC) > until.astimezone(UTC):
                return
            yield found

    def _times_from(self, moment: datetime) -> Iterator[datetime]:
        zone, last = self.zone, moment.astimezone(UTC)
        showings = _first_showings if self._goes_by_dates else _all_showings
        for shown in showings(self._walls_from(moment.astimezone(zone)), zone):
            # In UTC, because times of one zone compare by the wall clock. Several that a gap has swallowed are one time.
            if shown > last:
                yield shown.astimezone(zone)
                last = shown

    @property
    def _goes_by_dates(self) -> bool:
        fields = self.expression.split()
        is_fixed = len(fields) == CRONTAB_FIELDS and not any(field.startswith("*") for field in fields[:2])
        return is_fixed or self.dst == ONCE

    def _walls_from(self, local: datetime) -> Iterator[datetime]:
        """Yield the bare wall times that match, from the first one on that the clock shows after ``local``."""
        # cronsim's own way through the changes of the clocks depends on where it starts, and steps by whole hours over
        # times of Lord Howe, whose summer is half an hour: two machines would come to different answers.
        return CronSim(self.expression, local.replace(tzinfo=None) - _overlap(local))


def _first_showings(walls: Iterable[datetime], zone: tzinfo) -> Iterator[datetime]:
    """Yield when (UTC) the clock shows each wall time first; the end of the gap for one that it never shows."""
    for wall in walls:
        shown = wall
        while not _exists(shown, zone):
            shown = shown.replace(second=0) + timedelta(minutes=1)
        yield shown.replace(tzinfo=zone).astimezone(UTC)


def _all_showings(walls: Iterable[datetime], zone: tzinfo) -> Iterator[datetime]:
    """Yield, in their order, all times (UTC) at which the clock shows one of the wall times: none, one or two for each."""
    second: deque[datetime] = deque()
    for wall in walls:
        if not _exists(wall, zone):
            continue
        local = wall.replace(tzinfo=zone)
        shown = local.astimezone(UTC)
        while second and second[0] < shown:
            yield second.popleft()
        yield shown
        if overlap := _overlap(local):
            second.append(shown + overlap)
    yield from second


def _exists(wall: datetime, zone: tzinfo) -> bool:
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall


def _overlap(local: datetime) -> timedelta:
    """Return after what time the clock shows a wall time again; nothing for one that comes once, or has come twice."""
    second = local.replace(fold=1)
    difference = second.astimezone(UTC) - local.astimezone(UTC)
    return max(difference, timedelta(0))


_lock = threading.Lock()
_jobs: dict[str, CronJob] = {}


def cron(
    expression: str, *, timezone: str | None = None, name: str | None = None, dst: str | None = None
) -> Callable[[F], F]:
    """Register the decorated function as a job that ``workers`` runs at the times of ``expression``.

    The function itself is returned unchanged. ``timezone`` is an IANA key such as ``Europe/Vienna``; None means UTC.
    ``name`` is the job's name in logs and on the command line; None means ``module.function``. ``dst="once"`` fires
    each local time once although the clock may show it twice, or never, on the day when it changes; None leaves that to
    the expression, see the head of this module. Raises :class:`ConfigError` for a bad expression, an unknown time zone,
    a function that cannot be called without arguments, and a name that another function has already.
    """
    if not isinstance(expression, str):
        raise ConfigError(f"@cron takes a cron expression, not {expression!r}: {HOW_TO_WRITE}")

    def register(function: F) -> F:
        job = CronJob(
            name=_name_of(function) if name is None else name,
            function=function,
            expression=" ".join(expression.split()),
            timezone="UTC" if timezone is None else timezone,
            dst=dst,
        )
        with _lock:
            _refuse_clash(_jobs.get(job.name), job)
            _jobs[job.name] = job
        return function

    return register


def registered() -> tuple[CronJob, ...]:
    """Return every job of this process, by name."""
    with _lock:
        return tuple(_jobs[name] for name in sorted(_jobs))


def module_of(job: CronJob) -> str:
    """Return the dotted name of the module that defines the job's function; empty if it does not say."""
    return getattr(job.function, "__module__", None) or ""


def _name_of(function: Callable[[], object]) -> str:
    qualname = getattr(function, "__qualname__", None)
    # Lambdas, closures and partials share their name with others, and the last one would replace the rest in silence.
    if qualname is None or "<" in qualname:
        raise ConfigError(f'cron job {function!r} has no name of its own: give it one with @cron(..., name="...")')
    return f"{function.__module__}.{qualname}"


def _place(job: CronJob) -> tuple[str, str | None]:
    return module_of(job), getattr(job.function, "__qualname__", None)


def _refuse_clash(known: CronJob | None, job: CronJob) -> None:
    """Raise if ``job`` would push out another one; a module that is loaded again may replace its own."""
    if known is None or known == job:
        return
    if known.function is job.function:
        raise ConfigError(
            f'cron job {job.name} has two expressions, "{known.expression}" and "{job.expression}":'
            ' give one of them a name of its own with @cron(..., name="...")'
        )
    if _place(known) != _place(job):
        raise ConfigError(
            f"two cron jobs are named {job.name}: {known.function!r} and {job.function!r}:"
            ' give one of them another name with @cron(..., name="...")'
        )


def _check_function(name: str, function: Callable[[], object]) -> None:
    if not name or not isinstance(name, str):
        raise ConfigError(f"a cron job's name must be a text that is not empty, not {name!r}")
    if not callable(function):
        raise ConfigError(f"cron job {name}: {function!r} cannot be called")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"cron job {name} is an async function: jobs run on threads, so wrap it in asyncio.run()")
    if inspect.isgeneratorfunction(function):
        raise ConfigError(f"cron job {name} is a generator: calling it would run nothing; make it a plain function")
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ConfigError(f"cron job {name} would be called without arguments: {error}") from None
    except ValueError:
        pass  # Some callables of C modules do not tell their signature.
    if isinstance(function, Job) and function.settings.key is not None:
        raise ConfigError(
            f"cron job {name} has @job(key=...), and a fire has a token of its own, which is its time: take key= away"
        )


def _check_dst(name: str, dst: object) -> None:
    if dst not in (None, ONCE):
        raise ConfigError(f'cron job {name}: dst must be "{ONCE}" or None, not {dst!r}')


def _check_expression(job: CronJob) -> None:
    try:
        job.next_after(A_MOMENT)
    except ConfigError:
        raise
    except (CronSimError, ValueError) as error:
        shown = textwrap.shorten(job.expression, 80)
        raise ConfigError(f'cron job {job.name}: "{shown}" is no cron expression ({error}): {HOW_TO_WRITE}') from None


def _zone(name: str, key: str) -> tzinfo:
    # UTC needs no time zone data, and cronsim has a short way for it.
    if key == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(key)
    except (KeyError, ValueError, TypeError, OSError, AttributeError):
        raise ConfigError(f"cron job {name}: unknown time zone {key!r}{_zone_advice(key)}") from None


def _zone_advice(key: object) -> str:
    known = zoneinfo.available_timezones()
    if not known:
        return ": this machine has no time zone data; install the tzdata package"
    close = difflib.get_close_matches(str(key), known, n=1)
    return f": did you mean {close[0]!r}?" if close else ": write an IANA key such as 'Europe/Vienna'"
