"""What a user's function goes by in the log, and when it does its work."""

from __future__ import annotations

import functools
import inspect


def name_of(function: object) -> str:
    """Return its module and qualified name; those of what a ``partial`` wraps."""
    while isinstance(function, functools.partial):
        function = function.func
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else repr(function)


def works_after_its_call(function: object) -> bool:
    """Say whether it is a coroutine function or a generator: its work is done when nobody stands around it any more."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(is_one(function) for is_one in kinds)
