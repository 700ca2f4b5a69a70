"""Notices that this process is a fork, also where nobody runs Python's hooks: uWSGI forks in C, and does not by default."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from os import getpid

Hook = Callable[[int], None]


class _Process:
    """The process whose connections these are."""

    pid = getpid()


PROCESS = _Process

_hooks: list[Hook] = []
_locks: dict[int, threading.Lock] = {}
"""A lock by pid: that of the parent may have been held by a thread that does not exist here."""


def at_fork(hook: Hook) -> None:
    """Have ``hook`` called in a forked child before anything else is done there, with the ident of the thread that forked."""
    _hooks.append(hook)


def check() -> None:
    """Run the hooks if this process is a fork and they have not run yet. Costs a getpid(); any thread."""
    if getpid() != PROCESS.pid:
        # A server that forks in C does so on its main thread.
        _arrive(threading.main_thread().ident or threading.get_ident())


def _arrive(survivor: int) -> None:
    with _locks.setdefault(getpid(), threading.Lock()):
        if getpid() == PROCESS.pid:
            return
        for hook in _hooks:
            hook(survivor)
        # Last: whoever comes meanwhile must wait.
        PROCESS.pid = getpid()


os.register_at_fork(after_in_child=lambda: _arrive(threading.get_ident()))
