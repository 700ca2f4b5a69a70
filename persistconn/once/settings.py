"""The settings of one job, checked where it is declared."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from persistconn.errors import ConfigError
from persistconn.functions import works_after_its_call
from persistconn.once.rows import NAME_LIMIT
from persistconn.once.sites import PlainSite, Site

ISOLATIONS = ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
ON_FAILURE = ("forget", "record")
DEFAULT_ALIAS = "default"


@dataclass(frozen=True)
class JobSettings:
    """What :func:`persistconn.job` was given. Raises ConfigError for what cannot work."""

    using: str | Callable[[], Any] | None = None
    name: str | None = None
    key: Callable[..., str] | None = None
    isolation: str | None = None
    retries: int | None = None
    on_failure: str = "forget"

    def __post_init__(self) -> None:
        if self.using is not None and not isinstance(self.using, str) and not callable(self.using):
            raise ConfigError(
                f"using must be a Django alias or a callable that returns a connection, not {self.using!r}"
            )
        if self.key is not None and not callable(self.key):
            raise ConfigError(
                f"key must be a function of the job's arguments, not {self.key!r}; a fixed one is job.keyed(...)"
            )
        if self.isolation is not None and self.isolation not in ISOLATIONS:
            raise ConfigError(f"isolation must be one of {', '.join(ISOLATIONS)}, not {self.isolation!r}")
        is_count = isinstance(self.retries, int) and not isinstance(self.retries, bool) and self.retries >= 0
        if self.retries is not None and not is_count:
            raise ConfigError(
                f"retries must be a whole number of at least 0, or None for no bound, not {self.retries!r}"
            )
        if self.on_failure not in ON_FAILURE:
            raise ConfigError(f"on_failure must be one of {', '.join(ON_FAILURE)}, not {self.on_failure!r}")

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> JobSettings:
        """Build them from what a decorator was given; refuse unknown ones."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in keywords:
            if name not in known:
                raise ConfigError(f"@job has no setting {name!r}: the settings are {', '.join(known)}")
        return cls(**keywords)

    @property
    def records_failure(self) -> bool:
        """Whether an exception of the function is kept as its outcome."""
        return self.on_failure == "record"

    def name_for(self, function: Callable[..., Any]) -> str:
        """Return the job's name; raises ConfigError for a function that cannot be a job."""
        if not callable(function):
            raise ConfigError(f"@job takes a function, not {function!r}")
        if works_after_its_call(function):
            raise ConfigError(
                f"@job on {function!r}: it does its work after the call, outside of the job's transaction; make it a function"
            )
        qualname = getattr(function, "__qualname__", None)
        if self.name is None and (qualname is None or "<lambda>" in qualname):
            raise ConfigError(f'the job {function!r} has no name of its own: give it one with @job(name="...")')
        name = self.name if self.name is not None else f"{function.__module__}.{qualname}"
        return checked_name("a job's name", name)

    def site(self, job: str) -> Site:
        """Return where it runs, on the calling thread; raises ConfigError if there is no such place."""
        if callable(self.using):
            return PlainSite(self.using)
        return _django_site(job, self.using or DEFAULT_ALIAS)


def checked_name(what: str, name: object) -> str:
    """Return a name or a key as the ledger takes it, or raise ConfigError."""
    is_text = isinstance(name, str) and not any("\ud800" <= character <= "\udfff" for character in name)
    if not is_text or not name or len(str(name)) > NAME_LIMIT:
        raise ConfigError(f"{what} must be a text of 1 to {NAME_LIMIT} characters, not {name!r}")
    return str(name)


def _django_site(job: str, alias: str) -> Site:
    try:
        settings = _django_settings()
    except ImportError:
        raise ConfigError(_no_place(job)) from None
    if not settings.configured:
        from django.core.exceptions import ImproperlyConfigured

        try:
            settings.DATABASES  # noqa: B018 - loads them, if DJANGO_SETTINGS_MODULE names any
        except ImproperlyConfigured:
            raise ConfigError(_no_place(job)) from None
    return _django_site_class()(job, alias)


# An import that was done before still costs as much as the rest of a site, and each call of a job makes one.


@functools.cache
def _django_settings() -> Any:
    from django.conf import settings

    return settings


@functools.cache
def _django_site_class() -> Callable[[str, str], Site]:
    from persistconn.backends.mysql.site import DjangoSite

    return DjangoSite


def _no_place(job: str) -> str:
    return (
        f"the job {job} does not know its database: without Django say @job(using=connect), where connect() returns this"
        " thread's connection from a module that persistconn.manage() has wrapped"
    )
