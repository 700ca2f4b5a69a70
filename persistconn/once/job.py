"""``@job``: a function whose effects on the database happen exactly once, whatever becomes of the connection.

A call runs the function inside one transaction of its own, together with a row of the ledger that proves it. If the
connection is lost, the whole function runs again in a new transaction; if the answer to COMMIT was lost, the row tells
whether it happened. See docs/exactly-once.md.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from persistconn.errors import ConfigError, DatabaseUnavailable, JobError
from persistconn.once.attempt import Attempt, Mishappened, Order
from persistconn.once.history import History
from persistconn.once.payload import Arguments
from persistconn.once.settings import JobSettings, checked_name
from persistconn.once.sites import Site
from persistconn.once.token import Token, fingerprint, key_token, random_token

P = ParamSpec("P")
R = TypeVar("R")


class Job(Generic[P, R]):
    """A function that takes effect exactly once each time it is called; ``function`` is the plain one."""

    def __init__(self, function: Callable[P, R], settings: JobSettings) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.settings = settings
        self.name = settings.name_for(function)

    def __repr__(self) -> str:
        return f"<job {self.name}>"

    def __set_name__(self, owner: type, name: str) -> None:
        """Refuse to be a method; Python 3.10 and 3.11 wrap the ConfigError in a RuntimeError.

        A job that a class merely has a name for is none.
        """
        if getattr(self.function, "__qualname__", "").rpartition(".")[0] == owner.__qualname__:
            raise ConfigError(
                f"@job on {self.function.__qualname__}: a job is no method, for each replay would need the object again."
                f" Make it a function of the module, or put @staticmethod above @job, and give {name} what it needs as"
                " arguments"
            )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it, exactly once, on the calling thread's connection; returns what the function returned, as JSON has it.

        Blocks as long as the function takes, replays included. Raises what the function raised (nothing of it took
        effect then), a :class:`JobError` for what cannot be run safely, ``DatabaseUnavailable`` if the database stays
        away for ``give_up_after`` seconds.
        """
        return self._run(self._token_of(args, kwargs), args, kwargs)

    def keyed(self, key: str) -> KeyedJob[P, R]:
        """Return the job under a key: however often and wherever that is called, it takes effect once, for ever."""
        return KeyedJob(self, checked_key(self.name, key))

    def run_as(self, token: Token, *, waits: bool = True) -> R:
        """Run it, without arguments, under a token that is made already: that of a cron fire.

        With ``waits`` off, :class:`JobUnderWay` is raised at once if another process is running it.
        """
        return self._run(token, (), {}, waits=waits)

    def _token_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Token:
        if self.settings.key is None:
            return random_token(self.name, datetime.now(timezone.utc))
        return key_token(self.name, checked_key(self.name, self.settings.key(*args, **kwargs)))

    def _run(self, token: Token, args: tuple[Any, ...], kwargs: dict[str, Any], *, waits: bool = True) -> R:
        order = self.order(token, args, kwargs, waits=waits)
        return cast(R, run(order, self.settings.site(self.name), self.settings.retries))

    def order(self, token: Token, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, waits: bool = True) -> Order:
        """Return what is to be done, with the arguments as they are now."""
        return Order(
            token,
            self.function,
            Arguments(self.name, args, kwargs),
            fingerprint(self.name, args, kwargs),
            isolation=self.settings.isolation,
            records_failure=self.settings.records_failure,
            waits=waits,
        )


class KeyedJob(Generic[P, R]):
    """A job under one key."""

    def __init__(self, job: Job[P, R], key: str) -> None:
        functools.update_wrapper(self, job.function)
        self.job = job
        self.key = key

    def __repr__(self) -> str:
        return f"<job {self.job.name} [{self.key}]>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it, or return what it returned when it ran under this key before."""
        return self.job._run(key_token(self.job.name, self.key), args, kwargs)


def checked_key(job: str, key: object) -> str:
    """Return a key, or raise ConfigError for what can be none."""
    return checked_name(f"a key of the job {job}", key)


def run(
    order: Order,
    site: Site,
    retries: int | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    rng: Callable[[], float] = random.random,
    attempt: Callable[[Order, Site, History], Attempt] = Attempt,
) -> Any:
    """Make attempts until one of them proves what became of the job; returns its result. Blocks."""
    history = History(order.token.describe, retries)
    try:
        while True:
            try:
                settled = attempt(order, site, history).run()
            except Mishappened as mishappened:
                # Full jitter: rivals that were rolled back together must not come back together.
                pause(history.note(mishappened.mishap, clock(), site.give_up_after) * rng())
                continue
            if settled.by is not None and (after_commit := history.attempts.get(settled.by)) is not None:
                after_commit()
            return settled.result
    except DatabaseUnavailable as error:
        raise _told(error, order, history) from error.__cause__
    except JobError as error:
        error.token = str(order.token)
        raise


def _told(error: DatabaseUnavailable, order: Order, history: History) -> DatabaseUnavailable:
    """Say what is known of the job when the database stays away."""
    known = (
        "it may have been committed before, and only the ledger can tell"
        if history.attempts
        else "nothing of it took effect"
    )
    return type(error)(*error.args[:-1], f"{order.token.describe()} was given up, {known}: {error.args[-1]}")


@overload
def job(function: Callable[P, R], /) -> Job[P, R]: ...


@overload
def job(
    *,
    using: str | Callable[[], Any] | None = None,
    name: str | None = None,
    key: Callable[..., str] | None = None,
    isolation: str | None = None,
    retries: int | None = None,
    on_failure: str = "forget",
) -> Callable[[Callable[P, R]], Job[P, R]]: ...


def job(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Make a function a job: one transaction of its own, exactly once, replayed when the connection is lost.

    ``using`` is a Django alias (None: ``default``), or a callable that returns this thread's connection from a module
    that ``manage()`` has wrapped. ``name`` is the job's name in the ledger (None: module and function). ``key``, called
    with the arguments, returns the key under which a call takes effect once for ever. ``isolation`` is a level of SQL.
    ``retries`` bounds the replays; None leaves that to ``give_up_after``. ``on_failure="record"`` keeps an exception of
    the function as the outcome of its token; ``"forget"`` leaves the token free.

    Raises ConfigError for settings that cannot work, and for a generator or a coroutine function.
    """
    if function is not None:
        return Job(function, JobSettings())
    checked = JobSettings.from_keywords(settings)
    return lambda decorated: Job(decorated, checked)
