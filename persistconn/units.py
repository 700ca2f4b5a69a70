"""``unit_of_work``: the boundary for code that no Executor, job or request stands around."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar, overload

from persistconn import log
from persistconn.errors import ConfigError
from persistconn.functions import name_of, works_after_its_call
from persistconn.keeper import KEEPER, Keeper

P = ParamSpec("P")
T = TypeVar("T")


class _Depth(threading.local):
    units = 0


_depth = _Depth()


@overload
def unit_of_work(function: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def unit_of_work() -> contextlib.AbstractContextManager[None]: ...
def unit_of_work(function: Callable[P, T] | None = None, /) -> object:
    """End the unit of work when a function, or a ``with`` block, ends: its connections are given back, or tidied up.

    What is left open is rolled back, with a warning that names the function. A unit inside another, or inside a job, ends
    with the outer one. Belongs to the thread, or greenlet, that runs it; raises ConfigError for a function that works
    after its call (a coroutine, a generator).
    """
    if function is None:
        return _unit("a unit of work")
    if works_after_its_call(function):
        raise ConfigError(
            f"unit_of_work takes a function that has done its work when it returns, and {name_of(function)} has not:"
            " decorate what runs in the thread"
        )

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with _unit(name_of(function)):
            return function(*args, **kwargs)

    return run


@contextlib.contextmanager
def _unit(name: str) -> Iterator[None]:
    _depth.units += 1
    try:
        yield
    finally:
        _depth.units -= 1
        if not _depth.units and not KEEPER.is_watched:
            end_unit(KEEPER, name, name)


def end_unit(keeper: Keeper, who: str, name: str) -> None:
    """End the calling thread's unit of work; what it has left open is rolled back, and told of ``who``."""
    for left in keeper.end_unit():
        log.warning("%s left %s: rolled back", who, left, extra={"action": "rollback", "task": name})
