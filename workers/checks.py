"""What a service is made of, refused at construction if it cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from persistconn.cronjobs import CronJob
from persistconn.errors import ConfigError

MOST_THREADS = 1000
LONGEST_GRACE = 86400.0
SHORTEST_TAKEOVER, LONGEST_TAKEOVER = 1.0, 3600.0
LONGEST_WINDOW = 604800.0
"""The ledger's usual retention: what it has forgotten, nobody can make up."""


def checked_threads(threads: object) -> int:
    """Return the number of threads, or raise :class:`ConfigError`."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"threads must be a whole number from 1 to {MOST_THREADS}, not {threads!r}")
    return threads


def checked_grace(grace: object) -> float:
    """Return the grace in seconds, or raise :class:`ConfigError`."""
    return _seconds("grace", grace, 0.0, LONGEST_GRACE)


def checked_takeover(takeover: object) -> float:
    """Return the time for a takeover in seconds, or raise :class:`ConfigError`."""
    return _seconds("takeover", takeover, SHORTEST_TAKEOVER, LONGEST_TAKEOVER)


def checked_window(window: object) -> float:
    """Return the window in seconds, or raise :class:`ConfigError`."""
    return _seconds("window", window, SHORTEST_TAKEOVER, LONGEST_WINDOW)


def checked_pair(takeover: float, window: float) -> None:
    """Raise :class:`ConfigError` if a fire would be out of sight before it could be taken over."""
    if window < takeover:
        raise ConfigError(f"window ({window:g} s) must not be shorter than takeover ({takeover:g} s)")


def _seconds(name: str, value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigError(f"{name} must be a number of seconds from {least:.0f} to {most:.0f}, not {value!r}")
    return float(value)


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
