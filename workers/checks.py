"""What a service is made of, refused at construction if it cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from persistconn.cronjobs import CronJob
from persistconn.errors import ConfigError

MOST_THREADS = 1000
LONGEST_GRACE = 86400.0


def checked_threads(threads: object) -> int:
    """Return the number of threads, or raise :class:`ConfigError`."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"threads must be a whole number from 1 to {MOST_THREADS}, not {threads!r}")
    return threads


def checked_grace(grace: object) -> float:
    """Return the grace in seconds, or raise :class:`ConfigError`."""
    if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace <= LONGEST_GRACE:
        raise ConfigError(f"grace must be a number of seconds from 0 to {LONGEST_GRACE:.0f}, not {grace!r}")
    return float(grace)


def distinct(jobs: Iterable[CronJob]) -> tuple[CronJob, ...]:
    """Return the jobs, or raise :class:`ConfigError` if two have one name."""
    found = tuple(jobs)
    names = [job.name for job in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two jobs have the name {twice[0]}: give one of them another one")
    return found


def opener_of(item: str | Callable[[], object]) -> Callable[[], object]:
    """Return what opens a thread's connection: a callable as it is, or one for a Django alias."""
    if callable(item):
        return item
    if not isinstance(item, str):
        raise ConfigError(f"warm takes callables and Django aliases, not {item!r}")

    def open_alias() -> None:
        from django.db import connections

        connections[item].ensure_connection()

    return open_alias
