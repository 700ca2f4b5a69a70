"""A thread pool whose tasks are units of work: what one leaves open is rolled back, and the connections stay."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from persistconn import log
from persistconn.errors import ConfigError
from persistconn.functions import name_of
from persistconn.keeper import KEEPER, Keeper
from persistconn.owner import Owner
from persistconn.units import end_unit

T = TypeVar("T")
Warm = Callable[[], object] | str | Iterable["Callable[[], object] | str"]


class Executor(concurrent.futures.Executor):
    """A ``concurrent.futures.Executor`` over a thread pool, its own or one that is given.

    At the end of each task, on its thread and before its future is done: what is open is rolled back (with a warning
    that names the task), Django's ``reset_queries()`` runs, and the connections stay. ``shutdown(wait=True)`` closes the
    connections of its threads; with ``wait=False`` the sweep does, once they have ended.

    ``warm`` is what each thread does when it starts, so that no task waits for a connection: a callable, a Django alias,
    or several of them. All threads start at once then. A failure is logged, and the first task meets it again.
    """

    def __init__(
        self,
        pool: concurrent.futures.ThreadPoolExecutor | None = None,
        *,
        max_workers: int | None = None,
        warm: Warm | None = None,
        thread_name_prefix: str = "persistconn",
        keeper: Keeper = KEEPER,
    ) -> None:
        self._pool = pool if pool is not None else _new_pool(max_workers, thread_name_prefix)
        self._keeper = keeper
        self._lock = threading.Lock()
        self._owners: set[Owner] = set()
        if pool is not None:
            _check_wrapped(pool, max_workers)
        steps = _warm_steps(warm)
        if steps:
            self._warm_all(steps)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """Run ``fn`` as a unit of work; in the warning about what it left open it goes by its qualified name."""
        return self.submit_named(name_of(fn), fn, *args, **kwargs)

    def submit_named(
        self, name: str, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[T]:
        """Run ``fn`` as a unit of work that goes by ``name``."""
        return self._pool.submit(self._run, name, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the pool down; with ``wait`` block until its threads have ended, then close their connections."""
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)
        with self._lock:
            owners = set(self._owners)
        if wait:
            self._keeper.reap(owners)

    def _run(self, name: str, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        with self._lock:
            self._owners.add(self._keeper.owner())
        try:
            return fn(*args, **kwargs)
        finally:
            end_unit(self._keeper, f"the task {name}", name)

    def _warm_all(self, steps: list[Callable[[], object]]) -> None:
        # A pool starts a thread for a task only if none is idle: held back, these tasks get a thread each.
        all_submitted = threading.Event()
        for _ in range(self._pool._max_workers):
            self.submit_named("warm", _warm_thread, all_submitted, steps)
        all_submitted.set()


def _warm_thread(start: threading.Event, steps: list[Callable[[], object]]) -> None:
    start.wait()
    for step in steps:
        try:
            step()
        except Exception as error:
            log.warning("could not warm %s up: %s", threading.current_thread().name, error, extra={"action": "warm"})


def _warm_steps(warm: Warm | None) -> list[Callable[[], object]]:
    if warm is None:
        return []
    several = [warm] if callable(warm) or isinstance(warm, str) else list(warm)
    return [_warm_step(step) for step in several]


def _warm_step(step: object) -> Callable[[], object]:
    if isinstance(step, str):
        return functools.partial(_open_alias, step)
    if callable(step):
        return step
    raise ConfigError(f"warm takes callables and Django aliases, not {step!r}")


def _open_alias(alias: str) -> None:
    from django.db import connections

    connections[alias].ensure_connection()


def _new_pool(max_workers: int | None, thread_name_prefix: str) -> concurrent.futures.ThreadPoolExecutor:
    is_count = isinstance(max_workers, int) and not isinstance(max_workers, bool) and max_workers > 0
    if max_workers is not None and not is_count:
        raise ConfigError(f"max_workers must be a whole number of at least 1, not {max_workers!r}")
    return concurrent.futures.ThreadPoolExecutor(max_workers, thread_name_prefix=thread_name_prefix)


def _check_wrapped(pool: object, max_workers: int | None) -> None:
    if not isinstance(pool, concurrent.futures.ThreadPoolExecutor):
        raise ConfigError(f"Executor() wraps a ThreadPoolExecutor, whose threads keep connections; got {pool!r}")
    if max_workers is not None:
        raise ConfigError("max_workers is the wrapped pool's own: give one of the two")
