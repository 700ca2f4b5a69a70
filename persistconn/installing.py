"""``persistconn.install()``: Django on held connections, in the program, where the settings belong to others as well."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from persistconn.errors import ConfigError
from persistconn.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

STOCK_ENGINE = "django.db.backends.mysql"
ENGINE = "persistconn.backends.mysql"
OPTION = "persistconn"


class _Installed:
    """What this process has installed; its lock guards ``policy``."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.policy: Policy | None = None


_installed = _Installed()


def install(*, scheduler: Any = None, **settings: Any) -> None:
    """Give every alias on Django's own MySQL engine persistconn's, in this process only.

    Call it before the threads that use the database start, before or after ``django.setup()`` (before, if nobody calls
    ``pymysql.install_as_MySQLdb()``: Django loads its own engine there). ``settings`` are those of the policy, durations
    in seconds; ``scheduler`` is an APScheduler that runs the sweep (None: one of our own). Aliases
    on other engines stay as they are, and so does one that names ``persistconn.backends.mysql`` itself. A second call
    with the same settings does nothing. Connects to nothing.

    Raises ConfigError for settings that cannot work, for others than those of an earlier call, if no alias is on MySQL,
    or inside an atomic block.
    """
    policy = Policy.from_settings(settings)
    with _installed.lock:
        if _installed.policy not in (None, policy):
            raise ConfigError(
                f"persistconn.install() was called before with other settings: {_differences(_installed.policy, policy)}"
            )
        _check_engine()
        aliases = _swap(settings)
        if not aliases and _installed.policy is None:
            raise ConfigError(f"persistconn.install() found no alias to install on: {_describe_databases()}")
        _installed.policy = policy
    _remove_wrappers(aliases)
    if scheduler is not None:
        from persistconn.keepalive import use_scheduler

        use_scheduler(scheduler)


def _check_engine() -> None:
    """Import the engine now, for its complaints belong here and not into the first query of some thread."""
    try:
        from django.core.exceptions import ImproperlyConfigured
    except ImportError as error:
        raise ConfigError(
            "persistconn.install() is for Django, which is not installed; without it, use persistconn.manage(pymysql)"
        ) from error
    try:
        import persistconn.backends.mysql.base  # noqa: F401
    except ImproperlyConfigured as error:
        raise ConfigError(f"persistconn.install(): {error}") from error


def _swap(settings: dict[str, Any]) -> list[str]:
    """Swap the engines; return the aliases that it was done for. All are looked at before the first one is touched."""
    from django.db import connections

    swapped = [alias for alias in connections.settings if _engine(alias) == STOCK_ENGINE]
    for wrapper in connections.all(initialized_only=True):
        if wrapper.alias in swapped and wrapper.in_atomic_block:
            raise ConfigError(
                f"persistconn.install() inside an atomic block on {wrapper.alias!r}: call it before the first query"
            )
    for alias in swapped:
        for database in _definitions(alias):
            # A dict of their own: a settings module may use one and the same for several aliases.
            database["OPTIONS"] = {**database.get("OPTIONS", {}), OPTION: dict(settings)}
            database["ENGINE"] = ENGINE
    return swapped


def _engine(alias: str) -> str:
    from django.db import connections

    return str(connections.settings[alias].get("ENGINE"))


def _definitions(alias: str) -> Iterator[dict[str, Any]]:
    """Yield the alias's definition wherever Django reads it; usually that is one dict in two places."""
    from django.conf import settings
    from django.db import connections

    yield connections.settings[alias]
    if alias in settings.DATABASES and settings.DATABASES[alias] is not connections.settings[alias]:
        yield settings.DATABASES[alias]


def _remove_wrappers(aliases: list[str]) -> None:
    """Close what this thread has open on the stock engine, so that the next use is on ours."""
    from django.db import connections

    for wrapper in connections.all(initialized_only=True):
        if wrapper.alias in aliases:
            wrapper.close()
            del connections[wrapper.alias]


def _differences(old: Policy | None, new: Policy) -> str:
    names = [name for name in vars(new) if getattr(old, name) != getattr(new, name)]
    return ", ".join(f"{name} was {getattr(old, name)!r} and is {getattr(new, name)!r}" for name in names)


def _describe_databases() -> str:
    from django.db import connections

    engines = ", ".join(f"{alias!r} is on {_engine(alias)}" for alias in connections.settings)
    return f"it takes those on {STOCK_ENGINE}, but {engines or 'DATABASES is empty'}"
