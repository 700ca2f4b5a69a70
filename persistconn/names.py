"""What a function goes by in the log."""

from __future__ import annotations

import functools


def name_of(function: object) -> str:
    """Return its module and qualified name; those of what a ``partial`` wraps."""
    while isinstance(function, functools.partial):
        function = function.func
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else repr(function)
